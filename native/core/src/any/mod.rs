//! The suites behind one face: the suite is chosen at run time, the state types stay one-shot.

mod dkg;
mod reshare;
mod share;
mod sign;

pub use dkg::{AnyRound1, AnyRound2, AnyRound3, dkg_start};
#[cfg(feature = "device")]
pub use reshare::{AnyDealt, import_deal};
pub use reshare::{AnyReshare1, AnyReshare2, AnyReshare3, import_receive, reshare_join, reshare_start};
#[cfg(feature = "device")]
pub(crate) use reshare::{Of, of_suite};
pub use share::AnyShare;
pub use sign::{AnyNonces, verify};

macro_rules! any {
    ($(#[$doc:meta])* $name:ident($($inner:tt)+)) => {
        $(#[$doc])*
        pub enum $name {
            /// FROST(Ed25519, SHA-512).
            Ed25519($($inner)+<frost_ed25519::Ed25519Sha512>),
            /// FROST(secp256k1, SHA-256) for Taproot.
            Secp256k1Tr($($inner)+<frost_secp256k1_tr::Secp256K1Sha256TR>),
            /// secp256k1 shares for ECDSA.
            Ecdsa($($inner)+<frost_secp256k1::Secp256K1Sha256>),
        }
    };
}

/// Runs `$body` for whichever suite `$value` is of.
macro_rules! each {
    ($any:ident, $value:expr, $inner:ident => $body:expr) => {
        match $value {
            $any::Ed25519($inner) => $body,
            $any::Secp256k1Tr($inner) => $body,
            $any::Ecdsa($inner) => $body,
        }
    };
}

/// Runs `$body`, which gives `(state, rest)`, and wraps the state for the suite it is of.
macro_rules! step {
    ($from:ident => $to:ident, $value:expr, $inner:ident => $body:expr) => {
        match $value {
            $from::Ed25519($inner) => $body.map(|(state, rest)| ($to::Ed25519(state), rest)),
            $from::Secp256k1Tr($inner) => $body.map(|(state, rest)| ($to::Secp256k1Tr(state), rest)),
            $from::Ecdsa($inner) => $body.map(|(state, rest)| ($to::Ecdsa(state), rest)),
        }
    };
}
use {any, each, step};
