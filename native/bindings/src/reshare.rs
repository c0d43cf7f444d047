//! Resharing, and receiving an imported key.

use std::collections::BTreeMap;

use cosigner_core::SuiteId;
use cosigner_core::any::{
    AnyReshare1, AnyReshare2, AnyReshare3, import_receive as receive, reshare_join as join,
    reshare_start as start,
};
use cosigner_core::reshare::Handover;
use cosigner_core::reshare::import::Shape;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rand_core::OsRng;

use crate::args;
use crate::dkg::spent;
use crate::errors::OrRaise;
use crate::handle::{OneShot, opaque_methods};
use crate::keys::KeyShare;

/// Starts a resharing at a node with old shares; returns the state and each own dealer's first message.
#[pyfunction]
pub(crate) fn reshare_start<'py>(
    py: Python<'py>,
    shares: &Bound<'py, PyList>,
    dealers: &Bound<'py, PyList>,
    receivers: &Bound<'py, PyList>,
    min_signers: &Bound<'py, PyAny>,
    max_signers: &Bound<'py, PyAny>,
    context: &[u8],
) -> PyResult<(ReshareRound1, Bound<'py, PyDict>)> {
    let shares = args::shares(shares, "shares")?;
    let handover = handover(py, dealers, receivers, min_signers, max_signers, context)?;
    let shares: Vec<_> = shares.iter().map(|share| &share.get().share).collect();
    let (state, messages) = py.detach(|| start(&shares, handover, &mut OsRng)).or_raise(py)?;
    Ok((ReshareRound1 { state: OneShot::new(state) }, to_dict(py, &messages)?))
}

/// Starts a resharing at a node without an old share, which knows the old group.
#[pyfunction]
pub(crate) fn reshare_join<'py>(
    py: Python<'py>,
    group: &[u8],
    dealers: &Bound<'py, PyList>,
    receivers: &Bound<'py, PyList>,
    min_signers: &Bound<'py, PyAny>,
    max_signers: &Bound<'py, PyAny>,
    context: &[u8],
) -> PyResult<ReshareRound1> {
    let handover = handover(py, dealers, receivers, min_signers, max_signers, context)?;
    let state = py.detach(|| join(group, handover)).or_raise(py)?;
    Ok(ReshareRound1 { state: OneShot::new(state) })
}

/// Takes a trusted dealer's messages; returns the state and the own receivers' confirmations.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub(crate) fn import_receive<'py>(
    py: Python<'py>,
    suite: &str,
    receivers: &Bound<'py, PyList>,
    min_signers: &Bound<'py, PyAny>,
    max_signers: &Bound<'py, PyAny>,
    context: &[u8],
    message1: &[u8],
    messages2: &Bound<'py, PyDict>,
) -> PyResult<(ReshareRound3, Bound<'py, PyDict>)> {
    let suite = SuiteId::from_name(suite).or_raise(py)?;
    let receivers = args::identifiers(receivers, "receivers")?;
    let shape = shape(py, min_signers, max_signers, context)?;
    let messages = args::secret_messages(messages2, "messages2")?;
    let (state, own) = py.detach(|| receive(suite, &shape, &receivers, message1, &messages)).or_raise(py)?;
    Ok((ReshareRound3 { state: OneShot::new(state) }, to_dict(py, &own)?))
}

/// State after the first step.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct ReshareRound1 {
    state: OneShot<AnyReshare1>,
}

opaque_methods!(ReshareRound1 {
    /// Takes the first message of every dealer elsewhere; returns the next state and the secret messages.
    fn advance<'py>(
        &self,
        py: Python<'py>,
        messages1: &Bound<'py, PyDict>,
    ) -> PyResult<(ReshareRound2, Bound<'py, PyDict>)> {
        let state = self.state.take().or_raise(py)?;
        let messages = args::messages(messages1, "messages1")?;
        let (state, outgoing) = py.detach(|| state.advance(&messages)).or_raise(py)?;
        let dict = PyDict::new(py);
        for (pair, message) in &outgoing {
            dict.set_item(pair, PyBytes::new(py, message))?;
        }
        Ok((ReshareRound2 { state: OneShot::new(state) }, dict))
    }

    fn __repr__(&self) -> String {
        format!("<ReshareRound1{}>", spent(self.state.is_present()))
    }
});

