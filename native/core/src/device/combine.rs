//! Shares put together again.

use frost_core::keys::reconstruct;
use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use zeroize::Zeroizing;

use super::SecretKey;
use crate::any::{AnyShare, Of, of_suite};
use crate::error::{Code, Error, Result};
use crate::suite::SuiteId;

impl SecretKey {
    /// The key that at least t shares of one group and epoch are shares of. It keeps their chain code, and has no seed.
    ///
    /// # Errors
    /// `shares_mismatch`: not of one group and epoch; `wrong_signer_count`: fewer than t; `invalid_parameter`: the same
    /// share twice; `share_inconsistent`: the shares do not give the group key.
    pub fn combine(shares: &[&AnyShare]) -> Result<Self> {
        match shares.first().ok_or_else(too_few)?.suite() {
            SuiteId::FrostEd25519 => combine::<Ed25519Sha512>(shares),
            SuiteId::FrostSecp256k1Tr => combine::<Secp256K1Sha256TR>(shares),
            SuiteId::EcdsaSecp256k1 => combine::<Secp256K1Sha256>(shares),
        }
    }
}

fn combine<S: Of>(shares: &[&AnyShare]) -> Result<SecretKey> {
    let shares = of_suite::<S>(shares)?;
    let first = *shares.first().ok_or_else(too_few)?;
    let group = first.group().encode()?;
    for share in &shares {
        if share.group().encode()? != group {
            return Err(Error::caller(Code::SharesMismatch, "the shares are not of one key and epoch"));
        }
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

fn too_few() -> Error {
    Error::caller(Code::WrongSignerCount, "fewer shares than the threshold")
}

fn inconsistent() -> Error {
    Error::abort(Code::ShareInconsistent, "the shares do not give the group key")
}
