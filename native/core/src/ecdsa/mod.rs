//! Two-party ECDSA over secp256k1 in two messages: DKLs19 (Doerner, Kondi, Lee, shelat, "Threshold ECDSA from ECDSA
//! Assumptions: The Multiparty Case", IEEE S&P 2019, eprint 2019/523), its 2-of-n protocol. Bytes, tags and the order of all checks:
//! `docs/spec/ecdsa.md`.
//!
//! The *client* starts (the paper's Bob, receiver of the extended oblivious transfers); the *enclave* answers (Alice,
//! their sender). A session begins with 128 base transfers in one round trip ([`ClientSetup`], [`EnclaveSetup`]) and
//! then gives any number of signatures ([`begin`], [`respond`], [`Pending::finish`]), each under an extension index of
//! its own.
//!
//! Layers, strictly one way: [`wire`], `bits`, `ct`, `curve`; then `base_ot`; `session`, which guards the seeds;
//! `extension`, `pads` and `multiply`; `context` and `derive`; last `client` and `enclave`, the two roles.

mod base_ot;
mod bits;
mod check;
mod client;
mod context;
#[cfg(feature = "ctgrind")]
pub mod ct;
#[cfg(not(feature = "ctgrind"))]
mod ct;
mod curve;
mod derive;
mod enclave;
mod extension;
mod multiply;
mod pads;
mod proof;
mod session;
#[cfg(test)]
mod tests;
pub mod wire;

use frost_secp256k1::Secp256K1Sha256;

pub use client::{Pending, Signature, begin};
pub(crate) use derive::derive;
pub use derive::{MAX_PATH_LEN, derive_public_key};
pub use enclave::respond;
pub use session::{ClientOt, ClientSetup, EnclaveOt, EnclaveSetup};

/// The suite whose shares sign here.
type Curve = Secp256K1Sha256;
/// A share of this suite.
pub type Share = crate::share::KeyShare<Curve>;

/// A point of this suite that is public although it was computed from secrets, outside of signing.
pub(crate) fn public(point: k256::ProjectivePoint) -> k256::ProjectivePoint {
    if cfg!(feature = "ctgrind") { curve::public_point(point.to_affine()).into() } else { point }
}

/// Computational security in bits: the number of base transfers, the length of Delta.
const KAPPA: usize = 128;
/// Bits of one batch of the multiplication: |q| + 2s with s = 80 (DKLs19; the 2s extra bits are what keeps the
/// client's input uniform although the enclave may learn some bits by guessing them).
const XI: usize = 416;
/// Extended transfers of one signature: two batches.
const ROWS: usize = 2 * XI;
