//! Type definitions (EIP-712, "Definition of typed structured data").

use std::collections::{BTreeMap, BTreeSet};

use super::json::{Json, join};
use crate::error::{Code, Error, Result};

/// Every type's definition names all types that it reaches, so that the work grows with their product.
const MAX_TYPES: usize = 128;
const MAX_DIMENSIONS: usize = 8;
const MAX_NAME: usize = 256;

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Address,
    String,
    Bytes,
    /// 1 to 32 bytes.
    FixedBytes(usize),
    /// 8 to 256 bits.
    Uint(usize),
    /// 8 to 256 bits.
    Int(usize),
    Struct(String),
    /// Of any length, or of exactly this one.
    Array(Box<Type>, Option<usize>),
}

/// A member of a struct.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// The type as written, which is what is hashed.
    pub(super) text: String,
    pub(super) kind: Type,
}

/// The structs by name.
#[derive(Debug)]
pub(super) struct Types(BTreeMap<String, Vec<Member>>);

impl Types {
    pub(super) fn parse(json: Json) -> Result<Self> {
        let Json::Object(definitions) = json else {
            return Err(malformed("an object of type definitions is expected", "types"));
        };
        if definitions.len() > MAX_TYPES {
            return Err(Error::new(Code::TypedDataTooLarge, "there are at most 128 types").at("types"));
        }
        let mut structs = BTreeMap::new();
        for (name, members) in definitions {
            let path = join("types", &name);
            if !is_type_name(&name) || elementary(&name).is_some() {
                return Err(bad("this cannot be the name of a struct", path));
            }
            structs.insert(name, parse_members(members, &path)?);
        }
        Ok(Self(structs))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The members of a struct; none for one that is not defined, which [`Self::check`] excludes.
    pub(super) fn members(&self, name: &str) -> &[Member] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The name as it stands in the types.
    pub(super) fn name(&self, name: &str) -> Option<&str> {
        self.0.get_key_value(name).map(|(name, _)| name.as_str())
    }

    pub(super) fn define(&mut self, name: &str, members: Vec<Member>) {
        self.0.insert(name.to_owned(), members);
    }

    /// Every type that a member refers to is defined.
    pub(super) fn check(&self) -> Result<()> {
        for (name, members) in &self.0 {
            for (i, member) in members.iter().enumerate() {
                if member.kind.base().is_some_and(|base| !self.has(base)) {
                    return Err(bad("the type is not defined", format!("{}[{i}].type", join("types", name))));
                }
            }
        }
        Ok(())
    }

    /// The definition that is hashed: the type's own, then those of all types that it reaches, by name.
    pub(super) fn encode_type(&self, name: &str) -> String {
        let mut reached = BTreeSet::new();
        let mut open = vec![name];
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(self.members(next).iter().filter_map(|member| member.kind.base()));
            }
        }
        reached.remove(name);
        std::iter::once(name).chain(reached).map(|name| self.definition(name)).collect()
    }

    fn definition(&self, name: &str) -> String {
        let members = self.members(name).iter().map(|member| format!("{} {}", member.text, member.name));
        format!("{name}({})", members.collect::<Vec<_>>().join(","))
    }
}

impl Type {
    /// The struct that it is, or that it is an array of.
    fn base(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element, _) => element.base(),
            _ => None,
        }
    }
}

fn parse_members(json: Json, path: &str) -> Result<Vec<Member>> {
    let Json::List(list) = json else {
        return Err(malformed("a list of members is expected", path));
    };
    let mut members: Vec<Member> = Vec::with_capacity(list.len());
    let mut names = BTreeSet::new();
    for (i, json) in list.into_iter().enumerate() {
        let path = format!("{path}[{i}]");
        let below = |error: Error| {
            let field = error.field.as_ref().map_or_else(|| path.clone(), |field| format!("{path}.{field}"));
            error.at(field)
        };
        let [name, text] = json.into_members(["name", "type"]).map_err(below)?;
        let (Json::String(name), Json::String(text)) = (name, text) else {
            return Err(malformed("the name and the type of a member are strings", path));
        };
        if !is_member_name(&name) {
            return Err(bad("this cannot be the name of a member", format!("{path}.name")));
        }
        if !names.insert(name.clone()) {
            return Err(bad("the struct has this member already", format!("{path}.name")));
        }
        let kind = parse_type(&text, MAX_DIMENSIONS)
            .ok_or_else(|| bad("this is not a type", format!("{path}.type")))?;
        members.push(Member { name, text, kind });
    }
    Ok(members)
}

/// `uint8[2][]` is a list of pairs of numbers: the last brackets are the outermost.
fn parse_type(text: &str, dimensions: usize) -> Option<Type> {
    if let Some(array) = text.strip_suffix(']') {
        let (element, length) = array.rsplit_once('[')?;
        let length = if length.is_empty() { None } else { Some(decimal(length)?) };
        let element = parse_type(element, dimensions.checked_sub(1)?)?;
        return Some(Type::Array(Box::new(element), length));
    }
    elementary(text).or_else(|| is_type_name(text).then(|| Type::Struct(text.to_owned())))
}

fn elementary(text: &str) -> Option<Type> {
    let bits = |digits: &str| decimal(digits).filter(|bits| bits % 8 == 0 && *bits <= 256);
    match text {
        "bool" => Some(Type::Bool),
        "address" => Some(Type::Address),
        "string" => Some(Type::String),
        "bytes" => Some(Type::Bytes),
        // EIP-712 has no such aliases, but everybody reads them alike.
        "uint" => Some(Type::Uint(256)),
        "int" => Some(Type::Int(256)),
        _ => {
            if let Some(digits) = text.strip_prefix("uint") {
                bits(digits).map(Type::Uint)
            } else if let Some(digits) = text.strip_prefix("int") {
                bits(digits).map(Type::Int)
            } else {
                let length = decimal(text.strip_prefix("bytes")?).filter(|length| *length <= 32)?;
                Some(Type::FixedBytes(length))
            }
        }
    }
}

/// A positive number without leading zeros.
fn decimal(digits: &str) -> Option<usize> {
    let plain = digits.bytes().all(|c| c.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

/// Solidity's identifiers, and the separators that are in use (`HyperliquidTransaction:UsdSend`).
fn is_type_name(name: &str) -> bool {
    is_name(name, |c| matches!(c, '_' | '$' | ':' | '.' | '-'))
}

fn is_member_name(name: &str) -> bool {
    is_name(name, |c| matches!(c, '_' | '$' | '.' | '-'))
}

/// Nothing that has a meaning within a definition, so that no two sets of types have the same definition.
fn is_name(name: &str, is_mark: impl Fn(char) -> bool) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$');
    starts_well && name.len() <= MAX_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || is_mark(c))
}

fn malformed(text: &'static str, field: impl Into<String>) -> Error {
    Error::new(Code::TypedDataMalformed, text).at(field)
}

fn bad(text: &'static str, field: impl Into<String>) -> Error {
    Error::new(Code::TypedDataType, text).at(field)
}
