//! Exact reading and writing of fixed-length formats, points and scalars.

use frost_core::keys::{CoefficientCommitment, VerifiableSecretSharingCommitment};
use frost_core::{Element, Field, Group, Scalar, Signature};

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

    /// `count` points: commitments to the coefficients of a polynomial.
    pub fn commitment<S: Suite>(&mut self, count: u16) -> Result<VerifiableSecretSharingCommitment<S>> {
        let points = (0..count).map(|_| self.element::<S>().map(CoefficientCommitment::new));
        Ok(VerifiableSecretSharingCommitment::new(points.collect::<Result<_>>()?))
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

/// Length of a compressed point of SEC 1 over a field of 256 bits, in bytes.
const COMPRESSED_LEN: usize = 33;

/// Decodes a point; `None` for a wrong length, a non-canonical encoding, a point off the curve or outside the
/// prime-order subgroup, and the identity.
pub fn element_from_bytes<S: Suite>(bytes: &[u8]) -> Option<Element<S>> {
    // The library would read its "compact" form, too: the tag 5 and x, a second encoding of one of the two points.
    if S::ELEMENT_LEN == COMPRESSED_LEN && !matches!(bytes.first(), Some(2 | 3)) {
        return None;
    }
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

/// Decodes a signature of the suite's library; `None` for anything but its one encoding.
pub fn signature_from_bytes<S: Suite>(bytes: &[u8]) -> Option<Signature<S>> {
    let signature = Signature::<S>::deserialize(bytes).ok()?;
    (signature.serialize().ok()? == bytes).then_some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{for_every_suite, rng};

    for_every_suite!(a_point_has_one_encoding, a_signature_has_one_encoding);

    fn a_point_has_one_encoding<S: Suite>() {
        let bytes = element_to_bytes::<S>(&<S::Group as Group>::generator()).unwrap();
        for tag in 0..=u8::MAX {
            let mut other = bytes.clone();
            other[0] = tag;
            if let Some(element) = element_from_bytes::<S>(&other) {
                assert_eq!(element_to_bytes::<S>(&element).unwrap(), other);
            }
        }
        for len in (0..80).filter(|len| *len != S::ELEMENT_LEN) {
            assert!(
                element_from_bytes::<S>(&bytes.iter().copied().cycle().take(len).collect::<Vec<_>>())
                    .is_none()
            );
        }
    }

    fn a_signature_has_one_encoding<S: Suite>() {
        let key = frost_core::SigningKey::<S>::new(&mut rng(1));
        let bytes = key.sign(rng(2), &[7; 32]).serialize().unwrap();
        assert_eq!(signature_from_bytes::<S>(&bytes).unwrap().serialize().unwrap(), bytes);
        for tag in 0..=u8::MAX {
            let mut other = bytes.clone();
            other[0] = tag;
            if let Some(signature) = signature_from_bytes::<S>(&other) {
                assert_eq!(signature.serialize().unwrap(), other);
            }
        }
        // R with the tag of the library's compact form.
        if S::PROOF_LEN == 65 {
            let mut compact = bytes.clone();
            compact[0] = 5;
            assert!(Signature::<S>::deserialize(&compact).is_ok());
            assert!(signature_from_bytes::<S>(&compact).is_none());
        }
    }

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
