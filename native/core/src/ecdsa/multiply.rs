//! Random vector multiplication (DKLs19, with the client's input left random): the client has bits b
//! and thereby beta = <g, b>; the enclave has inputs a_1..a_L; they get additive shares of every a_i * beta.
//!
//! For each transfer j the enclave knows the pads u0, u1 and the client u_{b_j}, a vector of N = L + 1 scalars: the
//! last is for the check input a^. The enclave's shares of a_i * b_j are -u0, the client's u_{b_j} + b_j * tau.

use aes::Aes256Enc;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use k256::Scalar;
use subtle::{Choice, ConditionallySelectable as _};
use zeroize::Zeroizing;

use super::XI;
use super::curve::{Sum, scalar_bytes, to_scalar};
use super::pads::{GROUP, Pads};
use crate::hash::tagged;

/// One of a signature's two multiplications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// Inputs 1/k_A + phi and t_A/k_A.
    First = 0,
    /// Input 1/k_A.
    Second = 1,
}

impl Batch {
    /// This batch's part of something that has one entry for each transfer.
    pub(super) fn of<T>(self, rows: &[T]) -> &[T] {
        let (first, second) = rows.split_at_checked(XI).unwrap_or_default();
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }

    /// The number of this batch's first group of pads.
    fn first_group(self) -> usize {
        self as usize * XI / GROUP
    }

    /// The public gadget vector g: 416 scalars from AES-256 in counter mode under a hash of the context.
    pub(super) fn gadget(self, context: &[u8; 32]) -> Vec<Scalar> {
        let key = tagged("cosigner/ecdsa/v1/gadget", &[context, &[self as u8]]);
        let mut blocks: Vec<[u8; 16]> = (0..2 * XI as u128).map(u128::to_be_bytes).collect();
        Aes256Enc::new(&key.into()).encrypt_blocks(Array::cast_slice_from_core_mut(&mut blocks));
        let (pairs, _) = blocks.as_chunks::<2>();
        pairs.iter().map(|pair| to_scalar(pair.as_flattened().first_chunk().unwrap_or(&[0; 32]))).collect()
    }

    /// The coefficients of the check.
    pub(super) fn theta<const L: usize>(self, challenge: &[u8; 32]) -> [Scalar; L] {
        let mut number = 0_u8;
        [(); L].map(|()| {
            let hash = tagged("cosigner/ecdsa/v1/multiply/theta", &[challenge, &[self as u8, number]]);
            number += 1;
            to_scalar(&hash)
        })
    }
}

/// What a party keeps of a batch: a row of N scalars for each transfer.
pub(super) type Shares<const N: usize> = Zeroizing<Vec<[Scalar; N]>>;

/// Client: beta = <g, b>.
pub(super) fn beta(batch: Batch, gadget: &[Scalar], bits: &[u8]) -> Scalar {
    let mut sum = Scalar::ZERO;
    for (g, b) in gadget.iter().zip(batch.of(bits)) {
        sum += Scalar::conditional_select(&Scalar::ZERO, g, Choice::from(*b));
    }
    sum
}

/// Enclave: writes every tau, and returns the pads u0; its shares are their negatives.
pub(super) fn send<const N: usize>(
    batch: Batch,
    pads: &Pads,
    rows: &[u128],
    delta: u128,
    inputs: &[Scalar; N],
    out: &mut Vec<u8>,
) -> Shares<N> {
    let mut kept = Zeroizing::new(Vec::with_capacity(XI));
    let (groups, _) = batch.of(rows).as_chunks::<GROUP>();
    for (group, rows) in (batch.first_group()..).zip(groups) {
        let pads = pads.of::<N, 2>(group, &Zeroizing::new(rows.map(|row| [row, row ^ delta])));
        for [u0, u1] in pads.iter() {
            for ((u0, u1), a) in u0.iter().zip(u1).zip(inputs) {
                out.extend_from_slice(&scalar_bytes(&(u0 - u1 + a)));
            }
            kept.push(*u0);
        }
    }
    kept
}

/// Client: its shares u_{b_j} + b_j * tau_j.
pub(super) fn receive<const N: usize>(
    batch: Batch,
    pads: &Pads,
    rows: &[u128],
    bits: &[u8],
    taus: &[[Scalar; N]],
) -> Shares<N> {
    let mut shares = Zeroizing::new(Vec::with_capacity(XI));
    let (groups, _) = batch.of(rows).as_chunks::<GROUP>();
    let mut rest = batch.of(bits).iter().zip(taus);
    for (group, rows) in (batch.first_group()..).zip(groups) {
        let pads = pads.of::<N, 1>(group, &Zeroizing::new(rows.map(|row| [row])));
        for ([u], (bit, taus)) in pads.iter().zip(&mut rest) {
            let mut share = *u;
            for (share, tau) in share.iter_mut().zip(taus) {
                *share += Scalar::conditional_select(&Scalar::ZERO, tau, Choice::from(*bit));
            }
            shares.push(share);
        }
    }
    shares
}

/// theta_1 v_1 + ... + theta_L v_L + v_{L+1}.
pub(super) fn combine(theta: &[Scalar], row: &[Scalar]) -> Scalar {
    let mut sum = Sum::new(row.last().unwrap_or(&Scalar::ZERO));
    for (theta, value) in theta.iter().zip(row) {
        sum.add(theta, value);
    }
    sum.reduce()
}

/// Enclave: appends the check values r_j = -(u0_{L+1} + <theta, u0>).
pub(super) fn sent_rows<const N: usize>(theta: &[Scalar], u0: &Shares<N>, out: &mut Vec<u8>) {
    for row in u0.iter() {
        out.extend_from_slice(&scalar_bytes(&(Scalar::ZERO - combine(theta, row))));
    }
}

/// Client: appends what the check values must be, b_j * eta - d_{L+1} - <theta, d>.
pub(super) fn received_rows<const N: usize>(
    batch: Batch,
    theta: &[Scalar],
    eta: &Scalar,
    bits: &[u8],
    shares: &Shares<N>,
    out: &mut Vec<u8>,
) {
    for (row, bit) in shares.iter().zip(batch.of(bits)) {
        let expected = Scalar::conditional_select(&Scalar::ZERO, eta, Choice::from(*bit));
        out.extend_from_slice(&scalar_bytes(&(expected - combine(theta, row))));
    }
}

/// One hash of both batches' check values.
pub(super) fn rows_hash(challenge: &[u8; 32], rows: &[u8]) -> [u8; 32] {
    tagged("cosigner/ecdsa/v1/multiply/rows", &[challenge, rows])
}

/// The sums <g, v_i> for the first `L` columns of the shares (the last one is the check's).
pub(super) fn fold<const L: usize, const N: usize>(gadget: &[Scalar], shares: &Shares<N>) -> [Scalar; L] {
    let mut sums = [(); L].map(|()| Sum::new(&Scalar::ZERO));
    for (g, row) in gadget.iter().zip(shares.iter()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            sum.add(g, value);
        }
    }
    sums.map(|sum| sum.reduce())
}
