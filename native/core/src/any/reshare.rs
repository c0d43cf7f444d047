//! Resharing and import of any suite.

use std::collections::BTreeMap;

use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::{AnyShare, any, each, step};
#[cfg(feature = "device")]
use crate::codec::scalar_from_bytes;
use crate::error::{Code, Error, Result};
use crate::reshare::{self, Confirmations, Handover, Messages2, import};
use crate::seal::{Kind, SealingKey};
use crate::share::{KeyShare, suite_of};
use crate::suite::{Suite, SuiteId};

any!(
    /// [`reshare::Round1`] of any suite.
    AnyReshare1(reshare::Round1)
);
any!(
    /// [`reshare::Round2`] of any suite.
    AnyReshare2(reshare::Round2)
);
any!(
    /// [`reshare::Round3`] of any suite.
    AnyReshare3(reshare::Round3)
);
/// [`import::Dealt`] of any suite.
#[cfg(feature = "device")]
pub struct AnyDealt {
    /// The dealer's own shares, waiting for the confirmations of the receivers elsewhere.
    pub state: AnyReshare3,
    /// The confirmations of the dealer's own receivers.
    pub confirmations: Confirmations,
    /// For every node elsewhere.
    pub message1: Vec<u8>,
    /// For each receiver elsewhere. Secret.
    pub messages2: BTreeMap<u16, Zeroizing<Vec<u8>>>,
}

/// Deals out a whole key, given as the suite's encoding of its scalar; see [`import::deal`].
///
/// # Errors
/// `invalid_parameter` for a scalar that is not below the group order, too.
#[cfg(feature = "device")]
pub fn import_deal(
    suite: SuiteId,
    secret: &[u8],
    chain_code: &[u8; 32],
    shape: &import::Shape,
    receivers: &[u16],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<AnyDealt> {
    fn deal<S: Suite>(
        secret: &[u8],
        chain_code: &[u8; 32],
        shape: &import::Shape,
        receivers: &[u16],
        rng: &mut (impl RngCore + CryptoRng),
        into: impl Fn(reshare::Round3<S>) -> AnyReshare3,
    ) -> Result<AnyDealt> {
        let secret = scalar_from_bytes::<S>(secret).map(Zeroizing::new).ok_or_else(|| {
            Error::caller(Code::InvalidParameter, "a key is a scalar below the group order")
        })?;
        let dealt = import::deal::<S>(&secret, chain_code, shape, receivers, rng)?;
        Ok(AnyDealt {
            state: into(dealt.state),
            confirmations: dealt.confirmations,
            message1: dealt.message1,
            messages2: dealt.messages2,
        })
    }
    match suite {
        SuiteId::FrostEd25519 => deal(secret, chain_code, shape, receivers, rng, AnyReshare3::Ed25519),
        SuiteId::FrostSecp256k1Tr => {
            deal(secret, chain_code, shape, receivers, rng, AnyReshare3::Secp256k1Tr)
        }
        SuiteId::EcdsaSecp256k1 => deal(secret, chain_code, shape, receivers, rng, AnyReshare3::Ecdsa),
    }
}

/// Starts a resharing at a node with old shares; see [`reshare::start`].
#[allow(clippy::type_complexity)]
pub fn reshare_start(
    shares: &[&AnyShare],
    handover: Handover,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(AnyReshare1, BTreeMap<u16, Vec<u8>>)> {
    match shares.first().map(|share| share.suite()) {
        None | Some(SuiteId::FrostEd25519) => {
            let shares = of_suite::<Ed25519Sha512>(shares)?;
            reshare::start(&shares, handover, rng).map(|(s, m)| (AnyReshare1::Ed25519(s), m))
        }
        Some(SuiteId::FrostSecp256k1Tr) => {
            let shares = of_suite::<Secp256K1Sha256TR>(shares)?;
            reshare::start(&shares, handover, rng).map(|(s, m)| (AnyReshare1::Secp256k1Tr(s), m))
        }
        Some(SuiteId::EcdsaSecp256k1) => {
            let shares = of_suite::<Secp256K1Sha256>(shares)?;
            reshare::start(&shares, handover, rng).map(|(s, m)| (AnyReshare1::Ecdsa(s), m))
        }
    }
}

/// A suite whose shares can be found among shares of any suite.
pub(crate) trait Of: Suite {
    /// The share, if it is of this suite.
    fn of(share: &AnyShare) -> Option<&KeyShare<Self>>;
}

macro_rules! of {
    ($suite:ty, $variant:ident) => {
        impl Of for $suite {
            fn of(share: &AnyShare) -> Option<&KeyShare<Self>> {
                if let AnyShare::$variant(share) = share { Some(share) } else { None }
            }
        }
    };
}
of!(Ed25519Sha512, Ed25519);
of!(Secp256K1Sha256TR, Secp256k1Tr);
of!(Secp256K1Sha256, Ecdsa);

/// The shares, if all are of this suite.
pub(crate) fn of_suite<'a, S: Of>(shares: &[&'a AnyShare]) -> Result<Vec<&'a KeyShare<S>>> {
    shares
        .iter()
        .map(|share| S::of(share))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::caller(Code::SharesMismatch, "the shares are of several suites"))
}

