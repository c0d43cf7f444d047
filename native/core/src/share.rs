//! A key share: one participant's secret scalar with the public data of its group.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use frost_core::keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare};
use frost_core::{Element, Identifier, VerifyingKey};
use frost_secp256k1_tr::Secp256K1Sha256TR;
use k256::ProjectivePoint;
use k256::elliptic_curve::ops::MulByGenerator as _;
use zeroize::Zeroizing;

use crate::MAX_PARTICIPANTS;
use crate::codec::{Reader, SCALAR_LEN, element_to_bytes};
use crate::ecdsa::derive;
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::suite::{Suite, SuiteId, Tweak};

mod group;
#[cfg(test)]
mod tests;

pub use group::{PublicGroup, suite_of};

/// Version byte of the share encoding.
const SHARE_VERSION: u8 = 1;

/// A participant's long-lived share. It cannot be printed, compared or copied.
pub struct KeyShare<S: Suite> {
    pub(crate) identifier: u16,
    pub(crate) max_signers: u16,
    pub(crate) epoch: u32,
    pub(crate) chain_code: [u8; 32],
    /// The scalar lives in here and is zeroized on drop.
    pub(crate) key: KeyPackage<S>,
    pub(crate) public: PublicKeyPackage<S>,
    /// Hash of everything public, to tell shares apart.
    pub(crate) fingerprint: [u8; 32],
    /// What signs without a tweak and by the key path, made when first needed.
    signing_keys: [OnceLock<KeyPackage<S>>; 2],
}

impl KeyShare<Secp256K1Sha256TR> {
    /// The share of the key at an unhardened BIP-32 path below this one's key. Adding the path's tweak to the
    /// polynomial's constant term adds it to every share of it.
    ///
    /// # Errors
    /// `invalid_path`.
    pub fn derive(&self, path: &[u32]) -> Result<Self> {
        let derived = derive(&self.public.verifying_key().to_element(), &self.chain_code, path)?;
        let moved = ProjectivePoint::mul_by_generator(&derived.tweak);
        let group_key = VerifyingKey::new(derived.key);
        let shifted: BTreeMap<_, _> = self
            .public
            .verifying_shares()
            .iter()
            .map(|(i, share)| (*i, VerifyingShare::new(share.to_element() + moved)))
            .collect();
        let own = *shifted
            .get(self.key.identifier())
            .ok_or_else(|| inconsistent("the own verifying share is missing"))?;
        let t = self.min_signers();
        let signing_share = SigningShare::new(self.key.signing_share().to_scalar() + derived.tweak);
        let key = KeyPackage::new(*self.key.identifier(), signing_share, own, group_key, t);
        let public = PublicKeyPackage::new(shifted, group_key, Some(t));
        Self::new(self.identifier, self.max_signers, self.epoch, derived.chain_code, key, public)
    }
}

impl<S: Suite> fmt::Debug for KeyShare<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<KeyShare {} {}-of-{} #{} epoch {}>",
            S::SUITE.name(),
            self.min_signers(),
            self.max_signers,
            self.identifier,
            self.epoch
        )
    }
}

impl<S: Suite> KeyShare<S> {
    /// Joins the parts after checking them against each other.
    pub(crate) fn new(
        identifier: u16,
        max_signers: u16,
        epoch: u32,
        chain_code: [u8; 32],
        key: KeyPackage<S>,
        public: PublicKeyPackage<S>,
    ) -> Result<Self> {
        let group = PublicGroup::new(*key.min_signers(), max_signers, epoch, chain_code, public)?;
        Self::join(&group, identifier, key)
    }

    /// The share of `identifier` in a group that was checked.
    ///
    /// # Errors
    /// `share_inconsistent`: the scalar is not the one of the verifying share.
    pub(crate) fn of_group(
        group: &PublicGroup<S>,
        identifier: u16,
        scalar: &SigningShare<S>,
    ) -> Result<Self> {
        check_parameters(identifier, group.min_signers(), group.max_signers())?;
        let own = VerifyingShare::new(group.verifying_share(identifier)?);
        let group_key = *group.public().verifying_key();
        let key =
            KeyPackage::new(self::identifier::<S>(identifier)?, *scalar, own, group_key, group.min_signers());
        Self::join(group, identifier, key)
    }

