//! EVM payloads as Python dictionaries (shapes: `threshold/payload.py`).

use cosigner_payload::Error;
use cosigner_payload::evm::{self, Call, Summary, UnsignedTransaction, Value};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList};

use crate::errors::OrRaise;

/// Parses an unsigned transaction and says what it does.
#[pyfunction]
pub(crate) fn evm_transaction_inspect<'py>(py: Python<'py>, unsigned: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let (digest, summary) = py
        .detach(|| {
            let parsed = UnsignedTransaction::parse(unsigned)?;
            Ok::<_, Error>((parsed.digest(), parsed.summary()))
        })
        .or_raise(py)?;
    let Summary { kind, chain_id, nonce, to, value, gas_limit, gas_price, .. } = &summary;
    let dict = PyDict::new(py);
    dict.set_item("type", kind)?;
    dict.set_item("digest", PyBytes::new(py, &digest))?;
    dict.set_item("chain_id", chain_id)?;
    dict.set_item("nonce", nonce)?;
    dict.set_item("to", to)?;
    dict.set_item("value", uint(py, value)?)?;
    dict.set_item("gas_limit", gas_limit)?;
    dict.set_item("gas_price", gas_price)?;
    dict.set_item("max_fee_per_gas", summary.max_fee_per_gas)?;
    dict.set_item("max_priority_fee_per_gas", summary.max_priority_fee_per_gas)?;
    dict.set_item("max_fee_per_blob_gas", summary.max_fee_per_blob_gas)?;
    dict.set_item("max_fee", uint(py, &summary.max_fee)?)?;
    dict.set_item("data", PyBytes::new(py, &summary.data))?;
    dict.set_item("selector", summary.selector.map(|selector| PyBytes::new(py, &selector)))?;
    dict.set_item("call", summary.call.as_ref().map(|call| call_dict(py, call)).transpose()?)?;
    let access_list = PyList::empty(py);
    for access in &summary.access_list {
        let entry = PyDict::new(py);
        entry.set_item("address", &access.address)?;
        entry.set_item("storage_keys", bytes_list(py, &access.storage_keys)?)?;
        access_list.append(entry)?;
    }
    dict.set_item("access_list", access_list)?;
    dict.set_item("blob_versioned_hashes", bytes_list(py, &summary.blob_versioned_hashes)?)?;
    let authorizations = PyList::empty(py);
    for authorization in &summary.authorizations {
        let entry = PyDict::new(py);
        entry.set_item("chain_id", uint(py, &authorization.chain_id)?)?;
        entry.set_item("address", &authorization.address)?;
        entry.set_item("nonce", authorization.nonce)?;
        entry.set_item("authority", &authorization.authority)?;
        authorizations.append(entry)?;
    }
    dict.set_item("authorizations", authorizations)?;
    Ok(dict)
}

fn call_dict<'py>(py: Python<'py>, call: &Call) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let amount = match call {
        Call::Transfer { to, amount } => {
            dict.set_item("kind", "erc20.transfer")?;
            dict.set_item("to", to)?;
            amount
        }
        Call::Approve { spender, amount } => {
            dict.set_item("kind", "erc20.approve")?;
            dict.set_item("spender", spender)?;
            amount
        }
        Call::TransferFrom { from, to, amount } => {
            dict.set_item("kind", "erc20.transferFrom")?;
            dict.set_item("from", from)?;
            dict.set_item("to", to)?;
            amount
        }
    };
    dict.set_item("amount", uint(py, amount)?)?;
    Ok(dict)
}

/// The signed transaction and its hash.
#[pyfunction]
pub(crate) fn evm_transaction_assemble<'py>(
    py: Python<'py>,
    unsigned: &[u8],
    signature: &[u8],
    recovery_id: &Bound<'py, PyInt>,
    public_key: &[u8],
) -> PyResult<Bound<'py, PyDict>> {
    // A number that is no recovery id is refused as any other wrong one.
    let recovery_id = recovery_id.extract::<u8>().unwrap_or(u8::MAX);
    let signed = py
        .detach(|| UnsignedTransaction::parse(unsigned)?.assemble(signature, recovery_id, public_key))
        .or_raise(py)?;
    let dict = PyDict::new(py);
    dict.set_item("raw", PyBytes::new(py, &signed.raw))?;
    dict.set_item("hash", PyBytes::new(py, &signed.hash))?;
    Ok(dict)
}

