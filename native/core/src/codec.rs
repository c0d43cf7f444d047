//! Exact reading and writing of fixed-length formats, points and scalars.

use frost_core::{Element, Field, Group, Scalar};

use crate::error::{Code, Error, Result};
use crate::suite::Suite;

/// Reads fields of fixed length from a slice. What is left over at the end is an error.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    code: Code,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte; every failure carries `code`.
    pub fn new(bytes: &'a [u8], code: Code) -> Self {
        Self { rest: bytes, code }
    }

    fn fail(&self, message: &'static str) -> Error {
        Error::abort(self.code, message)
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) =
            self.rest.split_at_checked(len).ok_or_else(|| self.fail("the bytes end too early"))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| self.fail("the bytes end too early"))?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Two bytes, big endian.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, big endian.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A non-identity point of prime order in its canonical encoding.
    pub fn element<S: Suite>(&mut self) -> Result<Element<S>> {
        let bytes = self.take(S::ELEMENT_LEN)?;
        element_from_bytes::<S>(bytes).ok_or_else(|| self.fail("a point is not a valid group element"))
    }

    /// A scalar below the group order (zero allowed).
    pub fn scalar<S: Suite>(&mut self) -> Result<Scalar<S>> {
        let bytes = self.take(SCALAR_LEN)?;
        scalar_from_bytes::<S>(bytes).ok_or_else(|| self.fail("a scalar is not below the group order"))
    }

    /// Succeeds when everything was read.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fail("there are trailing bytes")) }
    }

    /// The number of bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// Length of a scalar in every suite, in bytes.
pub const SCALAR_LEN: usize = 32;

/// Decodes a point; `None` for a wrong length, a non-canonical encoding, a point off the curve or outside the
/// prime-order subgroup, and the identity.
pub fn element_from_bytes<S: Suite>(bytes: &[u8]) -> Option<Element<S>> {
    let encoding = <S::Group as Group>::Serialization::try_from(bytes).ok()?;
    <S::Group as Group>::deserialize(&encoding).ok()
}

/// Encodes a point; `None` for the identity.
pub fn element_to_bytes<S: Suite>(element: &Element<S>) -> Option<Vec<u8>> {
    <S::Group as Group>::serialize(element).ok().map(|encoding| encoding.as_ref().to_vec())
}

/// Decodes a scalar; `None` for a wrong length or a value not below the group order.
pub fn scalar_from_bytes<S: Suite>(bytes: &[u8]) -> Option<Scalar<S>> {
    let encoding = <<S::Group as Group>::Field as Field>::Serialization::try_from(bytes).ok()?;
    <<S::Group as Group>::Field as Field>::deserialize(&encoding).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_exact() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7], Code::MalformedMessage);
        assert_eq!(reader.u8().unwrap(), 1);
        assert_eq!(reader.u16().unwrap(), 0x0203);
        assert_eq!(reader.remaining(), 4);
        assert!(reader.array::<5>().is_err());
        assert_eq!(reader.u32().unwrap(), 0x0405_0607);
        assert!(reader.take(1).is_err());
        reader.finish().unwrap();
        let reader = Reader::new(&[1], Code::MalformedMessage);
        assert_eq!(reader.finish().unwrap_err().code, Code::MalformedMessage);
    }
}
