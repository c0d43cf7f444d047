//! The bytes of key generation (`docs/spec/threshold.md`, "Key generation").

use frost_core::Group;
use frost_core::keys::SigningShare;
use frost_core::keys::dkg::round1;
use zeroize::Zeroizing;

use super::rounds::Params;
use crate::codec::{Reader, SCALAR_LEN, signature_from_bytes};
use crate::error::{Code, Error, Result};
use crate::suite::{Suite, SuiteId};

const VERSION: u8 = 1;
const KIND_ROUND1: u8 = 1;
const KIND_ROUND2: u8 = 2;

/// version, kind, suite, sender, t, n, context hash.
const HEADER1_LEN: usize = 3 + 3 * 2 + 32;
/// version, kind, suite, sender, receiver, round-one hash.
const HEADER2_LEN: usize = 3 + 2 * 2 + 32;

/// Length of a confirmation, in bytes.
pub const CONFIRMATION_LEN: usize = 32;

/// Exact length of a round-one message.
pub const fn message1_len<S: Suite>(min_signers: u16) -> usize {
    HEADER1_LEN + min_signers as usize * S::ELEMENT_LEN + S::PROOF_LEN + 32
}

/// Exact length of a round-two message.
pub const fn message2_len() -> usize {
    HEADER2_LEN + SCALAR_LEN + 32
}

/// A parsed round-one message.
#[derive(Debug)]
pub struct Message1<S: Suite> {
    /// Commitments and proof of knowledge.
    pub package: round1::Package<S>,
    /// Commitment to the sender's part of the chain code.
    pub chain_commitment: [u8; 32],
}

impl<S: Suite> Message1<S> {
    /// Encodes the message of the participant in `params`.
    ///
    /// # Errors
    /// `internal`: a commitment is the identity, which no party makes by chance.
    pub fn encode(&self, params: &Params, context_hash: &[u8; 32]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(message1_len::<S>(params.min_signers));
        out.extend_from_slice(&[VERSION, KIND_ROUND1, S::SUITE.tag()]);
        out.extend_from_slice(&params.identifier.to_be_bytes());
        out.extend_from_slice(&params.min_signers.to_be_bytes());
        out.extend_from_slice(&params.max_signers.to_be_bytes());
        out.extend_from_slice(context_hash);
        out.extend_from_slice(&self.package.commitment().serialize_whole().map_err(internal)?);
        out.extend_from_slice(&self.package.proof_of_knowledge().serialize().map_err(internal)?);
        out.extend_from_slice(&self.chain_commitment);
        Ok(out)
    }

    /// Parses the message that came from `sender` and checks that it belongs to this run.
    ///
    /// # Errors
    /// `malformed_message`, `wrong_kind`, `wrong_suite`, `wrong_sender`, `wrong_parameters`, `wrong_context` or
    /// `wrong_commitment_count`; the culprit is `sender`.
    pub fn decode(bytes: &[u8], sender: u16, params: &Params, context_hash: &[u8; 32]) -> Result<Self> {
        Self::read(bytes, sender, params, context_hash).map_err(|error| error.blame(sender))
    }

