//! Whole transcripts under fixed randomness, so that no change of the bytes goes unnoticed and another implementation
//! has something to compare with. `RECORD=1 cargo test -p cosigner-core recorded` writes the file again.
//!
//! A wallet of two gets a backup share: the device deals with share 1 and receives for 1 and 3, the enclave has 2. Then a
//! key is imported by a device that keeps 1. Coefficients are drawn in ascending order from the ChaCha20 keystream
//! (64-bit counter from 0, zero nonce) under each node's key, 64 bytes each for Ed25519 and 32 for secp256k1.

use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};

use super::super::import::{Shape, deal, receive};
use super::*;
use crate::codec::scalar_from_bytes;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/reshare/tests/recorded.json");
const DEVICE_KEY: [u8; 32] = [0x11; 32];
const ENCLAVE_KEY: [u8; 32] = [0x22; 32];
const CHAIN_CODE: [u8; 32] = [6; 32];

fn scalars<S: Suite>(shares: &BTreeMap<u16, KeyShare<S>>) -> Vec<String> {
    shares.values().map(|share| hex::encode(share.key.signing_share().serialize())).collect()
}

fn reshared<S: Suite>() -> Value {
    let old = dkg::<S>(2, 2, 77);
    let handover = |receivers: &[u16]| Handover {
        dealers: vec![1, 2],
        receivers: receivers.to_vec(),
        min_signers: 2,
        max_signers: 3,
        context: CONTEXT,
    };
    let (device, from_device) =
        start(&[&old[&1]], handover(&[1, 3]), &mut ChaCha20Rng::from_seed(DEVICE_KEY)).unwrap();
    let (enclave, from_enclave) =
        start(&[&old[&2]], handover(&[2]), &mut ChaCha20Rng::from_seed(ENCLAVE_KEY)).unwrap();
    let (enclave, to_device) = enclave.advance(&from_device).unwrap();
    let (device, to_enclave) = device.advance(&from_enclave).unwrap();
    let (device, mut confirmations) = device.advance(&to_device).unwrap();
    let (enclave, of_enclave) = enclave.advance(&to_enclave).unwrap();
    let as_bytes = |from: &Confirmations| from.iter().map(|(i, c)| (*i, c.to_vec())).collect();
    let pending = device.encode().unwrap();
    let mut new = device.confirm(&as_bytes(&of_enclave)).unwrap();
    new.extend(enclave.confirm(&as_bytes(&confirmations)).unwrap());
    confirmations.extend(of_enclave);
    let second: BTreeMap<String, String> = to_device
        .iter()
        .chain(&to_enclave)
        .map(|((dealer, receiver), m)| (format!("{dealer} to {receiver}"), hex::encode(m.as_slice())))
        .collect();
    json!({
        "old_group": hex::encode(old[&1].group().encode().unwrap()),
        "old_shares": scalars(&old),
        "message1": [hex::encode(&from_device[&1]), hex::encode(&from_enclave[&2])],
        "message2": second,
        "confirmations": confirmations.values().map(hex::encode).collect::<Vec<_>>(),
        "device_pending": hex::encode(pending.as_slice()),
        "new_group": hex::encode(new[&1].group().encode().unwrap()),
        "new_shares": scalars(&new),
    })
}

fn imported<S: Suite>() -> Value {
    let mut secret = [0x33; 32];
    (secret[0], secret[31]) = (1, 1);
    let shape = Shape { min_signers: 2, max_signers: 2, context: CONTEXT };
    let scalar = scalar_from_bytes::<S>(&secret).unwrap();
    let rng = &mut ChaCha20Rng::from_seed(DEVICE_KEY);
    let dealt = deal::<S>(&scalar, &CHAIN_CODE, &shape, &[1], rng).unwrap();
    let (state, own) = receive::<S>(&shape, &[2], &dealt.message1, &dealt.messages2).unwrap();
    let as_bytes = |from: &Confirmations| from.iter().map(|(i, c)| (*i, c.to_vec())).collect();
    let mut shares = dealt.state.confirm(&as_bytes(&own)).unwrap();
    shares.extend(state.confirm(&as_bytes(&dealt.confirmations)).unwrap());
    json!({
        "secret": hex::encode(secret),
        "chain_code": hex::encode(CHAIN_CODE),
        "message1": hex::encode(&dealt.message1),
        "message2": hex::encode(dealt.messages2[&2].as_slice()),
        "confirmations": [hex::encode(dealt.confirmations[&1]), hex::encode(own[&2])],
        "group": hex::encode(shares[&1].group().encode().unwrap()),
        "shares": scalars(&shares),
    })
}

fn suite<S: Suite>() -> Value {
    json!({ "reshare": reshared::<S>(), "import": imported::<S>() })
}

#[test]
fn the_recorded_transcripts_are_what_is_made_today() {
    let transcript = json!({
        "about": "docs/spec/threshold.md, Resharing; made by native/core/src/reshare/tests/recorded.rs",
        "device_chacha20_key": hex::encode(DEVICE_KEY),
        "enclave_chacha20_key": hex::encode(ENCLAVE_KEY),
        "context": hex::encode(CONTEXT),
        "frost-ed25519": suite::<Ed25519Sha512>(),
        "frost-secp256k1-tr": suite::<Secp256K1Sha256TR>(),
        "ecdsa-secp256k1": suite::<Secp256K1Sha256>(),
    });
    let made = serde_json::to_string_pretty(&transcript).unwrap() + "\n";
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(FILE, &made).unwrap();
    }
    let recorded = std::fs::read_to_string(FILE).unwrap();
    assert!(
        made == recorded,
        "the transcripts changed; if that is meant, record them again and say so in the spec"
    );
}
