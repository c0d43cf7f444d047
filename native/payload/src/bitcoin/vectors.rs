//! BIP-341's wallet vectors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::psbt::{Psbt, PsbtSighashType};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::taproot::TapNodeHash;
use bitcoin::{Amount, ScriptBuf, Transaction, TxOut, XOnlyPublicKey};

use super::{address, finalize, inspect};
use crate::error::Code;

fn vectors(name: &str) -> Option<String> {
    let folder = std::env::var_os("CONFORMANCE_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "no conformance vectors in {}", folder.display());
        eprintln!("skipped: no conformance vectors in {}", folder.display());
        return None;
    }
    Some(std::fs::read_to_string(folder.join(name)).unwrap())
}

fn hex(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// BIP-341's wallet vectors: addresses.
#[test]
fn bip_341_addresses_are_reproduced() {
    let Some(json) = vectors("bip341-wallet-test-vectors.json") else { return };
    let file: serde_json::Value = serde_json::from_str(&json).unwrap();
    let cases = file["scriptPubKey"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    let mut plain = 0;
    for case in cases {
        let internal = hex(&case["given"]["internalPubkey"]);
        let expected = &case["expected"];
        let key = XOnlyPublicKey::from_slice(&internal).unwrap();
        let root = &case["intermediary"]["merkleRoot"];
        let root = (!root.is_null()).then(|| TapNodeHash::from_slice(&hex(root)).unwrap());
        let script = super::key::script(&Secp256k1::verification_only(), key, root);
        assert_eq!(script.to_bytes(), hex(&expected["scriptPubKey"]));
        if root.is_none() {
            plain += 1;
            assert_eq!(address(&internal, "mainnet").unwrap(), expected["bip350Address"].as_str().unwrap());
        }
    }
    assert_eq!(plain, 1);
}

/// BIP-341's wallet vectors: a PSBT of their transaction gives their signature hashes and takes their witnesses.
#[test]
fn bip_341_signature_hashes_are_reproduced() {
    let Some(json) = vectors("bip341-wallet-test-vectors.json") else { return };
    let file: serde_json::Value = serde_json::from_str(&json).unwrap();
    let case = &file["keyPathSpending"][0];
    let unsigned: Transaction = deserialize(&hex(&case["given"]["rawUnsignedTx"])).unwrap();
    let spent: Vec<TxOut> = case["given"]["utxosSpent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|utxo| TxOut {
            script_pubkey: ScriptBuf::from(hex(&utxo["scriptPubKey"])),
            value: Amount::from_sat(utxo["amountSats"].as_u64().unwrap()),
        })
        .collect();
    let mut counts = [0; 2];
    for spending in case["inputSpending"].as_array().unwrap() {
        let mut psbt = Psbt::from_unsigned_tx(unsigned.clone()).unwrap();
        for (input, utxo) in psbt.inputs.iter_mut().zip(&spent) {
            input.witness_utxo = Some(utxo.clone());
        }
        let given = &spending["given"];
        let k = given["txinIndex"].as_u64().unwrap() as usize;
        let hash_type = given["hashType"].as_u64().unwrap() as u32;
        let internal = hex(&spending["intermediary"]["internalPubkey"]);
        psbt.inputs[k].sighash_type = Some(PsbtSighashType::from_u32(hash_type));
        if !given["merkleRoot"].is_null() {
            psbt.inputs[k].tap_internal_key = Some(XOnlyPublicKey::from_slice(&internal).unwrap());
            psbt.inputs[k].tap_merkle_root =
                Some(TapNodeHash::from_slice(&hex(&given["merkleRoot"])).unwrap());
        }
        let bytes = psbt.serialize();
        let result = inspect(&bytes, &internal, "mainnet");
        if hash_type > 1 {
            counts[1] += 1;
            assert_eq!(result.unwrap_err().code, Code::PsbtSighashType);
            continue;
        }
        counts[0] += 1;
        let ours = result.unwrap().inputs[k].ours.clone().unwrap();
        assert_eq!(ours.sighash.to_vec(), hex(&spending["intermediary"]["sigHash"]));
        let witness = hex(&spending["expected"]["witness"][0]);
        let finalized = finalize(&bytes, &BTreeMap::from([(k as u32, witness[..64].to_vec())])).unwrap();
        let done = Psbt::deserialize(&finalized.psbt).unwrap();
        assert_eq!(done.inputs[k].final_script_witness.as_ref().unwrap().to_vec(), [witness]);
    }
    assert_eq!(counts, [2, 5]);
}
