//! An unsigned transaction: parsing, digest, and the signed transaction.

use alloy_consensus::transaction::RlpEcdsaEncodableTx;
use alloy_consensus::{
    EthereumTypedTransaction, SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy,
};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};

use super::rlp::Fields;
use super::{MAX_LEN, key};
use crate::error::{Code, Error, Result};

pub(super) type Transaction = EthereumTypedTransaction<TxEip4844>;

/// The version byte of a blob's hash (EIP-4844, `VERSIONED_HASH_VERSION_KZG`).
const KZG_VERSION: u8 = 1;

/// A checked transaction without a signature.
#[derive(Clone, Debug)]
pub struct UnsignedTransaction {
    pub(super) transaction: Transaction,
}

/// A transaction for the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// EIP-2718 encoding; of a blob transaction without its sidecar.
    pub raw: Vec<u8>,
    /// The transaction's id.
    pub hash: [u8; 32],
}

impl UnsignedTransaction {
    /// Parses the bytes whose hash is signed: `rlp(fields, chain id, 0, 0)` (EIP-155) or `type || rlp(fields)`.
    ///
    /// # Errors
    /// `evm_too_large`, `evm_malformed`, `evm_type_unsupported`, `evm_no_replay_protection`, `evm_already_signed`,
    /// `evm_invalid`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_LEN {
            return Err(Error::new(Code::EvmTooLarge, "a transaction has at most 131072 bytes"));
        }
        let transaction = match bytes.split_first() {
            None => return Err(Error::new(Code::EvmMalformed, "the transaction is empty")),
            Some((0xc0.., _)) => legacy(Fields::of(bytes)?)?.into(),
            Some((1, fields)) => typed(fields, eip2930)?.into(),
            Some((2, fields)) => typed(fields, eip1559)?.into(),
            Some((3, fields)) => typed(fields, eip4844)?.into(),
            Some((4, fields)) => typed(fields, eip7702)?.into(),
            Some((0x80.., _)) => {
                return Err(
                    Error::new(Code::EvmMalformed, "a list is expected, these are bytes").at("transaction")
                );
            }
            Some(_) => {
                return Err(Error::new(
                    Code::EvmTypeUnsupported,
                    "only legacy transactions (which have no type byte) and types 1 to 4 are signed",
                )
                .at("type"));
            }
        };
        let unsigned = Self { transaction };
        if unsigned.encoded() != bytes {
            return Err(Error::new(Code::EvmMalformed, "the transaction is not in its only encoding"));
        }
        Ok(unsigned)
    }

    /// The bytes that were parsed, as `alloy` encodes them.
    pub fn encoded(&self) -> Vec<u8> {
        self.transaction.encoded_for_signing()
    }

    /// What the signature covers: Keccak-256 of the parsed bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.transaction.signature_hash().0
    }

    /// Puts the wallet's signature on the transaction.
    ///
    /// # Errors
    /// `invalid_public_key`, `evm_signature_invalid`.
    pub fn assemble(
        &self,
        signature: &[u8],
        recovery_id: u8,
        public_key: &[u8],
    ) -> Result<SignedTransaction> {
        let signature = key::verified(&self.digest(), signature, recovery_id, public_key)?;
        let mut raw = Vec::new();
        self.transaction.eip2718_encode(&signature, &mut raw);
        Ok(SignedTransaction { raw, hash: self.transaction.tx_hash(&signature).0 })
    }
}

fn legacy(mut fields: Fields<'_>) -> Result<TxLegacy> {
    let transaction = TxLegacy {
        nonce: fields.read("nonce")?,
        gas_price: fields.read("gas_price")?,
        gas_limit: fields.read("gas_limit")?,
        to: fields.read("to")?,
        value: fields.read("value")?,
        input: fields.read("data")?,
        chain_id: None,
    };
    if fields.is_empty() {
        return Err(Error::new(
            Code::EvmNoReplayProtection,
            "without a chain id (EIP-155) the transaction would be valid on every chain; it is not signed",
        )
        .at("chain_id"));
    }
    let chain_id = fields.read("chain_id")?;
    // EIP-155: two empty fields stand where a signed transaction has r and s.
    let r: U256 = fields.read("r")?;
    let s: U256 = fields.read("s")?;
    if !r.is_zero() || !s.is_zero() {
        return Err(already_signed().at("r"));
    }
    if !fields.is_empty() {
        return Err(too_many_fields());
    }
    Ok(TxLegacy { chain_id: Some(chain_id), ..transaction })
}

