//! Key shares and sealing.

use cosigner_core::any::{AnyReshare3, AnyRound3, AnyShare};
use cosigner_core::error::{Code, Error};
use cosigner_core::seal::{self, Kind, PassphraseCost};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rand_core::OsRng;
use zeroize::Zeroizing;

use crate::args;
use crate::dkg::DkgRound3;
use crate::ecdsa::parse_path;
use crate::errors::{OrRaise, threshold_error};
use crate::handle::{OneShot, opaque_methods};
use crate::reshare::ReshareRound3;

/// A participant's long-lived share of one key. The scalar never leaves the native module in clear, but on the user's own
/// device.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct KeyShare {
    pub(crate) share: AnyShare,
}

opaque_methods!(KeyShare {
    #[getter]
    fn suite(&self) -> &'static str {
        self.share.suite().name()
    }

    #[getter]
    fn identifier(&self) -> u16 {
        self.share.identifier()
    }

    #[getter]
    fn min_signers(&self) -> u16 {
        self.share.min_signers()
    }

    #[getter]
    fn max_signers(&self) -> u16 {
        self.share.max_signers()
    }

    #[getter]
    fn epoch(&self) -> u32 {
        self.share.epoch()
    }

    #[getter]
    fn group_public_key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.share.group_public_key().or_raise(py)?))
    }

    #[getter]
    fn verifying_shares<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (identifier, bytes) in self.share.verifying_shares().or_raise(py)? {
            dict.set_item(identifier, PyBytes::new(py, &bytes))?;
        }
        Ok(dict)
    }

    #[getter]
    fn chain_code<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.share.chain_code())
    }

    /// The public data of the group, equal for all its members.
    #[getter]
    fn group<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.share.group().or_raise(py)?))
    }

    /// Proves that the share is held, for a context of 32 bytes.
    fn prove<'py>(&self, py: Python<'py>, context: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let context = args::array32(py, context, "context")?;
        let proof = py.detach(|| self.share.prove(&context, &mut OsRng)).or_raise(py)?;
        Ok(PyBytes::new(py, &proof))
    }

    /// Checks another member's proof.
    fn verify_proof(
        &self,
        py: Python<'_>,
        identifier: &Bound<'_, PyAny>,
        context: &[u8],
        proof: &[u8],
    ) -> PyResult<()> {
        let identifier = args::unsigned(identifier, "identifier")?;
        let context = args::array32(py, context, "context")?;
        py.detach(|| self.share.verify_proof(identifier, &context, proof)).or_raise(py)
    }

    /// The share of the key at an unhardened BIP-32 path; for Taproot keys.
    fn derive(&self, py: Python<'_>, path: &Bound<'_, PyList>) -> PyResult<Self> {
        let path = parse_path(path)?;
        let share = py.detach(|| self.share.derive(&path)).or_raise(py)?;
        Ok(Self { share })
    }

    /// The share in clear.
    #[cfg(feature = "device")]
    fn encode<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.share.encode().or_raise(py)?))
    }

    /// Reads what `encode` wrote.
    #[cfg(feature = "device")]
    #[staticmethod]
    fn decode(py: Python<'_>, share: &Bound<'_, PyAny>) -> PyResult<Self> {
        let bytes = args::secret(share, "share")?;
        let share = py.detach(|| AnyShare::decode(&bytes)).or_raise(py)?;
        Ok(Self { share })
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.share)
    }
});

/// A key that seals and opens records.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct SealingKey {
    pub(crate) key: seal::SealingKey,
}

