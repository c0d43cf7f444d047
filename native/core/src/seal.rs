//! Sealing of shares and other records (`docs/spec/seal.md`).
//!
//! `magic 8 ‖ salt 32 ‖ nonce 12 ‖ ciphertext ‖ tag 16`, AES-256-GCM under
//! `HKDF-SHA256(sealing key, salt, "cosigner/seal/v1")`, associated data = the first 52 bytes ‖ the caller's.
//! Every record has a key of its own, so the number of records under one sealing key is not bounded by GCM's
//! nonce length.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use argon2::{Algorithm, Argon2, Version};
use hkdf::Hkdf;
use rand_core::{CryptoRng, RngCore};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Code, Error, Result};

/// First bytes of a sealed share.
const MAGIC_SHARE: [u8; 8] = *b"COSHARE\x01";
/// First bytes of a sealed, finished key generation whose confirmations are awaited.
const MAGIC_UNCONFIRMED: [u8; 8] = *b"COUNCNF\x01";
/// First bytes of a sealed resharing or import whose confirmations are awaited.
const MAGIC_RESHARE: [u8; 8] = *b"CORESHR\x01";
/// First bytes of any other sealed record.
const MAGIC_BYTES: [u8; 8] = *b"COBYTES\x01";
const SALT_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const HEADER_LEN: usize = 8 + SALT_LEN + NONCE_LEN;
/// What sealing adds to a plaintext, in bytes.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// The longest plaintext of a record, in bytes.
pub const MAX_PLAINTEXT_LEN: usize = 1 << 20;
/// The longest associated data, in bytes.
pub const MAX_ASSOCIATED_DATA_LEN: usize = 1 << 16;

/// What a record holds. The kinds have different first bytes, so that one never opens as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key share.
    Share,
    /// The last state of a key generation: a share that is not confirmed yet.
    Unconfirmed,
    /// The last state of a resharing or import: shares that are not confirmed yet.
    Reshare,
    /// Bytes of the caller's.
    Bytes,
}

impl Kind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Share => MAGIC_SHARE,
            Self::Unconfirmed => MAGIC_UNCONFIRMED,
            Self::Reshare => MAGIC_RESHARE,
            Self::Bytes => MAGIC_BYTES,
        }
    }
}

/// Cost of deriving a sealing key from a passphrase: Argon2id, RFC 9106.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory in KiB: at least 8 per lane, at most 1 GiB.
    pub memory_kib: u32,
    /// Passes, 1..=16.
    pub iterations: u32,
    /// Lanes, 1..=16.
    pub parallelism: u32,
}

