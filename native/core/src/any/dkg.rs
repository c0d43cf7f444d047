//! Key generation of any suite.

use std::collections::BTreeMap;

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::{AnyShare, any, each, step};
use crate::codec::Reader;
use crate::dkg::{self, CONFIRMATION_LEN, Params};
use crate::error::{Code, Result};
use crate::seal::{Kind, SealingKey};
use crate::share::Header;
use crate::suite::SuiteId;

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
