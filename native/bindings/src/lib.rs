//! `threshold._native`: the threshold core and the payload parsers for Python.
//!
//! Arguments are checked and copied while attached to the interpreter; every computation runs detached from it.
//! Handles are frozen, hold their one-shot states behind a mutex, and cannot be printed, compared, hashed, copied
//! or pickled.

mod args;
#[cfg(feature = "device")]
mod device;
mod dkg;
mod ecdsa;
mod errors;
mod evm;
mod handle;
mod keys;
mod payload;
mod reshare;
mod sign;

/// The Python module.
#[pyo3::pymodule]
mod _native {
    #[cfg(feature = "device")]
    #[pymodule_export]
    use crate::device::{Passcode, SecretKey};
    #[pymodule_export]
    use crate::dkg::{DkgRound1, DkgRound2, DkgRound3, dkg_start};
    #[pymodule_export]
    use crate::ecdsa::{
        EcdsaClientOt, EcdsaClientSetup, EcdsaEnclaveOt, EcdsaEnclaveSetup, EcdsaPending, derive_public_key,
        ecdsa_begin, ecdsa_respond, ecdsa_setup_begin, ecdsa_setup_respond,
    };
    #[pymodule_export]
    use crate::evm::{
        evm_address, evm_checksum_address, evm_message_digest, evm_signature_assemble,
        evm_transaction_assemble, evm_transaction_inspect, evm_typed_data_inspect,
    };
    #[pymodule_export]
    use crate::keys::{KeyShare, SealingKey};
    #[pymodule_export]
    use crate::payload::{
        bitcoin_address, psbt_finalize, psbt_inspect, solana_address, solana_assemble, solana_inspect,
        solana_text_inspect,
    };
    #[pymodule_export]
    use crate::reshare::{
        ReshareRound1, ReshareRound2, ReshareRound3, import_receive, reshare_join, reshare_start,
    };
    #[pymodule_export]
    use crate::sign::{SigningNonces, frost_begin, frost_respond, verify_signature};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        module.add("ThresholdError", py.get_type::<crate::errors::ThresholdError>())?;
        module.add("PayloadError", py.get_type::<crate::errors::PayloadError>())
    }
}
