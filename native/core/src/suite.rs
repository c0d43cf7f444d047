//! The suites: what each one adds to its `frost_core::Ciphersuite`.

use std::sync::LazyLock;

use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::traits::VartimeMultiscalarMul as _;
use frost_core::keys::{KeyPackage, PublicKeyPackage};
use frost_core::{Ciphersuite, Element, Field, Group, Scalar, Signature, VerifyingKey};
use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use frost_secp256k1_tr::keys::{EvenY as _, Tweak as _};
use k256::ProjectivePoint;
use k256::elliptic_curve::ops::{LinearCombination as _, MulByGenerator as _};
use k256::elliptic_curve::point::AffineCoordinates as _;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroize;

use crate::error::{Code, Error, Result};
use crate::{MAX_MESSAGE_LEN, codec, ecdsa};

/// A suite by name, as it stands in messages, records and configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SuiteId {
    /// FROST(Ed25519, SHA-512), RFC 9591 §6.1.
    FrostEd25519,
    /// FROST over secp256k1 giving BIP-340 signatures, with BIP-341 key tweaks.
    FrostSecp256k1Tr,
    /// Shamir shares of a secp256k1 key for ECDSA; key management only.
    EcdsaSecp256k1,
}

impl SuiteId {
    /// Every suite.
    pub const ALL: [Self; 3] = [Self::FrostEd25519, Self::FrostSecp256k1Tr, Self::EcdsaSecp256k1];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FrostEd25519 => "frost-ed25519",
            Self::FrostSecp256k1Tr => "frost-secp256k1-tr",
            Self::EcdsaSecp256k1 => "ecdsa-secp256k1",
        }
    }

    /// The byte that stands for the suite in messages and records.
    pub const fn tag(self) -> u8 {
        match self {
            Self::FrostEd25519 => 1,
            Self::FrostSecp256k1Tr => 2,
            Self::EcdsaSecp256k1 => 3,
        }
    }

    /// The suite with this name.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name() == name)
            .ok_or_else(|| Error::caller(Code::UnknownSuite, "there is no suite of that name"))
    }

    /// The suite with this tag byte.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.tag() == tag)
    }
}

/// A key tweak applied at signing time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tweak {
    /// Sign with the group key itself.
    None,
    /// BIP-341 key path: the group key is the internal key, the script tree is empty.
    KeyPath,
    /// BIP-341 key path with this Merkle root of the script tree.
    MerkleRoot([u8; 32]),
}

impl Tweak {
    /// From the interface's form: absent, empty, or 32 bytes.
    pub fn from_bytes(bytes: Option<&[u8]>) -> Result<Self> {
        match bytes {
            None => Ok(Self::None),
            Some([]) => Ok(Self::KeyPath),
            Some(root) => root
                .try_into()
                .map(Self::MerkleRoot)
                .map_err(|_| Error::caller(Code::InvalidTweak, "a Merkle root has 32 bytes")),
        }
    }
}

/// A ciphersuite with the facts that our formats and protocols need, and the operations that its curve's library
/// does faster than `frost-core`'s generic code. Its scalars can be wiped.
pub trait Suite: Ciphersuite<Group: Group<Field: Field<Scalar: Zeroize>>> {
    /// Its name.
    const SUITE: SuiteId;
    /// Length of an encoded point, in bytes.
    const ELEMENT_LEN: usize;
    /// Length of the proof of knowledge in a round-one message: the suite's own signature encoding.
    const PROOF_LEN: usize;

    /// Refuses what the suite cannot sign.
    fn check_message(message: &[u8]) -> Result<()>;

    /// `k` times the generator, in constant time.
    fn mul_base(k: &Scalar<Self>) -> Element<Self>;

    /// The sum of `scalar * point` over all pairs. All arguments are public.
    fn sum_of_products(pairs: &[(Scalar<Self>, Element<Self>)]) -> Element<Self>;

    /// Whether a finished signature, given parsed and encoded, verifies under the key.
    fn holds(signature: &Signature<Self>, encoded: &[u8], key: &VerifyingKey<Self>, message: &[u8]) -> bool;

