//! Key generation.

use cosigner_core::SuiteId;
use cosigner_core::any::{AnyRound1, AnyRound2, AnyRound3, dkg_start as start};
use cosigner_core::dkg::Params;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rand_core::OsRng;

use crate::args;
use crate::errors::OrRaise;
use crate::handle::{OneShot, opaque_methods};
use crate::keys::KeyShare;

/// Starts key generation and returns the first state and the message to broadcast.
#[pyfunction]
pub(crate) fn dkg_start<'py>(
    py: Python<'py>,
    suite: &str,
    identifier: &Bound<'py, PyAny>,
    min_signers: &Bound<'py, PyAny>,
    max_signers: &Bound<'py, PyAny>,
    context: &[u8],
) -> PyResult<(DkgRound1, Bound<'py, PyBytes>)> {
    let suite = SuiteId::from_name(suite).or_raise(py)?;
    let params = Params {
        identifier: args::unsigned(identifier, "identifier")?,
        min_signers: args::unsigned(min_signers, "min_signers")?,
        max_signers: args::unsigned(max_signers, "max_signers")?,
        context: args::array32(py, context, "context")?,
    };
    let (state, message) = py.detach(|| start(suite, params, &mut OsRng)).or_raise(py)?;
    Ok((DkgRound1 { state: OneShot::new(state) }, PyBytes::new(py, &message)))
}

/// State after the first step.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct DkgRound1 {
    state: OneShot<AnyRound1>,
}

opaque_methods!(DkgRound1 {
    /// Takes the peers' first messages; returns the next state and one secret message per peer.
    fn advance<'py>(
        &self,
        py: Python<'py>,
        messages1: &Bound<'py, PyDict>,
    ) -> PyResult<(DkgRound2, Bound<'py, PyDict>)> {
        let state = self.state.take().or_raise(py)?;
        let messages = args::messages(messages1, "messages1")?;
        let (state, outgoing) = py.detach(|| state.advance(&messages)).or_raise(py)?;
        let dict = PyDict::new(py);
        for (receiver, message) in &outgoing {
            dict.set_item(receiver, PyBytes::new(py, message))?;
        }
        Ok((DkgRound2 { state: OneShot::new(state) }, dict))
    }

    fn __repr__(&self) -> String {
        format!("<DkgRound1{}>", spent(self.state.is_present()))
    }
});

/// State after the second step.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct DkgRound2 {
    state: OneShot<AnyRound2>,
}

opaque_methods!(DkgRound2 {
    /// Takes the peers' second messages; returns the next state and the own confirmation.
    fn advance<'py>(
        &self,
        py: Python<'py>,
        messages2: &Bound<'py, PyDict>,
    ) -> PyResult<(DkgRound3, Bound<'py, PyBytes>)> {
        let state = self.state.take().or_raise(py)?;
        let messages = args::secret_messages(messages2, "messages2")?;
        let (state, confirmation) = py.detach(|| state.advance(&messages)).or_raise(py)?;
        Ok((DkgRound3 { state: OneShot::new(state) }, PyBytes::new(py, &confirmation)))
    }

    fn __repr__(&self) -> String {
        format!("<DkgRound2{}>", spent(self.state.is_present()))
    }
});

/// State after the third step: the share waits for the confirmations.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct DkgRound3 {
    pub(crate) state: OneShot<AnyRound3>,
}

opaque_methods!(DkgRound3 {
    /// Takes the peers' confirmations and releases the key share.
    fn confirm<'py>(&self, py: Python<'py>, confirmations: &Bound<'py, PyDict>) -> PyResult<KeyShare> {
        let state = self.state.take().or_raise(py)?;
        let confirmations = args::messages(confirmations, "confirmations")?;
        let share = py.detach(|| state.confirm(&confirmations)).or_raise(py)?;
        Ok(KeyShare { share })
    }

    /// The group public key that the share will have.
    #[getter]
    fn group_public_key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let key = self.state.peek(AnyRound3::group_public_key).or_raise(py)?;
        Ok(PyBytes::new(py, &key))
    }

    fn __repr__(&self) -> String {
        format!("<DkgRound3{}>", spent(self.state.is_present()))
    }
});

/// For a `repr`: says when a state is gone.
pub(crate) fn spent(present: bool) -> &'static str {
    if present { "" } else { " (consumed)" }
}