/// Starts a resharing at a node without an old share; see [`reshare::join`].
pub fn reshare_join(group: &[u8], handover: Handover) -> Result<AnyReshare1> {
    match suite_of(group).map_err(|error| Error::caller(error.code, error.message))? {
        SuiteId::FrostEd25519 => reshare::join(group, handover).map(AnyReshare1::Ed25519),
        SuiteId::FrostSecp256k1Tr => reshare::join(group, handover).map(AnyReshare1::Secp256k1Tr),
        SuiteId::EcdsaSecp256k1 => reshare::join(group, handover).map(AnyReshare1::Ecdsa),
    }
}

/// Takes a trusted dealer's messages; see [`import::receive`].
pub fn import_receive(
    suite: SuiteId,
    shape: &import::Shape,
    receivers: &[u16],
    message1: &[u8],
    messages2: &BTreeMap<u16, Zeroizing<Vec<u8>>>,
) -> Result<(AnyReshare3, Confirmations)> {
    match suite {
        SuiteId::FrostEd25519 => import::receive(shape, receivers, message1, messages2)
            .map(|(state, own)| (AnyReshare3::Ed25519(state), own)),
        SuiteId::FrostSecp256k1Tr => import::receive(shape, receivers, message1, messages2)
            .map(|(state, own)| (AnyReshare3::Secp256k1Tr(state), own)),
        SuiteId::EcdsaSecp256k1 => import::receive(shape, receivers, message1, messages2)
            .map(|(state, own)| (AnyReshare3::Ecdsa(state), own)),
    }
}

impl AnyReshare1 {
    /// See [`reshare::Round1::advance`].
    pub fn advance(self, messages: &BTreeMap<u16, Vec<u8>>) -> Result<(AnyReshare2, Messages2)> {
        step!(Self => AnyReshare2, self, state => state.advance(messages))
    }
}

impl AnyReshare2 {
    /// See [`reshare::Round2::advance`].
    pub fn advance(self, messages: &Messages2) -> Result<(AnyReshare3, Confirmations)> {
        step!(Self => AnyReshare3, self, state => state.advance(messages))
    }
}

impl AnyReshare3 {
    /// See [`reshare::Round3::confirm`].
    pub fn confirm(self, confirmations: &BTreeMap<u16, Vec<u8>>) -> Result<BTreeMap<u16, AnyShare>> {
        fn wrap<S: Suite>(
            shares: BTreeMap<u16, KeyShare<S>>,
            into: impl Fn(KeyShare<S>) -> AnyShare,
        ) -> BTreeMap<u16, AnyShare> {
            shares.into_iter().map(|(receiver, share)| (receiver, into(share))).collect()
        }
        match self {
            Self::Ed25519(state) => Ok(wrap(state.confirm(confirmations)?, AnyShare::Ed25519)),
            Self::Secp256k1Tr(state) => Ok(wrap(state.confirm(confirmations)?, AnyShare::Secp256k1Tr)),
            Self::Ecdsa(state) => Ok(wrap(state.confirm(confirmations)?, AnyShare::Ecdsa)),
        }
    }

    /// The suite.
    pub fn suite(&self) -> SuiteId {
        match self {
            Self::Ed25519(_) => SuiteId::FrostEd25519,
            Self::Secp256k1Tr(_) => SuiteId::FrostSecp256k1Tr,
            Self::Ecdsa(_) => SuiteId::EcdsaSecp256k1,
        }
    }

    /// The epoch of the new shares.
    pub fn epoch(&self) -> u32 {
        each!(Self, self, state => state.group().epoch())
    }

    /// The new threshold.
    pub fn min_signers(&self) -> u16 {
        each!(Self, self, state => state.group().min_signers())
    }

    /// The new number of participants.
    pub fn max_signers(&self) -> u16 {
        each!(Self, self, state => state.group().max_signers())
    }

    /// The group public key.
    pub fn group_public_key(&self) -> Result<Vec<u8>> {
        each!(Self, self, state => state.group().public_key())
    }

    /// See [`reshare::Round3::receivers`].
    pub fn receivers(&self) -> Vec<u16> {
        each!(Self, self, state => state.receivers())
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
        key.seal(Kind::Reshare, &plaintext, associated_data, rng)
    }

    /// Opens what [`Self::seal`] made. Opening again gives the same state: it holds no polynomial, only shares to be.
    ///
    /// # Errors
    /// As for [`AnyShare::open`].
    pub fn open(key: &SealingKey, record: &[u8], associated_data: &[u8]) -> Result<Self> {
        let plaintext = key.open(Kind::Reshare, record, associated_data)?;
        let (_, rest) = reshare::split_transcript(&plaintext)?;
        let malformed = |_| Error::abort(Code::RecordMalformed, "the pending shares are malformed");
        match suite_of(rest).map_err(malformed)? {
            SuiteId::FrostEd25519 => reshare::Round3::decode(&plaintext).map(Self::Ed25519),
            SuiteId::FrostSecp256k1Tr => reshare::Round3::decode(&plaintext).map(Self::Secp256k1Tr),
            SuiteId::EcdsaSecp256k1 => reshare::Round3::decode(&plaintext).map(Self::Ecdsa),
        }
    }
}
