//! What all handles share: one-shot states, and the refusal of everything that could reveal or double them.

use std::sync::{Mutex, PoisonError};

use cosigner_core::error::{Code, Error, Result};

/// A state that can be taken out once.
pub(crate) struct OneShot<T>(Mutex<Option<T>>);

impl<T> OneShot<T> {
    pub(crate) fn new(state: T) -> Self {
        Self(Mutex::new(Some(state)))
    }

    /// Takes the state; it is gone from then on, whatever becomes of the call.
    pub(crate) fn take(&self) -> Result<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(consumed)
    }

    /// Looks at the state without taking it.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(state) => look(state),
            None => Err(consumed()),
        }
    }

    /// Whether the state is still there.
    pub(crate) fn is_present(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

fn consumed() -> Error {
    Error::caller(Code::StateConsumed, "this state was used already")
}

/// `#[pymethods]` of a handle: the given ones, and refusals of comparing, hashing, copying and pickling.
macro_rules! opaque_methods {
    ($name:ident { $($items:tt)* }) => {
        #[pyo3::pymethods]
        impl $name {
            $($items)*

            fn __richcmp__(
                &self,
                _other: &pyo3::Bound<'_, pyo3::PyAny>,
                _op: pyo3::pyclass::CompareOp,
            ) -> pyo3::PyResult<bool> {
                Err($crate::handle::refuse(concat!(stringify!($name), " cannot be compared")))
            }

            fn __hash__(&self) -> pyo3::PyResult<isize> {
                Err($crate::handle::refuse(concat!(stringify!($name), " cannot be hashed")))
            }

            fn __reduce__(&self) -> pyo3::PyResult<()> {
                Err($crate::handle::refuse(concat!(stringify!($name), " cannot be pickled")))
            }

            fn __reduce_ex__(&self, _protocol: &pyo3::Bound<'_, pyo3::PyAny>) -> pyo3::PyResult<()> {
                Err($crate::handle::refuse(concat!(stringify!($name), " cannot be pickled")))
            }

            fn __getstate__(&self) -> pyo3::PyResult<()> {
                Err($crate::handle::refuse(concat!(stringify!($name), " cannot be pickled")))
            }

            fn __copy__(&self) -> pyo3::PyResult<()> {
                Err($crate::handle::refuse(concat!(stringify!($name), " cannot be copied")))
            }

            fn __deepcopy__(&self, _memo: &pyo3::Bound<'_, pyo3::PyAny>) -> pyo3::PyResult<()> {
                Err($crate::handle::refuse(concat!(stringify!($name), " cannot be copied")))
            }
        }
    };
}
pub(crate) use opaque_methods;

/// The error of a forbidden operation.
pub(crate) fn refuse(message: &'static str) -> pyo3::PyErr {
    pyo3::exceptions::PyTypeError::new_err(message)
}
