//! Resharing: the members of an old group give the same key to a new one, in three messages.
//!
//! Refresh (the same parties), other parties, another threshold, recovery of a lost share and delegation are all this
//! one protocol (`docs/adr/0022`). Exactly t members of the old group, the dealers, each share their part of the key,
//! `lambda_i s_i`, by a fresh polynomial of degree t' - 1; the new shares are the sums of what the receivers got
//! (Desmedt, Jajodia, 1997; Wong, Wang, Wing, *Verifiable secret redistribution*, 2002).
//!
//! 1. every dealer broadcasts commitments to its polynomial (Feldman), whose constant term everybody can check;
//! 2. every dealer sends each receiver its sub-share and a hash of the first messages it saw;
//! 3. every receiver broadcasts a confirmation: a hash of the public transcript and its identifier.
//!
//! A node may deal with several old shares and receive for several new participants. [`import`] is the same with a
//! single dealer, who has the whole key. Messages travel as those of [`crate::dkg`] do, and errors blame as there:
//! dealers by their identifiers in the old group; with `confirmation_mismatch`, receivers by those in the new one.

pub mod import;
mod message;
mod pending;
mod polynomial;
mod proof;
mod rounds;
#[cfg(test)]
mod tests;

pub use message::{CONFIRMATION_LEN, Kind, Message1, Message2, Run, message1_len, message2_len};
pub use pending::Round3;
pub(crate) use pending::split_transcript;
pub use proof::PROOF_CONTEXT_LEN;
pub use rounds::{Handover, Round1, Round2, join, start};

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// Second messages by (dealer, receiver).
pub type Messages2 = BTreeMap<(u16, u16), Zeroizing<Vec<u8>>>;
/// Confirmations by receiver.
pub type Confirmations = BTreeMap<u16, [u8; CONFIRMATION_LEN]>;
