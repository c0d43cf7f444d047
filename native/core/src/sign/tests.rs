use std::collections::BTreeMap;

use frost_core::SigningPackage;
use frost_core::round1::{Nonce, SigningNonces};
use frost_core::round2::SignatureShare;
use frost_ed25519::Ed25519Sha512;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use proptest::prelude::*;

use super::session::{NoncePair, Session};
use super::{begin, decode_commitments, respond, verify};
use crate::codec::scalar_from_bytes;
use crate::error::{Code, Culprit, Error};
use crate::share::{KeyShare, identifier};
use crate::suite::{Suite, Tweak};
use crate::testing::*;

fn code<T>(result: Result<T, Error>) -> (Code, Option<Culprit>) {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => (error.code, error.culprit),
    }
}

const TWEAKS: [Tweak; 3] = [Tweak::None, Tweak::KeyPath, Tweak::MerkleRoot([3; 32])];

fn tweaks<S: Suite>() -> &'static [Tweak] {
    if S::SUITE.name() == "frost-secp256k1-tr" { &TWEAKS } else { &TWEAKS[..1] }
}

/// Our steps give, share by share, what `frost_core::round2::sign` and `frost_core::aggregate` give.
fn equals_frost_core<S: Suite>() {
    for seed in 0..12 {
        let shares = dkg::<S>(2, 3, seed);
        for tweak in tweaks::<S>() {
            let message = [seed as u8; 32];
            let mut rng = rng(seed);
            let mut pairs = BTreeMap::new();
            let mut nonces = BTreeMap::new();
            for i in [1_u16, 3] {
                let secret = shares[&i].key.signing_share();
                let (d, e) = (Nonce::<S>::new(secret, &mut rng), Nonce::<S>::new(secret, &mut rng));
                pairs.insert(i, NoncePair::from_nonces(d, e));
                nonces.insert(i, SigningNonces::from_nonces(d, e));
            }
            let package = SigningPackage::new(
                nonces.iter().map(|(i, n)| (identifier::<S>(*i).unwrap(), *n.commitments())).collect(),
                &message,
            );
            let mut theirs = BTreeMap::new();
            let mut ours = BTreeMap::new();
            for i in [1_u16, 3] {
                let other = 4 - i;
                assert!(pairs[&i].commitments == *nonces[&i].commitments());
                let key = shares[&i].signing_key(tweak).unwrap();
                let expected = frost_core::round2::sign(&package, &nonces[&i], &key).unwrap();
                let peers = BTreeMap::from([(other, vec![pairs[&other].commitments])]);
                let session = Session::new(&key, &pairs[&i], &peers, 0, &message).unwrap();
                let z = session.own_share(&pairs[&i]).unwrap();
                assert_eq!(super::wire::encode_share::<S>(&z), expected.serialize());
                theirs.insert(identifier::<S>(i).unwrap(), expected);
                ours.insert(i, z);
            }
            let public = S::tweaked_public(shares[&1].public.clone(), tweak).unwrap();
            let expected = frost_core::aggregate(&package, &theirs, &public).unwrap();
            let key = shares[&1].signing_key(tweak).unwrap();
            let peers = BTreeMap::from([(3, vec![pairs[&3].commitments])]);
            let session = Session::new(&key, &pairs[&1], &peers, 0, &message).unwrap();
            let signature = session.aggregate(&ours).unwrap();
            assert_eq!(signature, expected.serialize().unwrap());
        }
    }
}

#[test]
fn ed25519_equals_frost_core() {
    equals_frost_core::<Ed25519Sha512>();
}

#[test]
fn secp256k1_tr_equals_frost_core() {
    equals_frost_core::<Secp256K1Sha256TR>();
}

fn every_quorum_signs<S: Suite>() {
    let messages: Vec<Vec<u8>> = (0..3_u8).map(|k| vec![k; 32]).collect();
    for (t, n, quorums) in [
        (2, 2, vec![vec![1, 2], vec![2, 1]]),
        (2, 3, vec![vec![1, 3], vec![3, 2], vec![1, 2, 3]]),
        (3, 5, vec![vec![5, 1, 3], vec![2, 3, 4, 5]]),
    ] {
        let shares = dkg::<S>(t, n, 3);
        for signers in quorums {
            let tweaks: Vec<Tweak> = tweaks::<S>().iter().cycle().take(3).cloned().collect();
            let signatures = sign(&shares, &signers, &messages, &tweaks, 4);
            let key = shares[&1].group_public_key().unwrap();
            for ((message, tweak), signature) in messages.iter().zip(&tweaks).zip(&signatures) {
                verify::<S>(&key, message, signature, tweak).unwrap();
                assert_eq!(
                    code(verify::<S>(&key, b"another message", signature, tweak)).0,
                    Code::SignatureInvalid
                );
            }
        }
    }
}

