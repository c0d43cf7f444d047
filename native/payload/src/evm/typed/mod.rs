//! Typed data (EIP-712) as `eth_signTypedData_v4` takes it: JSON with types, primary type, domain and message.
//!
//! Everything on which implementations differ is refused with its place: fields that the types do not have, missing
//! fields, keys that occur twice, numbers with a fraction or exponent, strings where bytes are expected, addresses
//! with a wrong checksum, domain types out of order. Two common extensions on which they agree are taken: `null` for
//! a struct, which ends recursive types (its hash is zero), and a missing `EIP712Domain`, which follows from the
//! domain's fields.

mod domain;
mod encode;
mod json;
mod number;
mod types;

use alloy_primitives::keccak256;

use self::encode::Encoder;
use self::json::Json;
use self::types::Types;
use super::MAX_LEN;
use crate::error::{Code, Error, Result};

pub use self::encode::Value;

/// Name of the domain's type.
const DOMAIN: &str = "EIP712Domain";

/// What typed data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedData {
    /// What the signature covers.
    pub digest: [u8; 32],
    /// Hash of the domain.
    pub domain_separator: [u8; 32],
    /// Hash of the message; `None` where the primary type is the domain itself.
    pub message_hash: Option<[u8; 32]>,
    /// Name of the message's type.
    pub primary_type: String,
    /// The primary type with the types that it refers to (EIP-712, `encodeType`).
    pub encoded_type: String,
    /// The domain's fields in order.
    pub domain: Vec<(String, Value)>,
    /// The message's fields in order.
    pub message: Vec<(String, Value)>,
}

/// Parses and hashes typed data.
///
/// # Errors
/// `typed_data_too_large`, `typed_data_malformed`, `typed_data_type`, `typed_data_missing_field`,
/// `typed_data_unknown_field`, `typed_data_value`, `typed_data_domain`.
pub fn inspect_typed_data(bytes: &[u8]) -> Result<TypedData> {
    if bytes.len() > MAX_LEN {
        return Err(Error::new(Code::TypedDataTooLarge, "typed data has at most 131072 bytes"));
    }
    let [types, primary_type, domain, message] =
        json::parse(bytes)?.into_members(["types", "primaryType", "domain", "message"])?;
    let mut types = Types::parse(types)?;
    let Json::String(primary_type) = primary_type else {
        return Err(Error::new(Code::TypedDataMalformed, "the name of a type is expected").at("primaryType"));
    };
    domain::settle(&mut types, &domain)?;
    if !types.has(&primary_type) {
        return Err(Error::new(Code::TypedDataType, "the type is not defined").at("primaryType"));
    }
    types.check()?;
    let mut encoder = Encoder::new(&types);
    let (domain_separator, domain) = encoder.hash_struct(DOMAIN, domain, "domain")?;
    let encoded_type = types.encode_type(&primary_type);
    let mut preimage = [&[0x19, 0x01], domain_separator.as_slice()].concat();
    let (message_hash, message) = if primary_type == DOMAIN {
        let [] = message.into_members([]).map_err(|error| {
            Error::new(Code::TypedDataUnknownField, "the domain stands in \"domain\"; the message is empty")
                .at(error.field.unwrap_or_else(|| "message".to_owned()))
        })?;
        (None, Vec::new())
    } else {
        let (hash, fields) = encoder.hash_struct(&primary_type, message, "message")?;
        preimage.extend_from_slice(&hash);
        (Some(hash), fields)
    };
    let digest = keccak256(&preimage).0;
    Ok(TypedData { digest, domain_separator, message_hash, primary_type, encoded_type, domain, message })
}
