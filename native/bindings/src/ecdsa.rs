//! Two-party ECDSA: the session's setup, and the two messages of a signature.

use std::sync::Arc;

use cosigner_core::any::AnyShare;
use cosigner_core::ecdsa::{
    self, ClientOt, ClientSetup, EnclaveOt, EnclaveSetup, MAX_PATH_LEN, Pending, Share,
};
use cosigner_core::error::{Code, Error, Result};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use rand_core::OsRng;

use crate::args;
use crate::dkg::spent;
use crate::errors::{OrRaise, threshold_error};
use crate::handle::{OneShot, opaque_methods};
use crate::keys::KeyShare;

/// Client: offers the base transfers.
#[pyfunction]
pub(crate) fn ecdsa_setup_begin(py: Python<'_>) -> (EcdsaClientSetup, Bound<'_, PyBytes>) {
    let (setup, message) = py.detach(|| ClientSetup::begin(&mut OsRng));
    (EcdsaClientSetup { state: OneShot::new(setup) }, PyBytes::new(py, &message))
}

/// Enclave: answers the offers.
#[pyfunction]
pub(crate) fn ecdsa_setup_respond<'py>(
    py: Python<'py>,
    message: &[u8],
) -> PyResult<(EcdsaEnclaveSetup, Bound<'py, PyBytes>)> {
    let (setup, answer) = py.detach(|| EnclaveSetup::respond(message, &mut OsRng)).or_raise(py)?;
    Ok((EcdsaEnclaveSetup { state: OneShot::new(setup) }, PyBytes::new(py, &answer)))
}

/// The client's base transfers before the enclave's answer.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct EcdsaClientSetup {
    state: OneShot<ClientSetup>,
}

opaque_methods!(EcdsaClientSetup {
    /// Takes the answer and binds the session's context.
    fn finish(&self, py: Python<'_>, answer: &[u8], session_context: &[u8]) -> PyResult<EcdsaClientOt> {
        let setup = self.state.take().or_raise(py)?;
        let context = args::array32(py, session_context, "session_context")?;
        let ot = py.detach(|| setup.finish(answer, &context)).or_raise(py)?;
        Ok(EcdsaClientOt { ot: Arc::new(ot) })
    }

    fn __repr__(&self) -> String {
        format!("<EcdsaClientSetup{}>", spent(self.state.is_present()))
    }
});

/// The enclave's base transfers before the session's context is known.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct EcdsaEnclaveSetup {
    state: OneShot<EnclaveSetup>,
}

opaque_methods!(EcdsaEnclaveSetup {
    /// Binds the session's context.
    fn bind(&self, py: Python<'_>, session_context: &[u8]) -> PyResult<EcdsaEnclaveOt> {
        let setup = self.state.take().or_raise(py)?;
        let context = args::array32(py, session_context, "session_context")?;
        Ok(EcdsaEnclaveOt { ot: py.detach(|| setup.bind(&context)) })
    }

    fn __repr__(&self) -> String {
        format!("<EcdsaEnclaveSetup{}>", spent(self.state.is_present()))
    }
});

/// The client's side of a session.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct EcdsaClientOt {
    ot: Arc<ClientOt>,
}

opaque_methods!(EcdsaClientOt {
    #[getter]
    fn alive(&self) -> bool {
        self.ot.is_alive()
    }

    /// Forgets the secrets.
    fn burn(&self) {
        self.ot.burn();
    }

    fn __repr__(&self) -> String {
        format!("<EcdsaClientOt{}>", burnt(self.ot.is_alive()))
    }
});

/// The enclave's side of a session.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct EcdsaEnclaveOt {
    ot: EnclaveOt,
}

opaque_methods!(EcdsaEnclaveOt {
    #[getter]
    fn alive(&self) -> bool {
        self.ot.is_alive()
    }

    /// Forgets the secrets.
    fn burn(&self) {
        self.ot.burn();
    }

    fn __repr__(&self) -> String {
        format!("<EcdsaEnclaveOt{}>", burnt(self.ot.is_alive()))
    }
});

