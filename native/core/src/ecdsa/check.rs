//! The checks by name. In every build but this crate's own tests each of them is made, always: there is no switch.
//! The tests turn one off to show that the attack it stops then passes.

/// A check whose omission must be fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Check {
    /// The request is for this session, key, path and digest.
    Context,
    /// The answer is for this request.
    Transcript,
    /// An extension index is used once.
    Index,
    /// All columns of the extension hold the same choice bits.
    Extension,
    /// All rows of the multiplication hold the same inputs.
    Multiplication,
    /// The enclave knows its share of the nonce.
    Proof,
    /// The signature verifies and gives back the public key.
    Signature,
}

#[cfg(not(test))]
pub(super) const fn enforced(_check: Check) -> bool {
    true
}

#[cfg(test)]
pub(super) use for_tests::{enforced, without};

#[cfg(test)]
mod for_tests {
    use std::cell::Cell;

    use super::Check;

    thread_local!(static OFF: Cell<Option<Check>> = const { Cell::new(None) });

    pub(crate) fn enforced(check: Check) -> bool {
        OFF.get() != Some(check)
    }

    /// Runs `body` on this thread with one check left out.
    pub(crate) fn without<T>(check: Check, body: impl FnOnce() -> T) -> T {
        OFF.set(Some(check));
        let result = body();
        OFF.set(None);
        result
    }
}
