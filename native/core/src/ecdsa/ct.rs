//! Where something stops being secret: verdicts, and values that the peer gets or can compute.
//!
//! Nothing happens here in any normal build. With the feature `ctgrind`, which only the checking program in `native/ct`
//! turns on, a hook tells valgrind; whatever else a branch or an address depends on is then reported.

use subtle::{Choice, CtOption};

/// What the checking program does with bytes that are public from now on.
#[cfg(feature = "ctgrind")]
pub static HOOK: std::sync::OnceLock<fn(&mut [u8])> = std::sync::OnceLock::new();

/// Says that bytes are public from now on.
#[inline(always)]
pub(super) fn public(bytes: &mut [u8]) {
    #[cfg(feature = "ctgrind")]
    if let Some(hook) = HOOK.get() {
        hook(bytes);
    }
    let _ = bytes;
}

/// A choice that may be branched on: the outcome of a check, or an event that never happens by chance.
#[inline(always)]
pub(super) fn verdict(choice: Choice) -> bool {
    let mut byte = [choice.unwrap_u8()];
    public(&mut byte);
    byte == [1]
}

/// A value that is there but for a negligible chance.
#[inline(always)]
pub(super) fn some<T: subtle::ConditionallySelectable>(option: CtOption<T>, otherwise: T) -> Option<T> {
    let there = verdict(option.is_some());
    let value = option.unwrap_or(otherwise);
    there.then_some(value)
}