/// A 32-byte key that seals and opens records. Zeroized on drop.
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// From a data key of 32 bytes.
    ///
    /// # Errors
    /// `invalid_parameter` for another length or an all-zero key.
    pub fn from_data_key(key: &[u8]) -> Result<Self> {
        let mut own = Zeroizing::new([0; 32]);
        if key.len() != own.len() {
            return Err(Error::caller(Code::InvalidParameter, "a data key has 32 bytes"));
        }
        own.copy_from_slice(key);
        // A buffer that was wiped too early is the likeliest way to an all-zero key.
        if own.iter().fold(0, |acc, b| acc | b) == 0 {
            return Err(Error::caller(Code::InvalidParameter, "the data key is all zeros"));
        }
        Ok(Self(own))
    }

    /// From a passphrase of 1..=1024 bytes and a random salt of 16 bytes.
    ///
    /// # Errors
    /// `invalid_parameter` for anything out of bounds.
    pub fn from_passphrase(passphrase: &[u8], salt: &[u8], cost: PassphraseCost) -> Result<Self> {
        stretch(passphrase, salt, cost).map(Self)
    }

    /// One half of the key that opens a backup, for this context: HKDF-SHA256 (RFC 5869) under a label of its own.
    ///
    /// # Errors
    /// `invalid_parameter` for a context above 65536 bytes.
    pub fn backup_key(&self, context: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        if context.len() > MAX_ASSOCIATED_DATA_LEN {
            return Err(Error::caller(Code::InvalidParameter, "the context is too long"));
        }
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.0.as_ref())
            .expand_multi_info(&[b"cosigner/backup-key/v1", context], key.as_mut())
            .map_err(|_| Error::abort(Code::Internal, "key derivation failed"))?;
        Ok(key)
    }

    /// Seals `plaintext`.
    ///
    /// # Errors
    /// `invalid_parameter` when the plaintext or the associated data is too long.
    pub fn seal(
        &self,
        kind: Kind,
        plaintext: &[u8],
        associated_data: &[u8],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>> {
        if plaintext.len() > MAX_PLAINTEXT_LEN || associated_data.len() > MAX_ASSOCIATED_DATA_LEN {
            return Err(Error::caller(Code::InvalidParameter, "the record is too long"));
        }
        let mut header = [0; HEADER_LEN];
        let (magic, random) = header.split_at_mut(8);
        magic.copy_from_slice(&kind.magic());
        rng.fill_bytes(random);
        let (cipher, nonce, aad) = self.cipher(&header, associated_data)?;
        let ciphertext = cipher
            .encrypt(&nonce, Payload { msg: plaintext, aad: &aad })
            .map_err(|_| Error::abort(Code::Internal, "sealing failed"))?;
        Ok([header.as_slice(), &ciphertext].concat())
    }

    /// Opens a record of this kind.
    ///
    /// # Errors
    /// `record_malformed` when kind, version or length is wrong; `record_not_authentic` when key, associated data
    /// or any byte of the record differs from what was sealed.
    pub fn open(&self, kind: Kind, record: &[u8], associated_data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if associated_data.len() > MAX_ASSOCIATED_DATA_LEN {
            return Err(Error::caller(Code::InvalidParameter, "the associated data is too long"));
        }
        let malformed = || Error::abort(Code::RecordMalformed, "not a sealed record of this kind");
        if !(OVERHEAD..=OVERHEAD + MAX_PLAINTEXT_LEN).contains(&record.len()) {
            return Err(malformed());
        }
        let (header, ciphertext) = record.split_first_chunk::<HEADER_LEN>().ok_or_else(malformed)?;
        if !header.starts_with(&kind.magic()) {
            return Err(malformed());
        }
        let (cipher, nonce, aad) = self.cipher(header, associated_data)?;
        cipher
            .decrypt(&nonce, Payload { msg: ciphertext, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| Error::abort(Code::RecordNotAuthentic, "the record does not authenticate"))
    }

    #[allow(clippy::type_complexity)]
    fn cipher(
        &self,
        header: &[u8; HEADER_LEN],
        associated_data: &[u8],
    ) -> Result<(Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>, Vec<u8>)> {
        let internal = || Error::abort(Code::Internal, "key derivation failed");
        let (salt, nonce) =
            header.get(8..).and_then(|rest| rest.split_at_checked(SALT_LEN)).ok_or_else(internal)?;
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(salt), self.0.as_ref())
            .expand(b"cosigner/seal/v1", key.as_mut())
            .map_err(|_| internal())?;
        let cipher = Aes256Gcm::new_from_slice(key.as_ref()).map_err(|_| internal())?;
        let nonce = Nonce::try_from(nonce).map_err(|_| internal())?;
        Ok((cipher, nonce, [header, associated_data].concat()))
    }
}

