//! Distributed key generation, t-of-n, in three messages.
//!
//! `frost-core`'s three-part DKG (Pedersen's with proofs of knowledge; Komlo, Goldberg, FROST, Figure 1), plus a
//! chain code that all parties contribute to by commit-then-reveal, plus a confirmation of the whole public
//! transcript, without which no share comes out.
//!
//! 1. everybody broadcasts polynomial commitments, a proof of knowledge and a commitment to a chain code part;
//! 2. everybody sends each peer its sub-share, the chain code part and a hash of the round-one messages it saw;
//! 3. everybody broadcasts a confirmation: a hash of the public transcript and the own identifier.
//!
//! Messages must travel over channels that authenticate the sender; round two also needs confidentiality. An
//! error's culprit is the participant on whose channel the offending bytes came. `transcript_mismatch` and
//! `confirmation_mismatch` prove only that two views differ: the culprit named may itself be a victim of a third
//! party that told it something else.

mod message;
mod rounds;
#[cfg(test)]
mod tests;

pub use message::{CONFIRMATION_LEN, Message1, Message2, message1_len, message2_len};
pub(crate) use rounds::split_transcript;
pub use rounds::{Params, Round1, Round2, Round3, start};
