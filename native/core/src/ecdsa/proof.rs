//! Schnorr proof of knowledge of k with R = k D (Schnorr 1991, made non-interactive by Fiat and Shamir), as challenge
//! and response.

use k256::{AffinePoint, Scalar};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::curve::{mul, point_bytes, public_point, random_scalar, to_scalar};
use crate::error::Result;
use crate::hash::tagged;

/// Proves knowledge of `k`; returns (challenge, response).
pub(super) fn prove(
    transcript: &[u8; 32],
    d: &AffinePoint,
    r: &AffinePoint,
    k: &Scalar,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Scalar, Scalar)> {
    let nonce = Zeroizing::new(random_scalar(rng));
    let e = challenge(transcript, d, r, &public_point(mul(d, &nonce)?));
    Ok((e, *nonce + e * k))
}

/// The challenge that belongs to the commitment T = s D - e R.
pub(super) fn challenge(
    transcript: &[u8; 32],
    d: &AffinePoint,
    r: &AffinePoint,
    commitment: &AffinePoint,
) -> Scalar {
    to_scalar(&tagged(
        "cosigner/ecdsa/v1/proof",
        &[transcript, &point_bytes(d), &point_bytes(r), &point_bytes(commitment)],
    ))
}
