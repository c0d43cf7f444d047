//! Honest parties, and what the two functions' callers may get wrong.

use k256::Scalar;
use k256::elliptic_curve::scalar::IsHigh as _;
use k256::elliptic_curve::sec1::ToEncodedPoint as _;
use secp256k1::ecdsa::Signature as Compact;

use super::super::client::gives_back_the_key;
use super::super::curve::to_scalar;
use super::*;

fn check(signature: &Signature, digest: &[u8; 32], key: &[u8]) {
    assert_eq!(signature.public_key[..], *key);
    let public = secp256k1::PublicKey::from_slice(key).unwrap();
    let rs = Compact::from_compact(&signature.rs).unwrap();
    let message = secp256k1::Message::from_digest(*digest);
    secp256k1::Secp256k1::new().verify_ecdsa(&message, &rs, &public).unwrap();
    // And by k256.
    let s = to_scalar(signature.rs[32..].try_into().unwrap());
    assert!(!bool::from(s.is_high()));
    let (r, z) = (to_scalar(signature.rs[..32].try_into().unwrap()), to_scalar(digest));
    let inverse = s.invert().unwrap();
    let key = crate::codec::element_from_bytes::<Curve>(key).unwrap();
    let point = k256::ProjectivePoint::GENERATOR * (z * inverse) + key * (r * inverse);
    let encoded = point.to_affine().to_encoded_point(false);
    assert_eq!(encoded.x().unwrap()[..], signature.rs[..32]);
    assert_eq!(encoded.y().unwrap()[31] & 1, signature.recovery_id & 1);
}

#[test]
fn every_pair_signs_for_every_path() {
    let world = World::new(1);
    let mut rng = rng(2);
    let root = world.shares[&1].group_public_key().unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (n, (client, enclave)) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)].into_iter().enumerate() {
        for path in [&[][..], &[0, 5], &[(1 << 31) - 1; 16]] {
            let digest = [[0; 32], [0xff; 32], [n as u8; 32]][n % 3];
            let (shares, key) =
                (&world.shares, derive_public_key(&root, world.shares[&1].chain_code(), path).unwrap());
            let (pending, message1) =
                begin(&shares[&client], &world.client, &digest, path, enclave, &mut rng).unwrap();
            assert_eq!(message1.len(), wire::MESSAGE1_LEN);
            let message2 =
                respond(&shares[&enclave], &world.enclave, &message1, &digest, path, client, &mut rng)
                    .unwrap();
            assert_eq!(message2.len(), wire::MESSAGE2_LEN);
            let signature = pending.finish(&message2).unwrap();
            check(&signature, &digest, &key);
            ids.insert(signature.recovery_id);
        }
    }
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn one_session_signs_hundreds_of_times_and_many_at_once() {
    let world = World::new(2);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let mut rng = rng(100 + thread);
                for _ in 0..25 {
                    world.signs(&mut rng);
                }
            });
        }
    });
    let mut rng = rng(3);
    // Requests that overtake each other.
    let mut waiting: Vec<_> = (0..20).map(|_| world.begin(&mut rng)).collect();
    waiting.reverse();
    for (pending, message1) in waiting {
        pending.finish(&world.respond(&message1, &mut rng).unwrap()).unwrap();
    }
    assert_eq!(world.client.take().unwrap().1, 120);
}

#[test]
fn callers_mistakes_are_named() {
    let world = World::new(3);
    let mut rng = rng(4);
    let caller = |code| (code, Some(0), Reaction::Retry);
    for peer in [0, CLIENT, 4, u16::MAX] {
        let result = begin(&world.shares[&CLIENT], &world.client, &DIGEST, &[], peer, &mut rng);
        assert_eq!(refused(result), caller(Code::UnexpectedSender));
        if peer != CLIENT {
            let (_, message1) = world.begin(&mut rng);
            let share = &world.shares[&ENCLAVE];
            let result = respond(share, &world.enclave, &message1, &DIGEST, &[], peer, &mut rng);
            assert_eq!(refused(result), caller(Code::UnexpectedSender));
        }
    }
    for path in [&[1 << 31][..], &[0; 17]] {
        let result = begin(&world.shares[&CLIENT], &world.client, &DIGEST, path, ENCLAVE, &mut rng);
        assert_eq!(refused(result), caller(Code::InvalidPath));
    }
    let three = dkg::<Curve>(3, 3, 1);
    let result = begin(&three[&1], &world.client, &DIGEST, &[], 2, &mut rng);
    assert_eq!(refused(result), caller(Code::WrongSignerCount));
    assert_eq!(world.is_alive(), [true; 2]);
    world.signs(&mut rng);
}

