//! Messages (EIP-191): `personal_sign` (version `E`) and data for a validator (version 0).
//!
//! Version 1 is typed data and has its own module, because a hash of it says nothing about what is signed.

use alloy_primitives::keccak256;
use alloy_primitives::utils::eip191_hash_message;

use super::{MAX_LEN, key};
use crate::error::{Code, Error, Result};
use crate::text::is_printable;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSummary {
    /// What the signature covers.
    pub digest: [u8; 32],
    /// The message, where it is text that can be shown as it is.
    pub text: Option<String>,
    /// The contract that the data is for (version 0), EIP-55.
    pub validator: Option<String>,
}

/// Reads a message; with the 20 bytes of a `validator`, one of version 0.
///
/// # Errors
/// `evm_too_large`, `evm_invalid`.
pub fn inspect_message(message: &[u8], validator: Option<&[u8]>) -> Result<MessageSummary> {
    if message.len() > MAX_LEN {
        return Err(Error::new(Code::EvmTooLarge, "a message has at most 131072 bytes"));
    }
    let text = std::str::from_utf8(message).ok().filter(|text| text.chars().all(is_printable));
    let text = text.map(str::to_owned);
    let Some(validator) = validator else {
        return Ok(MessageSummary { digest: eip191_hash_message(message).0, text, validator: None });
    };
    let address = <&[u8; 20]>::try_from(validator)
        .map_err(|_| Error::new(Code::EvmInvalid, "an address has 20 bytes").at("validator"))?;
    let digest = keccak256([&[0x19, 0x00], address.as_slice(), message].concat());
    let validator = Some(alloy_primitives::Address::from(address).to_string());
    Ok(MessageSummary { digest: digest.0, text, validator })
}

/// The signature of a message or of typed data as wallets return it: r, s, and 27 or 28.
///
/// # Errors
/// `invalid_public_key`, `evm_signature_invalid`.
pub fn assemble_signature(
    digest: &[u8],
    signature: &[u8],
    recovery_id: u8,
    public_key: &[u8],
) -> Result<[u8; 65]> {
    let digest: &[u8; 32] = digest
        .try_into()
        .map_err(|_| Error::new(Code::EvmSignatureInvalid, "a digest has 32 bytes").at("digest"))?;
    Ok(key::verified(digest, signature, recovery_id, public_key)?.as_bytes())
}
