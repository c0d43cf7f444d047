//! One message's signature, computed from `frost-core`'s own steps.
//!
//! `frost_core::round2::sign` followed by `frost_core::aggregate` computes the binding factors and the group
//! commitment twice, and knows neither the curve libraries' tables for the generator nor their multiplications of
//! several points. Its steps are public under the feature `internals`, so they are put together here once: same
//! inputs, same outputs (the tests compare them with the two functions, share by share), less than half the time. When a signature does not verify, `frost_core::aggregate`
//! itself is asked for the culprit.

use std::collections::BTreeMap;

use frost_core::keys::{KeyPackage, SigningShare};
use frost_core::round1::{Nonce, NonceCommitment, SigningCommitments};
use frost_core::round2::SignatureShare;
use frost_core::{
    BindingFactorList, Element, Field, Group, Identifier, Scalar, Signature, SigningPackage,
    compute_binding_factor_list, derive_interpolating_value,
};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::wire::{Peers, encode_share};
use crate::codec::scalar_from_bytes;
use crate::error::{Code, Error, Result};
use crate::share::{KeyShare, identifier};
use crate::suite::{Suite, Tweak};

/// Two nonces and the commitments to them. Used once; the bytes are wiped on drop.
pub(super) struct NoncePair<S: Suite> {
    hiding: Zeroizing<Vec<u8>>,
    binding: Zeroizing<Vec<u8>>,
    pub(super) commitments: SigningCommitments<S>,
}

impl<S: Suite> NoncePair<S> {
    /// RFC 9591 §5.1 `commit`. A nonce is a hash of fresh randomness and the signing share (§4.1), which hedges
    /// against a bad generator.
    pub(super) fn draw(secret: &SigningShare<S>, rng: &mut (impl RngCore + CryptoRng)) -> Self {
        Self::from_nonces(Nonce::new(secret, rng), Nonce::new(secret, rng))
    }

    pub(super) fn from_nonces(hiding: Nonce<S>, binding: Nonce<S>) -> Self {
        let commitments = SigningCommitments::new(
            NonceCommitment::new(S::mul_base(&hiding.to_scalar())),
            NonceCommitment::new(S::mul_base(&binding.to_scalar())),
        );
        Self {
            hiding: Zeroizing::new(hiding.serialize()),
            binding: Zeroizing::new(binding.serialize()),
            commitments,
        }
    }

    fn scalars(&self) -> Result<(Scalar<S>, Scalar<S>)> {
        match (scalar_from_bytes::<S>(&self.hiding), scalar_from_bytes::<S>(&self.binding)) {
            (Some(hiding), Some(binding)) => Ok((hiding, binding)),
            _ => Err(internal()),
        }
    }
}

/// Everything public about one signature, and the key that it is made with.
pub(super) struct Session<'a, S: Suite> {
    key: &'a KeyPackage<S>,
    package: SigningPackage<S>,
    binding_factors: BindingFactorList<S>,
    /// R with the sign that the signature gives it.
    r: Element<S>,
    /// Whether that took a negation, which the nonces must follow.
    negated: bool,
    challenge: Scalar<S>,
}

impl<'a, S: Suite> Session<'a, S> {
    /// RFC 9591 §5.2, up to the challenge. `key` is the suite's [`Suite::signing_key`].
    pub(super) fn new(
        key: &'a KeyPackage<S>,
        own: &NoncePair<S>,
        peers: &Peers<S>,
        k: usize,
        message: &[u8],
    ) -> Result<Self> {
        let mut commitments: BTreeMap<Identifier<S>, SigningCommitments<S>> = BTreeMap::new();
        commitments.insert(*key.identifier(), own.commitments);
        for (sender, batch) in peers {
            commitments.insert(identifier::<S>(*sender)?, *nth(batch, k)?);
        }
        let package = SigningPackage::new(commitments, message);
        let unusable = |_| Error::abort(Code::InvalidCommitment, "the commitments cannot be signed with");
        let binding_factors =
            compute_binding_factor_list(&package, key.verifying_key(), &[]).map_err(unusable)?;
        let group_commitment = Self::group_commitment(&package, &binding_factors)?;
        let challenge = S::challenge(&group_commitment, key.verifying_key(), package.message())
            .map_err(unusable)?
            .to_scalar();
        let r = S::normalized(group_commitment);
        Ok(Self { key, package, binding_factors, r, negated: r != group_commitment, challenge })
    }

