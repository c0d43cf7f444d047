//! FROST signing of any suite that signs.

use std::collections::BTreeMap;

use frost_ed25519::Ed25519Sha512;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use rand_core::{CryptoRng, RngCore};

use super::AnyShare;
use crate::error::{Code, Error, Result};
use crate::sign::{self, Batch};
use crate::suite::{SuiteId, Tweak, cannot_sign};

/// [`sign::Nonces`] of a suite that signs.
pub enum AnyNonces {
    /// FROST(Ed25519, SHA-512).
    Ed25519(sign::Nonces<Ed25519Sha512>),
    /// FROST(secp256k1, SHA-256) for Taproot.
    Secp256k1Tr(sign::Nonces<Secp256K1Sha256TR>),
}

impl AnyShare {
    /// Draws nonces as initiator; see [`sign::begin`].
    pub fn begin(&self, count: usize, rng: &mut (impl RngCore + CryptoRng)) -> Result<(AnyNonces, Batch)> {
        match self {
            Self::Ed25519(share) => sign::begin(share, count, rng).map(|(n, c)| (AnyNonces::Ed25519(n), c)),
            Self::Secp256k1Tr(share) => {
                sign::begin(share, count, rng).map(|(n, c)| (AnyNonces::Secp256k1Tr(n), c))
            }
            Self::Ecdsa(_) => Err(cannot_sign()),
        }
    }

    /// Answers an initiator; see [`sign::respond`].
    pub fn respond(
        &self,
        messages: &[Vec<u8>],
        peers: &BTreeMap<u16, Batch>,
        tweaks: &[Tweak],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<(Batch, Batch)> {
        match self {
            Self::Ed25519(share) => sign::respond(share, messages, peers, tweaks, rng),
            Self::Secp256k1Tr(share) => sign::respond(share, messages, peers, tweaks, rng),
            Self::Ecdsa(_) => Err(cannot_sign()),
        }
    }
}

impl AnyNonces {
    /// See [`sign::Nonces::sign`].
    pub fn sign(
        self,
        share: &AnyShare,
        messages: &[Vec<u8>],
        peers: &BTreeMap<u16, Batch>,
        tweaks: &[Tweak],
    ) -> Result<Batch> {
        match (self, share) {
            (Self::Ed25519(nonces), AnyShare::Ed25519(share)) => nonces.sign(share, messages, peers, tweaks),
            (Self::Secp256k1Tr(nonces), AnyShare::Secp256k1Tr(share)) => {
                nonces.sign(share, messages, peers, tweaks)
            }
            _ => Err(wrong_suite()),
        }
    }

    /// See [`sign::Nonces::finish`].
    pub fn finish(
        self,
        share: &AnyShare,
        messages: &[Vec<u8>],
        responses: &BTreeMap<u16, (Batch, Batch)>,
        tweaks: &[Tweak],
    ) -> Result<Vec<Vec<u8>>> {
        match (self, share) {
            (Self::Ed25519(nonces), AnyShare::Ed25519(share)) => {
                nonces.finish(share, messages, responses, tweaks)
            }
            (Self::Secp256k1Tr(nonces), AnyShare::Secp256k1Tr(share)) => {
                nonces.finish(share, messages, responses, tweaks)
            }
            _ => Err(wrong_suite()),
        }
    }
}

fn wrong_suite() -> Error {
    Error::caller(Code::WrongShare, "the nonces were drawn for a share of another suite")
}

/// Verifies a signature; see [`sign::verify`].
pub fn verify(
    suite: SuiteId,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
    tweak: &Tweak,
) -> Result<()> {
    match suite {
        SuiteId::FrostEd25519 => sign::verify::<Ed25519Sha512>(public_key, message, signature, tweak),
        SuiteId::FrostSecp256k1Tr => sign::verify::<Secp256K1Sha256TR>(public_key, message, signature, tweak),
        SuiteId::EcdsaSecp256k1 => Err(cannot_sign()),
    }
}