/// The fields of a typed transaction, and nothing after them.
fn typed<T>(bytes: &[u8], parse: impl Fn(&mut Fields<'_>) -> Result<T>) -> Result<T> {
    let mut fields = Fields::of(bytes)?;
    let transaction = parse(&mut fields)?;
    if fields.is_empty() {
        return Ok(transaction);
    }
    let signature: Result<[U256; 3]> = ["y_parity", "r", "s"]
        .map(|name| fields.read(name))
        .into_iter()
        .collect::<Result<Vec<_>>>()
        .and_then(|numbers| <[U256; 3]>::try_from(numbers).map_err(|_| too_many_fields()));
    Err(if signature.is_ok() && fields.is_empty() { already_signed() } else { too_many_fields() })
}

fn already_signed() -> Error {
    Error::new(Code::EvmAlreadySigned, "the transaction has a signature already")
}

fn too_many_fields() -> Error {
    Error::new(Code::EvmMalformed, "the transaction has more fields than its type").at("transaction")
}

fn eip2930(fields: &mut Fields<'_>) -> Result<TxEip2930> {
    Ok(TxEip2930 {
        chain_id: fields.read("chain_id")?,
        nonce: fields.read("nonce")?,
        gas_price: fields.read("gas_price")?,
        gas_limit: fields.read("gas_limit")?,
        to: fields.read("to")?,
        value: fields.read("value")?,
        input: fields.read("data")?,
        access_list: access_list(fields)?,
    })
}

/// The fields that types 2, 3 and 4 begin with.
struct Common {
    chain_id: u64,
    nonce: u64,
    max_priority_fee_per_gas: u128,
    max_fee_per_gas: u128,
    gas_limit: u64,
    to: TxKind,
    value: U256,
    input: Bytes,
    access_list: AccessList,
}

fn common(fields: &mut Fields<'_>) -> Result<Common> {
    Ok(Common {
        chain_id: fields.read("chain_id")?,
        nonce: fields.read("nonce")?,
        max_priority_fee_per_gas: fields.read("max_priority_fee_per_gas")?,
        max_fee_per_gas: fields.read("max_fee_per_gas")?,
        gas_limit: fields.read("gas_limit")?,
        to: fields.read("to")?,
        value: fields.read("value")?,
        input: fields.read("data")?,
        access_list: access_list(fields)?,
    })
}

fn eip1559(fields: &mut Fields<'_>) -> Result<TxEip1559> {
    let Common {
        chain_id,
        nonce,
        max_priority_fee_per_gas,
        max_fee_per_gas,
        gas_limit,
        to,
        value,
        input,
        access_list,
    } = common(fields)?;
    Ok(TxEip1559 {
        chain_id,
        nonce,
        gas_limit,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        to,
        value,
        access_list,
        input,
    })
}

fn eip4844(fields: &mut Fields<'_>) -> Result<TxEip4844> {
    let common = common(fields)?;
    let max_fee_per_blob_gas = fields.read("max_fee_per_blob_gas")?;
    let blob_versioned_hashes =
        fields.read_list("blob_versioned_hashes", |list, name| list.read::<B256>(name))?;
    if blob_versioned_hashes.is_empty() {
        return Err(invalid("a blob transaction has at least one blob", "blob_versioned_hashes"));
    }
    if let Some(index) = blob_versioned_hashes.iter().position(|hash| hash.0.first() != Some(&KZG_VERSION)) {
        return Err(invalid(
            "the hash of a blob begins with its version, 01",
            format!("blob_versioned_hashes[{index}]"),
        ));
    }
    Ok(TxEip4844 {
        chain_id: common.chain_id,
        nonce: common.nonce,
        gas_limit: common.gas_limit,
        max_fee_per_gas: common.max_fee_per_gas,
        max_priority_fee_per_gas: common.max_priority_fee_per_gas,
        to: recipient(common.to)?,
        value: common.value,
        access_list: common.access_list,
        blob_versioned_hashes,
        max_fee_per_blob_gas,
        input: common.input,
    })
}

fn eip7702(fields: &mut Fields<'_>) -> Result<TxEip7702> {
    let common = common(fields)?;
    let authorization_list = fields.read_list("authorization_list", |list, name| {
        list.read_fields(name, |fields| {
            let inner = Authorization {
                chain_id: fields.read("chain_id")?,
                address: fields.read("address")?,
                nonce: fields.read("nonce")?,
            };
            let (y_parity, r, s) = (fields.read("y_parity")?, fields.read("r")?, fields.read("s")?);
            Ok(SignedAuthorization::new_unchecked(inner, y_parity, r, s))
        })
    })?;
    if authorization_list.is_empty() {
        return Err(invalid("a set-code transaction has at least one authorization", "authorization_list"));
    }
    Ok(TxEip7702 {
        chain_id: common.chain_id,
        nonce: common.nonce,
        gas_limit: common.gas_limit,
        max_fee_per_gas: common.max_fee_per_gas,
        max_priority_fee_per_gas: common.max_priority_fee_per_gas,
        to: recipient(common.to)?,
        value: common.value,
        access_list: common.access_list,
        authorization_list,
        input: common.input,
    })
}

fn access_list(fields: &mut Fields<'_>) -> Result<AccessList> {
    let items = fields.read_list("access_list", |list, name| {
        list.read_fields(name, |fields| {
            Ok(AccessListItem {
                address: fields.read("address")?,
                storage_keys: fields.read_list("storage_keys", |list, name| list.read(name))?,
            })
        })
    })?;
    Ok(AccessList(items))
}

fn recipient(to: TxKind) -> Result<Address> {
    to.into_to().ok_or_else(|| invalid("a transaction of this type cannot create a contract", "to"))
}

fn invalid(text: &'static str, field: impl Into<String>) -> Error {
    Error::new(Code::EvmInvalid, text).at(field)
}
