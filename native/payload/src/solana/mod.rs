//! Solana transaction messages, legacy and v0, and texts.
//!
//! The signature covers the message's bytes themselves. Parsing is `solana-message`'s; this module bounds the
//! input, refuses trailing bytes and other encodings of the same message, checks every index, and decodes the
//! transfers that a policy wants to know about.

mod instruction;
mod message;
#[cfg(test)]
mod tests;
mod text;

pub use instruction::{Instruction, Transfer};
pub use message::{Lookup, Message, Version, address};
pub use text::inspect_text;