    /// A point that is public although it was computed from secrets: the same point, but for `native/ct`.
    fn public(point: Element<Self>) -> Element<Self> {
        point
    }

    /// The point that stands for `r` in a signature: the suite may fix its sign.
    fn normalized(r: Element<Self>) -> Element<Self> {
        r
    }

    /// The key package that signs under `tweak`: tweaked, and with the sign that the suite wants.
    fn signing_key(key: &KeyPackage<Self>, tweak: &Tweak) -> Result<KeyPackage<Self>> {
        match tweak {
            Tweak::None => Ok(key.clone()),
            _ => Err(no_tweaks()),
        }
    }

    /// The public key package under `tweak`, as `frost_core::aggregate` wants it.
    fn tweaked_public(public: PublicKeyPackage<Self>, tweak: &Tweak) -> Result<PublicKeyPackage<Self>> {
        match tweak {
            Tweak::None => Ok(public),
            _ => Err(no_tweaks()),
        }
    }

    /// A public key from any encoding that the suite's users have: `None` when it is not a valid point.
    fn decode_public_key(bytes: &[u8]) -> Option<Element<Self>> {
        codec::element_from_bytes::<Self>(bytes)
    }
}

fn no_tweaks() -> Error {
    Error::caller(Code::InvalidTweak, "this suite knows no key tweaks")
}

impl Suite for Ed25519Sha512 {
    const SUITE: SuiteId = SuiteId::FrostEd25519;
    const ELEMENT_LEN: usize = 32;
    const PROOF_LEN: usize = 32 + codec::SCALAR_LEN;

    fn check_message(message: &[u8]) -> Result<()> {
        if message.len() > MAX_MESSAGE_LEN {
            return Err(Error::caller(Code::MessageLength, "a message has at most 65536 bytes"));
        }
        Ok(())
    }

    fn mul_base(k: &Scalar<Self>) -> Element<Self> {
        EdwardsPoint::mul_base(k)
    }

    fn sum_of_products(pairs: &[(Scalar<Self>, Element<Self>)]) -> Element<Self> {
        EdwardsPoint::vartime_multiscalar_mul(pairs.iter().map(|(k, _)| k), pairs.iter().map(|(_, p)| p))
    }

    /// RFC 8032 §5.1.7 without cofactor, from the encoded signature alone: `z B - c A` must encode to its R, where c
    /// is hashed anew. Nothing that the signer computed is taken over.
    fn holds(_signature: &Signature<Self>, encoded: &[u8], key: &VerifyingKey<Self>, message: &[u8]) -> bool {
        ed25519_holds(encoded, key, message).is_some()
    }
}

impl Suite for Secp256K1Sha256TR {
    const SUITE: SuiteId = SuiteId::FrostSecp256k1Tr;
    const ELEMENT_LEN: usize = 33;
    // BIP-340 encoding: the x coordinate of R, whose y is even.
    const PROOF_LEN: usize = 32 + codec::SCALAR_LEN;

    fn check_message(message: &[u8]) -> Result<()> {
        if message.len() != 32 {
            return Err(Error::caller(Code::MessageLength, "this suite signs digests of 32 bytes"));
        }
        Ok(())
    }

    fn mul_base(k: &Scalar<Self>) -> Element<Self> {
        ProjectivePoint::mul_by_generator(k)
    }

    fn sum_of_products(pairs: &[(Scalar<Self>, Element<Self>)]) -> Element<Self> {
        secp256k1_sum_of_products(pairs)
    }

    /// libsecp256k1 verifies the encoded signature: another implementation than the one that made it, and twice as
    /// fast on public data.
    fn holds(_signature: &Signature<Self>, encoded: &[u8], key: &VerifyingKey<Self>, message: &[u8]) -> bool {
        bip340_holds(encoded, key, message).is_some()
    }

    fn normalized(r: Element<Self>) -> Element<Self> {
        if bool::from(r.to_affine().y_is_odd()) { -r } else { r }
    }

