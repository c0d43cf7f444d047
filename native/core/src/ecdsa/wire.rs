//! The four messages: exact lengths, strict parsing (`docs/spec/ecdsa.md`, "Messages").

use k256::{AffinePoint, Scalar};

use super::bits::COLUMN_LEN;
use super::curve::POINT_LEN;
use super::{Curve, KAPPA, XI};
use crate::codec::Reader;
use crate::error::{Code, Error, Result};

/// The first byte of every message.
const VERSION: u8 = 1;

/// Message kinds, the second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Client's half of the base transfers.
    Setup = 0x11,
    /// Enclave's half of the base transfers.
    SetupAnswer = 0x12,
    /// Message 1 of a signature.
    Request = 0x21,
    /// Message 2 of a signature.
    Response = 0x22,
}

const HEADER_LEN: usize = 2;

/// Length of the client's setup message, in bytes.
pub const SETUP_LEN: usize = HEADER_LEN + KAPPA * 32;
/// Length of the enclave's setup answer, in bytes.
pub const SETUP_ANSWER_LEN: usize = HEADER_LEN + KAPPA * 64;
/// Length of the extension's columns, in bytes.
pub(super) const COLUMNS_LEN: usize = KAPPA * COLUMN_LEN;
/// Length of message 1, in bytes: header, index, context, D, delta, columns, x~, hash of the t~.
pub const MESSAGE1_LEN: usize = HEADER_LEN + 8 + 32 + POINT_LEN + 32 + COLUMNS_LEN + 16 + 32;
/// Length of message 2, in bytes: header, transcript, R', proof, taus, etas, hash of the rows, two padded scalars.
pub const MESSAGE2_LEN: usize =
    HEADER_LEN + 32 + POINT_LEN + 64 + XI * 3 * 32 + XI * 2 * 32 + 2 * 32 + 32 + 2 * 32;

/// Starts a message.
pub(super) fn start(kind: Kind, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&[VERSION, kind as u8]);
    out
}

/// Checks length, version and kind, and gives a reader of the rest.
pub(super) fn open(bytes: &[u8], kind: Kind, len: usize) -> Result<Reader<'_>> {
    if bytes.len() != len {
        return Err(Error::abort(Code::MalformedMessage, "the message does not have its exact length"));
    }
    let mut reader = Reader::new(bytes, Code::MalformedMessage);
    if reader.u8()? != VERSION || reader.u8()? != kind as u8 {
        return Err(Error::abort(Code::WrongKind, "the message has another version or kind"));
    }
    Ok(reader)
}

/// Message 1, parsed; borrows its columns.
pub(super) struct Request<'a> {
    pub(super) index: u64,
    pub(super) context: [u8; 32],
    pub(super) d: AffinePoint,
    pub(super) delta: Scalar,
    /// Everything before the columns, which the extension's challenge covers.
    pub(super) head: &'a [u8],
    pub(super) columns: &'a [u8],
    pub(super) x_hash: u128,
    pub(super) t_hash: [u8; 32],
}

impl<'a> Request<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = open(bytes, Kind::Request, MESSAGE1_LEN)?;
        let index = u64::from_be_bytes(reader.array()?);
        let context = reader.array()?;
        let d = reader.element::<Curve>()?.to_affine();
        let delta = reader.scalar::<Curve>()?;
        let head = bytes.get(..bytes.len() - reader.remaining()).unwrap_or_default();
        let columns = reader.take(COLUMNS_LEN)?;
        let x_hash = u128::from_le_bytes(reader.array()?);
        let t_hash = reader.array()?;
        reader.finish()?;
        Ok(Self { index, context, d, delta, head, columns, x_hash, t_hash })
    }
}

/// Message 2, parsed; borrows its taus.
pub(super) struct Response<'a> {
    pub(super) transcript: [u8; 32],
    pub(super) r_prime: AffinePoint,
    pub(super) proof_challenge: Scalar,
    pub(super) proof_response: Scalar,
    /// Everything before the etas, which the check's coefficients cover.
    pub(super) head: &'a [u8],
    pub(super) tau0: Vec<[Scalar; 3]>,
    pub(super) tau1: Vec<[Scalar; 2]>,
    pub(super) eta0: Scalar,
    pub(super) eta1: Scalar,
    pub(super) rows_hash: [u8; 32],
    pub(super) padded_phi: [u8; 32],
    pub(super) padded_m: [u8; 32],
}

impl<'a> Response<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = open(bytes, Kind::Response, MESSAGE2_LEN)?;
        let transcript = reader.array()?;
        let r_prime = reader.element::<Curve>()?.to_affine();
        let proof_challenge = reader.scalar::<Curve>()?;
        let proof_response = reader.scalar::<Curve>()?;
        let tau0 = taus(&mut reader)?;
        let tau1 = taus(&mut reader)?;
        let head = bytes.get(..bytes.len() - reader.remaining()).unwrap_or_default();
        let eta0 = reader.scalar::<Curve>()?;
        let eta1 = reader.scalar::<Curve>()?;
        let rows_hash = reader.array()?;
        let padded_phi = reader.array()?;
        let padded_m = reader.array()?;
        reader.finish()?;
        Ok(Self {
            transcript,
            r_prime,
            proof_challenge,
            proof_response,
            head,
            tau0,
            tau1,
            eta0,
            eta1,
            rows_hash,
            padded_phi,
            padded_m,
        })
    }
}

fn taus<const N: usize>(reader: &mut Reader<'_>) -> Result<Vec<[Scalar; N]>> {
    let mut rows = Vec::with_capacity(XI);
    for _ in 0..XI {
        let mut row = [Scalar::ZERO; N];
        for tau in &mut row {
            *tau = reader.scalar::<Curve>()?;
        }
        rows.push(row);
    }
    Ok(rows)
}
