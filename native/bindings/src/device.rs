//! What only the user's own device does with whole keys (feature `device`).

use cosigner_core::SuiteId;
use cosigner_core::device::{self, Export};
use cosigner_core::seal::PassphraseCost;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rand_core::OsRng;

use crate::args;
use crate::errors::OrRaise;
use crate::handle::{OneShot, opaque_methods};
use crate::keys::SealingKey;
use crate::reshare::{ReshareRound3, shape, to_dict};

/// A whole private key.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct SecretKey {
    key: device::SecretKey,
}

opaque_methods!(SecretKey {
    /// From the scalar.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, suite: &str, key: &Bound<'_, PyAny>) -> PyResult<Self> {
        let suite = SuiteId::from_name(suite).or_raise(py)?;
        let bytes = args::secret(key, "key")?;
        let key = py.detach(|| device::SecretKey::from_bytes(suite, &bytes)).or_raise(py)?;
        Ok(Self { key })
    }

    /// From a seed of RFC 8032.
    #[staticmethod]
    fn from_ed25519_seed(py: Python<'_>, seed: &Bound<'_, PyAny>) -> PyResult<Self> {
        let seed = args::secret(seed, "seed")?;
        let key = py.detach(|| device::SecretKey::from_ed25519_seed(&seed)).or_raise(py)?;
        Ok(Self { key })
    }

    /// From a BIP-39 phrase, at a path of BIP-32 or SLIP-10.
    #[staticmethod]
    fn from_mnemonic(
        py: Python<'_>,
        suite: &str,
        phrase: &Bound<'_, PyAny>,
        passphrase: &Bound<'_, PyAny>,
        path: &str,
    ) -> PyResult<Self> {
        let suite = SuiteId::from_name(suite).or_raise(py)?;
        let phrase = args::secret(phrase, "phrase")?;
        let passphrase = args::secret(passphrase, "passphrase")?;
        let key = py
            .detach(|| device::SecretKey::from_mnemonic(suite, &phrase, &passphrase, path))
            .or_raise(py)?;
        Ok(Self { key })
    }

    /// From Bitcoin's Wallet Import Format; with the network that the text names.
    #[staticmethod]
    fn from_wif(py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<(Self, &'static str)> {
        let text = args::secret(text, "text")?;
        let (key, network) = py.detach(|| device::SecretKey::from_wif(&text)).or_raise(py)?;
        Ok((Self { key }, network.name()))
    }

    /// From a Solana key pair.
    #[staticmethod]
    fn from_solana_keypair(py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = args::secret(text, "text")?;
        let key = py.detach(|| device::SecretKey::from_solana_keypair(&text)).or_raise(py)?;
        Ok(Self { key })
    }

    /// From at least t shares of one group and epoch.
    #[staticmethod]
    fn combine(py: Python<'_>, shares: &Bound<'_, PyList>) -> PyResult<Self> {
        let shares = args::shares(shares, "shares")?;
        let shares: Vec<_> = shares.iter().map(|handle| &handle.get().share).collect();
        let key = py.detach(|| device::SecretKey::combine(&shares)).or_raise(py)?;
        Ok(Self { key })
    }

    #[getter]
    fn suite(&self) -> &'static str {
        self.key.suite().name()
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key.public_key())
    }

    #[getter]
    fn chain_code<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key.chain_code())
    }

    /// Deals the key out: the own receivers' state and confirmations, and the messages for everybody else.
    #[allow(clippy::type_complexity)]
    fn deal<'py>(
        &self,
        py: Python<'py>,
        min_signers: &Bound<'py, PyAny>,
        max_signers: &Bound<'py, PyAny>,
        receivers: &Bound<'py, PyList>,
        context: &[u8],
    ) -> PyResult<(ReshareRound3, Bound<'py, PyDict>, Bound<'py, PyBytes>, Bound<'py, PyDict>)> {
        let shape = shape(py, min_signers, max_signers, context)?;
        let receivers = args::identifiers(receivers, "receivers")?;
        let dealt = py.detach(|| self.key.deal(&shape, &receivers, &mut OsRng)).or_raise(py)?;
        Ok((
            ReshareRound3 { state: OneShot::new(dealt.state) },
            to_dict(py, &dealt.confirmations)?,
            PyBytes::new(py, &dealt.message1),
            to_dict(py, &dealt.messages2)?,
        ))
    }

    /// The key as text of a named format.
    fn export<'py>(&self, py: Python<'py>, format: &str) -> PyResult<Bound<'py, PyBytes>> {
        let text = Export::from_name(format).and_then(|format| self.key.export(format)).or_raise(py)?;
        Ok(PyBytes::new(py, text.as_bytes()))
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.key)
    }
});

/// A stretched passcode.
#[pyclass(frozen, module = "threshold._native")]
pub(crate) struct Passcode {
    passcode: device::Passcode,
}

opaque_methods!(Passcode {
    /// By Argon2id.
    #[new]
    fn new(
        py: Python<'_>,
        passcode: &Bound<'_, PyAny>,
        salt: &[u8],
        memory_kib: &Bound<'_, PyAny>,
        iterations: &Bound<'_, PyAny>,
        parallelism: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let passcode = args::secret(passcode, "passcode")?;
        let cost = PassphraseCost {
            memory_kib: args::unsigned(memory_kib, "memory_kib")?,
            iterations: args::unsigned(iterations, "iterations")?,
            parallelism: args::unsigned(parallelism, "parallelism")?,
        };
        let passcode = py.detach(|| device::Passcode::new(&passcode, salt, cost)).or_raise(py)?;
        Ok(Self { passcode })
    }

    /// What shows the enclave that the passcode is known.
    fn proof<'py>(&self, py: Python<'py>, context: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let proof = self.passcode.proof(context).or_raise(py)?;
        Ok(PyBytes::new(py, proof.as_ref()))
    }

    /// The key of a backup, of this passcode and the enclave's backup key.
    fn sealing_key(
        &self,
        py: Python<'_>,
        backup_key: &Bound<'_, PyAny>,
        context: &[u8],
    ) -> PyResult<SealingKey> {
        let backup_key = args::secret(backup_key, "backup_key")?;
        let key = self.passcode.sealing_key(&backup_key, context).or_raise(py)?;
        Ok(SealingKey { key })
    }

    fn __repr__(&self) -> &'static str {
        "<Passcode>"
    }
});