    fn signing_key(key: &KeyPackage<Self>, tweak: &Tweak) -> Result<KeyPackage<Self>> {
        let key = key.clone();
        let key = match tweak {
            Tweak::None => key,
            Tweak::KeyPath => key.tweak::<&[u8]>(None),
            Tweak::MerkleRoot(root) => key.tweak(Some(root)),
        };
        Ok(key.into_even_y(None))
    }

    fn tweaked_public(public: PublicKeyPackage<Self>, tweak: &Tweak) -> Result<PublicKeyPackage<Self>> {
        Ok(match tweak {
            Tweak::None => public,
            Tweak::KeyPath => public.tweak::<&[u8]>(None),
            Tweak::MerkleRoot(root) => public.tweak(Some(root)),
        })
    }

    fn decode_public_key(bytes: &[u8]) -> Option<Element<Self>> {
        match <[u8; 32]>::try_from(bytes) {
            // BIP-340 lift_x: of the two points with this x, the one with even y.
            Ok(x) => codec::element_from_bytes::<Self>(&[&[2], x.as_slice()].concat()),
            Err(_) => codec::element_from_bytes::<Self>(bytes),
        }
    }
}

impl Suite for Secp256K1Sha256 {
    const SUITE: SuiteId = SuiteId::EcdsaSecp256k1;
    const ELEMENT_LEN: usize = 33;
    const PROOF_LEN: usize = 33 + codec::SCALAR_LEN;

    fn check_message(_message: &[u8]) -> Result<()> {
        Err(cannot_sign())
    }

    fn mul_base(k: &Scalar<Self>) -> Element<Self> {
        ProjectivePoint::mul_by_generator(k)
    }

    fn sum_of_products(pairs: &[(Scalar<Self>, Element<Self>)]) -> Element<Self> {
        secp256k1_sum_of_products(pairs)
    }

    fn public(point: Element<Self>) -> Element<Self> {
        ecdsa::public(point)
    }

    fn holds(signature: &Signature<Self>, _encoded: &[u8], key: &VerifyingKey<Self>, message: &[u8]) -> bool {
        key.verify(message, signature).is_ok()
    }
}

fn ed25519_holds(signature: &[u8], key: &VerifyingKey<Ed25519Sha512>, message: &[u8]) -> Option<()> {
    let (r, z) = signature.split_first_chunk::<32>()?;
    let z = Option::from(curve25519_dalek::Scalar::from_canonical_bytes(z.try_into().ok()?))?;
    let key = key.to_element();
    let hash = Sha512::new().chain_update(r).chain_update(key.compress().as_bytes()).chain_update(message);
    let challenge = curve25519_dalek::Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&-challenge, &key, &z);
    (expected.compress().as_bytes() == r).then_some(())
}

fn secp256k1_sum_of_products(pairs: &[(k256::Scalar, ProjectivePoint)]) -> ProjectivePoint {
    // k256 multiplies two points at a time.
    pairs
        .chunks(2)
        .map(|chunk| match chunk {
            [(k, p), (l, q)] => ProjectivePoint::lincomb(p, k, q, l),
            _ => chunk.iter().map(|(k, p)| *p * *k).sum(),
        })
        .sum()
}

fn bip340_holds(signature: &[u8], key: &VerifyingKey<Secp256K1Sha256TR>, message: &[u8]) -> Option<()> {
    static CONTEXT: LazyLock<secp256k1::Secp256k1<secp256k1::VerifyOnly>> =
        LazyLock::new(secp256k1::Secp256k1::verification_only);
    let signature = secp256k1::schnorr::Signature::from_slice(signature).ok()?;
    let key = secp256k1::XOnlyPublicKey::from_slice(key.serialize().ok()?.get(1..)?).ok()?;
    let message = secp256k1::Message::from_digest_slice(message).ok()?;
    CONTEXT.verify_schnorr(&signature, &message, &key).ok()
}

/// The error of a suite that has keys but no signing protocol.
pub fn cannot_sign() -> Error {
    Error::caller(Code::SuiteCannotSign, "this suite does not sign by FROST")
}
