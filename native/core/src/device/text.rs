//! Private keys as text: what wallets of the chains write and read.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::SecretKey;
use super::secret::invalid;
use crate::error::{Code, Error, Result};
use crate::suite::SuiteId;

/// Length of a key in the Wallet Import Format for a compressed public key, in bytes: version, key, 1, checksum.
const WIF_LEN: usize = 1 + 32 + 1 + 4;
/// The longest text of that length: 38 bytes in base58.
const MAX_WIF_TEXT_LEN: usize = 52;
/// Length of a Solana key pair, in bytes: seed, public key.
const KEYPAIR_LEN: usize = 64;
/// The longest text of that length in base58.
const MAX_KEYPAIR_BASE58_LEN: usize = 88;
/// 64 numbers with generous white space.
const MAX_KEYPAIR_JSON_LEN: usize = 1024;

/// Which of Bitcoin's networks an encoded key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// `mainnet`.
    Mainnet,
    /// `testnet`: all test networks, which share one version byte.
    Testnet,
}

impl Network {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
        }
    }

    const fn version(self) -> u8 {
        match self {
            Self::Mainnet => 0x80,
            Self::Testnet => 0xef,
        }
    }
}

/// A form in which a whole key is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// `hex`: 64 hexadecimal digits. For secp256k1.
    Hex,
    /// `wif:mainnet`, `wif:testnet`: Wallet Import Format, for a compressed public key. For `frost-secp256k1-tr`.
    Wif(Network),
    /// `solana-expanded`: scalar and prefix, 128 hexadecimal digits. For Ed25519.
    SolanaExpanded,
    /// `solana-keypair`: the JSON array of 64 numbers of a key pair's file. For Ed25519 keys that came from a seed.
    SolanaKeypair,
}

impl Export {
    /// The format of this name.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "hex" => Ok(Self::Hex),
            "wif:mainnet" => Ok(Self::Wif(Network::Mainnet)),
            "wif:testnet" => Ok(Self::Wif(Network::Testnet)),
            "solana-expanded" => Ok(Self::SolanaExpanded),
            "solana-keypair" => Ok(Self::SolanaKeypair),
            _ => Err(Error::caller(Code::InvalidParameter, "there is no export format of that name")),
        }
    }
}

impl SecretKey {
    /// From the Wallet Import Format, for a compressed public key: a Taproot internal key. White space around it is
    /// ignored.
    ///
    /// # Errors
    /// `invalid_secret_key`, `key_checksum_mismatch`, `unsupported_key`.
    pub fn from_wif(text: &[u8]) -> Result<(Self, Network)> {
        let mut buffer = Zeroizing::new([0; WIF_LEN]);
        let decoded = base58(text, MAX_WIF_TEXT_LEN, buffer.as_mut())?;
        let (payload, checksum) =
            decoded.split_last_chunk::<4>().ok_or_else(|| invalid("the text is too short for a key"))?;
        if !bool::from(checksum.ct_eq(&wif_checksum(payload))) {
            return Err(Error::caller(Code::KeyChecksumMismatch, "the key's checksum is wrong"));
        }
        let [version, rest @ ..] = payload else { return Err(invalid("the text is too short for a key")) };
        let network = [Network::Mainnet, Network::Testnet]
            .into_iter()
            .find(|network| network.version() == *version)
            .ok_or_else(|| unsupported("a key of none of Bitcoin's networks"))?;
        match rest {
            [scalar @ .., 1] if scalar.len() == 32 => {
                Ok((Self::from_bytes(SuiteId::FrostSecp256k1Tr, scalar)?, network))
            }
            _ if rest.len() == 32 => {
                Err(unsupported("a key for an uncompressed public key, which Taproot has not"))
            }
            _ => Err(invalid("not the layout of a key")),
        }
    }

    /// From a Solana key pair: its file's JSON array of 64 numbers, or the 64 bytes in base58. White space around it is
    /// ignored.
    ///
    /// # Errors
    /// `invalid_secret_key`; `public_key_mismatch`: the last 32 bytes are not the key of the first 32.
    pub fn from_solana_keypair(text: &[u8]) -> Result<Self> {
        let mut buffer = Zeroizing::new([0; KEYPAIR_LEN]);
        if text.trim_ascii_start().starts_with(b"[") {
            json_bytes(text, &mut buffer)?;
        } else if base58(text, MAX_KEYPAIR_BASE58_LEN, buffer.as_mut())?.len() != KEYPAIR_LEN {
            return Err(invalid("a Solana key pair has 64 bytes"));
        }
        let (seed, public_key) = buffer.split_at(32);
        let key = Self::from_ed25519_seed(seed)?;
        if key.public_key() != public_key {
            return Err(Error::caller(
                Code::PublicKeyMismatch,
                "the public half of the key pair does not belong to its private half",
            ));
        }
        Ok(key)
    }