#[test]
fn every_quorum_signs_ed25519() {
    every_quorum_signs::<Ed25519Sha512>();
}

#[test]
fn every_quorum_signs_secp256k1_tr() {
    every_quorum_signs::<Secp256K1Sha256TR>();
}

/// Both parities of the group key and of R occur, and libsecp256k1 agrees with frost about all of them.
#[test]
fn both_parities_sign() {
    let mut parities = [0; 2];
    for seed in 0..16 {
        let shares = dkg::<Secp256K1Sha256TR>(2, 2, seed);
        let key = shares[&1].group_public_key().unwrap();
        parities[usize::from(key[0] - 2)] += 1;
        for tweak in TWEAKS {
            let signature = sign(&shares, &[1, 2], &[vec![1; 32]], std::slice::from_ref(&tweak), seed);
            verify::<Secp256K1Sha256TR>(&key, &[1; 32], &signature[0], &tweak).unwrap();
            verify::<Secp256K1Sha256TR>(&key[1..], &[1; 32], &signature[0], &tweak).unwrap();
        }
    }
    assert!(parities.iter().all(|count| *count > 0));
}

fn a_bad_share_names_its_signer<S: Suite>() {
    let shares = dkg::<S>(2, 3, 8);
    let messages = vec![vec![1; 32], vec![2; 32]];
    for tweak in tweaks::<S>() {
        let tweaks = vec![tweak.clone(); 2];
        let mut rng = rng(9);
        let (nonces, commitments) = begin(&shares[&1], 2, &mut rng).unwrap();
        let (theirs, mut answers) =
            respond(&shares[&3], &messages, &BTreeMap::from([(1, commitments)]), &tweaks, &mut rng).unwrap();
        answers[1][16] ^= 1;
        let result =
            nonces.finish(&shares[&1], &messages, &BTreeMap::from([(3, (theirs, answers))]), &tweaks);
        assert_eq!(code(result), (Code::InvalidSignatureShare, Some(Culprit::Participant(3))));
    }
}

#[test]
fn a_bad_share_names_its_signer_in_both_suites() {
    a_bad_share_names_its_signer::<Ed25519Sha512>();
    a_bad_share_names_its_signer::<Secp256K1Sha256TR>();
}