    fn join(group: &PublicGroup<S>, identifier: u16, key: KeyPackage<S>) -> Result<Self> {
        let mut share = Self {
            identifier,
            max_signers: group.max_signers(),
            epoch: group.epoch(),
            chain_code: *group.chain_code(),
            key,
            public: group.public().clone(),
            fingerprint: [0; 32],
            signing_keys: [OnceLock::new(), OnceLock::new()],
        };
        share.check()?;
        share.fingerprint = share.compute_fingerprint()?;
        Ok(share)
    }

    /// What is public about the share's group, equal for all its members.
    pub fn group(&self) -> PublicGroup<S> {
        PublicGroup::checked(
            self.min_signers(),
            self.max_signers,
            self.epoch,
            self.chain_code,
            self.public.clone(),
        )
    }

    fn compute_fingerprint(&self) -> Result<[u8; 32]> {
        let encoded = self.encode()?;
        let public = encoded.split_last_chunk::<SCALAR_LEN>().map_or(&[][..], |(public, _)| public);
        Ok(tagged("cosigner/share/v1/fingerprint", &[public]))
    }

    /// The key package that signs under `tweak`.
    pub(crate) fn signing_key(&self, tweak: &Tweak) -> Result<Cow<'_, KeyPackage<S>>> {
        let [plain, key_path] = &self.signing_keys;
        let cached = match tweak {
            Tweak::None => plain,
            Tweak::KeyPath => key_path,
            Tweak::MerkleRoot(_) => return S::signing_key(&self.key, tweak).map(Cow::Owned),
        };
        if let Some(key) = cached.get() {
            return Ok(Cow::Borrowed(key));
        }
        let made = S::signing_key(&self.key, tweak)?;
        Ok(Cow::Borrowed(cached.get_or_init(|| made)))
    }

    /// The suite.
    pub fn suite(&self) -> SuiteId {
        S::SUITE
    }

    /// This participant's identifier, 1..=n.
    pub fn identifier(&self) -> u16 {
        self.identifier
    }

    /// The threshold t.
    pub fn min_signers(&self) -> u16 {
        *self.key.min_signers()
    }

    /// The number of participants n.
    pub fn max_signers(&self) -> u16 {
        self.max_signers
    }

    /// How often the shares of this key were changed, plus one: key generation gives 1.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The chain code, 32 bytes.
    pub fn chain_code(&self) -> &[u8; 32] {
        &self.chain_code
    }

    /// The group public key: 32 bytes for Ed25519, 33 (SEC 1 compressed) for secp256k1.
    pub fn group_public_key(&self) -> Result<Vec<u8>> {
        element_to_bytes::<S>(&self.public.verifying_key().to_element()).ok_or_else(degenerate)
    }

    /// Every participant's verifying share, encoded like the group public key.
    pub fn verifying_shares(&self) -> Result<BTreeMap<u16, Vec<u8>>> {
        (1..=self.max_signers)
            .map(|i| Ok((i, element_to_bytes::<S>(&self.verifying_share(i)?).ok_or_else(degenerate)?)))
            .collect()
    }

    pub(crate) fn verifying_share(&self, i: u16) -> Result<Element<S>> {
        self.public
            .verifying_shares()
            .get(&identifier::<S>(i)?)
            .map(VerifyingShare::to_element)
            .ok_or_else(|| inconsistent("a verifying share is missing"))
    }

    /// The share's plaintext encoding (`docs/spec/threshold.md`, "Key share"). Secret.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::with_capacity(Self::encoded_len(self.max_signers)));
        out.push(SHARE_VERSION);
        out.push(S::SUITE.tag());
        out.extend_from_slice(&self.identifier.to_be_bytes());
        out.extend_from_slice(&self.min_signers().to_be_bytes());
        out.extend_from_slice(&self.max_signers.to_be_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.chain_code);
        out.extend_from_slice(&self.group_public_key()?);
        for bytes in self.verifying_shares()?.values() {
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&Zeroizing::new(self.key.signing_share().serialize()));
        Ok(out)
    }

    /// Length of [`Self::encode`]'s result.
    pub(crate) const fn encoded_len(max_signers: u16) -> usize {
        HEADER_LEN + 32 + (1 + max_signers as usize) * S::ELEMENT_LEN + SCALAR_LEN
    }

    /// Reads what [`Self::encode`] wrote, and checks the share against its own public data.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, Code::RecordMalformed);
        let header = Header::read(&mut reader)?;
        if header.suite != S::SUITE {
            return Err(Error::abort(Code::RecordMalformed, "the record holds a share of another suite"));
        }
        if bytes.len() != Self::encoded_len(header.max_signers) {
            return Err(Error::abort(Code::RecordMalformed, "the record does not have its exact length"));
        }
        let chain_code = reader.array()?;
        let group_key = VerifyingKey::<S>::new(reader.element::<S>()?);
        let mut verifying_shares = BTreeMap::new();
        for i in 1..=header.max_signers {
            verifying_shares.insert(identifier::<S>(i)?, VerifyingShare::<S>::new(reader.element::<S>()?));
        }
        let signing_share = SigningShare::<S>::new(reader.scalar::<S>()?);
        reader.finish()?;
        let own = identifier::<S>(header.identifier)?;
        let own_verifying =
            *verifying_shares.get(&own).ok_or_else(|| inconsistent("the own verifying share is missing"))?;
        let key = KeyPackage::new(own, signing_share, own_verifying, group_key, header.min_signers);
        let public = PublicKeyPackage::new(verifying_shares, group_key, Some(header.min_signers));
        Self::new(header.identifier, header.max_signers, header.epoch, chain_code, key, public)
    }

    /// The scalar times G is the own verifying share. The group checked its own data.
    fn check(&self) -> Result<()> {
        check_parameters(self.identifier, self.min_signers(), self.max_signers)?;
        let own = S::public(S::mul_base(&self.key.signing_share().to_scalar()));
        if own != self.verifying_share(self.identifier)? || self.key.verifying_share().to_element() != own {
            return Err(inconsistent("the share does not match its verifying share"));
        }
        Ok(())
    }
}

