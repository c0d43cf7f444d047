//! Recovery phrases: BIP-39 with the English word list.

use bip39::{Language, Mnemonic};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::{SecretKey, tree};
use crate::error::{Code, Error, Result};
use crate::suite::SuiteId;

/// The longest phrase and the longest passphrase, in bytes. 24 words have at most 215.
const MAX_TEXT_LEN: usize = 1024;

impl SecretKey {
    /// The key at `path` below a phrase: BIP-32 for the secp256k1 suites, SLIP-10 for Ed25519. The chain code is the
    /// node's.
    ///
    /// `phrase` is 12, 15, 18, 21 or 24 lower-case English words between any white space, with a right checksum;
    /// `passphrase` is UTF-8, of any form of normalization, and often empty.
    ///
    /// # Errors
    /// `invalid_phrase`, `phrase_checksum_mismatch`; `invalid_parameter`: a passphrase that is too long or not UTF-8;
    /// `invalid_path`, see [`tree::parse_path`].
    pub fn from_mnemonic(suite: SuiteId, phrase: &[u8], passphrase: &[u8], path: &str) -> Result<Self> {
        let path = tree::parse_path(path)?;
        let seed = seed(phrase, passphrase)?;
        match suite {
            SuiteId::FrostEd25519 => {
                let node = tree::slip10_ed25519(seed.as_ref(), &path)?;
                Self::from_seed(node.key.as_ref(), Some(node.chain_code))
            }
            SuiteId::FrostSecp256k1Tr | SuiteId::EcdsaSecp256k1 => {
                let node = tree::bip32(seed.as_ref(), &path)?;
                Self::new(suite, node.key.as_ref(), None, Some(node.chain_code))
            }
        }
    }
}

/// BIP-39's binary seed, 64 bytes.
fn seed(phrase: &[u8], passphrase: &[u8]) -> Result<Zeroizing<[u8; 64]>> {
    if phrase.len() > MAX_TEXT_LEN {
        return Err(refused("the phrase is too long"));
    }
    let phrase = std::str::from_utf8(phrase).map_err(|_| refused("the phrase is not text"))?;
    let phrase = Mnemonic::parse_in_normalized(Language::English, phrase).map_err(error)?;
    Ok(Zeroizing::new(phrase.to_seed_normalized(normalized(passphrase)?.as_str())))
}

/// The passphrase in NFKD. Sized before it is written, so that no smaller buffer is left behind.
fn normalized(passphrase: &[u8]) -> Result<Zeroizing<String>> {
    let refused = |message| Error::caller(Code::InvalidParameter, message);
    if passphrase.len() > MAX_TEXT_LEN {
        return Err(refused("the passphrase is too long"));
    }
    let text = std::str::from_utf8(passphrase).map_err(|_| refused("the passphrase is not UTF-8"))?;
    let mut out = Zeroizing::new(String::with_capacity(text.nfkd().map(char::len_utf8).sum()));
    out.extend(text.nfkd());
    Ok(out)
}

/// Names the place of a wrong word, never the word.
fn error(error: bip39::Error) -> Error {
    match error {
        bip39::Error::BadWordCount(_) => refused("a phrase has 12, 15, 18, 21 or 24 words"),
        bip39::Error::UnknownWord(at) => Error::caller(
            Code::InvalidPhrase,
            format!("word {} of the phrase is not in BIP-39's English list", at.saturating_add(1)),
        ),
        bip39::Error::InvalidChecksum => Error::caller(
            Code::PhraseChecksumMismatch,
            "the phrase's checksum is wrong: a word was mistaken, or the order",
        ),
        bip39::Error::BadEntropyBitCount(_) | bip39::Error::AmbiguousLanguages(_) => {
            refused("not a phrase of BIP-39")
        }
    }
}

fn refused(message: &'static str) -> Error {
    Error::caller(Code::InvalidPhrase, message)
}