#[test]
fn every_argument_is_checked() {
    type S = Ed25519Sha512;
    let shares = dkg::<S>(2, 3, 8);
    let other = dkg::<S>(2, 3, 9);
    let mut rng = rng(1);
    let none = [Tweak::None];
    let message = vec![vec![1; 32]];
    assert_eq!(code(begin(&shares[&1], 0, &mut rng)).0, Code::InvalidParameter);
    assert_eq!(code(begin(&shares[&1], 257, &mut rng)).0, Code::InvalidParameter);
    let commitments = || begin(&shares[&1], 1, &mut crate::testing::rng(2)).unwrap().1;
    let respond_with = |messages: &[Vec<u8>], peers, tweaks: &[Tweak]| {
        code(respond(&shares[&2], messages, &peers, tweaks, &mut crate::testing::rng(3)))
    };
    let caller = Some(Culprit::Caller);
    let one = BTreeMap::from([(1, commitments())]);
    assert_eq!(respond_with(&[], one.clone(), &[]), (Code::InvalidParameter, caller));
    assert_eq!(respond_with(&message, one.clone(), &[]), (Code::CountMismatch, caller));
    assert_eq!(respond_with(&message, BTreeMap::new(), &none), (Code::WrongSignerCount, caller));
    for stranger in [0, 2, 4, u16::MAX] {
        let peers = BTreeMap::from([(1, commitments()), (stranger, commitments())]);
        assert_eq!(respond_with(&message, peers, &none), (Code::UnexpectedSender, caller));
    }
    assert_eq!(respond_with(&message, one.clone(), &[Tweak::KeyPath]), (Code::InvalidTweak, caller));
    assert_eq!(respond_with(&[vec![0; 65_537]], one.clone(), &none), (Code::MessageLength, caller));
    let peer = Some(Culprit::Participant(1));
    let two = BTreeMap::from([(1, [commitments(), commitments()].concat())]);
    assert_eq!(respond_with(&message, two, &none), (Code::CountMismatch, peer));
    let mut short = commitments();
    short[0].pop();
    assert_eq!(respond_with(&message, BTreeMap::from([(1, short)]), &none), (Code::InvalidCommitment, peer));
    let mut identity = commitments();
    identity[0][..32].fill(0);
    identity[0][0] = 1;
    assert_eq!(
        respond_with(&message, BTreeMap::from([(1, identity)]), &none),
        (Code::InvalidCommitment, peer)
    );

    let finish = |share: &KeyShare<S>, messages: &[Vec<u8>], change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut rng = crate::testing::rng(4);
        let (nonces, commitments) = begin(&shares[&1], 1, &mut rng).unwrap();
        let peers = BTreeMap::from([(1, commitments)]);
        let (theirs, mut answers) = respond(&shares[&2], &message, &peers, &none, &mut rng).unwrap();
        change(&mut answers);
        code(nonces.finish(share, messages, &BTreeMap::from([(2, (theirs, answers))]), &none))
    };
    let responder = Some(Culprit::Participant(2));
    assert_eq!(finish(&other[&1], &message, &|_| ()), (Code::WrongShare, caller));
    assert_eq!(finish(&shares[&2], &message, &|_| ()), (Code::WrongShare, caller));
    assert_eq!(finish(&shares[&1], &[vec![1; 32], vec![2; 32]], &|_| ()), (Code::CountMismatch, caller));
    assert_eq!(
        finish(&shares[&1], &[vec![9; 32]], &|_| ()),
        (Code::InvalidSignatureShare, responder),
        "a responder that signed another message"
    );
    assert_eq!(finish(&shares[&1], &message, &|a| a.clear()), (Code::CountMismatch, responder));
    assert_eq!(finish(&shares[&1], &message, &|a| a[0].push(0)), (Code::MalformedMessage, responder));
    assert_eq!(finish(&shares[&1], &message, &|a| a[0].fill(0xff)), (Code::MalformedMessage, responder));
}

#[test]
fn nonces_depend_on_the_share_and_on_randomness() {
    type S = Ed25519Sha512;
    let shares = dkg::<S>(2, 2, 8);
    let of = |i: u16, seed| begin(&shares[&i], 2, &mut rng(seed)).unwrap().1.concat();
    let all = [of(1, 1), of(1, 2), of(2, 1)].concat();
    let mut commitments: Vec<_> = all.chunks(64).collect();
    commitments.sort_unstable();
    commitments.dedup();
    assert_eq!(commitments.len(), 6);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What parses encodes to the same bytes.
    #[test]
    fn commitments_are_canonical(bytes in proptest::collection::vec(any::<u8>(), 60..70)) {
        if let Ok(commitments) = decode_commitments::<Ed25519Sha512>(&bytes) {
            prop_assert_eq!(super::wire::encode_commitments(&commitments).unwrap(), bytes);
        }
    }

    #[test]
    fn signature_shares_are_canonical(bytes in any::<[u8; 32]>()) {
        if let Some(scalar) = scalar_from_bytes::<Secp256K1Sha256TR>(&bytes) {
            prop_assert_eq!(super::wire::encode_share::<Secp256K1Sha256TR>(&scalar), bytes);
        }
        prop_assert_eq!(
            SignatureShare::<Ed25519Sha512>::deserialize(&bytes).is_ok(),
            scalar_from_bytes::<Ed25519Sha512>(&bytes).is_some()
        );
    }

    #[test]
    fn verification_never_panics(
        key in proptest::collection::vec(any::<u8>(), 30..35),
        message in proptest::collection::vec(any::<u8>(), 0..40),
        signature in proptest::collection::vec(any::<u8>(), 62..66),
    ) {
        prop_assert!(verify::<Ed25519Sha512>(&key, &message, &signature, &Tweak::None).is_err());
        prop_assert!(verify::<Secp256K1Sha256TR>(&key, &message, &signature, &Tweak::KeyPath).is_err());
    }
}
