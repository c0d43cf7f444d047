//! `enclave._nsm`: the Nitro Secure Module, through AWS's own crate, and the last step of the process's confinement.
//!
//! PID 1 has opened `/dev/nsm` and closed it to everybody else; what arrives here is the descriptor.
//! Every call is one `ioctl`, made detached from the interpreter. The kernel serializes them; so does the mutex
//! here, so that the device cannot be closed under a call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_nitro_enclaves_nsm_api::api::{Digest, ErrorCode, Request, Response};
use aws_nitro_enclaves_nsm_api::driver;
use pyo3::exceptions::{PyException, PyOSError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

pyo3::create_exception!(
    enclave._nsm,
    NsmError,
    PyException,
    "The Nitro Secure Module refused a request or is not there. `code` is AWS's name of the error."
);

/// The Python module.
#[pymodule]
mod _nsm {
    #[pymodule_export]
    use super::{NsmDevice, NsmError, adopt, confine};
}

/// Takes over a descriptor of `/dev/nsm`, which must answer.
#[pyfunction]
fn adopt(py: Python<'_>, descriptor: i32) -> PyResult<NsmDevice> {
    let device = NsmDevice { descriptor: Mutex::new(Some(descriptor)) };
    match device.process(py, Request::DescribeNSM) {
        Ok(Response::DescribeNSM { .. }) => Ok(device),
        _ => {
            Err(error(py, "DeviceUnavailable", "the descriptor is not /dev/nsm: this is not a Nitro enclave"))
        }
    }
}

/// Lets this process start no other program, and nobody read its memory, for good.
#[pyfunction]
fn confine(py: Python<'_>) -> PyResult<()> {
    py.detach(cosigner_confine::complete).map_err(|error| PyOSError::new_err(error.to_string()))
}

/// The open device.
#[pyclass(frozen, module = "enclave._nsm")]
struct NsmDevice {
    descriptor: Mutex<Option<i32>>,
}

#[pymethods]
impl NsmDevice {
    /// Random bytes of the module, at most 256.
    fn get_random<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        match self.process(py, Request::GetRandom)? {
            Response::GetRandom { random } => Ok(PyBytes::new(py, &random)),
            _ => Err(unexpected(py)),
        }
    }

    /// The module's own description.
    fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match self.process(py, Request::DescribeNSM)? {
            Response::DescribeNSM {
                version_major,
                version_minor,
                version_patch,
                module_id,
                max_pcrs,
                locked_pcrs,
                digest,
            } => {
                let dict = PyDict::new(py);
                dict.set_item("version_major", version_major)?;
                dict.set_item("version_minor", version_minor)?;
                dict.set_item("version_patch", version_patch)?;
                dict.set_item("module_id", module_id)?;
                dict.set_item("max_pcrs", max_pcrs)?;
                dict.set_item("locked_pcrs", locked_pcrs.into_iter().collect::<Vec<u16>>())?;
                dict.set_item(
                    "digest",
                    match digest {
                        Digest::SHA256 => "SHA256",
                        Digest::SHA384 => "SHA384",
                        Digest::SHA512 => "SHA512",
                    },
                )?;
                Ok(dict)
            }
            _ => Err(unexpected(py)),
        }
    }

    /// Whether a PCR is locked, and its value.
    fn describe_pcr<'py>(&self, py: Python<'py>, index: u16) -> PyResult<(bool, Bound<'py, PyBytes>)> {
        match self.process(py, Request::DescribePCR { index })? {
            Response::DescribePCR { lock, data } => Ok((lock, PyBytes::new(py, &data))),
            _ => Err(unexpected(py)),
        }
    }

    /// Extends a PCR and returns its new value.
    fn extend_pcr<'py>(&self, py: Python<'py>, index: u16, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        match self.process(py, Request::ExtendPCR { index, data: data.to_vec() })? {
            Response::ExtendPCR { data } => Ok(PyBytes::new(py, &data)),
            _ => Err(unexpected(py)),
        }
    }

    /// Locks one PCR until the enclave ends.
    fn lock_pcr(&self, py: Python<'_>, index: u16) -> PyResult<()> {
        match self.process(py, Request::LockPCR { index })? {
            Response::LockPCR => Ok(()),
            _ => Err(unexpected(py)),
        }
    }

    /// Locks PCRs 0 to `count` - 1 until the enclave ends.
    fn lock_pcrs(&self, py: Python<'_>, count: u16) -> PyResult<()> {
        match self.process(py, Request::LockPCRs { range: count })? {
            Response::LockPCRs => Ok(()),
            _ => Err(unexpected(py)),
        }
    }

    /// An attestation document: COSE_Sign1 over PCRs and the given fields.
    #[pyo3(signature = (user_data=None, nonce=None, public_key=None))]
    fn attest<'py>(
        &self,
        py: Python<'py>,
        user_data: Option<&[u8]>,
        nonce: Option<&[u8]>,
        public_key: Option<&[u8]>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let request = Request::Attestation {
            user_data: user_data.map(|bytes| bytes.to_vec().into()),
            nonce: nonce.map(|bytes| bytes.to_vec().into()),
            public_key: public_key.map(|bytes| bytes.to_vec().into()),
        };
        match self.process(py, request)? {
            Response::Attestation { document } => Ok(PyBytes::new(py, &document)),
            _ => Err(unexpected(py)),
        }
    }

    /// Closes the device; every later call raises `DeviceUnavailable`.
    fn close(&self, py: Python<'_>) {
        py.detach(|| close(&mut self.lock()));
    }

    fn __repr__(&self) -> &'static str {
        "<NsmDevice>"
    }
}

