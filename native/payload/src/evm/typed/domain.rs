//! The domain's type (EIP-712, "Definition of domainSeparator").

use super::DOMAIN;
use super::json::Json;
use super::types::{Member, Type, Types};
use crate::error::{Code, Error, Result};

/// Makes sure that the domain has a type: the declared one, which must be one that everybody hashes alike, or that of
/// the fields that are present.
pub(super) fn settle(types: &mut Types, domain: &Json) -> Result<()> {
    if !types.has(DOMAIN) {
        let Json::Object(present) = domain else {
            let text = format!("an object is expected, this is {}", domain.kind());
            return Err(Error::new(Code::TypedDataMalformed, text).at("domain"));
        };
        let members = fields().into_iter().filter(|field| present.iter().any(|(key, _)| *key == field.name));
        types.define(DOMAIN, members.collect());
        return Ok(());
    }
    // Some implementations hash the declared order, others always the standard's: only the latter is unambiguous.
    let mut remaining = fields().into_iter();
    for (i, member) in types.members(DOMAIN).iter().enumerate() {
        if !remaining.any(|field| field.name == member.name && field.text == member.text) {
            return Err(Error::new(
                Code::TypedDataDomain,
                "a domain has, in this order and of these types, some of: string name, string version, \
                 uint256 chainId, address verifyingContract, bytes32 salt",
            )
            .at(format!("types.{DOMAIN}[{i}]")));
        }
    }
    Ok(())
}

fn fields() -> [Member; 5] {
    [
        ("name", "string", Type::String),
        ("version", "string", Type::String),
        ("chainId", "uint256", Type::Uint(256)),
        ("verifyingContract", "address", Type::Address),
        ("salt", "bytes32", Type::FixedBytes(32)),
    ]
    .map(|(name, text, kind)| Member { name: name.to_owned(), text: text.to_owned(), kind })
}