/// State after the second step.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct ReshareRound2 {
    state: OneShot<AnyReshare2>,
}

opaque_methods!(ReshareRound2 {
    /// Takes the second messages of the dealers elsewhere; returns the next state and the own confirmations.
    fn advance<'py>(
        &self,
        py: Python<'py>,
        messages2: &Bound<'py, PyDict>,
    ) -> PyResult<(ReshareRound3, Bound<'py, PyDict>)> {
        let state = self.state.take().or_raise(py)?;
        let messages = args::secret_messages_between(messages2, "messages2")?;
        let (state, own) = py.detach(|| state.advance(&messages)).or_raise(py)?;
        Ok((ReshareRound3 { state: OneShot::new(state) }, to_dict(py, &own)?))
    }

    fn __repr__(&self) -> String {
        format!("<ReshareRound2{}>", spent(self.state.is_present()))
    }
});

/// State after the last step: the new shares wait for the confirmations.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct ReshareRound3 {
    pub(crate) state: OneShot<AnyReshare3>,
}

opaque_methods!(ReshareRound3 {
    /// Takes the confirmation of every receiver elsewhere and releases the new shares.
    fn confirm<'py>(
        &self,
        py: Python<'py>,
        confirmations: &Bound<'py, PyDict>,
    ) -> PyResult<BTreeMap<u16, KeyShare>> {
        let state = self.state.take().or_raise(py)?;
        let confirmations = args::messages(confirmations, "confirmations")?;
        let shares = py.detach(|| state.confirm(&confirmations)).or_raise(py)?;
        Ok(shares.into_iter().map(|(receiver, share)| (receiver, KeyShare { share })).collect())
    }

    #[getter]
    fn suite(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.state.peek(|state| Ok(state.suite().name())).or_raise(py)
    }

    #[getter]
    fn epoch(&self, py: Python<'_>) -> PyResult<u32> {
        self.state.peek(|state| Ok(state.epoch())).or_raise(py)
    }

    #[getter]
    fn min_signers(&self, py: Python<'_>) -> PyResult<u16> {
        self.state.peek(|state| Ok(state.min_signers())).or_raise(py)
    }

    #[getter]
    fn max_signers(&self, py: Python<'_>) -> PyResult<u16> {
        self.state.peek(|state| Ok(state.max_signers())).or_raise(py)
    }

    #[getter]
    fn receivers(&self, py: Python<'_>) -> PyResult<Vec<u16>> {
        self.state.peek(|state| Ok(state.receivers())).or_raise(py)
    }

    #[getter]
    fn group_public_key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let key = self.state.peek(AnyReshare3::group_public_key).or_raise(py)?;
        Ok(PyBytes::new(py, &key))
    }

    fn __repr__(&self) -> String {
        format!("<ReshareRound3{}>", spent(self.state.is_present()))
    }
});

fn handover(
    py: Python<'_>,
    dealers: &Bound<'_, PyList>,
    receivers: &Bound<'_, PyList>,
    min_signers: &Bound<'_, PyAny>,
    max_signers: &Bound<'_, PyAny>,
    context: &[u8],
) -> PyResult<Handover> {
    Ok(Handover {
        dealers: args::identifiers(dealers, "dealers")?,
        receivers: args::identifiers(receivers, "receivers")?,
        min_signers: args::unsigned(min_signers, "min_signers")?,
        max_signers: args::unsigned(max_signers, "max_signers")?,
        context: args::array32(py, context, "context")?,
    })
}

pub(crate) fn shape(
    py: Python<'_>,
    min_signers: &Bound<'_, PyAny>,
    max_signers: &Bound<'_, PyAny>,
    context: &[u8],
) -> PyResult<Shape> {
    Ok(Shape {
        min_signers: args::unsigned(min_signers, "min_signers")?,
        max_signers: args::unsigned(max_signers, "max_signers")?,
        context: args::array32(py, context, "context")?,
    })
}

pub(crate) fn to_dict<'py, T: AsRef<[u8]>>(
    py: Python<'py>,
    messages: &BTreeMap<u16, T>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (identifier, message) in messages {
        dict.set_item(identifier, PyBytes::new(py, message.as_ref()))?;
    }
    Ok(dict)
}