    fn read(bytes: &[u8], sender: u16, params: &Params, context_hash: &[u8; 32]) -> Result<Self> {
        let mut reader = Reader::new(bytes, Code::MalformedMessage);
        read_start::<S>(&mut reader, KIND_ROUND1)?;
        if reader.u16()? != sender {
            return Err(Error::abort(Code::WrongSender, "a round-one message names another sender"));
        }
        if reader.u16()? != params.min_signers || reader.u16()? != params.max_signers {
            return Err(Error::abort(Code::WrongParameters, "a peer runs with another threshold or size"));
        }
        if reader.array::<32>()? != *context_hash {
            return Err(Error::abort(Code::WrongContext, "a round-one message belongs to another context"));
        }
        // A longer commitment would raise the degree of the group's polynomial, and with it the number of
        // signers really needed (frost#600), so the count is checked before anything is parsed.
        let t = usize::from(params.min_signers);
        let points = reader.remaining().checked_sub(S::PROOF_LEN + 32);
        if points.is_some_and(|len| len % S::ELEMENT_LEN == 0 && len / S::ELEMENT_LEN != t) {
            return Err(Error::abort(
                Code::WrongCommitmentCount,
                "a commitment does not have t coefficients",
            ));
        }
        if points != Some(t * S::ELEMENT_LEN) {
            return Err(Error::abort(Code::MalformedMessage, "a round-one message has a wrong length"));
        }
        let commitment = reader.commitment::<S>(params.min_signers)?;
        let malformed = || Error::abort(Code::MalformedMessage, "a proof of knowledge is malformed");
        let proof = signature_from_bytes::<S>(reader.take(S::PROOF_LEN)?).ok_or_else(malformed)?;
        if *proof.R() == <S::Group as Group>::identity() {
            return Err(malformed());
        }
        let chain_commitment = reader.array()?;
        reader.finish()?;
        Ok(Self { package: round1::Package::new(commitment, proof), chain_commitment })
    }
}

/// A parsed round-two message. Secret.
pub struct Message2<S: Suite> {
    /// The sub-share for the receiver.
    pub sub_share: SigningShare<S>,
    /// The sender's part of the chain code.
    pub chain_part: Zeroizing<[u8; 32]>,
}

impl<S: Suite> Message2<S> {
    /// Encodes the message to `receiver`.
    pub fn encode(
        sender: u16,
        receiver: u16,
        round1_hash: &[u8; 32],
        sub_share: &SigningShare<S>,
        chain_part: &[u8; 32],
    ) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(message2_len()));
        out.extend_from_slice(&[VERSION, KIND_ROUND2, S::SUITE.tag()]);
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&receiver.to_be_bytes());
        out.extend_from_slice(round1_hash);
        out.extend_from_slice(&Zeroizing::new(sub_share.serialize()));
        out.extend_from_slice(chain_part);
        out
    }

    /// Parses the message that `sender` sent to `receiver`.
    ///
    /// # Errors
    /// `malformed_message`, `wrong_kind`, `wrong_suite`, `wrong_sender`, `wrong_receiver` or
    /// `transcript_mismatch`; the culprit is `sender`.
    pub fn decode(bytes: &[u8], sender: u16, receiver: u16, round1_hash: &[u8; 32]) -> Result<Self> {
        Self::read(bytes, sender, receiver, round1_hash).map_err(|error| error.blame(sender))
    }

    fn read(bytes: &[u8], sender: u16, receiver: u16, round1_hash: &[u8; 32]) -> Result<Self> {
        let mut reader = Reader::new(bytes, Code::MalformedMessage);
        read_start::<S>(&mut reader, KIND_ROUND2)?;
        if reader.u16()? != sender {
            return Err(Error::abort(Code::WrongSender, "a round-two message names another sender"));
        }
        if reader.u16()? != receiver {
            return Err(Error::abort(Code::WrongReceiver, "a round-two message is for somebody else"));
        }
        if reader.array::<32>()? != *round1_hash {
            return Err(Error::abort(Code::TranscriptMismatch, "a peer saw other round-one messages"));
        }
        let sub_share = SigningShare::<S>::new(reader.scalar::<S>()?);
        let chain_part = Zeroizing::new(reader.array()?);
        reader.finish()?;
        Ok(Self { sub_share, chain_part })
    }
}

fn read_start<S: Suite>(reader: &mut Reader<'_>, kind: u8) -> Result<()> {
    if reader.array::<2>()? != [VERSION, kind] {
        return Err(Error::abort(Code::WrongKind, "a message is of another kind or version"));
    }
    if SuiteId::from_tag(reader.u8()?) != Some(S::SUITE) {
        return Err(Error::abort(Code::WrongSuite, "a message is for another suite"));
    }
    Ok(())
}

pub(super) fn internal<E>(_: E) -> Error {
    Error::abort(Code::Internal, "a value of our own could not be encoded")
}
