//! A key share: one participant's secret scalar with the public data of its group.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::OnceLock;

use frost_core::keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare};
use frost_core::{Element, Group, Identifier, VerifyingKey, compute_lagrange_coefficient};
use zeroize::Zeroizing;

use crate::MAX_PARTICIPANTS;
use crate::codec::{Reader, SCALAR_LEN, element_to_bytes};
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::suite::{Suite, SuiteId, Tweak};

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
        let mut share = Self {
            identifier,
            max_signers,
            epoch,
            chain_code,
            key,
            public,
            fingerprint: [0; 32],
            signing_keys: [OnceLock::new(), OnceLock::new()],
        };
        share.check()?;
        share.fingerprint = share.compute_fingerprint()?;
        Ok(share)
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

    fn verifying_share(&self, i: u16) -> Result<Element<S>> {
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

    /// The scalar times G is the own verifying share, and all verifying shares and the group key lie on one
    /// polynomial of degree t-1.
    fn check(&self) -> Result<()> {
        let t = self.min_signers();
        check_parameters(self.identifier, t, self.max_signers)?;
        let own: VerifyingShare<S> = (*self.key.signing_share()).into();
        if own.to_element() != self.verifying_share(self.identifier)?
            || self.key.verifying_share().to_element() != own.to_element()
        {
            return Err(inconsistent("the share does not match its verifying share"));
        }
        if self.public.verifying_shares().len() != usize::from(self.max_signers) {
            return Err(inconsistent("the number of verifying shares is not n"));
        }
        let first: BTreeSet<_> = (1..=t).map(identifier::<S>).collect::<Result<_>>()?;
        if self.interpolate(&first, None)? != self.public.verifying_key().to_element() {
            return Err(inconsistent("the verifying shares do not give the group key"));
        }
        for i in t + 1..=self.max_signers {
            if self.interpolate(&first, Some(identifier::<S>(i)?))? != self.verifying_share(i)? {
                return Err(inconsistent("a verifying share is not on the group's polynomial"));
            }
        }
        Ok(())
    }

    /// The committed polynomial at `x` (at zero for `None`), from the verifying shares in `set`.
    fn interpolate(&self, set: &BTreeSet<Identifier<S>>, x: Option<Identifier<S>>) -> Result<Element<S>> {
        let mut sum = <S::Group as Group>::identity();
        for i in set {
            let lambda = compute_lagrange_coefficient::<S>(set, x, *i)
                .map_err(|_| inconsistent("the identifiers are not distinct"))?;
            let share = self
                .public
                .verifying_shares()
                .get(i)
                .ok_or_else(|| inconsistent("a verifying share is missing"))?;
            sum = sum + share.to_element() * lambda;
        }
        Ok(sum)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any::AnyShare;
    use crate::seal::{Kind, OVERHEAD, SealingKey};
    use crate::testing::{dkg, for_every_suite, rng};
    use proptest::prelude::*;

    for_every_suite!(
        an_encoded_share_is_canonical,
        an_inconsistent_share_is_refused,
        sealed_shares_open_as_they_were,
        nothing_printed_or_public_holds_the_scalar,
    );

    fn code<T>(result: Result<T>) -> Code {
        match result {
            Ok(_) => panic!("accepted"),
            Err(error) => error.code,
        }
    }

    fn an_encoded_share_is_canonical<S: Suite>() {
        for (t, n) in [(2, 2), (3, 5)] {
            let share = &dkg::<S>(t, n, 1)[&2];
            let bytes = share.encode().unwrap();
            assert_eq!(bytes.len(), KeyShare::<S>::encoded_len(n));
            let again = KeyShare::<S>::decode(&bytes).unwrap();
            assert_eq!(*again.encode().unwrap(), *bytes);
            assert_eq!(again.fingerprint, share.fingerprint);
            for len in 0..bytes.len() {
                assert_eq!(code(KeyShare::<S>::decode(&bytes[..len])), Code::RecordMalformed);
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert_eq!(code(KeyShare::<S>::decode(&longer)), Code::RecordMalformed);
        }
    }

    fn an_inconsistent_share_is_refused<S: Suite>() {
        let all = dkg::<S>(2, 3, 1);
        let bytes = all[&1].encode().unwrap();
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = bytes.to_vec();
            change(&mut changed);
            code(KeyShare::<S>::decode(&changed))
        };
        let group_key = 44;
        let shares = group_key + S::ELEMENT_LEN;
        let scalar = bytes.len() - SCALAR_LEN;
        assert_eq!(refused(&|b| b[scalar + 16] ^= 1), Code::ShareInconsistent);
        assert_eq!(refused(&|b| b[scalar..].fill(0)), Code::ShareInconsistent);
        assert_eq!(refused(&|b| b[scalar..].fill(0xff)), Code::RecordMalformed);
        // Another identifier, another group key, swapped verifying shares.
        assert_eq!(refused(&|b| b[3] = 2), Code::ShareInconsistent);
        let other = dkg::<S>(2, 3, 2)[&1].encode().unwrap();
        assert_eq!(
            refused(&|b| b[group_key..shares].copy_from_slice(&other[group_key..shares])),
            Code::ShareInconsistent
        );
        let (second, third) = (shares + S::ELEMENT_LEN, shares + 2 * S::ELEMENT_LEN);
        assert_eq!(
            refused(&|b| {
                let copy = b[second..third].to_vec();
                b.copy_within(third..third + S::ELEMENT_LEN, second);
                b[third..third + S::ELEMENT_LEN].copy_from_slice(&copy);
            }),
            Code::ShareInconsistent
        );
        // Only the third verifying share, which the first two determine.
        assert_eq!(
            refused(
                &|b| b[third..third + S::ELEMENT_LEN].copy_from_slice(&other[third..third + S::ELEMENT_LEN])
            ),
            Code::ShareInconsistent
        );
        // A lower threshold than the polynomial's.
        let three = dkg::<S>(3, 3, 1)[&1].encode().unwrap();
        let mut lower = three.to_vec();
        lower[5] = 2;
        assert_eq!(code(KeyShare::<S>::decode(&lower)), Code::ShareInconsistent);
        assert_eq!(refused(&|b| b[0] = 2), Code::RecordMalformed);
        assert_eq!(refused(&|b| b[1] ^= 3), Code::RecordMalformed);
        assert_eq!(refused(&|b| b[3] = 0), Code::RecordMalformed);
        assert_eq!(refused(&|b| b[3] = 4), Code::RecordMalformed);
        assert_eq!(refused(&|b| b[5] = 1), Code::RecordMalformed);
        assert_eq!(refused(&|b| b[7] = 2), Code::RecordMalformed);
        assert_eq!(refused(&|b| b[6] = 1), Code::RecordMalformed);
        assert_eq!(refused(&|b| b[8..12].fill(0)), Code::RecordMalformed);
    }

    fn sealed_shares_open_as_they_were<S: Suite>() {
        let key = SealingKey::from_data_key(&[1; 32]).unwrap();
        let share = &dkg::<S>(2, 2, 1)[&2];
        let plaintext = share.encode().unwrap();
        let record = key.seal(Kind::Share, &plaintext, b"aad", &mut rng(2)).unwrap();
        assert_eq!(record.len(), KeyShare::<S>::encoded_len(2) + OVERHEAD);
        assert!(!record.windows(8).any(|window| plaintext.windows(8).any(|secret| secret == window)));
        let opened = AnyShare::open(&key, &record, b"aad").unwrap();
        assert_eq!(format!("{opened:?}"), format!("{share:?}"));
        assert_eq!(opened.group_public_key().unwrap(), share.group_public_key().unwrap());
        assert_eq!(code(AnyShare::open(&key, &record, b"other")), Code::RecordNotAuthentic);
        let bytes = key.seal(Kind::Bytes, &plaintext, b"aad", &mut rng(2)).unwrap();
        assert_eq!(code(AnyShare::open(&key, &bytes, b"aad")), Code::RecordMalformed);
        let rubbish = key.seal(Kind::Share, b"rubbish", b"aad", &mut rng(2)).unwrap();
        assert_eq!(code(AnyShare::open(&key, &rubbish, b"aad")), Code::RecordMalformed);
    }

    fn nothing_printed_or_public_holds_the_scalar<S: Suite>() {
        let share = &dkg::<S>(2, 3, 1)[&2];
        let scalar = share.key.signing_share().serialize();
        let printed = format!("{share:?}");
        assert_eq!(printed, format!("<KeyShare {} 2-of-3 #2 epoch 1>", S::SUITE.name()));
        let public = [share.group_public_key().unwrap(), share.chain_code().to_vec()]
            .into_iter()
            .chain(share.verifying_shares().unwrap().into_values())
            .flatten()
            .collect::<Vec<u8>>();
        assert!(!public.windows(8).any(|window| scalar.windows(8).any(|secret| secret == window)));
    }

    #[test]
    fn a_share_seals_itself() {
        type S = frost_ed25519::Ed25519Sha512;
        let key = SealingKey::from_data_key(&[1; 32]).unwrap();
        let share = AnyShare::Ed25519(dkg::<S>(2, 2, 1).remove(&1).unwrap());
        let record = share.seal(&key, b"aad", &mut rng(2)).unwrap();
        assert_eq!(AnyShare::open(&key, &record, b"aad").unwrap().identifier(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever decodes encodes to the same bytes.
        #[test]
        fn decoding_is_total_and_canonical(at in 0_usize..1000, value in any::<u8>()) {
            type S = frost_ed25519::Ed25519Sha512;
            let share = &dkg::<S>(2, 2, 1)[&1];
            let mut bytes = share.encode().unwrap().to_vec();
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(decoded) = KeyShare::<S>::decode(&bytes) {
                prop_assert_eq!(decoded.encode().unwrap().to_vec(), bytes);
            }
        }

        #[test]
        fn rubbish_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(AnyShare::decode(&bytes).is_err());
        }
    }
}
