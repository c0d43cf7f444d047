//! EVM payloads: unsigned transactions (EIP-155, EIP-2718 types 1 to 4), messages (EIP-191) and typed data (EIP-712).
//!
//! Transactions and their encodings are `alloy`'s. This module reads the fields one by one, so that an error names
//! its field, and then requires that `alloy` encodes what was read to the same bytes. Typed data is encoded here:
//! `alloy-dyn-abi` drops unknown fields, rounds large numbers and refuses recursive types.

mod call;
mod key;
mod message;
mod rlp;
mod summary;
#[cfg(test)]
mod tests;
mod transaction;
mod typed;

pub use call::Call;
pub use key::{address, checksum_address};
pub use message::{MessageSummary, assemble_signature, inspect_message};
pub use summary::{Access, Authorization, Summary};
pub use transaction::{SignedTransaction, UnsignedTransaction};
pub use typed::{TypedData, Value, inspect_typed_data};

/// Nodes refuse larger transactions (geth's `txMaxSize`); messages and typed data are held to the same bound.
const MAX_LEN: usize = 128 * 1024;
