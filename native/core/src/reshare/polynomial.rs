//! Dealing: a secret polynomial and Feldman's commitments to it.

use frost_core::keys::{
    CoefficientCommitment, SigningShare, VerifiableSecretSharingCommitment, VerifyingShare,
};
use frost_core::{Scalar, random_nonzero};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::message::blame;
use crate::error::{Code, Error, Result};
use crate::share::identifier;
use crate::suite::Suite;

/// A polynomial of degree t - 1. Wiped on drop.
pub(super) struct Polynomial<S: Suite>(Zeroizing<Vec<Scalar<S>>>);

impl<S: Suite> Polynomial<S> {
    /// A random polynomial with this constant term. No coefficient is zero, so that no commitment is the identity.
    pub(super) fn draw(constant: &Scalar<S>, min_signers: u16, rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut coefficients = Zeroizing::new(Vec::with_capacity(usize::from(min_signers)));
        coefficients.push(*constant);
        coefficients.extend((1..min_signers).map(|_| random_nonzero::<S, _>(rng)));
        Self(coefficients)
    }

    /// Commitments to the coefficients, the constant term's first.
    pub(super) fn commitment(&self) -> VerifiableSecretSharingCommitment<S> {
        VerifiableSecretSharingCommitment::new(
            self.0.iter().map(|k| CoefficientCommitment::new(S::public(S::mul_base(k)))).collect(),
        )
    }

    /// The sub-share of `receiver`.
    pub(super) fn at(&self, receiver: u16) -> Result<Zeroizing<SigningShare<S>>> {
        Ok(Zeroizing::new(SigningShare::from_coefficients(&self.0, identifier::<S>(receiver)?)))
    }
}

/// Checks that what `dealer` sent to `receiver` is the value of its committed polynomial.
///
/// # Errors
/// `invalid_sub_share`, the dealer's fault.
pub(super) fn check_sub_share<S: Suite>(
    sub_share: &SigningShare<S>,
    commitment: &VerifiableSecretSharingCommitment<S>,
    dealer: u16,
    receiver: u16,
) -> Result<()> {
    let committed = VerifyingShare::from_commitment(identifier::<S>(receiver)?, commitment);
    // A dealer knows its sub-share, and whether this comes out equal.
    if S::public(S::mul_base(&sub_share.to_scalar())) != committed.to_element() {
        let error = Error::abort(Code::InvalidSubShare, "a sub-share is not on its dealer's polynomial");
        return Err(blame(error, dealer));
    }
    Ok(())
}
