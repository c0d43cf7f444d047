//! Shares put together again.

use frost_core::keys::reconstruct;
use zeroize::Zeroizing;

use super::SecretKey;
use crate::any::AnyShare;
use crate::error::{Code, Error, Result};
use crate::share::KeyShare;
use crate::suite::Suite;

/// The key that at least t shares of one group and epoch are shares of. It keeps their chain code, and has no seed.
///
/// # Errors
/// `shares_mismatch`: not of one group and epoch; `wrong_signer_count`: fewer than t; `invalid_parameter`: the same
/// share twice; `share_inconsistent`: the shares do not give the group key.
pub fn combine(shares: &[&AnyShare]) -> Result<SecretKey> {
    match shares.first() {
        None => Err(too_few()),
        Some(AnyShare::Ed25519(_)) => of_suite(shares, |share| match share {
            AnyShare::Ed25519(share) => Some(share),
            _ => None,
        }),
        Some(AnyShare::Secp256k1Tr(_)) => of_suite(shares, |share| match share {
            AnyShare::Secp256k1Tr(share) => Some(share),
            _ => None,
        }),
        Some(AnyShare::Ecdsa(_)) => of_suite(shares, |share| match share {
            AnyShare::Ecdsa(share) => Some(share),
            _ => None,
        }),
    }
}

fn of_suite<'a, S: Suite>(
    shares: &[&'a AnyShare],
    pick: impl Fn(&'a AnyShare) -> Option<&'a KeyShare<S>>,
) -> Result<SecretKey> {
    let shares: Vec<_> =
        shares.iter().map(|share| pick(share)).collect::<Option<_>>().ok_or_else(mismatch)?;
    let [first, rest @ ..] = shares.as_slice() else { return Err(too_few()) };
    if rest.iter().any(|share| !same_group(first, share)) {
        return Err(mismatch());
    }
    if shares.len() < usize::from(first.min_signers()) {
        return Err(too_few());
    }
    let packages: Vec<_> = shares.iter().map(|share| share.key.clone()).collect();
    let key = reconstruct(&packages).map_err(|error| match error {
        frost_core::Error::DuplicatedIdentifier => {
            Error::caller(Code::InvalidParameter, "the same share was given twice")
        }
        _ => inconsistent(),
    })?;
    let scalar = Zeroizing::new(key.serialize());
    let combined = SecretKey::new(S::SUITE, &scalar, None, Some(*first.chain_code()))?;
    // Every share was checked against the verifying shares when it was opened. This checks the sum of them.
    if combined.public_key() != first.group_public_key()? {
        return Err(inconsistent());
    }
    Ok(combined)
}

/// Whether two shares lie on one polynomial: all that is public of their groups is equal.
fn same_group<S: Suite>(one: &KeyShare<S>, other: &KeyShare<S>) -> bool {
    one.epoch() == other.epoch()
        && one.min_signers() == other.min_signers()
        && one.max_signers() == other.max_signers()
        && one.chain_code() == other.chain_code()
        && one.public == other.public
}

fn mismatch() -> Error {
    Error::caller(Code::SharesMismatch, "the shares are not of one key and epoch")
}

fn too_few() -> Error {
    Error::caller(Code::WrongSignerCount, "fewer shares than the threshold")
}

fn inconsistent() -> Error {
    Error::abort(Code::ShareInconsistent, "the shares do not give the group key")
}
