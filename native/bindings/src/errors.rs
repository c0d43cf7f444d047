//! Errors as the Python exceptions of `threshold.errors`.

use cosigner_core::error::{Culprit, Error};
use pyo3::prelude::*;

pyo3::import_exception!(threshold.errors, ThresholdError);
pyo3::import_exception!(threshold.errors, PayloadError);

/// The Python exception for an error of the core.
pub(crate) fn threshold_error(py: Python<'_>, error: &Error) -> PyErr {
    let culprit = match error.culprit {
        None => Ok(py.None()),
        Some(Culprit::Caller) => {
            "caller".into_pyobject(py).map(|text| text.into_any().unbind()).map_err(PyErr::from)
        }
        Some(Culprit::Participant(i)) => {
            i.into_pyobject(py).map(|int| int.into_any().unbind()).map_err(PyErr::from)
        }
    };
    match culprit {
        Ok(culprit) => ThresholdError::new_err((
            error.code.as_str(),
            culprit,
            error.reaction.as_str(),
            error.message.to_string(),
        )),
        Err(error) => error,
    }
}

/// Turns Rust results into Python's.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Error> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| threshold_error(py, &error))
    }
}

impl<T> OrRaise<T> for Result<T, cosigner_payload::Error> {
    fn or_raise(self, _py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| {
            PayloadError::new_err((error.code.as_str(), error.message.to_string(), error.field))
        })
    }
}
