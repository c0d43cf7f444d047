//! A whole private key.

use std::fmt;

use curve25519_dalek::scalar::{Scalar as Scalar25519, clamp_integer};
use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize as _, Zeroizing};

use crate::codec::{SCALAR_LEN, element_to_bytes, scalar_from_bytes};
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::suite::{Suite, SuiteId};

/// A whole private key of any suite. It cannot be printed, compared or copied, and is zeroized on drop.
pub struct SecretKey {
    suite: SuiteId,
    /// In the suite's own encoding; below the group order and not zero.
    scalar: Zeroizing<[u8; SCALAR_LEN]>,
    /// Of an Ed25519 key that came from one: scalar and prefix follow from it, never the other way.
    seed: Option<Zeroizing<[u8; 32]>>,
    chain_code: [u8; 32],
    public_key: Vec<u8>,
}

impl SecretKey {
    /// From the scalar: 32 bytes, big endian for secp256k1, little endian for Ed25519.
    ///
    /// The chain code is `H(chain-code, suite tag ‖ scalar)`: importing the key again gives the same one, and nobody
    /// computes it from the public key.
    ///
    /// # Errors
    /// `invalid_secret_key`: another length, zero, or not below the group order.
    pub fn from_bytes(suite: SuiteId, scalar: &[u8]) -> Result<Self> {
        Self::new(suite, scalar, None, None)
    }

    /// From a seed of RFC 8032 §5.1.5: SHA-512, and the first half clamped.
    ///
    /// # Errors
    /// `invalid_secret_key`: not 32 bytes.
    pub fn from_ed25519_seed(seed: &[u8]) -> Result<Self> {
        Self::from_seed(seed, None)
    }

    pub(super) fn from_seed(seed: &[u8], chain_code: Option<[u8; 32]>) -> Result<Self> {
        let mut own = Zeroizing::new([0; 32]);
        if seed.len() != own.len() {
            return Err(invalid("an Ed25519 seed has 32 bytes"));
        }
        own.copy_from_slice(seed);
        let (integer, _) = expand(&own);
        // The clamped integer is above the group order; modulo the order it multiplies the generator to the same point.
        let mut scalar = Scalar25519::from_bytes_mod_order(clamp_integer(*integer));
        let encoded = Zeroizing::new(scalar.to_bytes());
        scalar.zeroize();
        Self::new(SuiteId::FrostEd25519, encoded.as_ref(), Some(own), chain_code)
    }

    pub(super) fn new(
        suite: SuiteId,
        scalar: &[u8],
        seed: Option<Zeroizing<[u8; 32]>>,
        chain_code: Option<[u8; 32]>,
    ) -> Result<Self> {
        let mut own = Zeroizing::new([0; SCALAR_LEN]);
        if scalar.len() != own.len() {
            return Err(invalid("a private key has 32 bytes"));
        }
        own.copy_from_slice(scalar);
        let public_key = match suite {
            SuiteId::FrostEd25519 => public_key::<Ed25519Sha512>(&own),
            SuiteId::FrostSecp256k1Tr => public_key::<Secp256K1Sha256TR>(&own),
            SuiteId::EcdsaSecp256k1 => public_key::<Secp256K1Sha256>(&own),
        }?;
        let chain_code = chain_code
            .unwrap_or_else(|| tagged("cosigner/device/v1/chain-code", &[&[suite.tag()], own.as_slice()]));
        Ok(Self { suite, scalar: own, seed, chain_code, public_key })
    }

    /// The suite.
    pub fn suite(&self) -> SuiteId {
        self.suite
    }

    /// The public key: 32 bytes for Ed25519, 33 (SEC 1 compressed) for secp256k1. It becomes the group public key.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The chain code, 32 bytes: of the node a phrase led to, of the shares that were combined, or made from the key.
    pub fn chain_code(&self) -> &[u8; 32] {
        &self.chain_code
    }

    pub(super) fn scalar(&self) -> &[u8; SCALAR_LEN] {
        &self.scalar
    }

    pub(super) fn seed(&self) -> Option<&[u8; 32]> {
        self.seed.as_deref()
    }

    /// The 32 bytes that an expanded Ed25519 key has behind its scalar: what makes the nonces of whoever signs with it.
    /// RFC 8032 takes them from the seed. Without a seed any secret function of the key will do.
    pub(super) fn prefix(&self) -> Zeroizing<[u8; 32]> {
        match &self.seed {
            Some(seed) => expand(seed).1,
            None => Zeroizing::new(tagged("cosigner/device/v1/prefix", &[self.scalar.as_slice()])),
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<SecretKey {}>", self.suite.name())
    }
}

/// The two halves of SHA-512 of a seed.
fn expand(seed: &[u8; 32]) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let hash: Zeroizing<[u8; 64]> = Zeroizing::new(Sha512::digest(seed).into());
    let mut halves = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    let (integer, prefix) = hash.split_at(32);
    halves.0.copy_from_slice(integer);
    halves.1.copy_from_slice(prefix);
    halves
}

fn public_key<S: Suite>(scalar: &[u8; SCALAR_LEN]) -> Result<Vec<u8>> {
    let scalar = scalar_from_bytes::<S>(scalar)
        .ok_or_else(|| invalid("the private key is not below the group order"))?;
    // Only zero gives the identity, which has no encoding.
    element_to_bytes::<S>(&S::mul_base(&scalar)).ok_or_else(|| invalid("the private key is zero"))
}

pub(super) fn invalid(message: &'static str) -> Error {
    Error::caller(Code::InvalidSecretKey, message)
}
