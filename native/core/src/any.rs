//! The suites behind one face: the suite is chosen at run time, the state types stay one-shot.

use std::collections::BTreeMap;
use std::fmt;

use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::codec::Reader;
use crate::dkg::{self, CONFIRMATION_LEN, Params};
use crate::error::{Code, Error, Result};
use crate::seal::{Kind, SealingKey};
use crate::share::{Header, KeyShare};
use crate::sign::{self, Batch};
use crate::suite::{SuiteId, Tweak, cannot_sign};

macro_rules! any {
    ($(#[$doc:meta])* $name:ident($($inner:tt)+)) => {
        $(#[$doc])*
        pub enum $name {
            /// FROST(Ed25519, SHA-512).
            Ed25519($($inner)+<Ed25519Sha512>),
            /// FROST(secp256k1, SHA-256) for Taproot.
            Secp256k1Tr($($inner)+<Secp256K1Sha256TR>),
            /// secp256k1 shares for ECDSA.
            Ecdsa($($inner)+<Secp256K1Sha256>),
        }
    };
}

any!(
    /// [`dkg::Round1`] of any suite.
    AnyRound1(dkg::Round1)
);
any!(
    /// [`dkg::Round2`] of any suite.
    AnyRound2(dkg::Round2)
);
any!(
    /// [`dkg::Round3`] of any suite.
    AnyRound3(dkg::Round3)
);
any!(
    /// [`KeyShare`] of any suite.
    AnyShare(KeyShare)
);

/// [`sign::Nonces`] of a suite that signs.
pub enum AnyNonces {
    /// FROST(Ed25519, SHA-512).
    Ed25519(sign::Nonces<Ed25519Sha512>),
    /// FROST(secp256k1, SHA-256) for Taproot.
    Secp256k1Tr(sign::Nonces<Secp256K1Sha256TR>),
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

/// Starts key generation; see [`dkg::start`].
pub fn dkg_start(
    suite: SuiteId,
    params: Params,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(AnyRound1, Vec<u8>)> {
    match suite {
        SuiteId::FrostEd25519 => dkg::start(params, rng).map(|(s, m)| (AnyRound1::Ed25519(s), m)),
        SuiteId::FrostSecp256k1Tr => dkg::start(params, rng).map(|(s, m)| (AnyRound1::Secp256k1Tr(s), m)),
        SuiteId::EcdsaSecp256k1 => dkg::start(params, rng).map(|(s, m)| (AnyRound1::Ecdsa(s), m)),
    }
}

impl AnyRound1 {
    /// See [`dkg::Round1::advance`].
    #[allow(clippy::type_complexity)]
    pub fn advance(
        self,
        messages: &BTreeMap<u16, Vec<u8>>,
    ) -> Result<(AnyRound2, BTreeMap<u16, Zeroizing<Vec<u8>>>)> {
        step!(Self => AnyRound2, self, state => state.advance(messages))
    }
}

impl AnyRound2 {
    /// See [`dkg::Round2::advance`].
    pub fn advance(
        self,
        messages: &BTreeMap<u16, Zeroizing<Vec<u8>>>,
    ) -> Result<(AnyRound3, [u8; CONFIRMATION_LEN])> {
        step!(Self => AnyRound3, self, state => state.advance(messages))
    }
}

impl AnyRound3 {
    /// See [`dkg::Round3::confirm`].
    pub fn confirm(self, confirmations: &BTreeMap<u16, Vec<u8>>) -> Result<AnyShare> {
        match self {
            Self::Ed25519(state) => state.confirm(confirmations).map(AnyShare::Ed25519),
            Self::Secp256k1Tr(state) => state.confirm(confirmations).map(AnyShare::Secp256k1Tr),
            Self::Ecdsa(state) => state.confirm(confirmations).map(AnyShare::Ecdsa),
        }
    }

    /// See [`dkg::Round3::group_public_key`].
    pub fn group_public_key(&self) -> Result<Vec<u8>> {
        each!(Self, self, state => state.group_public_key())
    }

    /// Seals the state, so that a crash while the confirmations are awaited loses nothing.
    ///
    /// # Errors
    /// As for [`SealingKey::seal`].
    pub fn seal(
        &self,
        key: &SealingKey,
        associated_data: &[u8],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>> {
        let plaintext = each!(Self, self, state => state.encode())?;
        key.seal(Kind::Unconfirmed, &plaintext, associated_data, rng)
    }

    /// Opens what [`Self::seal`] made. Opening again gives the same state: it holds no nonce, only the share to be.
    ///
    /// # Errors
    /// As for [`AnyShare::open`].
    pub fn open(key: &SealingKey, record: &[u8], associated_data: &[u8]) -> Result<Self> {
        let plaintext = key.open(Kind::Unconfirmed, record, associated_data)?;
        let (_, share) = dkg::split_transcript(&plaintext)?;
        match Header::read(&mut Reader::new(share, Code::RecordMalformed))?.suite {
            SuiteId::FrostEd25519 => dkg::Round3::decode(&plaintext).map(Self::Ed25519),
            SuiteId::FrostSecp256k1Tr => dkg::Round3::decode(&plaintext).map(Self::Secp256k1Tr),
            SuiteId::EcdsaSecp256k1 => dkg::Round3::decode(&plaintext).map(Self::Ecdsa),
        }
    }
}

impl fmt::Debug for AnyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each!(Self, self, share => share.fmt(f))
    }
}

impl AnyShare {
    /// The suite.
    pub fn suite(&self) -> SuiteId {
        each!(Self, self, share => share.suite())
    }

    /// See [`KeyShare::identifier`].
    pub fn identifier(&self) -> u16 {
        each!(Self, self, share => share.identifier())
    }

    /// See [`KeyShare::min_signers`].
    pub fn min_signers(&self) -> u16 {
        each!(Self, self, share => share.min_signers())
    }

    /// See [`KeyShare::max_signers`].
    pub fn max_signers(&self) -> u16 {
        each!(Self, self, share => share.max_signers())
    }

    /// See [`KeyShare::epoch`].
    pub fn epoch(&self) -> u32 {
        each!(Self, self, share => share.epoch())
    }

    /// See [`KeyShare::chain_code`].
    pub fn chain_code(&self) -> &[u8; 32] {
        each!(Self, self, share => share.chain_code())
    }

    /// See [`KeyShare::group_public_key`].
    pub fn group_public_key(&self) -> Result<Vec<u8>> {
        each!(Self, self, share => share.group_public_key())
    }

    /// See [`KeyShare::verifying_shares`].
    pub fn verifying_shares(&self) -> Result<BTreeMap<u16, Vec<u8>>> {
        each!(Self, self, share => share.verifying_shares())
    }

    /// See [`KeyShare::derive`]: the share of a key below this one's. Only for Taproot keys: Ed25519 has no unhardened
    /// derivation (SLIP-10), and ECDSA signing takes the path itself.
    ///
    /// # Errors
    /// `invalid_path`; `wrong_suite` for the other suites.
    pub fn derive(&self, path: &[u32]) -> Result<Self> {
        match self {
            Self::Secp256k1Tr(share) => share.derive(path).map(Self::Secp256k1Tr),
            _ => Err(Error::caller(Code::WrongSuite, "only shares of Taproot keys are derived")),
        }
    }

    /// Seals the share.
    ///
    /// # Errors
    /// As for [`SealingKey::seal`].
    pub fn seal(
        &self,
        key: &SealingKey,
        associated_data: &[u8],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>> {
        let plaintext = self.plaintext()?;
        key.seal(Kind::Share, &plaintext, associated_data, rng)
    }

    /// Opens a sealed share and checks it against its own public data.
    ///
    /// # Errors
    /// As for [`SealingKey::open`], and `record_malformed` or `share_inconsistent` for an authentic record with
    /// bad contents.
    pub fn open(key: &SealingKey, record: &[u8], associated_data: &[u8]) -> Result<Self> {
        let plaintext = key.open(Kind::Share, record, associated_data)?;
        Self::parse(&plaintext)
    }

    /// The share in clear (`docs/spec/threshold.md` §3). Secret; only the user's own device has this.
    #[cfg(feature = "device")]
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.plaintext()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// `record_malformed`, `share_inconsistent`.
    #[cfg(feature = "device")]
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes)
    }

    fn plaintext(&self) -> Result<Zeroizing<Vec<u8>>> {
        each!(Self, self, share => share.encode())
    }

    /// Parses an encoded share.
    pub(crate) fn parse(plaintext: &[u8]) -> Result<Self> {
        match Header::read(&mut Reader::new(plaintext, Code::RecordMalformed))?.suite {
            SuiteId::FrostEd25519 => KeyShare::decode(plaintext).map(Self::Ed25519),
            SuiteId::FrostSecp256k1Tr => KeyShare::decode(plaintext).map(Self::Secp256k1Tr),
            SuiteId::EcdsaSecp256k1 => KeyShare::decode(plaintext).map(Self::Ecdsa),
        }
    }

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