#[test]
fn a_burnt_session_is_gone() {
    let world = World::new(5);
    let mut rng = rng(6);
    let gone = (Code::SessionBurned, None, Reaction::Burn);
    let (under_way, message1) = world.begin(&mut rng);
    let message2 = world.respond(&message1, &mut rng).unwrap();
    let (_, next) = world.begin(&mut rng);
    world.client.burn();
    world.enclave.burn();
    assert_eq!(world.is_alive(), [false; 2]);
    assert_eq!(refused(under_way.finish(&message2)), gone);
    assert_eq!(refused(world.respond(&next, &mut rng)), gone);
    let share = &world.shares[&CLIENT];
    assert_eq!(refused(begin(share, &world.client, &DIGEST, &[], ENCLAVE, &mut rng)), gone);
    assert_eq!(refused(world.enclave.release(())), gone);
    assert_eq!(refused(world.enclave.take(77, CLIENT)), gone);
}

#[test]
fn the_last_index_ends_the_session() {
    let world = World::new(7);
    let mut rng = rng(8);
    world.client.set_next(u64::MAX - 1);
    world.signs(&mut rng);
    assert_eq!(refused(world.client.take()).0, Code::SessionBurned);
    assert!(!world.client.is_alive());
}

/// The client's final check against Wycheproof: a raw signature passes with some recovery id exactly if it is valid.
#[test]
fn the_final_check_agrees_with_wycheproof() {
    use sha2::{Digest as _, Sha256};
    let Some(text) = crate::testing::vectors("wycheproof-ecdsa_secp256k1_sha256_p1363_test.json") else {
        return;
    };
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (mut count, mut valid) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let key = hex::decode(group["publicKey"]["uncompressed"].as_str().unwrap()).unwrap();
        let Ok(key) = secp256k1::PublicKey::from_slice(&key) else { panic!("a key of the file is invalid") };
        for test in group["tests"].as_array().unwrap() {
            count += 1;
            let digest = Sha256::digest(hex::decode(test["msg"].as_str().unwrap()).unwrap()).into();
            let rs: std::result::Result<[u8; 64], _> =
                hex::decode(test["sig"].as_str().unwrap()).unwrap().try_into();
            let accepted = rs.is_ok_and(|rs| {
                (0..4).any(|recovery_id| {
                    let signature = Signature { rs, recovery_id, public_key: key.serialize() };
                    gives_back_the_key(&signature, &digest)
                })
            });
            assert_eq!(accepted, test["result"] == "valid", "{test}");
            valid += usize::from(accepted);
        }
    }
    assert_eq!(count, file["numberOfTests"].as_u64().unwrap());
    assert_eq!(count, 252);
    assert!(valid > 100);
}

#[test]
fn a_wrong_recovery_id_or_key_does_not_pass() {
    let world = World::new(9);
    let signature = world.signs(&mut rng(10));
    assert!(gives_back_the_key(&signature, &DIGEST));
    assert!(!gives_back_the_key(&signature, &[8; 32]));
    for recovery_id in (0..=255).filter(|id| *id != signature.recovery_id) {
        assert!(!gives_back_the_key(&Signature { recovery_id, ..signature.clone() }, &DIGEST));
    }
    let other = Signature {
        public_key: world.shares[&1].group_public_key().unwrap().try_into().unwrap(),
        ..signature
    };
    assert!(!gives_back_the_key(&other, &DIGEST));
    assert_eq!(Scalar::ZERO, to_scalar(&[0; 32]));
}
