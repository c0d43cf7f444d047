//! What a session keeps between signatures: the seeds, and who may use which extension index.
//!
//! An extension index names one run of the extension. Two runs under one index would share their pads, so the client
//! hands each index out once, and the enclave accepts each once. Both forget their seeds when a check fails.

use std::sync::{Arc, Mutex, PoisonError};

use rand_core::{CryptoRng, RngCore};
use zeroize::{Zeroize as _, Zeroizing};

use super::base_ot::{self, Seed, SenderScalars};
use super::check::{Check, enforced};
use crate::error::{Code, Error, Reaction, Result};
use crate::hash::tagged;

/// Client: base transfers offered, the enclave's answer is awaited.
pub struct ClientSetup {
    scalars: SenderScalars,
    message: Vec<u8>,
}

impl ClientSetup {
    /// Draws the offers. The message has [`super::wire::SETUP_LEN`] bytes and goes into the session's first message.
    pub fn begin(rng: &mut (impl RngCore + CryptoRng)) -> (Self, Vec<u8>) {
        let (scalars, message) = base_ot::offer(rng);
        (Self { scalars, message: message.clone() }, message)
    }

    /// Takes the answer and binds the established session's context (the hash of the channel's transcript).
    ///
    /// # Errors
    /// `malformed_message`, `wrong_kind`.
    pub fn finish(self, answer: &[u8], session_context: &[u8; 32]) -> Result<ClientOt> {
        let mut pairs = base_ot::receive(&self.scalars, &self.message, answer)?;
        let binding = binding(session_context, &self.message, answer);
        for pair in pairs.iter_mut() {
            for seed in pair {
                bind(seed, &binding);
            }
        }
        let seeds = Arc::new(ClientSeeds { binding, pairs });
        Ok(ClientOt { state: Mutex::new(ClientState { seeds: Some(seeds), next: 0 }) })
    }
}

/// Enclave: the answer is made, the session's context is not known yet.
pub struct EnclaveSetup {
    delta: Zeroizing<u128>,
    seeds: Zeroizing<Vec<Seed>>,
    /// Both messages of the setup.
    messages: [Vec<u8>; 2],
}

impl EnclaveSetup {
    /// Answers the client's offers. The answer has [`super::wire::SETUP_ANSWER_LEN`] bytes.
    ///
    /// # Errors
    /// `malformed_message`, `wrong_kind`.
    pub fn respond(message: &[u8], rng: &mut (impl RngCore + CryptoRng)) -> Result<(Self, Vec<u8>)> {
        let mut bytes = Zeroizing::new([0; 16]);
        rng.fill_bytes(bytes.as_mut());
        let delta = Zeroizing::new(u128::from_le_bytes(*bytes));
        let (seeds, answer) = base_ot::choose(message, *delta, rng)?;
        Ok((Self { delta, seeds, messages: [message.to_vec(), answer.clone()] }, answer))
    }

    /// Binds the established session's context.
    pub fn bind(mut self, session_context: &[u8; 32]) -> EnclaveOt {
        let [message, answer] = &self.messages;
        let binding = binding(session_context, message, answer);
        for seed in self.seeds.iter_mut() {
            bind(seed, &binding);
        }
        let seeds = EnclaveSeeds { binding, delta: self.delta, seeds: self.seeds };
        EnclaveOt {
            state: Mutex::new(EnclaveState { seeds: Some(Arc::new(seeds)), window: Window::default() }),
        }
    }
}

/// What both sides bind everything of this session to.
fn binding(session_context: &[u8; 32], message: &[u8], answer: &[u8]) -> [u8; 32] {
    tagged("cosigner/ecdsa/v1/session", &[session_context, message, answer])
}

fn bind(seed: &mut Seed, binding: &[u8; 32]) {
    let mut bound = tagged("cosigner/ecdsa/v1/session/seed", &[binding, seed]);
    seed.copy_from_slice(&bound);
    bound.zeroize();
}

/// The client's secrets of a session.
pub(super) struct ClientSeeds {
    pub(super) binding: [u8; 32],
    pub(super) pairs: Zeroizing<Vec<[Seed; 2]>>,
}

/// The enclave's secrets of a session.
pub(super) struct EnclaveSeeds {
    pub(super) binding: [u8; 32],
    pub(super) delta: Zeroizing<u128>,
    pub(super) seeds: Zeroizing<Vec<Seed>>,
}

/// The client's side of an established session. Signatures may run at the same time.
pub struct ClientOt {
    state: Mutex<ClientState>,
}

struct ClientState {
    seeds: Option<Arc<ClientSeeds>>,
    next: u64,
}

