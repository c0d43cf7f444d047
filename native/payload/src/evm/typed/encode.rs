//! Values against their types, and their hashes (EIP-712, "Definition of encodeData").

use std::collections::BTreeMap;

use alloy_primitives::{Address, hex, keccak256};

use super::json::{Json, join};
use super::number;
use super::types::{Type, Types};
use crate::error::{Code, Error, Result};

/// A value of typed data, read by its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A struct that is absent.
    Null,
    /// `bool`.
    Bool(bool),
    /// `address`, EIP-55.
    Address(String),
    /// `string`.
    String(String),
    /// `bytes` and `bytesN`.
    Bytes(Vec<u8>),
    /// `uintN`, big-endian.
    Uint([u8; 32]),
    /// `intN`, big-endian in two's complement.
    Int([u8; 32]),
    /// An array.
    List(Vec<Value>),
    /// A struct's members in order.
    Struct(Vec<(String, Value)>),
}

type Word = [u8; 32];

/// Hashes values; every struct's definition is hashed once.
pub(super) struct Encoder<'a> {
    types: &'a Types,
    type_hashes: BTreeMap<&'a str, Word>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(types: &'a Types) -> Self {
        Self { types, type_hashes: BTreeMap::new() }
    }

    /// The hash of a struct, and its members.
    pub(super) fn hash_struct(
        &mut self,
        name: &str,
        json: Json,
        path: &str,
    ) -> Result<(Word, Vec<(String, Value)>)> {
        let Json::Object(present) = json else {
            return Err(mismatch("an object", &json, path));
        };
        let types = self.types;
        let members = types.members(name);
        let mut present: BTreeMap<String, Json> = present.into_iter().collect();
        let mut data = self.type_hash(name).to_vec();
        let mut fields = Vec::with_capacity(members.len());
        for member in members {
            let path = join(path, &member.name);
            let json = present.remove(&member.name).ok_or_else(|| {
                Error::new(Code::TypedDataMissingField, "the field is missing").at(path.as_str())
            })?;
            let (word, value) = self.encode(&member.kind, json, &path)?;
            data.extend_from_slice(&word);
            fields.push((member.name.clone(), value));
        }
        if let Some(key) = present.keys().next() {
            return Err(
                Error::new(Code::TypedDataUnknownField, "its type has no such field").at(join(path, key))
            );
        }
        Ok((keccak256(&data).0, fields))
    }

    fn encode(&mut self, kind: &Type, json: Json, path: &str) -> Result<(Word, Value)> {
        match (kind, json) {
            (Type::Struct(_), Json::Null) => Ok(([0; 32], Value::Null)),
            (Type::Struct(name), json) => {
                self.hash_struct(name, json, path).map(|(word, fields)| (word, Value::Struct(fields)))
            }
            (Type::Array(element, length), Json::List(list)) => {
                if length.is_some_and(|length| length != list.len()) {
                    return Err(
                        Error::new(Code::TypedDataValue, "the list does not have its type's length").at(path)
                    );
                }
                let mut words = Vec::with_capacity(32 * list.len());
                let mut values = Vec::with_capacity(list.len());
                for (i, json) in list.into_iter().enumerate() {
                    let (word, value) = self.encode(element, json, &format!("{path}[{i}]"))?;
                    words.extend_from_slice(&word);
                    values.push(value);
                }
                Ok((keccak256(&words).0, Value::List(values)))
            }
            (Type::Array(..), json) => Err(mismatch("a list", &json, path)),
            (Type::Bool, Json::Bool(value)) => {
                let mut word = [0; 32];
                word[31] = u8::from(value);
                Ok((word, Value::Bool(value)))
            }
            (Type::String, Json::String(text)) => Ok((keccak256(text.as_bytes()).0, Value::String(text))),
            (Type::Bytes, Json::String(text)) => match unhex(&text) {
                Some(bytes) => Ok((keccak256(&bytes).0, Value::Bytes(bytes))),
                None => Err(value("bytes are written in hexadecimal after 0x", path)),
            },
            (Type::FixedBytes(length), Json::String(text)) => {
                let bytes = unhex(&text).filter(|bytes| bytes.len() == *length).ok_or_else(|| {
                    value(format!("{length} bytes are expected, in hexadecimal after 0x"), path)
                })?;
                let mut word = [0; 32];
                word.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
                Ok((word, Value::Bytes(bytes)))
            }
            (Type::Address, Json::String(text)) => {
                let address = address(&text).ok_or_else(|| {
                    value(
                        "an address is 40 hexadecimal digits after 0x; mixed case is a checksum (EIP-55)",
                        path,
                    )
                })?;
                Ok((address.into_word().0, Value::Address(address.to_string())))
            }
            (Type::Uint(bits), json @ (Json::Number(_) | Json::String(_))) => {
                let word = number::uint(&json, *bits).ok_or_else(|| {
                    value(format!("an integer of 0 or more, of at most {bits} bits, is expected, decimal or after 0x"), path)
                })?;
                Ok((word, Value::Uint(word)))
            }
            (Type::Int(bits), json @ (Json::Number(_) | Json::String(_))) => {
                let word = number::int(&json, *bits).ok_or_else(|| {
                    value(
                        format!("an integer of {bits} bits with its sign is expected, decimal or after 0x"),
                        path,
                    )
                })?;
                Ok((word, Value::Int(word)))
            }
            (Type::Bool, json) => Err(mismatch("true or false", &json, path)),
            (Type::Uint(_) | Type::Int(_), json) => Err(mismatch("an integer", &json, path)),
            (Type::String | Type::Bytes | Type::FixedBytes(_) | Type::Address, json) => {
                Err(mismatch("a string", &json, path))
            }
        }
    }

    fn type_hash(&mut self, name: &str) -> Word {
        if let Some(hash) = self.type_hashes.get(name) {
            return *hash;
        }
        let hash = keccak256(self.types.encode_type(name)).0;
        if let Some(name) = self.types.name(name) {
            self.type_hashes.insert(name, hash);
        }
        hash
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    // A second prefix would be taken by the decoder.
    let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with("0x"))?;
    hex::decode(digits).ok()
}

/// An address; letters of both cases are a checksum, which has to be right.
fn address(text: &str) -> Option<Address> {
    let digits = text.strip_prefix("0x")?;
    let bytes = unhex(text).and_then(|bytes| <[u8; 20]>::try_from(bytes).ok())?;
    let mixed = digits.contains(|c: char| c.is_ascii_lowercase())
        && digits.contains(|c: char| c.is_ascii_uppercase());
    let address = Address::from(bytes);
    (!mixed || address.to_checksum(None) == text).then_some(address)
}

fn mismatch(expected: &str, json: &Json, path: &str) -> Error {
    value(format!("{expected} is expected, this is {}", json.kind()), path)
}

fn value(text: impl Into<std::borrow::Cow<'static, str>>, path: &str) -> Error {
    Error::new(Code::TypedDataValue, text).at(path)
}
