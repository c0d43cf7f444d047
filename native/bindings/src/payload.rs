//! Payloads: Solana messages and PSBTs.

use std::collections::BTreeMap;

use cosigner_core::SuiteId;
use cosigner_core::any::verify;
use cosigner_core::suite::Tweak;
use cosigner_payload::bitcoin::{self, InputSummary, OutputSummary};
use cosigner_payload::solana::{self, Instruction, Transfer, Version};
use cosigner_payload::{Code, Error};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::args;
use crate::errors::OrRaise;

/// Parses a Solana message and says what it does.
#[pyfunction]
pub(crate) fn solana_inspect<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let (parsed, signers, instructions) = py
        .detach(|| {
            let parsed = solana::Message::parse(message)?;
            let signers: Vec<String> = parsed.required_signers().iter().map(solana::address).collect();
            let instructions = parsed.instructions();
            Ok::<_, Error>((parsed, signers, instructions))
        })
        .or_raise(py)?;
    let dict = PyDict::new(py);
    match parsed.version() {
        Version::Legacy => dict.set_item("version", "legacy")?,
        Version::V0 => dict.set_item("version", 0)?,
    }
    dict.set_item("signed_bytes", PyBytes::new(py, parsed.signed_bytes()))?;
    dict.set_item("recent_blockhash", parsed.recent_blockhash())?;
    dict.set_item("fee_payer", signers.first())?;
    dict.set_item("required_signers", &signers)?;
    let accounts = PyList::empty(py);
    for (k, (address, writable)) in parsed.accounts().into_iter().enumerate() {
        let account = PyDict::new(py);
        account.set_item("address", address)?;
        account.set_item("signer", k < signers.len())?;
        account.set_item("writable", writable)?;
        accounts.append(account)?;
    }
    dict.set_item("accounts", accounts)?;
    let list = PyList::empty(py);
    for instruction in &instructions {
        list.append(instruction_dict(py, instruction)?)?;
    }
    dict.set_item("instructions", list)?;
    let lookups = PyList::empty(py);
    for lookup in parsed.lookups() {
        let entry = PyDict::new(py);
        entry.set_item("table", lookup.table)?;
        entry.set_item("writable", PyList::new(py, lookup.writable)?)?;
        entry.set_item("readonly", PyList::new(py, lookup.readonly)?)?;
        lookups.append(entry)?;
    }
    dict.set_item("address_table_lookups", lookups)?;
    Ok(dict)
}

/// Reads a text that a Solana wallet signs as it is.
#[pyfunction]
pub(crate) fn solana_text_inspect(py: Python<'_>, message: &[u8]) -> PyResult<String> {
    py.detach(|| solana::inspect_text(message)).or_raise(py)
}

fn instruction_dict<'py>(py: Python<'py>, instruction: &Instruction) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("program", &instruction.program)?;
    dict.set_item("accounts", &instruction.accounts)?;
    dict.set_item("data", PyBytes::new(py, &instruction.data))?;
    match &instruction.transfer {
        None => dict.set_item("kind", py.None())?,
        Some(Transfer::System { from, to, lamports }) => {
            dict.set_item("kind", "system.transfer")?;
            dict.set_item("from", from)?;
            dict.set_item("to", to)?;
            dict.set_item("lamports", lamports)?;
        }
        Some(Transfer::Token { source, destination, owner, amount }) => {
            dict.set_item("kind", "spl-token.transfer")?;
            dict.set_item("source", source)?;
            dict.set_item("destination", destination)?;
            dict.set_item("owner", owner)?;
            dict.set_item("amount", amount)?;
        }
        Some(Transfer::TokenChecked { source, mint, destination, owner, amount, decimals }) => {
            dict.set_item("kind", "spl-token.transferChecked")?;
            dict.set_item("source", source)?;
            dict.set_item("mint", mint)?;
            dict.set_item("destination", destination)?;
            dict.set_item("owner", owner)?;
            dict.set_item("amount", amount)?;
            dict.set_item("decimals", decimals)?;
        }
    }
    Ok(dict)
}

