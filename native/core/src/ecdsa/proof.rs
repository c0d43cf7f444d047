//! Schnorr proof of knowledge of k with R = k D (Schnorr 1991, made non-interactive by Fiat and Shamir), as challenge
//! and response.

use k256::{ProjectivePoint, Scalar};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::multiply::to_scalar;
use super::wire::point;
use crate::hash::tagged;

/// Proves knowledge of `k`; returns (challenge, response).
pub(super) fn prove(
    transcript: &[u8; 32],
    d: &ProjectivePoint,
    r: &ProjectivePoint,
    k: &Scalar,
    rng: &mut (impl RngCore + CryptoRng),
) -> (Scalar, Scalar) {
    let nonce = Zeroizing::new(random(rng));
    let e = challenge(transcript, d, r, &(d * &*nonce));
    (e, *nonce + e * k)
}

/// The challenge that belongs to the commitment T = s D - e R.
pub(super) fn challenge(
    transcript: &[u8; 32],
    d: &ProjectivePoint,
    r: &ProjectivePoint,
    commitment: &ProjectivePoint,
) -> Scalar {
    to_scalar(&tagged("cosigner/ecdsa/v1/proof", &[transcript, &point(d), &point(r), &point(commitment)]))
}

/// A uniform scalar: 256 bits modulo q (see [`super::pads`]), so that no draw is thrown away.
pub(super) fn random(rng: &mut (impl RngCore + CryptoRng)) -> Scalar {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    to_scalar(&bytes)
}
