//! The threshold core: key generation, sealing of shares, and FROST signing in one round trip.
//!
//! Everything here takes bytes and returns bytes. Randomness is a parameter; there is no clock, no I/O and
//! no global state. Each protocol state is a type of its own that its next step consumes, so that a nonce or a
//! polynomial cannot be used twice. Byte formats are written down in `docs/spec/threshold.md` and
//! `docs/spec/seal.md`.
//!
//! Layers, strictly one way: [`error`] and [`suite`], then [`codec`], then [`share`], then [`dkg`], [`reshare`],
//! [`seal`], [`sign`] and [`ecdsa`], then [`any`], which picks the suite at run time, and last `device`, which only the
//! user's own device has.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic))]

pub mod any;
pub mod codec;
#[cfg(feature = "device")]
pub mod device;
pub mod dkg;
pub mod ecdsa;
pub mod error;
pub mod hash;
pub mod reshare;
pub mod seal;
pub mod share;
pub mod sign;
pub mod suite;
#[cfg(test)]
mod testing;

pub use error::{Code, Culprit, Error, Reaction, Result};
pub use suite::SuiteId;

/// The most participants one key may have. Key generation costs each party `n * t` scalar multiplications, so
/// this also bounds the work that a peer's parameters can cause.
pub const MAX_PARTICIPANTS: u16 = 64;

/// The most messages one signing request may carry (one per input of a transaction).
pub const MAX_BATCH: usize = 256;

/// The longest message of a suite that hashes the message itself, in bytes.
pub const MAX_MESSAGE_LEN: usize = 65_536;