/// Client: starts a signature.
#[pyfunction]
pub(crate) fn ecdsa_begin<'py>(
    py: Python<'py>,
    share: &Bound<'py, KeyShare>,
    ot: &Bound<'py, EcdsaClientOt>,
    digest: &[u8],
    path: &Bound<'py, PyList>,
    peer_identifier: &Bound<'py, PyAny>,
) -> PyResult<(EcdsaPending, Bound<'py, PyBytes>)> {
    let digest = args::array32(py, digest, "digest")?;
    let path = parse_path(path)?;
    let peer = args::unsigned(peer_identifier, "peer_identifier")?;
    let share = ecdsa_share(&share.get().share).or_raise(py)?;
    let ot = &ot.get().ot;
    let (pending, message) =
        py.detach(|| ecdsa::begin(share, ot, &digest, &path, peer, &mut OsRng)).or_raise(py)?;
    Ok((EcdsaPending { state: OneShot::new(pending) }, PyBytes::new(py, &message)))
}

/// Enclave: answers message 1.
#[pyfunction]
pub(crate) fn ecdsa_respond<'py>(
    py: Python<'py>,
    share: &Bound<'py, KeyShare>,
    ot: &Bound<'py, EcdsaEnclaveOt>,
    message1: &[u8],
    digest: &[u8],
    path: &Bound<'py, PyList>,
    peer_identifier: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let digest = args::array32(py, digest, "digest")?;
    let path = parse_path(path)?;
    let peer = args::unsigned(peer_identifier, "peer_identifier")?;
    let share = ecdsa_share(&share.get().share).or_raise(py)?;
    let ot = &ot.get().ot;
    let message2 =
        py.detach(|| ecdsa::respond(share, ot, message1, &digest, &path, peer, &mut OsRng)).or_raise(py)?;
    Ok(PyBytes::new(py, &message2))
}

/// A signature that awaits message 2.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct EcdsaPending {
    state: OneShot<Pending>,
}

/// r ‖ s, the recovery id, and the key that signed.
type SignatureTuple<'py> = (Bound<'py, PyBytes>, u8, Bound<'py, PyBytes>);

opaque_methods!(EcdsaPending {
    /// Takes message 2 and finishes the signature.
    fn finish<'py>(&self, py: Python<'py>, message2: &[u8]) -> PyResult<SignatureTuple<'py>> {
        let pending = self.state.take().or_raise(py)?;
        let signature = py.detach(|| pending.finish(message2)).or_raise(py)?;
        Ok((
            PyBytes::new(py, &signature.rs),
            signature.recovery_id,
            PyBytes::new(py, &signature.public_key),
        ))
    }

    fn __repr__(&self) -> String {
        format!("<EcdsaPending{}>", spent(self.state.is_present()))
    }
});

/// The public key below a group key, by unhardened BIP-32.
#[pyfunction]
pub(crate) fn derive_public_key<'py>(
    py: Python<'py>,
    group_public_key: &[u8],
    chain_code: &[u8],
    path: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyBytes>> {
    let chain_code = args::array32(py, chain_code, "chain_code")?;
    let path = parse_path(path)?;
    let key = py.detach(|| ecdsa::derive_public_key(group_public_key, &chain_code, &path)).or_raise(py)?;
    Ok(PyBytes::new(py, &key))
}

/// `list[int]`, refused before it is copied if it is too long.
pub(crate) fn parse_path(path: &Bound<'_, PyList>) -> PyResult<Vec<u32>> {
    let refused = |message| threshold_error(path.py(), &Error::caller(Code::InvalidPath, message));
    if path.len() > MAX_PATH_LEN {
        return Err(refused("a path has at most 16 elements"));
    }
    path.iter()
        .map(|element| match element.cast::<pyo3::types::PyInt>() {
            Ok(int) => int.extract().map_err(|_| refused("a path element is 0 to 2^31 - 1")),
            Err(_) => Err(PyTypeError::new_err("path must be a list of int")),
        })
        .collect()
}

fn ecdsa_share(share: &AnyShare) -> Result<&Share> {
    match share {
        AnyShare::Ecdsa(share) => Ok(share),
        _ => Err(Error::caller(Code::WrongSuite, "ECDSA needs a share of the suite ecdsa-secp256k1")),
    }
}

fn burnt(alive: bool) -> &'static str {
    if alive { "" } else { " (burnt)" }
}