impl NsmDevice {
    fn lock(&self) -> MutexGuard<'_, Option<i32>> {
        self.descriptor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self, py: Python<'_>, request: Request) -> PyResult<Response> {
        let response = py.detach(|| {
            let descriptor = self.lock();
            descriptor.map(|fd| driver::nsm_process_request(fd, request))
        });
        match response {
            None => Err(error(py, "DeviceUnavailable", "the device is closed")),
            Some(Response::Error(code)) => Err(refused(py, &code)),
            Some(response) => Ok(response),
        }
    }
}

impl Drop for NsmDevice {
    fn drop(&mut self) {
        close(self.descriptor.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

fn close(descriptor: &mut Option<i32>) {
    if let Some(fd) = descriptor.take() {
        driver::nsm_exit(fd);
    }
}

fn error(py: Python<'_>, code: &'static str, message: &'static str) -> PyErr {
    let error = NsmError::new_err(message);
    match error.value(py).setattr("code", code) {
        Ok(()) => error,
        Err(error) => error,
    }
}

fn unexpected(py: Python<'_>) -> PyErr {
    error(py, "InvalidResponse", "the module answered another request than was made")
}

fn refused(py: Python<'_>, code: &ErrorCode) -> PyErr {
    let (code, message) = match code {
        ErrorCode::Success | ErrorCode::InvalidResponse => {
            ("InvalidResponse", "the response does not match the request")
        }
        ErrorCode::InvalidArgument => ("InvalidArgument", "an argument is not valid"),
        ErrorCode::InvalidIndex => ("InvalidIndex", "there is no such PCR"),
        ErrorCode::ReadOnlyIndex => ("ReadOnlyIndex", "the PCR is locked"),
        ErrorCode::InvalidOperation => ("InvalidOperation", "the module cannot do this"),
        ErrorCode::BufferTooSmall => ("BufferTooSmall", "the response does not fit its buffer"),
        ErrorCode::InputTooLarge => ("InputTooLarge", "the request is too large"),
        ErrorCode::InternalError => ("InternalError", "the module failed"),
    };
    error(py, code, message)
}
