//! Shares of any suite.

use std::collections::BTreeMap;
use std::fmt;

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::{any, each};
use crate::codec::Reader;
use crate::error::{Code, Error, Result};
use crate::reshare::PROOF_CONTEXT_LEN;
use crate::seal::{Kind, SealingKey};
use crate::share::{Header, KeyShare};
use crate::suite::SuiteId;

any!(
    /// [`KeyShare`] of any suite.
    AnyShare(KeyShare)
);

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
    ///
    /// # Errors
    /// `degenerate_key`, which a share that was checked does not raise.
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

    /// The public data of the share's group; see [`crate::share::PublicGroup::encode`].
    pub fn group(&self) -> Result<Vec<u8>> {
        each!(Self, self, share => share.group().encode())
    }

    /// See [`KeyShare::prove`].
    pub fn prove(
        &self,
        context: &[u8; PROOF_CONTEXT_LEN],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>> {
        each!(Self, self, share => share.prove(context, rng))
    }

    /// See [`KeyShare::verify_proof`].
    pub fn verify_proof(
        &self,
        identifier: u16,
        context: &[u8; PROOF_CONTEXT_LEN],
        proof: &[u8],
    ) -> Result<()> {
        each!(Self, self, share => share.verify_proof(identifier, context, proof))
    }
}
