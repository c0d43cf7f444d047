//! Unhardened BIP-32 derivation of public keys, and the additive tweak that moves the shares along.

use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::elliptic_curve::ops::MulByGenerator as _;
use k256::{ProjectivePoint, Scalar};
use sha2::Sha512;

use super::Curve;
use super::curve::{POINT_LEN, point_bytes};
use crate::codec::{element_from_bytes, scalar_from_bytes};
use crate::error::{Code, Error, Result};

/// The longest path below the wallet's root.
pub const MAX_PATH_LEN: usize = 16;

/// A derived key: its point, and what must be added to the root's scalar.
pub(crate) struct Derived {
    pub(crate) key: ProjectivePoint,
    pub(crate) tweak: Scalar,
    pub(crate) chain_code: [u8; 32],
}

/// The public key at `path` below `group_public_key`, for both secp256k1 suites.
///
/// # Errors
/// `invalid_public_key`; `invalid_path`: more than 16 elements, a hardened one (2^31 or more), or one that BIP-32 calls
/// invalid (never happens by chance).
pub fn derive_public_key(
    group_public_key: &[u8],
    chain_code: &[u8; 32],
    path: &[u32],
) -> Result<[u8; POINT_LEN]> {
    let key = element_from_bytes::<Curve>(group_public_key)
        .ok_or_else(|| Error::caller(Code::InvalidPublicKey, "the public key is not a compressed point"))?;
    Ok(point_bytes(&derive(&key, chain_code, path)?.key.to_affine()))
}

/// CKDpub along `path` (BIP-32, "Public parent key -> public child key").
pub(crate) fn derive(root: &ProjectivePoint, chain_code: &[u8; 32], path: &[u32]) -> Result<Derived> {
    if path.len() > MAX_PATH_LEN {
        return Err(invalid("a path has at most 16 elements"));
    }
    let mut derived = Derived { key: *root, tweak: Scalar::ZERO, chain_code: *chain_code };
    for element in path {
        if *element >= 1 << 31 {
            return Err(invalid("a threshold key has no hardened children"));
        }
        let mut mac = Hmac::<Sha512>::new_from_slice(&derived.chain_code)
            .map_err(|_| Error::abort(Code::Internal, "HMAC refused its key"))?;
        mac.update(&point_bytes(&derived.key.to_affine()));
        mac.update(&element.to_be_bytes());
        let hash: [u8; 64] = mac.finalize().into_bytes().into();
        let (left, right) = hash.split_at(32);
        let tweak =
            scalar_from_bytes::<Curve>(left).ok_or_else(|| invalid("BIP-32 has no key at this path"))?;
        derived.key += ProjectivePoint::mul_by_generator(&tweak);
        derived.tweak += tweak;
        if derived.key == ProjectivePoint::IDENTITY {
            return Err(invalid("BIP-32 has no key at this path"));
        }
        derived.chain_code.copy_from_slice(right);
    }
    Ok(derived)
}

fn invalid(message: &'static str) -> Error {
    Error::caller(Code::InvalidPath, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex33(text: &str) -> [u8; 33] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// BIP-32 test vector 1, chain m/0H/1, and test vector 2, chain m/0: keys and chain codes from the BIP's
    /// extended public keys.
    #[test]
    fn children_are_those_of_bip32() {
        let parent = hex33("035a784662a4a20a65bf6aab9ae98a6c068a81c52e4b032c0fb5400c706cfccc56");
        let chain = hex::decode("47fdacbd0f1097043b78c63c20c34ef4ed9a111d980047ad16282c7ae6236141").unwrap();
        let child = hex33("03501e454bf00751f24b1b489aa925215d66af2234e3891c3b21a52bedb3cd711c");
        assert_eq!(derive_public_key(&parent, &chain.try_into().unwrap(), &[1]).unwrap(), child);
        let parent = hex33("03cbcaa9c98c877a26977d00825c956a238e8dddfbd322cce4f74b0b5bd6ace4a7");
        let chain = hex::decode("60499f801b896d83179a4374aeb7822aaeaceaa0db1f85ee3e904c4defbd9689").unwrap();
        let child = hex33("02fc9e5af0ac8d9b3cecfe2a888e2117ba3d089d8585886c9c826b6b22a98d12ea");
        let chain = chain.try_into().unwrap();
        assert_eq!(derive_public_key(&parent, &chain, &[0]).unwrap(), child);
        assert_eq!(derive_public_key(&parent, &chain, &[]).unwrap(), parent);
    }

    #[test]
    fn the_tweak_is_the_keys() {
        let root = ProjectivePoint::GENERATOR * Scalar::from(5_u64);
        let derived = derive(&root, &[7; 32], &[0, 5, 77]).unwrap();
        assert_eq!(root + ProjectivePoint::GENERATOR * derived.tweak, derived.key);
    }

    #[test]
    fn what_cannot_be_derived_is_refused() {
        let key = point_bytes(&ProjectivePoint::GENERATOR.to_affine());
        let refused = |key: &[u8], path: &[u32]| derive_public_key(key, &[0; 32], path).unwrap_err().code;
        assert_eq!(refused(&key, &[1 << 31]), Code::InvalidPath);
        assert_eq!(refused(&key, &[0; 17]), Code::InvalidPath);
        assert_eq!(refused(&key[1..], &[]), Code::InvalidPublicKey);
        assert_eq!(refused(&[2; 34], &[]), Code::InvalidPublicKey);
        assert_eq!(refused(&[0; 33], &[]), Code::InvalidPublicKey);
    }
}
