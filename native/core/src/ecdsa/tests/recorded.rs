//! Whole transcripts under fixed randomness, so that no change of the bytes goes unnoticed and another implementation
//! has something to compare with. `RECORD=1 cargo test -p cosigner-core recorded` writes the file again.
//!
//! All randomness of a party is the ChaCha20 keystream (64-bit counter from 0, zero nonce) under its key, used in the
//! order of docs/spec/ecdsa.md, "Order of draws".

use rand_core::SeedableRng as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::curve::scalar_bytes;
use super::super::multiply::Batch;
use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ecdsa/tests/recorded.json");

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn transcript() -> Value {
    let (client_key, enclave_key) = ([0x11; 32], [0x22; 32]);
    let (mut client_rng, mut enclave_rng) =
        (ChaCha20Rng::from_seed(client_key), ChaCha20Rng::from_seed(enclave_key));
    let shares = dkg::<Curve>(2, 3, 77);
    let (setup, offers) = ClientSetup::begin(&mut client_rng);
    let (enclave, answer) = EnclaveSetup::respond(&offers, &mut enclave_rng).unwrap();
    let client = Arc::new(setup.finish(&answer, &SESSION).unwrap());
    let enclave = enclave.bind(&SESSION);
    let seeds = enclave.seeds().unwrap();
    let mut signatures = Vec::new();
    for (client_id, enclave_id, path) in
        [(1, 2, &[][..]), (3, 2, &[0, 5]), (2, 1, &[44, 60, 0, 0, 2_147_483_647])]
    {
        let digest: [u8; 32] = Sha256::digest([client_id as u8]).into();
        let (pending, message1) =
            begin(&shares[&client_id], &client, &digest, path, enclave_id, &mut client_rng).unwrap();
        let message2 =
            respond(&shares[&enclave_id], &enclave, &message1, &digest, path, client_id, &mut enclave_rng)
                .unwrap();
        let gadget: Vec<u8> = Batch::First.gadget(&pending.context).iter().flat_map(scalar_bytes).collect();
        let inner = json!({
            "context": hex::encode(pending.context),
            "transcript": hex::encode(pending.transcript),
            "sha256_gadget0": sha256(&gadget),
            "beta0": hex::encode(scalar_bytes(&pending.beta0)),
        });
        let signature = pending.finish(&message2).unwrap();
        signatures.push(json!({
            "client": client_id,
            "enclave": enclave_id,
            "path": path,
            "digest": hex::encode(digest),
            "message1_head": hex::encode(&message1[..107]),
            "sha256_columns": sha256(&message1[107..15_467]),
            "message1_check": hex::encode(&message1[15_467..]),
            "sha256_message1": sha256(&message1),
            "message2_head": hex::encode(&message2[..131]),
            "sha256_tau0": sha256(&message2[131..40_067]),
            "sha256_tau1": sha256(&message2[40_067..66_691]),
            "message2_rest": hex::encode(&message2[66_691..]),
            "sha256_message2": sha256(&message2),
            "intermediate": inner,
            "signature": hex::encode(signature.rs),
            "recovery_id": signature.recovery_id,
            "public_key": hex::encode(signature.public_key),
        }));
    }
    json!({
        "about": "docs/spec/ecdsa.md; made by native/core/src/ecdsa/tests/recorded.rs",
        "client_chacha20_key": hex::encode(client_key),
        "enclave_chacha20_key": hex::encode(enclave_key),
        "session_context": hex::encode(SESSION),
        "group": {
            "t": 2, "n": 3, "epoch": 1,
            "public_key": hex::encode(shares[&1].group_public_key().unwrap()),
            "chain_code": hex::encode(shares[&1].chain_code()),
            "shares": shares.values().map(|share| hex::encode(share.key.signing_share().serialize())).collect::<Vec<_>>(),
        },
        "setup": {
            "sha256_message": sha256(&offers),
            "sha256_answer": sha256(&answer),
            "delta": hex::encode(seeds.delta.to_le_bytes()),
            "binding": hex::encode(seeds.binding),
            "first_bound_seed": hex::encode(seeds.seeds[0]),
            "sha256_bound_seeds": sha256(seeds.seeds.as_flattened()),
        },
        "signatures": signatures,
    })
}

#[test]
fn the_recorded_transcripts_are_what_is_made_today() {
    let made = serde_json::to_string_pretty(&transcript()).unwrap() + "\n";
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(FILE, &made).unwrap();
    }
    let recorded = std::fs::read_to_string(FILE).unwrap();
    assert!(
        made == recorded,
        "the transcripts changed; if that is meant, record them again and say so in the spec"
    );
}
