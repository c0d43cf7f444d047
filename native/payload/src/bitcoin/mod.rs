//! Bitcoin: BIP-86 addresses, and PSBTs that spend Taproot outputs by their key path.

mod finalize;
mod inspect;
mod key;
mod raw;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use finalize::{Finalized, finalize};
pub use inspect::{InputSummary, OutputSummary, Summary, inspect};
pub use key::{address, network};