/// Length of a share's header: version, suite, identifier, t, n, epoch.
const HEADER_LEN: usize = 12;

/// The header of an encoded share: enough to choose the suite and know the exact length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) suite: SuiteId,
    pub(crate) identifier: u16,
    pub(crate) min_signers: u16,
    pub(crate) max_signers: u16,
    pub(crate) epoch: u32,
}

impl Header {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        if reader.u8()? != SHARE_VERSION {
            return Err(Error::abort(Code::RecordMalformed, "the share has an unknown version"));
        }
        let suite = SuiteId::from_tag(reader.u8()?)
            .ok_or_else(|| Error::abort(Code::RecordMalformed, "the share names an unknown suite"))?;
        let header = Self {
            suite,
            identifier: reader.u16()?,
            min_signers: reader.u16()?,
            max_signers: reader.u16()?,
            epoch: reader.u32()?,
        };
        if header.epoch == 0
            || check_parameters(header.identifier, header.min_signers, header.max_signers).is_err()
        {
            return Err(Error::abort(Code::RecordMalformed, "the share's parameters are out of bounds"));
        }
        Ok(header)
    }
}

/// Bounds of every group: 2 <= t <= n <= [`MAX_PARTICIPANTS`], 1 <= identifier <= n.
pub fn check_parameters(identifier: u16, min_signers: u16, max_signers: u16) -> Result<()> {
    if !(2..=MAX_PARTICIPANTS).contains(&max_signers) {
        return Err(Error::caller(Code::InvalidParameter, "the number of participants is 2 to 64"));
    }
    if !(2..=max_signers).contains(&min_signers) {
        return Err(Error::caller(
            Code::InvalidParameter,
            "the threshold is 2 to the number of participants",
        ));
    }
    if !(1..=max_signers).contains(&identifier) {
        return Err(Error::caller(
            Code::InvalidParameter,
            "an identifier is 1 to the number of participants",
        ));
    }
    Ok(())
}

/// The suite's form of an identifier.
pub(crate) fn identifier<S: Suite>(i: u16) -> Result<Identifier<S>> {
    Identifier::try_from(i).map_err(|_| Error::caller(Code::InvalidParameter, "an identifier is not zero"))
}

fn inconsistent(message: &'static str) -> Error {
    Error::abort(Code::ShareInconsistent, message)
}

fn degenerate() -> Error {
    Error::abort(Code::DegenerateKey, "a public value is the identity")
}
