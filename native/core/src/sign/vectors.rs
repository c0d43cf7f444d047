//! Conformance vectors: RFC 9591, BIP-340, BIP-341.

use std::collections::BTreeMap;

use frost_core::VerifyingKey;
use frost_core::keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare};
use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;

use super::session::{NoncePair, Session};
use super::{begin, respond, verify};
use crate::share::{KeyShare, identifier};
use crate::suite::{Suite, Tweak};
use crate::testing::{FixedRng, vectors};

struct Example<S: Suite> {
    shares: BTreeMap<u16, KeyShare<S>>,
    message: Vec<u8>,
    randomness: BTreeMap<u16, Vec<u8>>,
    outputs: BTreeMap<u16, serde_json::Value>,
    signature_shares: BTreeMap<u16, Vec<u8>>,
    signature: Vec<u8>,
}

fn hex(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn by_identifier(list: &serde_json::Value) -> BTreeMap<u16, serde_json::Value> {
    list.as_array().unwrap().iter().map(|o| (o["identifier"].as_u64().unwrap() as u16, o.clone())).collect()
}

/// RFC 9591 appendix E.
fn example<S: Suite>(name: &str) -> Option<Example<S>> {
    let file: serde_json::Value = serde_json::from_str(&vectors(name)?).unwrap();
    let inputs = &file["inputs"];
    let group_key = VerifyingKey::<S>::deserialize(&hex(&inputs["group_public_key"])).unwrap();
    let scalars: BTreeMap<u16, SigningShare<S>> = by_identifier(&inputs["participant_shares"])
        .into_iter()
        .map(|(i, o)| (i, SigningShare::deserialize(&hex(&o["participant_share"])).unwrap()))
        .collect();
    assert_eq!(scalars.len(), 3);
    let public = PublicKeyPackage::new(
        scalars.iter().map(|(i, s)| (identifier::<S>(*i).unwrap(), VerifyingShare::from(*s))).collect(),
        group_key,
        Some(2),
    );
    let shares = scalars
        .iter()
        .map(|(i, s)| {
            let id = identifier::<S>(*i).unwrap();
            let key = KeyPackage::new(id, *s, VerifyingShare::from(*s), group_key, 2);
            (*i, KeyShare::new(*i, 3, 1, [0; 32], key, public.clone()).unwrap())
        })
        .collect();
    let outputs = by_identifier(&file["round_one_outputs"]["outputs"]);
    assert_eq!(outputs.keys().copied().collect::<Vec<_>>(), [1, 3]);
    Some(Example {
        shares,
        message: hex(&inputs["message"]),
        randomness: outputs
            .iter()
            .map(|(i, o)| {
                (*i, [hex(&o["hiding_nonce_randomness"]), hex(&o["binding_nonce_randomness"])].concat())
            })
            .collect(),
        outputs,
        signature_shares: by_identifier(&file["round_two_outputs"]["outputs"])
            .iter()
            .map(|(i, o)| (*i, hex(&o["sig_share"])))
            .collect(),
        signature: hex(&file["final_output"]["sig"]),
    })
}

/// Nonces, commitments, shares and signature are those of the RFC, given its randomness.
fn reproduces_the_rfc<S: Suite>(name: &str) {
    let Some(example) = example::<S>(name) else { return };
    let pairs: BTreeMap<u16, NoncePair<S>> = example
        .randomness
        .iter()
        .map(|(i, bytes)| {
            let secret = example.shares[i].key.signing_share();
            (*i, NoncePair::draw(secret, &mut FixedRng(bytes.clone())))
        })
        .collect();
    let mut shares = BTreeMap::new();
    for i in [1_u16, 3] {
        let output = &example.outputs[&i];
        let expected =
            [hex(&output["hiding_nonce_commitment"]), hex(&output["binding_nonce_commitment"])].concat();
        assert_eq!(super::wire::encode_commitments(&pairs[&i].commitments).unwrap(), expected);
        let key = example.shares[&i].signing_key(&Tweak::None).unwrap();
        let other = 4 - i;
        let peers = BTreeMap::from([(other, vec![pairs[&other].commitments])]);
        let session = Session::new(&key, &pairs[&i], &peers, 0, &example.message).unwrap();
        let z = session.own_share(&pairs[&i]).unwrap();
        assert_eq!(super::wire::encode_share::<S>(&z), example.signature_shares[&i]);
        shares.insert(i, z);
    }
    let key = example.shares[&1].signing_key(&Tweak::None).unwrap();
    let peers = BTreeMap::from([(3, vec![pairs[&3].commitments])]);
    let session = Session::new(&key, &pairs[&1], &peers, 0, &example.message).unwrap();
    assert_eq!(session.aggregate(&shares).unwrap(), example.signature);
}

#[test]
fn rfc_9591_ed25519_is_reproduced() {
    reproduces_the_rfc::<Ed25519Sha512>("rfc9591-frost-ed25519.json");
}

#[test]
fn rfc_9591_secp256k1_is_reproduced() {
    reproduces_the_rfc::<Secp256K1Sha256>("rfc9591-frost-secp256k1.json");
}

/// The same through the functions that the bindings call.
#[test]
fn rfc_9591_ed25519_is_reproduced_in_one_round_trip() {
    let Some(example) = example::<Ed25519Sha512>("rfc9591-frost-ed25519.json") else { return };
    let messages = [example.message.clone()];
    let tweaks = [Tweak::None];
    let (nonces, commitments) =
        begin(&example.shares[&1], 1, &mut FixedRng(example.randomness[&1].clone())).unwrap();
    let response = respond(
        &example.shares[&3],
        &messages,
        &BTreeMap::from([(1, commitments)]),
        &tweaks,
        &mut FixedRng(example.randomness[&3].clone()),
    )
    .unwrap();
    assert_eq!(response.1, [example.signature_shares[&3].clone()]);
    let signatures =
        nonces.finish(&example.shares[&1], &messages, &BTreeMap::from([(3, response)]), &tweaks).unwrap();
    assert_eq!(signatures, [example.signature]);
}

#[test]
fn bip_340_vectors_verify() {
    let Some(csv) = vectors("bip340-test-vectors.csv") else { return };
    let mut counts = [0; 2];
    for line in csv.lines().skip(1) {
        let fields: Vec<&str> = line.splitn(8, ',').collect();
        let bytes = |k: usize| hex::decode(fields[k]).unwrap();
        let result = verify::<Secp256K1Sha256TR>(&bytes(2), &bytes(4), &bytes(5), &Tweak::None);
        let expected = fields[6] == "TRUE";
        counts[usize::from(expected)] += 1;
        assert_eq!(result.is_ok(), expected, "vector {}: {}", fields[0], fields[7]);
    }
    assert_eq!(counts, [10, 9]);
}

#[test]
fn bip_341_output_keys_are_reproduced() {
    let Some(json) = vectors("bip341-wallet-test-vectors.json") else { return };
    let file: serde_json::Value = serde_json::from_str(&json).unwrap();
    let cases = file["scriptPubKey"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let internal = hex(&case["given"]["internalPubkey"]);
        let root = &case["intermediary"]["merkleRoot"];
        let tweak =
            if root.is_null() { Tweak::KeyPath } else { Tweak::MerkleRoot(hex(root).try_into().unwrap()) };
        let element = Secp256K1Sha256TR::decode_public_key(&internal).unwrap();
        let public = PublicKeyPackage::new(BTreeMap::new(), VerifyingKey::new(element), None);
        let output = Secp256K1Sha256TR::tweaked_public(public, &tweak).unwrap();
        assert_eq!(
            output.verifying_key().serialize().unwrap()[1..],
            hex(&case["intermediary"]["tweakedPubkey"])
        );
    }
}
