//! A passcode: what it proves to the enclave, and its half of the key of a backup.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Code, Error, Result};
use crate::seal::{PassphraseCost, SealingKey, stretch};

/// The longest context, in bytes.
const MAX_CONTEXT_LEN: usize = 1024;

/// Argon2id of a passcode, computed once for both of its uses. Zeroized on drop.
pub struct Passcode(Zeroizing<[u8; 32]>);

impl Passcode {
    /// From a passcode of 1..=1024 bytes and a salt of 16 bytes.
    ///
    /// # Errors
    /// `invalid_parameter` for anything out of bounds.
    pub fn new(passcode: &[u8], salt: &[u8], cost: PassphraseCost) -> Result<Self> {
        stretch(passcode, salt, cost).map(Self)
    }

    /// What shows the enclave that the passcode is known, 32 bytes: it counts the guesses. It opens nothing.
    ///
    /// # Errors
    /// `invalid_parameter`: a context of more than 1024 bytes.
    pub fn proof(&self, context: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        derive(self.0.as_ref(), b"cosigner/passcode/v1/proof", context)
    }

    /// The key of a backup: of this passcode and the enclave's backup key. Neither alone says anything about it.
    ///
    /// # Errors
    /// `invalid_parameter`: a backup key that has not 32 bytes or is all zeros, or a context of more than 1024 bytes.
    pub fn sealing_key(&self, backup_key: &[u8], context: &[u8]) -> Result<SealingKey> {
        // Checks its length, and that it was not wiped too early.
        SealingKey::from_data_key(backup_key)?;
        let both = Zeroizing::new([self.0.as_ref(), backup_key].concat());
        SealingKey::from_data_key(derive(&both, b"cosigner/passcode/v1/seal", context)?.as_ref())
    }
}

impl fmt::Debug for Passcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Passcode>")
    }
}

/// HKDF-SHA256 without a salt, info = label ‖ context. No label begins with another one.
fn derive(secret: &[u8], label: &[u8], context: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    if context.len() > MAX_CONTEXT_LEN {
        return Err(Error::caller(Code::InvalidParameter, "a context has at most 1024 bytes"));
    }
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(&[label, context], key.as_mut())
        .map_err(|_| Error::abort(Code::Internal, "key derivation failed"))?;
    Ok(key)
}