impl ClientOt {
    /// The seeds and an index that nobody had before.
    pub(super) fn take(&self) -> Result<(Arc<ClientSeeds>, u64)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seeds = state.seeds.clone().ok_or_else(gone)?;
        let index = state.next;
        let Some(next) = index.checked_add(1) else {
            state.seeds = None;
            return Err(gone());
        };
        state.next = next;
        Ok((seeds, index))
    }

    /// Whether the session can still sign.
    pub fn is_alive(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seeds.is_some()
    }

    /// Forgets the seeds; whoever still waits for an answer finds the session gone.
    pub fn burn(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seeds = None;
    }

    /// A signature may leave only while the session lives.
    pub(super) fn release<T>(&self, signature: T) -> Result<T> {
        if self.is_alive() { Ok(signature) } else { Err(gone()) }
    }
}

#[cfg(test)]
impl ClientOt {
    pub(super) fn set_next(&self, next: u64) {
        self.state.lock().unwrap().next = next;
    }

    /// Another session with the same secrets, so that a test can break one and go on with the other.
    pub(super) fn fork(&self) -> Self {
        let state = self.state.lock().unwrap();
        Self { state: Mutex::new(ClientState { seeds: state.seeds.clone(), next: state.next }) }
    }
}

#[cfg(test)]
impl EnclaveOt {
    /// See [`ClientOt::fork`].
    pub(super) fn fork(&self) -> Self {
        let state = self.state.lock().unwrap();
        let window = Window { next: state.window.next, used: state.window.used };
        Self { state: Mutex::new(EnclaveState { seeds: state.seeds.clone(), window }) }
    }
}

/// The enclave's side of an established session. Signatures may run at the same time.
pub struct EnclaveOt {
    state: Mutex<EnclaveState>,
}

struct EnclaveState {
    seeds: Option<Arc<EnclaveSeeds>>,
    window: Window,
}

impl EnclaveOt {
    /// The seeds, to look at a request.
    pub(super) fn seeds(&self) -> Result<Arc<EnclaveSeeds>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seeds.clone().ok_or_else(gone)
    }

    /// Marks an index as used; from then on it is refused.
    pub(super) fn take(&self, index: u64, client: u16) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.seeds.is_none() {
            return Err(gone());
        }
        if state.window.take(index) || !enforced(Check::Index) {
            return Ok(());
        }
        Err(Error::peer(Code::IndexReused, client, "this extension index was used or skipped already"))
    }

    /// Whether the session can still sign.
    pub fn is_alive(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seeds.is_some()
    }

    /// Forgets the seeds; whoever still computes with them finds the session gone before it answers.
    pub fn burn(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seeds = None;
    }

    /// An answer may leave only while the session lives.
    pub(super) fn release<T>(&self, answer: T) -> Result<T> {
        if self.is_alive() { Ok(answer) } else { Err(gone()) }
    }
}

/// The error of a session that has burnt.
fn gone() -> Error {
    Error {
        code: Code::SessionBurned,
        culprit: None,
        reaction: Reaction::Burn,
        message: "the session's transfers are gone; open a new session".into(),
    }
}

/// Which indices were used: everything more than 128 below the highest one counts as used. (Requests that run at the
/// same time may overtake each other; RFC 4303 §3.4.3 solves the same problem the same way.)
#[derive(Default)]
struct Window {
    /// One more than the highest index used.
    next: u64,
    /// Bit k: index `next - 1 - k` was used.
    used: u128,
}

impl Window {
    /// Marks `index`; false if it was marked before or is too old to know.
    fn take(&mut self, index: u64) -> bool {
        if index == u64::MAX {
            return false;
        }
        if let Some(ahead) = index.checked_sub(self.next) {
            let shift = u32::try_from(ahead + 1).unwrap_or(u32::MAX);
            self.used = self.used.checked_shl(shift).unwrap_or(0) | 1;
            self.next = index + 1;
            return true;
        }
        let behind = self.next - 1 - index;
        let Some(bit) = u32::try_from(behind).ok().and_then(|behind| 1_u128.checked_shl(behind)) else {
            return false;
        };
        let fresh = self.used & bit == 0;
        self.used |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_window_accepts_each_index_once() {
        let mut window = Window::default();
        assert!(window.take(0) && !window.take(0));
        assert!(window.take(5) && window.take(1) && window.take(4) && !window.take(5) && !window.take(1));
        assert!(window.take(5 + 127) && window.take(6) && !window.take(5) && !window.take(4));
        assert!(window.take(1 << 40) && !window.take(6) && window.take((1 << 40) - 127));
        assert!(!window.take((1 << 40) - 128));
        assert!(window.take(u64::MAX - 1) && !window.take(u64::MAX) && !window.take(u64::MAX - 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_order_of_indices_repeats_one(indices in proptest::collection::vec(0_u64..400, 0..600)) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            for index in indices {
                let highest = seen.last().copied().unwrap_or(0);
                let expected = !seen.contains(&index) && index + 128 > highest;
                prop_assert_eq!(window.take(index), expected);
                if expected {
                    seen.insert(index);
                }
            }
        }
    }
}