/// The wire transaction: every required signer's signature, verified, and the message.
#[pyfunction]
pub(crate) fn solana_assemble<'py>(
    py: Python<'py>,
    message: &[u8],
    signatures: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut by_key = BTreeMap::new();
    for (key, signature) in signatures.iter() {
        by_key.insert(
            args::bytes(&key, "signatures")?.to_vec(),
            args::bytes(&signature, "signatures")?.to_vec(),
        );
    }
    let wire = py
        .detach(|| {
            let verified = |key: &[u8; 32], bytes: &[u8], signature: &[u8]| {
                verify(SuiteId::FrostEd25519, key, bytes, signature, &Tweak::None).is_ok()
            };
            solana::Message::parse(message)?.assemble(&by_key, verified)
        })
        .or_raise(py)?;
    Ok(PyBytes::new(py, &wire))
}

/// The Solana address of a public key of 32 bytes.
#[pyfunction]
pub(crate) fn solana_address(py: Python<'_>, public_key: &[u8]) -> PyResult<String> {
    <&[u8; 32]>::try_from(public_key)
        .map(solana::address)
        .map_err(|_| Error::new(Code::InvalidPublicKey, "a Solana public key has 32 bytes"))
        .or_raise(py)
}

/// The BIP-86 address of an internal key of 32 or 33 bytes.
#[pyfunction]
pub(crate) fn bitcoin_address(py: Python<'_>, internal_key: &[u8], network: &str) -> PyResult<String> {
    py.detach(|| bitcoin::address(internal_key, network)).or_raise(py)
}

/// Parses a PSBT and says what it does and what the wallet signs.
#[pyfunction]
pub(crate) fn psbt_inspect<'py>(
    py: Python<'py>,
    psbt: &[u8],
    group_public_key: &[u8],
    network: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let summary = py.detach(|| bitcoin::inspect(psbt, group_public_key, network)).or_raise(py)?;
    let dict = PyDict::new(py);
    dict.set_item("txid", &summary.txid)?;
    dict.set_item("version", summary.version)?;
    dict.set_item("lock_time", summary.lock_time)?;
    dict.set_item("fee", summary.fee)?;
    let inputs = PyList::empty(py);
    for (index, input) in summary.inputs.iter().enumerate() {
        inputs.append(input_dict(py, index, input)?)?;
    }
    dict.set_item("inputs", inputs)?;
    let outputs = PyList::empty(py);
    for output in &summary.outputs {
        outputs.append(output_dict(py, output)?)?;
    }
    dict.set_item("outputs", outputs)?;
    Ok(dict)
}

fn input_dict<'py>(py: Python<'py>, index: usize, input: &InputSummary) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("index", index)?;
    dict.set_item("txid", &input.txid)?;
    dict.set_item("vout", input.vout)?;
    dict.set_item("amount", input.amount)?;
    dict.set_item("script", PyBytes::new(py, &input.script))?;
    dict.set_item("sequence", input.sequence)?;
    dict.set_item("ours", input.ours.is_some())?;
    let ours = input.ours.as_ref();
    dict.set_item("sighash", ours.map(|ours| PyBytes::new(py, &ours.sighash)))?;
    dict.set_item("sighash_type", ours.map(|ours| ours.sighash_type))?;
    dict.set_item("tweak", ours.map(|ours| PyBytes::new(py, &ours.tweak)))?;
    Ok(dict)
}

fn output_dict<'py>(py: Python<'py>, output: &OutputSummary) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("address", &output.address)?;
    dict.set_item("script", PyBytes::new(py, &output.script))?;
    dict.set_item("amount", output.amount)?;
    dict.set_item("ours", output.ours)?;
    Ok(dict)
}

/// Puts verified signatures into a PSBT; returns it and, when all inputs are final, the transaction.
#[pyfunction]
pub(crate) fn psbt_finalize<'py>(
    py: Python<'py>,
    psbt: &[u8],
    signatures: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut by_index = BTreeMap::new();
    for (index, signature) in signatures.iter() {
        let index =
            index.extract::<u64>().map_err(|_| PyTypeError::new_err("signatures must map int to bytes"))?;
        // An index that no PSBT can have is refused as any other that this one does not have.
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        by_index.insert(index, args::bytes(&signature, "signatures")?.to_vec());
    }
    let finalized = py.detach(|| bitcoin::finalize(psbt, &by_index)).or_raise(py)?;
    let dict = PyDict::new(py);
    dict.set_item("psbt", PyBytes::new(py, &finalized.psbt))?;
    dict.set_item("transaction", finalized.transaction.map(|bytes| PyBytes::new(py, &bytes)))?;
    Ok(dict)
}
