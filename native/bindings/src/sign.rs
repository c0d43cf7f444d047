//! FROST signing and signature verification.

use cosigner_core::SuiteId;
use cosigner_core::any::{AnyNonces, verify};
use cosigner_core::suite::Tweak;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use rand_core::OsRng;

use crate::args;
use crate::dkg::spent;
use crate::errors::OrRaise;
use crate::handle::{OneShot, opaque_methods};
use crate::keys::KeyShare;

/// Initiator: draws `count` pairs of nonces and returns them with their commitments.
#[pyfunction]
pub(crate) fn frost_begin<'py>(
    py: Python<'py>,
    share: &Bound<'py, KeyShare>,
    count: &Bound<'py, PyAny>,
) -> PyResult<(SigningNonces, Bound<'py, PyList>)> {
    let count = args::unsigned::<usize>(count, "count")?;
    let share = &share.get().share;
    let (nonces, commitments) = py.detach(|| share.begin(count, &mut OsRng)).or_raise(py)?;
    Ok((SigningNonces { count, state: OneShot::new(nonces) }, args::to_list(py, &commitments)?))
}

/// Responder: draws nonces, signs once with them, and returns commitments and signature shares.
#[pyfunction]
#[pyo3(signature = (share, messages, peers, tweaks=None))]
pub(crate) fn frost_respond<'py>(
    py: Python<'py>,
    share: &Bound<'py, KeyShare>,
    messages: &Bound<'py, PyList>,
    peers: &Bound<'py, PyDict>,
    tweaks: Option<&Bound<'py, PyList>>,
) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
    let messages = args::batch(messages, "messages")?;
    let peers = args::batches(peers, "peers")?;
    let tweaks = args::tweaks(tweaks, messages.len())?;
    let share = &share.get().share;
    let (commitments, shares) =
        py.detach(|| share.respond(&messages, &peers, &tweaks, &mut OsRng)).or_raise(py)?;
    Ok((args::to_list(py, &commitments)?, args::to_list(py, &shares)?))
}

/// The initiator's nonces.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct SigningNonces {
    count: usize,
    state: OneShot<AnyNonces>,
}

opaque_methods!(SigningNonces {
    /// Second round of ordinary FROST: the own signature shares.
    #[pyo3(signature = (share, messages, peers, tweaks=None))]
    fn sign<'py>(
        &self,
        py: Python<'py>,
        share: &Bound<'py, KeyShare>,
        messages: &Bound<'py, PyList>,
        peers: &Bound<'py, PyDict>,
        tweaks: Option<&Bound<'py, PyList>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let nonces = self.state.take().or_raise(py)?;
        let messages = args::batch(messages, "messages")?;
        let peers = args::batches(peers, "peers")?;
        let tweaks = args::tweaks(tweaks, messages.len())?;
        let share = &share.get().share;
        let shares = py.detach(|| nonces.sign(share, &messages, &peers, &tweaks)).or_raise(py)?;
        args::to_list(py, &shares)
    }

    /// Aggregates with the other signers' responses and verifies every signature.
    #[pyo3(signature = (share, messages, responses, tweaks=None))]
    fn finish<'py>(
        &self,
        py: Python<'py>,
        share: &Bound<'py, KeyShare>,
        messages: &Bound<'py, PyList>,
        responses: &Bound<'py, PyDict>,
        tweaks: Option<&Bound<'py, PyList>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let nonces = self.state.take().or_raise(py)?;
        let messages = args::batch(messages, "messages")?;
        let responses = args::batch_pairs(responses, "responses")?;
        let tweaks = args::tweaks(tweaks, messages.len())?;
        let share = &share.get().share;
        let signatures =
            py.detach(|| nonces.finish(share, &messages, &responses, &tweaks)).or_raise(py)?;
        args::to_list(py, &signatures)
    }

    fn __len__(&self) -> usize {
        self.count
    }

    fn __repr__(&self) -> String {
        format!("<SigningNonces for {}{}>", self.count, spent(self.state.is_present()))
    }
});

/// Verifies a signature; raises `signature_invalid`.
#[pyfunction]
#[pyo3(signature = (suite, public_key, message, signature, tweak=None))]
pub(crate) fn verify_signature(
    py: Python<'_>,
    suite: &str,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
    tweak: Option<&[u8]>,
) -> PyResult<()> {
    let suite = SuiteId::from_name(suite).or_raise(py)?;
    let tweak = Tweak::from_bytes(tweak).or_raise(py)?;
    py.detach(|| verify(suite, public_key, message, signature, &tweak)).or_raise(py)
}
