//! A message: parsing, checks, assembly of the wire transaction.

use std::collections::{BTreeMap, BTreeSet};

use solana_message::{Address, VersionedMessage};

use super::instruction::Instruction;
use crate::error::{Code, Error, Result};

/// Longest transaction on the wire: IPv6's minimum MTU less headers (`PACKET_DATA_SIZE`).
const MAX_TRANSACTION_LEN: usize = 1232;
const SIGNATURE_LEN: usize = 64;

/// The versions that exist and that this signer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Without a version prefix.
    Legacy,
    /// Version 0, with address table lookups.
    V0,
}

/// Accounts that a v0 message takes from an address lookup table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The table's account.
    pub table: String,
    /// Indexes of writable accounts in the table.
    pub writable: Vec<u8>,
    /// Indexes of read-only accounts in the table.
    pub readonly: Vec<u8>,
}

/// A checked message.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Vec<u8>,
    version: Version,
    message: VersionedMessage,
}

impl Message {
    /// Parses and checks a message.
    ///
    /// # Errors
    /// `solana_too_large`, `solana_malformed`, `solana_version_unsupported`, `solana_invalid`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        // One signature and its count are the least that a transaction adds.
        if bytes.len() > MAX_TRANSACTION_LEN - 1 - SIGNATURE_LEN {
            return Err(Error::new(Code::SolanaTooLarge, "the message does not fit a transaction"));
        }
        let version = match bytes.first() {
            Some(first) if first & 0x80 == 0 => Version::Legacy,
            Some(0x80) => Version::V0,
            Some(_) => {
                return Err(Error::new(
                    Code::SolanaVersionUnsupported,
                    "only legacy and version 0 messages are signed",
                ));
            }
            None => return Err(Error::new(Code::SolanaMalformed, "the message is empty")),
        };
        let malformed = || Error::new(Code::SolanaMalformed, "not a well-formed message");
        let message: VersionedMessage = wincode::deserialize_exact(bytes).map_err(|_| malformed())?;
        if message.serialize() != bytes {
            return Err(malformed());
        }
        let parsed = Self { bytes: bytes.to_vec(), version, message };
        parsed.check()?;
        Ok(parsed)
    }

    fn check(&self) -> Result<()> {
        self.message.sanitize().map_err(|_| {
            Error::new(Code::SolanaInvalid, "an index or a count of the message is out of bounds")
        })?;
        let keys = self.message.static_account_keys();
        let distinct: BTreeSet<_> = keys.iter().map(Address::to_bytes).collect();
        if distinct.len() != keys.len() {
            return Err(Error::new(Code::SolanaInvalid, "an account occurs twice").at("account_keys"));
        }
        let signatures = self.signer_count();
        // The count of signatures is one byte up to 127, and sanitizing bounds it by the accounts.
        if 1 + signatures * SIGNATURE_LEN + self.bytes.len() > MAX_TRANSACTION_LEN {
            return Err(Error::new(
                Code::SolanaTooLarge,
                "with its signatures the transaction would exceed 1232 bytes",
            ));
        }
        Ok(())
    }

    /// Exactly what the signatures cover.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The recent blockhash (or durable nonce), base58.
    pub fn recent_blockhash(&self) -> String {
        self.message.recent_blockhash().to_string()
    }

    fn signer_count(&self) -> usize {
        usize::from(self.message.header().num_required_signatures)
    }

    /// The accounts that must sign, in order; the first pays the fee.
    pub fn required_signers(&self) -> Vec<[u8; 32]> {
        self.message.static_account_keys().iter().take(self.signer_count()).map(Address::to_bytes).collect()
    }

    /// The accounts that are named in the message itself, base58, each with whether it is writable.
    pub fn accounts(&self) -> Vec<(String, bool)> {
        let header = self.message.header();
        let keys = self.message.static_account_keys();
        let signers = self.signer_count();
        let writable_signers = signers.saturating_sub(usize::from(header.num_readonly_signed_accounts));
        let writable_end = keys.len().saturating_sub(usize::from(header.num_readonly_unsigned_accounts));
        keys.iter()
            .enumerate()
            .map(|(i, key)| {
                (key.to_string(), if i < signers { i < writable_signers } else { i < writable_end })
            })
            .collect()
    }

    /// The instructions, decoded where known.
    pub fn instructions(&self) -> Vec<Instruction> {
        let keys = self.message.static_account_keys();
        self.message.instructions().iter().map(|compiled| Instruction::decode(compiled, keys)).collect()
    }

    /// The address table lookups; none in a legacy message.
    pub fn lookups(&self) -> Vec<Lookup> {
        self.message
            .address_table_lookups()
            .unwrap_or_default()
            .iter()
            .map(|lookup| Lookup {
                table: lookup.account_key.to_string(),
                writable: lookup.writable_indexes.clone(),
                readonly: lookup.readonly_indexes.clone(),
            })
            .collect()
    }

    /// The wire transaction: count of signatures, signatures in the signers' order, message.
    ///
    /// `verify` is called with each signer's key and signature over [`Self::signed_bytes`].
    ///
    /// # Errors
    /// `solana_missing_signature`, `solana_unexpected_signature`, `solana_signature_invalid`.
    pub fn assemble(
        &self,
        signatures: &BTreeMap<Vec<u8>, Vec<u8>>,
        verify: impl Fn(&[u8; 32], &[u8], &[u8]) -> bool,
    ) -> Result<Vec<u8>> {
        let signers = self.required_signers();
        if let Some(stranger) = signatures.keys().find(|key| !signers.iter().any(|s| s == key.as_slice())) {
            let error =
                Error::new(Code::SolanaUnexpectedSignature, "a signature is not of a required signer");
            return Err(match <[u8; 32]>::try_from(stranger.as_slice()) {
                Ok(key) => error.at(address(&key)),
                Err(_) => error,
            });
        }
        let count = u8::try_from(signers.len())
            .map_err(|_| Error::new(Code::SolanaInvalid, "there are too many signers"))?;
        let mut wire = vec![count];
        for signer in &signers {
            let signature = signatures.get(signer.as_slice()).ok_or_else(|| {
                Error::new(Code::SolanaMissingSignature, "a required signature is missing")
                    .at(address(signer))
            })?;
            if signature.len() != SIGNATURE_LEN || !verify(signer, &self.bytes, signature) {
                return Err(Error::new(Code::SolanaSignatureInvalid, "a signature does not verify")
                    .at(address(signer)));
            }
            wire.extend_from_slice(signature);
        }
        wire.extend_from_slice(&self.bytes);
        Ok(wire)
    }
}

/// The address of a public key: base58 of its 32 bytes.
pub fn address(public_key: &[u8; 32]) -> String {
    Address::new_from_array(*public_key).to_string()
}
