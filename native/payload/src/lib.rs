//! What is signed, parsed from the payload itself: EVM transactions and messages, Solana messages, Bitcoin PSBTs.
//!
//! The signer never takes a digest on trust: it computes what the signature covers from the payload, and reports
//! what the payload does. Everything is bounded before it is parsed, and what was parsed encodes to the same
//! bytes again (for PSBTs: the same entries, in whatever order within a map), so that nobody else can read the
//! payload differently.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic))]

pub mod bitcoin;
mod error;
pub mod evm;
pub mod solana;
mod text;

pub use error::{Code, Error, Result};