opaque_methods!(SealingKey {
    /// From a data key: any contiguous buffer of 32 bytes, which the caller wipes afterwards.
    #[staticmethod]
    fn from_data_key(py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::<u8>::get(key)?;
        let mut bytes = Zeroizing::new([0_u8; 32]);
        if buffer.item_count() != bytes.len() {
            return Err(threshold_error(
                py,
                &Error::caller(Code::InvalidParameter, "a data key has 32 bytes"),
            ));
        }
        buffer.copy_to_slice(py, bytes.as_mut())?;
        Ok(Self { key: seal::SealingKey::from_data_key(bytes.as_ref()).or_raise(py)? })
    }

    /// From a passphrase by Argon2id.
    #[staticmethod]
    fn from_passphrase(
        py: Python<'_>,
        passphrase: &[u8],
        salt: &[u8],
        memory_kib: &Bound<'_, PyAny>,
        iterations: &Bound<'_, PyAny>,
        parallelism: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let cost = PassphraseCost {
            memory_kib: args::unsigned(memory_kib, "memory_kib")?,
            iterations: args::unsigned(iterations, "iterations")?,
            parallelism: args::unsigned(parallelism, "parallelism")?,
        };
        let key = py.detach(|| seal::SealingKey::from_passphrase(passphrase, salt, cost)).or_raise(py)?;
        Ok(Self { key })
    }

    /// Seals a key share.
    fn seal_share<'py>(
        &self,
        py: Python<'py>,
        share: &Bound<'py, KeyShare>,
        associated_data: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let share = &share.get().share;
        let record = py.detach(|| share.seal(&self.key, associated_data, &mut OsRng)).or_raise(py)?;
        Ok(PyBytes::new(py, &record))
    }

    /// Opens a sealed key share.
    fn open_share(&self, py: Python<'_>, record: &[u8], associated_data: &[u8]) -> PyResult<KeyShare> {
        let share = py.detach(|| AnyShare::open(&self.key, record, associated_data)).or_raise(py)?;
        Ok(KeyShare { share })
    }

    /// Seals a finished key generation whose confirmations are awaited; the state stays usable.
    fn seal_unconfirmed<'py>(
        &self,
        py: Python<'py>,
        state: &Bound<'py, DkgRound3>,
        associated_data: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let state = &state.get().state;
        let record = py
            .detach(|| state.peek(|state| state.seal(&self.key, associated_data, &mut OsRng)))
            .or_raise(py)?;
        Ok(PyBytes::new(py, &record))
    }

    /// Opens what `seal_unconfirmed` made.
    fn open_unconfirmed(&self, py: Python<'_>, record: &[u8], associated_data: &[u8]) -> PyResult<DkgRound3> {
        let state = py.detach(|| AnyRound3::open(&self.key, record, associated_data)).or_raise(py)?;
        Ok(DkgRound3 { state: OneShot::new(state) })
    }

    /// Seals a finished resharing or import whose confirmations are awaited; the state stays usable.
    fn seal_reshare<'py>(
        &self,
        py: Python<'py>,
        state: &Bound<'py, ReshareRound3>,
        associated_data: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let state = &state.get().state;
        let record = py
            .detach(|| state.peek(|state| state.seal(&self.key, associated_data, &mut OsRng)))
            .or_raise(py)?;
        Ok(PyBytes::new(py, &record))
    }

    /// Opens what `seal_reshare` made.
    fn open_reshare(&self, py: Python<'_>, record: &[u8], associated_data: &[u8]) -> PyResult<ReshareRound3> {
        let state = py.detach(|| AnyReshare3::open(&self.key, record, associated_data)).or_raise(py)?;
        Ok(ReshareRound3 { state: OneShot::new(state) })
    }

    /// One half of the key of a backup.
    fn backup_key<'py>(&self, py: Python<'py>, context: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let key = py.detach(|| self.key.backup_key(context)).or_raise(py)?;
        Ok(PyBytes::new(py, key.as_ref()))
    }

    /// Seals other bytes.
    fn seal_bytes<'py>(
        &self,
        py: Python<'py>,
        plaintext: &[u8],
        associated_data: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let record = py
            .detach(|| self.key.seal(Kind::Bytes, plaintext, associated_data, &mut OsRng))
            .or_raise(py)?;
        Ok(PyBytes::new(py, &record))
    }

    /// Opens other sealed bytes.
    fn open_bytes<'py>(
        &self,
        py: Python<'py>,
        record: &[u8],
        associated_data: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let plaintext =
            py.detach(|| self.key.open(Kind::Bytes, record, associated_data)).or_raise(py)?;
        Ok(PyBytes::new(py, &plaintext))
    }

    fn __repr__(&self) -> &'static str {
        "<SealingKey>"
    }
});