    /// RFC 9591 §4.5 `compute_group_commitment`: the sum of `D_j + rho_j E_j` over the signers. That no commitment is
    /// the identity was checked when it was decoded.
    fn group_commitment(
        package: &SigningPackage<S>,
        binding_factors: &BindingFactorList<S>,
    ) -> Result<Element<S>> {
        let mut hiding = <S::Group as Group>::identity();
        let mut binding = Vec::with_capacity(package.signing_commitments().len());
        for (signer, commitments) in package.signing_commitments() {
            hiding = hiding + commitments.hiding().value();
            binding.push((Self::binding_factor(binding_factors, signer)?, commitments.binding().value()));
        }
        Ok(hiding + S::sum_of_products(&binding))
    }

    fn binding_factor(binding_factors: &BindingFactorList<S>, signer: &Identifier<S>) -> Result<Scalar<S>> {
        let factor = binding_factors.get(signer).ok_or_else(internal)?;
        scalar_from_bytes::<S>(&factor.serialize()).ok_or_else(internal)
    }

    /// RFC 9591 §5.2: `z_i = d_i + e_i rho_i + lambda_i s_i c`, the nonces negated when the suite negates R.
    pub(super) fn own_share(&self, pair: &NoncePair<S>) -> Result<Scalar<S>> {
        let lambda =
            derive_interpolating_value(self.key.identifier(), &self.package).map_err(|_| internal())?;
        let binding_factor = Self::binding_factor(&self.binding_factors, self.key.identifier())?;
        let (hiding, binding) = pair.scalars()?;
        let nonce = hiding + binding * binding_factor;
        let response = lambda * self.key.signing_share().to_scalar() * self.challenge;
        Ok(if self.negated { response - nonce } else { response + nonce })
    }

    /// RFC 9591 §5.3: the encoded sum of the shares, when it verifies.
    pub(super) fn aggregate(&self, shares: &BTreeMap<u16, Scalar<S>>) -> Option<Vec<u8>> {
        let zero = <<S::Group as Group>::Field as Field>::zero();
        let z = shares.values().fold(zero, |sum, share| sum + *share);
        let signature = Signature::new(self.r, z);
        let encoded = signature.serialize().ok()?;
        S::holds(&signature, &encoded, self.key.verifying_key(), self.package.message()).then_some(encoded)
    }

    /// Who is to blame for a signature that does not verify.
    pub(super) fn blame(
        &self,
        share: &KeyShare<S>,
        tweak: &Tweak,
        shares: &BTreeMap<u16, Scalar<S>>,
    ) -> Error {
        let failed = Error::abort(Code::SignatureInvalid, "the aggregated signature does not verify");
        let encoded: Option<BTreeMap<_, _>> = shares
            .iter()
            .map(|(i, z)| {
                Some((identifier::<S>(*i).ok()?, SignatureShare::deserialize(&encode_share::<S>(z)).ok()?))
            })
            .collect();
        let (Some(encoded), Ok(public)) = (encoded, S::tweaked_public(share.public.clone(), tweak)) else {
            return failed;
        };
        let culprits = match frost_core::aggregate(&self.package, &encoded, &public) {
            Err(error) => error.culprits(),
            Ok(_) => Vec::new(),
        };
        let culprit = culprits
            .first()
            .and_then(|c| shares.keys().find(|i| identifier::<S>(**i).is_ok_and(|id| id == *c)));
        match culprit {
            Some(i) => Error::peer(Code::InvalidSignatureShare, *i, "a signature share does not verify"),
            None => failed,
        }
    }
}

pub(super) fn nth<T>(items: &[T], k: usize) -> Result<&T> {
    items.get(k).ok_or_else(internal)
}

fn internal() -> Error {
    Error::abort(Code::Internal, "a signing step failed")
}