    /// The key as text.
    ///
    /// # Errors
    /// `export_unavailable`: the format is not for this suite, or needs a seed and the key has none.
    pub fn export(&self, format: Export) -> Result<Zeroizing<String>> {
        match (format, self.suite()) {
            (Export::Hex, SuiteId::FrostSecp256k1Tr | SuiteId::EcdsaSecp256k1) => Ok(hex(&[self.scalar()])),
            (Export::Wif(network), SuiteId::FrostSecp256k1Tr) => wif(self.scalar(), network),
            (Export::SolanaExpanded, SuiteId::FrostEd25519) => Ok(hex(&[self.scalar(), &self.prefix()])),
            (Export::SolanaKeypair, SuiteId::FrostEd25519) => self.keypair(),
            _ => Err(unavailable("keys of this suite have no such form")),
        }
    }

    fn keypair(&self) -> Result<Zeroizing<String>> {
        let seed = self
            .seed()
            .ok_or_else(|| unavailable("the key did not come from a seed, and none can be found"))?;
        let mut out = Zeroizing::new(String::with_capacity(KEYPAIR_LEN * 4 + 1));
        let mut before = '[';
        for byte in seed.iter().chain(self.public_key()) {
            out.push(before);
            before = ',';
            write!(out, "{byte}").map_err(|_| Error::abort(Code::Internal, "formatting failed"))?;
        }
        out.push(']');
        Ok(out)
    }
}

fn wif(scalar: &[u8; 32], network: Network) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(WIF_LEN));
    bytes.push(network.version());
    bytes.extend_from_slice(scalar);
    bytes.push(1);
    let checksum = wif_checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    let mut out = Zeroizing::new("1".repeat(MAX_WIF_TEXT_LEN));
    let len = bs58::encode(bytes.as_slice())
        .onto(out.as_mut_str())
        .map_err(|_| Error::abort(Code::Internal, "base58 does not fit"))?;
    out.truncate(len);
    Ok(out)
}

/// The first four bytes of SHA-256 twice (Base58Check).
fn wif_checksum(payload: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(Sha256::digest(payload)).into();
    [a, b, c, d]
}

/// Decodes base58 into `buffer`, and returns what was written.
fn base58<'a>(text: &[u8], max_len: usize, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let text = text.trim_ascii();
    // Before decoding, whose work grows with the square of the length.
    if text.is_empty() || text.len() > max_len {
        return Err(invalid("the text has not the length of a key"));
    }
    let len =
        bs58::decode(text).onto(&mut *buffer).map_err(|_| invalid("the text is not a key in base58"))?;
    buffer.get(..len).ok_or_else(|| Error::abort(Code::Internal, "base58 does not fit"))
}

/// Reads a JSON array of exactly 64 numbers 0..=255 (RFC 8259: no leading zeros, no signs) and nothing else.
fn json_bytes(text: &[u8], out: &mut [u8; KEYPAIR_LEN]) -> Result<()> {
    let malformed = || invalid("not a JSON array of 64 numbers from 0 to 255");
    if text.len() > MAX_KEYPAIR_JSON_LEN {
        return Err(malformed());
    }
    let inner = text
        .trim_ascii()
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"))
        .ok_or_else(malformed)?;
    let mut numbers = inner.split(|byte| *byte == b',');
    for byte in out.iter_mut() {
        *byte = numbers.next().and_then(|number| json_byte(number.trim_ascii())).ok_or_else(malformed)?;
    }
    if numbers.next().is_some() { Err(malformed()) } else { Ok(()) }
}

fn json_byte(digits: &[u8]) -> Option<u8> {
    match digits {
        [] => None,
        [b'0', _, ..] => None,
        _ => digits.iter().try_fold(0_u8, |number, digit| {
            let value = digit.checked_sub(b'0').filter(|value| *value <= 9)?;
            number.checked_mul(10)?.checked_add(value)
        }),
    }
}

/// Lower-case hexadecimal digits, without a table.
fn hex(parts: &[&[u8; 32]]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(64 * parts.len()));
    for nibble in parts.iter().flat_map(|part| part.iter()).flat_map(|byte| [byte >> 4, byte & 15]) {
        // 0x27 lies between '9' + 1 and 'a'; the mask is all ones from 10 on.
        let letter = 9_u8.wrapping_sub(nibble) >> 7;
        out.push(char::from(b'0' + nibble + letter * 0x27));
    }
    out
}

fn unsupported(message: &'static str) -> Error {
    Error::caller(Code::UnsupportedKey, message)
}

fn unavailable(message: &'static str) -> Error {
    Error::caller(Code::ExportUnavailable, message)
}
