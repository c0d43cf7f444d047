//! The public half of a key share: what all members of a group know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use frost_core::keys::{PublicKeyPackage, VerifyingShare};
use frost_core::{Element, Group, Identifier, VerifyingKey, compute_lagrange_coefficient};

use super::{check_parameters, degenerate, identifier, inconsistent};
use crate::codec::{Reader, element_to_bytes};
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::suite::{Suite, SuiteId};

/// Version byte of the encoding.
const VERSION: u8 = 1;
/// version, suite, t, n, epoch, chain code.
const HEADER_LEN: usize = 2 + 2 * 2 + 4 + 32;

/// Suite, size, epoch, chain code, group key and every verifying share, which lie on one polynomial of degree t - 1.
#[derive(Clone)]
pub struct PublicGroup<S: Suite> {
    min_signers: u16,
    max_signers: u16,
    epoch: u32,
    chain_code: [u8; 32],
    public: PublicKeyPackage<S>,
}

impl<S: Suite> fmt::Debug for PublicGroup<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min_signers, max_signers, epoch, .. } = self;
        write!(f, "<PublicGroup {} {min_signers}-of-{max_signers} epoch {epoch}>", S::SUITE.name())
    }
}

impl<S: Suite> PublicGroup<S> {
    /// Joins the parts after checking them against each other.
    ///
    /// # Errors
    /// `invalid_parameter`: sizes or epoch out of bounds. `share_inconsistent`: points not on one polynomial.
    pub(crate) fn new(
        min_signers: u16,
        max_signers: u16,
        epoch: u32,
        chain_code: [u8; 32],
        public: PublicKeyPackage<S>,
    ) -> Result<Self> {
        check_parameters(1, min_signers, max_signers)?;
        if epoch == 0 {
            return Err(Error::caller(Code::InvalidParameter, "an epoch is at least 1"));
        }
        let group = Self::checked(min_signers, max_signers, epoch, chain_code, public);
        group.check()?;
        Ok(group)
    }

    /// Joins parts that were checked before.
    pub(super) fn checked(
        min_signers: u16,
        max_signers: u16,
        epoch: u32,
        chain_code: [u8; 32],
        public: PublicKeyPackage<S>,
    ) -> Self {
        Self { min_signers, max_signers, epoch, chain_code, public }
    }

    /// The threshold t.
    pub fn min_signers(&self) -> u16 {
        self.min_signers
    }

    /// The number of participants n.
    pub fn max_signers(&self) -> u16 {
        self.max_signers
    }

    /// The epoch of the shares.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The chain code, 32 bytes.
    pub fn chain_code(&self) -> &[u8; 32] {
        &self.chain_code
    }

    /// The group public key, encoded.
    ///
    /// # Errors
    /// `degenerate_key`, which a group that was checked does not raise.
    pub fn public_key(&self) -> Result<Vec<u8>> {
        element_to_bytes::<S>(&self.public.verifying_key().to_element()).ok_or_else(degenerate)
    }

    pub(crate) fn public(&self) -> &PublicKeyPackage<S> {
        &self.public
    }

    /// The verifying share of participant `i`.
    pub(crate) fn verifying_share(&self, i: u16) -> Result<Element<S>> {
        self.public
            .verifying_shares()
            .get(&identifier::<S>(i)?)
            .map(VerifyingShare::to_element)
            .ok_or_else(|| inconsistent("a verifying share is missing"))
    }

    /// The public encoding (`docs/spec/threshold.md`, "Group").
    ///
    /// # Errors
    /// `degenerate_key`: a public value is the identity.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(Self::encoded_len(self.max_signers));
        out.extend_from_slice(&[VERSION, S::SUITE.tag()]);
        out.extend_from_slice(&self.min_signers.to_be_bytes());
        out.extend_from_slice(&self.max_signers.to_be_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.chain_code);
        out.extend_from_slice(&self.public_key()?);
        for i in 1..=self.max_signers {
            out.extend(element_to_bytes::<S>(&self.verifying_share(i)?).ok_or_else(degenerate)?);
        }
        Ok(out)
    }

    /// Length of [`Self::encode`]'s result.
    pub(crate) const fn encoded_len(max_signers: u16) -> usize {
        HEADER_LEN + (1 + max_signers as usize) * S::ELEMENT_LEN
    }

    /// The length of the group that begins `bytes`, if they begin with one.
    pub(crate) fn len_of(bytes: &[u8]) -> Option<usize> {
        let (_, _, max_signers) = read_start(&mut Reader::new(bytes, Code::InvalidGroup)).ok()?;
        Some(Self::encoded_len(max_signers))
    }

    /// Reads what [`Self::encode`] wrote and checks it: only this one encoding of a group is taken.
    ///
    /// # Errors
    /// `invalid_group`; `wrong_suite` for a group of another suite.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, Code::InvalidGroup);
        let (suite, min_signers, max_signers) = read_start(&mut reader)?;
        if suite != S::SUITE {
            return Err(Error::abort(Code::WrongSuite, "the group is of another suite"));
        }
        check_parameters(1, min_signers, max_signers)
            .map_err(|error| Error::abort(Code::InvalidGroup, error.message))?;
        if bytes.len() != Self::encoded_len(max_signers) {
            return Err(Error::abort(Code::InvalidGroup, "a group does not have its exact length"));
        }
        let epoch = reader.u32()?;
        let chain_code = reader.array()?;
        let group_key = VerifyingKey::<S>::new(reader.element::<S>()?);
        let mut shares = BTreeMap::new();
        for i in 1..=max_signers {
            shares.insert(identifier::<S>(i)?, VerifyingShare::<S>::new(reader.element::<S>()?));
        }
        reader.finish()?;
        let public = PublicKeyPackage::new(shares, group_key, Some(min_signers));
        Self::new(min_signers, max_signers, epoch, chain_code, public)
            .map_err(|error| Error::abort(Code::InvalidGroup, error.message))
    }

    /// A hash that names the group at its epoch.
    ///
    /// # Errors
    /// As for [`Self::encode`].
    pub(crate) fn fingerprint(&self) -> Result<[u8; 32]> {
        Ok(tagged("cosigner/share/v1/group", &[&self.encode()?]))
    }

    /// All verifying shares and the group key lie on one polynomial of degree t - 1.
    fn check(&self) -> Result<()> {
        if self.public.verifying_shares().len() != usize::from(self.max_signers) {
            return Err(inconsistent("the number of verifying shares is not n"));
        }
        let first: BTreeSet<_> = (1..=self.min_signers).map(identifier::<S>).collect::<Result<_>>()?;
        if self.interpolate(&first, None)? != self.public.verifying_key().to_element() {
            return Err(inconsistent("the verifying shares do not give the group key"));
        }
        for i in self.min_signers + 1..=self.max_signers {
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

/// The suite that encoded public data of a group names.
///
/// # Errors
/// `invalid_group`.
pub fn suite_of(bytes: &[u8]) -> Result<SuiteId> {
    read_start(&mut Reader::new(bytes, Code::InvalidGroup)).map(|(suite, _, _)| suite)
}

fn read_start(reader: &mut Reader<'_>) -> Result<(SuiteId, u16, u16)> {
    if reader.u8()? != VERSION {
        return Err(Error::abort(Code::InvalidGroup, "the group has an unknown version"));
    }
    let suite = SuiteId::from_tag(reader.u8()?)
        .ok_or_else(|| Error::abort(Code::InvalidGroup, "the group names an unknown suite"))?;
    Ok((suite, reader.u16()?, reader.u16()?))
}
