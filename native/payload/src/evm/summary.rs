//! What a transaction does, in plain types.

use alloy_consensus::{Transaction as _, Typed2718};
use alloy_primitives::U256;

use super::call::Call;
use super::key;
use super::transaction::UnsignedTransaction;

/// What a transaction does. Amounts in wei, big-endian where they have 32 bytes; addresses in EIP-55 form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// 0 to 4.
    pub kind: u8,
    /// The chain.
    pub chain_id: u64,
    /// Transactions that the sender sent before.
    pub nonce: u64,
    /// Receiver or contract; `None` creates a contract.
    pub to: Option<String>,
    /// Sent along.
    pub value: [u8; 32],
    /// Upper bound of the gas.
    pub gas_limit: u64,
    /// Types 0 and 1.
    pub gas_price: Option<u128>,
    /// Types 2 to 4.
    pub max_fee_per_gas: Option<u128>,
    /// Types 2 to 4.
    pub max_priority_fee_per_gas: Option<u128>,
    /// Type 3.
    pub max_fee_per_blob_gas: Option<u128>,
    /// The most that all gas can cost.
    pub max_fee: [u8; 32],
    /// Argument of the call, or code that creates the contract.
    pub data: Vec<u8>,
    /// The first four bytes of a call's data.
    pub selector: Option<[u8; 4]>,
    /// The call, where it is a known one.
    pub call: Option<Call>,
    /// Types 1 to 4.
    pub access_list: Vec<Access>,
    /// Type 3.
    pub blob_versioned_hashes: Vec<[u8; 32]>,
    /// Type 4.
    pub authorizations: Vec<Authorization>,
}

/// An entry of an access list (EIP-2930).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The account.
    pub address: String,
    /// Its storage slots.
    pub storage_keys: Vec<[u8; 32]>,
}

/// Somebody's permission to run a contract's code as their account (EIP-7702).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The chain; zero for every chain.
    pub chain_id: [u8; 32],
    /// Whose code.
    pub address: String,
    /// The account's nonce.
    pub nonce: u64,
    /// Who signed it; `None` where its signature is invalid, so that chains ignore it.
    pub authority: Option<String>,
}

impl UnsignedTransaction {
    /// What the transaction does.
    pub fn summary(&self) -> Summary {
        let tx = &self.transaction;
        let dynamic = tx.is_dynamic_fee();
        // At most 64 bits times 128 bits, twice: no overflow of 256 bits.
        let gas = U256::from(tx.gas_limit()) * U256::from(tx.max_fee_per_gas());
        let blob_gas = U256::from(tx.blob_gas_used().unwrap_or_default())
            * U256::from(tx.max_fee_per_blob_gas().unwrap_or_default());
        let data = tx.input().to_vec();
        let call = if tx.is_create() { None } else { Some(data.as_slice()) };
        Summary {
            kind: tx.ty(),
            chain_id: tx.chain_id().unwrap_or_default(),
            nonce: tx.nonce(),
            to: tx.to().map(|to| to.to_string()),
            value: tx.value().to_be_bytes(),
            gas_limit: tx.gas_limit(),
            gas_price: tx.gas_price(),
            max_fee_per_gas: dynamic.then(|| tx.max_fee_per_gas()),
            max_priority_fee_per_gas: tx.max_priority_fee_per_gas(),
            max_fee_per_blob_gas: tx.max_fee_per_blob_gas(),
            max_fee: (gas + blob_gas).to_be_bytes(),
            selector: call.and_then(|data| data.first_chunk().copied()),
            call: call.and_then(Call::decode),
            access_list: self.access_list(),
            blob_versioned_hashes: tx
                .blob_versioned_hashes()
                .unwrap_or_default()
                .iter()
                .map(|hash| hash.0)
                .collect(),
            authorizations: self.authorizations(),
            data,
        }
    }

    fn access_list(&self) -> Vec<Access> {
        self.transaction
            .access_list()
            .into_iter()
            .flat_map(|list| list.iter())
            .map(|item| Access {
                address: item.address.to_string(),
                storage_keys: item.storage_keys.iter().map(|slot| slot.0).collect(),
            })
            .collect()
    }

    fn authorizations(&self) -> Vec<Authorization> {
        self.transaction
            .authorization_list()
            .unwrap_or_default()
            .iter()
            .map(|signed| Authorization {
                chain_id: signed.inner().chain_id.to_be_bytes(),
                address: signed.inner().address.to_string(),
                nonce: signed.inner().nonce,
                authority: key::recover(
                    &signed.inner().signature_hash(),
                    signed.r(),
                    signed.s(),
                    signed.y_parity(),
                )
                .map(|authority| authority.to_string()),
            })
            .collect()
    }
}
