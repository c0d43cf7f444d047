//! From a seed to a private key at a path: BIP-32 for secp256k1, SLIP-10 for Ed25519.

use frost_secp256k1::Secp256K1Sha256 as Curve;
use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::Scalar;
use sha2::Sha512;
use zeroize::{Zeroize as _, Zeroizing};

use crate::codec::{element_to_bytes, scalar_from_bytes};
use crate::ecdsa::MAX_PATH_LEN;
use crate::error::{Code, Error, Result};
use crate::suite::Suite as _;

/// Elements from here on are hardened.
const HARDENED: u32 = 1 << 31;

/// A node of the tree: a private key, or for Ed25519 a seed, and its chain code.
pub(super) struct Node {
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) chain_code: [u8; 32],
}

/// Reads a path such as `m/44'/60'/0'/0/0`: `m`, and up to 16 elements below 2^31, decimal without leading zeros, a
/// hardened one with `'`, `h` or `H` behind it (BIP-32, "The default wallet layout" and "Test vectors").
///
/// # Errors
/// `invalid_path`.
pub(super) fn parse_path(path: &str) -> Result<Vec<u32>> {
    let mut parts = path.split('/');
    if parts.next() != Some("m") {
        return Err(invalid("a path begins with m"));
    }
    let elements: Vec<u32> = parts.take(MAX_PATH_LEN + 1).map(parse_element).collect::<Result<_>>()?;
    if elements.len() > MAX_PATH_LEN {
        return Err(invalid("a path has at most 16 elements"));
    }
    Ok(elements)
}

fn parse_element(element: &str) -> Result<u32> {
    let digits = element.strip_suffix(['\'', 'h', 'H']);
    let (digits, hardened) = digits.map_or((element, 0), |digits| (digits, HARDENED));
    let plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits
        .parse()
        .ok()
        .filter(|index| plain && *index < HARDENED)
        .map(|index: u32| index | hardened)
        .ok_or_else(|| invalid("an element of a path is a number below 2^31, and ' if it is hardened"))
}

/// The private key at `path` (BIP-32, "Master key generation" and "Private parent key → private child key").
pub(super) fn bip32(seed: &[u8], path: &[u32]) -> Result<Node> {
    let mut node = hmac_sha512(b"Bitcoin seed", &[seed])?;
    let mut key = scalar(&node.key)?;
    if bool::from(key.is_zero()) {
        return Err(no_key());
    }
    for element in path {
        let index = element.to_be_bytes();
        let step = if *element >= HARDENED {
            hmac_sha512(&node.chain_code, &[&[0], node.key.as_slice(), &index])?
        } else {
            let point = element_to_bytes::<Curve>(&Curve::mul_base(&key)).ok_or_else(no_key)?;
            hmac_sha512(&node.chain_code, &[&point, &index])?
        };
        *key += *scalar(&step.key)?;
        if bool::from(key.is_zero()) {
            return Err(no_key());
        }
        node.key = Zeroizing::new(key.to_bytes().into());
        node.chain_code = step.chain_code;
    }
    Ok(node)
}

/// The seed at `path` (SLIP-10, "Master key generation" and "Private parent key → private child key" for ed25519).
pub(super) fn slip10_ed25519(seed: &[u8], path: &[u32]) -> Result<Node> {
    if path.iter().any(|element| *element < HARDENED) {
        return Err(invalid("every element of an Ed25519 path is hardened (SLIP-10)"));
    }
    let mut node = hmac_sha512(b"ed25519 seed", &[seed])?;
    for element in path {
        node = hmac_sha512(&node.chain_code, &[&[0], node.key.as_slice(), &element.to_be_bytes()])?;
    }
    Ok(node)
}

/// BIP-32's parse256, below the group order.
fn scalar(bytes: &[u8; 32]) -> Result<Zeroizing<Scalar>> {
    scalar_from_bytes::<Curve>(bytes).map(Zeroizing::new).ok_or_else(no_key)
}

fn hmac_sha512(key: &[u8], parts: &[&[u8]]) -> Result<Node> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key)
        .map_err(|_| Error::abort(Code::Internal, "HMAC refused its key"))?;
    for part in parts {
        mac.update(part);
    }
    let mut hash: [u8; 64] = mac.finalize().into_bytes().into();
    let mut node = Node { key: Zeroizing::new([0; 32]), chain_code: [0; 32] };
    let (left, right) = hash.split_at(32);
    node.key.copy_from_slice(left);
    node.chain_code.copy_from_slice(right);
    hash.zeroize();
    Ok(node)
}

/// Does not happen by chance (BIP-32: probability below 2^-127).
fn no_key() -> Error {
    invalid("BIP-32 has no key at this path")
}

fn invalid(message: &'static str) -> Error {
    Error::caller(Code::InvalidPath, message)
}