/// The signature of a message or of typed data, r, s and 27 or 28.
#[pyfunction]
pub(crate) fn evm_signature_assemble<'py>(
    py: Python<'py>,
    digest: &[u8],
    signature: &[u8],
    recovery_id: &Bound<'py, PyInt>,
    public_key: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let recovery_id = recovery_id.extract::<u8>().unwrap_or(u8::MAX);
    let bytes =
        py.detach(|| evm::assemble_signature(digest, signature, recovery_id, public_key)).or_raise(py)?;
    Ok(PyBytes::new(py, &bytes))
}

/// Reads a message of EIP-191, version `E`, or 0 where there is a validator.
#[pyfunction]
#[pyo3(signature = (message, validator=None))]
pub(crate) fn evm_message_digest<'py>(
    py: Python<'py>,
    message: &[u8],
    validator: Option<&[u8]>,
) -> PyResult<Bound<'py, PyDict>> {
    let summary = py.detach(|| evm::inspect_message(message, validator)).or_raise(py)?;
    let dict = PyDict::new(py);
    dict.set_item("digest", PyBytes::new(py, &summary.digest))?;
    dict.set_item("text", summary.text)?;
    dict.set_item("validator", summary.validator)?;
    Ok(dict)
}

/// Parses typed data of EIP-712.
#[pyfunction]
pub(crate) fn evm_typed_data_inspect<'py>(
    py: Python<'py>,
    typed_data: &[u8],
) -> PyResult<Bound<'py, PyDict>> {
    let summary = py.detach(|| evm::inspect_typed_data(typed_data)).or_raise(py)?;
    let dict = PyDict::new(py);
    dict.set_item("digest", PyBytes::new(py, &summary.digest))?;
    dict.set_item("domain_separator", PyBytes::new(py, &summary.domain_separator))?;
    dict.set_item("message_hash", summary.message_hash.map(|hash| PyBytes::new(py, &hash)))?;
    dict.set_item("primary_type", summary.primary_type)?;
    dict.set_item("encoded_type", summary.encoded_type)?;
    dict.set_item("domain", struct_dict(py, &summary.domain)?)?;
    dict.set_item("message", struct_dict(py, &summary.message)?)?;
    Ok(dict)
}

fn struct_dict<'py>(py: Python<'py>, members: &[(String, Value)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, member) in members {
        dict.set_item(name, value(py, member)?)?;
    }
    Ok(dict)
}

fn value<'py>(py: Python<'py>, from: &Value) -> PyResult<Bound<'py, PyAny>> {
    match from {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(value) => Ok(value.into_pyobject(py)?.to_owned().into_any()),
        Value::Address(text) | Value::String(text) => Ok(text.into_pyobject(py)?.into_any()),
        Value::Bytes(bytes) => Ok(PyBytes::new(py, bytes).into_any()),
        Value::Uint(word) => uint(py, word),
        Value::Int(word) => from_word(py, word, true),
        Value::Struct(members) => Ok(struct_dict(py, members)?.into_any()),
        Value::List(elements) => {
            let list = PyList::empty(py);
            for element in elements {
                list.append(value(py, element)?)?;
            }
            Ok(list.into_any())
        }
    }
}

/// The EIP-55 address of a public key of 33 bytes.
#[pyfunction]
pub(crate) fn evm_address(py: Python<'_>, public_key: &[u8]) -> PyResult<String> {
    py.detach(|| evm::address(public_key)).or_raise(py)
}

/// The EIP-55 form of an address of 20 bytes.
#[pyfunction]
pub(crate) fn evm_checksum_address(py: Python<'_>, address: &[u8]) -> PyResult<String> {
    evm::checksum_address(address).or_raise(py)
}

fn bytes_list<'py>(py: Python<'py>, items: &[[u8; 32]]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, items.iter().map(|item| PyBytes::new(py, item)))
}

fn uint<'py>(py: Python<'py>, word: &[u8; 32]) -> PyResult<Bound<'py, PyAny>> {
    from_word(py, word, false)
}

/// A word of 256 bits as an `int`, which the stable ABI makes only from bytes.
fn from_word<'py>(py: Python<'py>, word: &[u8; 32], signed: bool) -> PyResult<Bound<'py, PyAny>> {
    static SIGNED: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let keywords = SIGNED.get_or_try_init(py, || {
        let keywords = PyDict::new(py);
        keywords.set_item("signed", true)?;
        Ok::<_, PyErr>(keywords.unbind())
    })?;
    let keywords = signed.then(|| keywords.bind(py));
    py.get_type::<PyInt>().call_method("from_bytes", (PyBytes::new(py, word), "big"), keywords)
}
