//! Addresses and public key recovery.

use alloy_primitives::{Address, B256, Signature, U256, uint};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, Secp256k1};

use crate::error::{Code, Error, Result};

/// Half the order of secp256k1, rounded down: the largest `s` of EIP-2.
const HALF_ORDER: U256 =
    uint!(0x7fffffff_ffffffff_ffffffff_ffffffff_5d576e73_57a4501d_dfe92f46_681b20a0_U256);

/// The EIP-55 address of a public key of 33 bytes (SEC 1 compressed).
///
/// # Errors
/// `invalid_public_key`.
pub fn address(public_key: &[u8]) -> Result<String> {
    Ok(of_bytes(public_key)?.to_string())
}

/// The EIP-55 form of an address of 20 bytes.
///
/// # Errors
/// `evm_invalid`.
pub fn checksum_address(address: &[u8]) -> Result<String> {
    <[u8; 20]>::try_from(address)
        .map(|bytes| Address::from(bytes).to_string())
        .map_err(|_| Error::new(Code::EvmInvalid, "an address has 20 bytes"))
}

pub(super) fn of_bytes(public_key: &[u8]) -> Result<Address> {
    let invalid = || Error::new(Code::InvalidPublicKey, "not a compressed public key of 33 bytes");
    if public_key.len() != 33 {
        return Err(invalid());
    }
    PublicKey::from_slice(public_key).map(|key| of_point(&key)).map_err(|_| invalid())
}

/// The key's last 20 bytes of hash (Yellow Paper, appendix F).
fn of_point(key: &PublicKey) -> Address {
    let [_tag, point @ ..] = key.serialize_uncompressed();
    Address::from_raw_public_key(&point)
}

/// The signature of `digest` by this key.
///
/// # Errors
/// `invalid_public_key`, `evm_signature_invalid`.
pub(super) fn verified(
    digest: &[u8; 32],
    signature: &[u8],
    recovery_id: u8,
    public_key: &[u8],
) -> Result<Signature> {
    let signer = of_bytes(public_key)?;
    let invalid = |text| Error::new(Code::EvmSignatureInvalid, text);
    let compact: &[u8; 64] =
        signature.try_into().map_err(|_| invalid("a signature has 64 bytes, r and s"))?;
    if recovery_id > 1 {
        return Err(invalid("the recovery id is 0 or 1"));
    }
    let (r, s) = compact.split_at(32);
    let (r, s) = (U256::from_be_slice(r), U256::from_be_slice(s));
    let recovered = recover(&B256::from(digest), r, s, recovery_id)
        .ok_or_else(|| invalid("the signature is of nobody, or its s is high"))?;
    if recovered != signer {
        return Err(invalid("the signature is not of this wallet's key"));
    }
    Ok(Signature::new(r, s, recovery_id == 1))
}

/// The signer of `digest`; `None` where the signature is of nobody or its `s` is high (EIP-2).
pub(super) fn recover(digest: &B256, r: U256, s: U256, y_parity: u8) -> Option<Address> {
    if s > HALF_ORDER || y_parity > 1 {
        return None;
    }
    let mut bytes = [0; 64];
    let (left, right) = bytes.split_at_mut(32);
    left.copy_from_slice(&r.to_be_bytes::<32>());
    right.copy_from_slice(&s.to_be_bytes::<32>());
    let id = RecoveryId::from_i32(i32::from(y_parity)).ok()?;
    let signature = RecoverableSignature::from_compact(&bytes, id).ok()?;
    let key = Secp256k1::verification_only().recover_ecdsa(&Message::from_digest(digest.0), &signature);
    key.ok().map(|key| of_point(&key))
}