/// Argon2id of a passphrase, within the bounds of [`SealingKey::from_passphrase`].
pub(crate) fn stretch(passphrase: &[u8], salt: &[u8], cost: PassphraseCost) -> Result<Zeroizing<[u8; 32]>> {
    if !(1..=1024).contains(&passphrase.len()) {
        return Err(Error::caller(Code::InvalidParameter, "a passphrase has 1 to 1024 bytes"));
    }
    if salt.len() != 16 {
        return Err(Error::caller(Code::InvalidParameter, "a salt has 16 bytes"));
    }
    let PassphraseCost { memory_kib, iterations, parallelism } = cost;
    if !(1..=16).contains(&parallelism)
        || !(1..=16).contains(&iterations)
        || !(8 * parallelism..=1 << 20).contains(&memory_kib)
    {
        return Err(Error::caller(Code::InvalidParameter, "the Argon2id cost is out of bounds"));
    }
    let bounds = |_| Error::caller(Code::InvalidParameter, "the Argon2id cost is out of bounds");
    let params = argon2::Params::new(memory_kib, iterations, parallelism, Some(32)).map_err(bounds)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut())
        .map_err(bounds)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    const COST: PassphraseCost = PassphraseCost { memory_kib: 64, iterations: 1, parallelism: 1 };

    fn key(byte: u8) -> SealingKey {
        SealingKey::from_data_key(&[byte; 32]).unwrap()
    }

    fn code<T>(result: Result<T>) -> Code {
        match result {
            Ok(_) => panic!("accepted"),
            Err(error) => error.code,
        }
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else_does() {
        let mut rng = rng(1);
        let record = key(1).seal(Kind::Bytes, b"plaintext", b"context", &mut rng).unwrap();
        assert_eq!(record.len(), 9 + OVERHEAD);
        let open = |record: &[u8], aad: &[u8]| key(1).open(Kind::Bytes, record, aad);
        assert_eq!(open(&record, b"context").unwrap().as_slice(), b"plaintext");
        assert_eq!(code(open(&record, b"Context")), Code::RecordNotAuthentic);
        assert_eq!(code(open(&record, b"")), Code::RecordNotAuthentic);
        assert_eq!(code(key(2).open(Kind::Bytes, &record, b"context")), Code::RecordNotAuthentic);
        assert_eq!(code(key(1).open(Kind::Share, &record, b"context")), Code::RecordMalformed);
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut changed = record.clone();
                changed[at] ^= 1 << bit;
                let expected = if at < 8 { Code::RecordMalformed } else { Code::RecordNotAuthentic };
                assert_eq!(code(open(&changed, b"context")), expected);
            }
        }
        for len in 0..record.len() {
            assert!(open(&record[..len], b"context").is_err());
        }
        assert!(open(&[record.as_slice(), b"\0"].concat(), b"context").is_err());
        // The boundary between header and associated data cannot be moved.
        assert!(open(&record[..record.len() - 1], b"").is_err());
    }

    #[test]
    fn records_of_one_plaintext_differ() {
        let mut rng = rng(1);
        let one = key(1).seal(Kind::Bytes, b"same", b"", &mut rng).unwrap();
        let two = key(1).seal(Kind::Bytes, b"same", b"", &mut rng).unwrap();
        assert_ne!(one[8..52], two[8..52]);
        assert_ne!(one[52..], two[52..]);
    }

    #[test]
    fn lengths_are_bounded() {
        let mut rng = rng(1);
        let long = vec![0; MAX_PLAINTEXT_LEN + 1];
        assert_eq!(code(key(1).seal(Kind::Bytes, &long, b"", &mut rng)), Code::InvalidParameter);
        let longest = key(1).seal(Kind::Bytes, &long[1..], b"", &mut rng).unwrap();
        assert_eq!(key(1).open(Kind::Bytes, &longest, b"").unwrap().len(), MAX_PLAINTEXT_LEN);
        assert_eq!(code(key(1).open(Kind::Bytes, &[longest, vec![0]].concat(), b"")), Code::RecordMalformed);
        let aad = vec![0; MAX_ASSOCIATED_DATA_LEN + 1];
        assert_eq!(code(key(1).seal(Kind::Bytes, b"", &aad, &mut rng)), Code::InvalidParameter);
        assert_eq!(code(key(1).open(Kind::Bytes, &[0; 80], &aad)), Code::InvalidParameter);
    }

    #[test]
    fn data_keys_are_checked() {
        for bad in [&[][..], &[1; 31], &[1; 33], &[0; 32]] {
            assert_eq!(code(SealingKey::from_data_key(bad)), Code::InvalidParameter);
        }
    }

    #[test]
    fn passphrases_derive_argon2id_keys() {
        // Checked with the reference implementation's Python binding (argon2-cffi, Type.ID, version 19).
        let key = SealingKey::from_passphrase(b"correct horse", b"sixteen byte slt", COST).unwrap();
        assert_eq!(hex::encode(key.0.as_ref()), ARGON2ID_KEY);
        let mut rng = rng(1);
        let record = key.seal(Kind::Bytes, b"x", b"", &mut rng).unwrap();
        let wrong = SealingKey::from_passphrase(b"correct hors", b"sixteen byte slt", COST).unwrap();
        assert_eq!(code(wrong.open(Kind::Bytes, &record, b"")), Code::RecordNotAuthentic);
    }

    const ARGON2ID_KEY: &str = "588718e4962a0dbad85c0a1609d282bc5b5ba3a39dd2cf67e31b4e6f1897fb9c";

    #[test]
    fn passphrase_costs_are_bounded() {
        let derive =
            |passphrase: &[u8], salt: &[u8], cost| code(SealingKey::from_passphrase(passphrase, salt, cost));
        for cost in [
            PassphraseCost { memory_kib: 7, ..COST },
            PassphraseCost { memory_kib: (1 << 20) + 1, ..COST },
            PassphraseCost { memory_kib: u32::MAX, ..COST },
            PassphraseCost { iterations: 0, ..COST },
            PassphraseCost { iterations: 17, ..COST },
            PassphraseCost { parallelism: 0, ..COST },
            PassphraseCost { parallelism: 17, memory_kib: 1 << 16, ..COST },
            PassphraseCost { parallelism: u32::MAX, ..COST },
            PassphraseCost { parallelism: 9, ..COST },
        ] {
            assert_eq!(derive(b"p", &[0; 16], cost), Code::InvalidParameter);
        }
        assert_eq!(derive(b"", &[0; 16], COST), Code::InvalidParameter);
        assert_eq!(derive(&[0; 1025], &[0; 16], COST), Code::InvalidParameter);
        assert_eq!(derive(b"p", &[0; 15], COST), Code::InvalidParameter);
    }
}
