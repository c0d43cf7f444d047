//! JSON as it is written: numbers are kept as text, and a key that occurs twice is refused.
//!
//! `serde_json` reads the text; its raw values are taken apart level by level, since its own tree rounds large numbers
//! and keeps the last of two equal keys.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Code, Error, Result};
use crate::text::is_printable;

/// Deepest nesting of lists and objects. Every level is read once more for each level above it.
const MAX_DEPTH: usize = 48;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

pub(super) fn parse(bytes: &[u8]) -> Result<Json> {
    let raw: &RawValue = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
    Json::of(raw, "", MAX_DEPTH)
}

impl Json {
    fn of(raw: &RawValue, path: &str, depth: usize) -> Result<Self> {
        let at = |error: Error| if path.is_empty() { error } else { error.at(path) };
        let depth = depth.checked_sub(1).ok_or_else(|| {
            at(Error::new(Code::TypedDataTooLarge, "typed data is nested at most 48 levels deep"))
        })?;
        let text = raw.get();
        let malformed = |error| at(not_json(&error));
        Ok(match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::String(serde_json::from_str(text).map_err(malformed)?),
            Some(b'[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(malformed)?;
                let elements = elements.into_iter().enumerate();
                Self::List(
                    elements
                        .map(|(i, raw)| Self::of(raw, &format!("{path}[{i}]"), depth))
                        .collect::<Result<_>>()?,
                )
            }
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(malformed)?;
                let mut seen = BTreeSet::new();
                if let Some((key, _)) = members.iter().find(|(key, _)| !seen.insert(key.as_str())) {
                    return Err(
                        Error::new(Code::TypedDataMalformed, "the key occurs twice").at(join(path, key))
                    );
                }
                let members = members.into_iter().map(|(key, raw)| {
                    let value = Self::of(raw, &join(path, &key), depth)?;
                    Ok((key, value))
                });
                Self::Object(members.collect::<Result<_>>()?)
            }
            _ => Self::Number(text.to_owned()),
        })
    }

    /// What it is, for error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// The values of exactly these keys of the outermost object.
    pub(super) fn into_members<const N: usize>(self, names: [&str; N]) -> Result<[Self; N]> {
        let Self::Object(mut members) = self else {
            let text = format!("an object is expected, this is {}", self.kind());
            return Err(Error::new(Code::TypedDataMalformed, text));
        };
        if let Some((key, _)) = members.iter().find(|(key, _)| !names.contains(&key.as_str())) {
            return Err(
                Error::new(Code::TypedDataUnknownField, "typed data has no such field").at(shorten(key))
            );
        }
        let mut values = Vec::with_capacity(N);
        for name in names {
            let position = members
                .iter()
                .position(|(key, _)| key == name)
                .ok_or_else(|| Error::new(Code::TypedDataMissingField, "the field is missing").at(name))?;
            values.push(members.swap_remove(position).1);
        }
        values.try_into().map_err(|_| Error::new(Code::TypedDataMalformed, "the fields are not these"))
    }
}

/// `message` and `to` make `message.to`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shorten(key) } else { format!("{path}.{}", shorten(key)) }
}

/// A key that others chose, fit for an error: not long, and without what does not show as it is.
fn shorten(key: &str) -> String {
    let shown = |c: char| if c == ' ' || (is_printable(c) && !c.is_whitespace()) { c } else { '\u{fffd}' };
    let start: String = key.chars().take(64).map(shown).collect();
    if key.chars().nth(64).is_some() { start + "…" } else { start }
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::new(Code::TypedDataMalformed, format!("not JSON: {error}"))
}

/// An object's members in order, not yet read.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
