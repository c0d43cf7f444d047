//! Reading RLP lists field by field, so that an error says which field it is about.

use alloy_rlp::{Decodable, Error as Rlp, Header};

use crate::error::{Code, Error, Result};

/// The fields of a list that are not read yet.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// What stands before a field's name, such as `access_list[3].`; empty for the transaction itself.
    prefix: String,
}

impl<'a> Fields<'a> {
    /// The one list that `bytes` is.
    pub(super) fn of(mut bytes: &'a [u8]) -> Result<Self> {
        let rest = Header::decode_bytes(&mut bytes, true)
            .map_err(|error| Error::new(Code::EvmMalformed, reason(error)).at("transaction"))?;
        if !bytes.is_empty() {
            return Err(Error::new(Code::EvmMalformed, "bytes follow the transaction").at("transaction"));
        }
        Ok(Self { rest, prefix: String::new() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field.
    pub(super) fn read<T: Decodable>(&mut self, name: &str) -> Result<T> {
        self.present(name)?;
        T::decode(&mut self.rest).map_err(|error| self.malformed(name, error))
    }

    /// The elements of the next field, which is a list, each read by `element` from its own path.
    pub(super) fn read_list<T>(
        &mut self,
        name: &str,
        element: impl Fn(&mut Self, &str) -> Result<T>,
    ) -> Result<Vec<T>> {
        let rest = self.enter(name)?;
        let mut inner = Fields { rest, prefix: self.prefix.clone() };
        let mut elements = Vec::new();
        while !inner.is_empty() {
            elements.push(element(&mut inner, &format!("{name}[{}]", elements.len()))?);
        }
        Ok(elements)
    }

    /// The next field, which is a list of named fields, read whole by `fields`.
    pub(super) fn read_fields<T>(
        &mut self,
        name: &str,
        fields: impl Fn(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let rest = self.enter(name)?;
        let mut inner = Fields { rest, prefix: format!("{}{name}.", self.prefix) };
        let value = fields(&mut inner)?;
        if inner.is_empty() {
            return Ok(value);
        }
        Err(Error::new(Code::EvmMalformed, "the list has too many fields").at(self.path(name)))
    }

    fn enter(&mut self, name: &str) -> Result<&'a [u8]> {
        self.present(name)?;
        Header::decode_bytes(&mut self.rest, true).map_err(|error| self.malformed(name, error))
    }

    fn present(&self, name: &str) -> Result<()> {
        if self.is_empty() {
            return Err(Error::new(Code::EvmMalformed, "the field is missing").at(self.path(name)));
        }
        Ok(())
    }

    fn malformed(&self, name: &str, error: Rlp) -> Error {
        Error::new(Code::EvmMalformed, reason(error)).at(self.path(name))
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn reason(error: Rlp) -> &'static str {
    match error {
        Rlp::Overflow => "the number is too large",
        Rlp::LeadingZero => "a number or a length has leading zeros",
        Rlp::InputTooShort => "the bytes end within it",
        Rlp::NonCanonicalSingleByte => "a single byte is encoded with a length",
        Rlp::NonCanonicalSize => "a short length is encoded in the long form",
        Rlp::UnexpectedLength | Rlp::ListLengthMismatch { .. } => "it does not have its type's length",
        Rlp::UnexpectedString => "a list is expected, these are bytes",
        Rlp::UnexpectedList => "bytes are expected, this is a list",
        Rlp::Custom(_) => "it is not canonical RLP",
    }
}
