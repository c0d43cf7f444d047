//! Keys, scripts and addresses of a wallet.

use bitcoin::key::TapTweak;
use bitcoin::secp256k1::{PublicKey, Secp256k1, VerifyOnly, XOnlyPublicKey};
use bitcoin::taproot::TapNodeHash;
use bitcoin::{Address, Network, ScriptBuf};

use crate::error::{Code, Error, Result};

/// The network of this name: `mainnet`, `testnet`, `signet` or `regtest`.
///
/// # Errors
/// `unknown_network`.
pub fn network(name: &str) -> Result<Network> {
    match name {
        "mainnet" => Ok(Network::Bitcoin),
        "testnet" => Ok(Network::Testnet),
        "signet" => Ok(Network::Signet),
        "regtest" => Ok(Network::Regtest),
        _ => Err(Error::new(Code::UnknownNetwork, "the networks are mainnet, testnet, signet and regtest")),
    }
}

/// The x-only key of 33 (SEC 1 compressed) or 32 bytes. BIP-340 ignores the parity.
pub(super) fn x_only(bytes: &[u8]) -> Result<XOnlyPublicKey> {
    let key = match bytes.len() {
        33 => PublicKey::from_slice(bytes).map(|key| key.x_only_public_key().0),
        _ => XOnlyPublicKey::from_slice(bytes),
    };
    key.map_err(|_| Error::new(Code::InvalidPublicKey, "not a public key of 32 or 33 bytes"))
}

/// The script of the key-path output (BIP-341) of `internal_key` over `merkle_root`; BIP-86 without one.
pub(super) fn script(
    secp: &Secp256k1<VerifyOnly>,
    internal_key: XOnlyPublicKey,
    merkle_root: Option<TapNodeHash>,
) -> ScriptBuf {
    let (output_key, _) = internal_key.tap_tweak(secp, merkle_root);
    ScriptBuf::new_p2tr_tweaked(output_key)
}

/// The BIP-86 address of an internal key of 32 or 33 bytes.
///
/// # Errors
/// `invalid_public_key`, `unknown_network`.
pub fn address(internal_key: &[u8], network_name: &str) -> Result<String> {
    let network = network(network_name)?;
    let secp = Secp256k1::verification_only();
    Ok(Address::p2tr(&secp, x_only(internal_key)?, None, network).to_string())
}
