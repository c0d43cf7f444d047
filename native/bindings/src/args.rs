//! Checked conversion of Python arguments. A wrong type is a `TypeError`; a value out of bounds is the core's
//! `invalid_parameter`, never an `OverflowError`.

use std::collections::BTreeMap;

use cosigner_core::error::{Code, Error};
use cosigner_core::reshare::Messages2;
use cosigner_core::sign::Batch;
use cosigner_core::suite::Tweak;
#[cfg(feature = "device")]
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyTuple};
use zeroize::Zeroizing;

use crate::errors::{OrRaise, threshold_error};
use crate::keys::KeyShare;

/// A non-negative `int` of the given width.
pub(crate) fn unsigned<'py, T>(value: &Bound<'py, PyAny>, name: &'static str) -> PyResult<T>
where
    T: TryFrom<u64>,
{
    let int = value.cast::<PyInt>().map_err(|_| PyTypeError::new_err(format!("{name} must be an int")))?;
    int.extract::<u64>().ok().and_then(|wide| T::try_from(wide).ok()).ok_or_else(|| {
        threshold_error(
            value.py(),
            &Error::caller(Code::InvalidParameter, format!("{name} is out of bounds")),
        )
    })
}

/// Exactly 32 bytes.
pub(crate) fn array32(py: Python<'_>, value: &[u8], name: &'static str) -> PyResult<[u8; 32]> {
    value
        .try_into()
        .map_err(|_| Error::caller(Code::InvalidParameter, format!("{name} must have 32 bytes")))
        .or_raise(py)
}

pub(crate) fn bytes<'a>(value: &'a Bound<'_, PyAny>, name: &'static str) -> PyResult<&'a [u8]> {
    value
        .cast::<PyBytes>()
        .map(|b| b.as_bytes())
        .map_err(|_| PyTypeError::new_err(format!("{name} must be bytes")))
}

/// A copy of a secret that lies in any contiguous buffer, at most 1 MiB of it; the caller wipes the original.
#[cfg(feature = "device")]
pub(crate) fn secret(value: &Bound<'_, PyAny>, name: &'static str) -> PyResult<Zeroizing<Vec<u8>>> {
    let wrong = || PyTypeError::new_err(format!("{name} must be bytes, bytearray or memoryview"));
    let py = value.py();
    let buffer = PyBuffer::<u8>::get(value).map_err(|_| wrong())?;
    if buffer.item_count() > 1 << 20 {
        let error = Error::caller(Code::InvalidParameter, format!("{name} is too long"));
        return Err(threshold_error(py, &error));
    }
    let mut bytes = Zeroizing::new(vec![0; buffer.item_count()]);
    buffer.copy_to_slice(py, bytes.as_mut()).map_err(|_| wrong())?;
    Ok(bytes)
}

/// `dict[int, bytes]`.
pub(crate) fn messages(dict: &Bound<'_, PyDict>, name: &'static str) -> PyResult<BTreeMap<u16, Vec<u8>>> {
    collect(dict, name, |value| Ok(bytes(value, name)?.to_vec()))
}

/// `dict[int, bytes]` whose values are secret.
pub(crate) fn secret_messages(
    dict: &Bound<'_, PyDict>,
    name: &'static str,
) -> PyResult<BTreeMap<u16, Zeroizing<Vec<u8>>>> {
    collect(dict, name, |value| Ok(Zeroizing::new(bytes(value, name)?.to_vec())))
}

/// `dict[int, list[bytes]]`.
pub(crate) fn batches(dict: &Bound<'_, PyDict>, name: &'static str) -> PyResult<BTreeMap<u16, Batch>> {
    collect(dict, name, |value| batch(value, name))
}

/// `dict[int, tuple[list[bytes], list[bytes]]]`.
pub(crate) fn batch_pairs(
    dict: &Bound<'_, PyDict>,
    name: &'static str,
) -> PyResult<BTreeMap<u16, (Batch, Batch)>> {
    collect(dict, name, |value| {
        let wrong = || PyTypeError::new_err(format!("{name} must hold pairs of lists"));
        let pair = value.cast::<PyTuple>().map_err(|_| wrong())?;
        if pair.len() != 2 {
            return Err(wrong());
        }
        Ok((batch(&pair.get_item(0)?, name)?, batch(&pair.get_item(1)?, name)?))
    })
}

/// `list[bytes]`.
pub(crate) fn batch(value: &Bound<'_, PyAny>, name: &'static str) -> PyResult<Batch> {
    let list = value
        .cast::<PyList>()
        .map_err(|_| PyTypeError::new_err(format!("{name} must be a list of bytes")))?;
    list.iter().map(|item| Ok(bytes(&item, name)?.to_vec())).collect()
}

/// `list[bytes | None] | None`; `None` stands for `count` times no tweak.
pub(crate) fn tweaks(value: Option<&Bound<'_, PyList>>, count: usize) -> PyResult<Vec<Tweak>> {
    let Some(list) = value else {
        return Ok(vec![Tweak::None; count]);
    };
    list.iter()
        .map(|item| {
            let bytes = if item.is_none() { None } else { Some(bytes(&item, "tweaks")?) };
            Tweak::from_bytes(bytes).or_raise(item.py())
        })
        .collect()
}

/// `dict[tuple[int, int], bytes]` whose values are secret.
pub(crate) fn secret_messages_between(dict: &Bound<'_, PyDict>, name: &'static str) -> PyResult<Messages2> {
    let wrong = || PyTypeError::new_err(format!("{name} must have pairs of ints as keys"));
    dict.iter()
        .map(|(key, value)| {
            let pair = key.cast::<PyTuple>().map_err(|_| wrong())?;
            if pair.len() != 2 {
                return Err(wrong());
            }
            let pair = (unsigned(&pair.get_item(0)?, name)?, unsigned(&pair.get_item(1)?, name)?);
            Ok((pair, Zeroizing::new(bytes(&value, name)?.to_vec())))
        })
        .collect()
}

/// `list[int]`.
pub(crate) fn identifiers(list: &Bound<'_, PyList>, name: &'static str) -> PyResult<Vec<u16>> {
    list.iter().map(|item| unsigned(&item, name)).collect()
}

/// `list[KeyShare]`.
pub(crate) fn shares<'py>(
    list: &Bound<'py, PyList>,
    name: &'static str,
) -> PyResult<Vec<Bound<'py, KeyShare>>> {
    list.iter()
        .map(|item| {
            item.cast_into().map_err(|_| PyTypeError::new_err(format!("{name} must be a list of KeyShare")))
        })
        .collect()
}

fn collect<T>(
    dict: &Bound<'_, PyDict>,
    name: &'static str,
    convert: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<BTreeMap<u16, T>> {
    dict.iter().map(|(key, value)| Ok((unsigned(&key, name)?, convert(&value)?))).collect()
}

/// `list[bytes]` from a batch.
pub(crate) fn to_list<'py>(py: Python<'py>, batch: &[Vec<u8>]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, batch.iter().map(|item| PyBytes::new(py, item)))
}
