//! A key that a trusted dealer deals out.

use frost_core::{Field, Group, Scalar};
use frost_ed25519::Ed25519Sha512;
use frost_secp256k1_tr::Secp256K1Sha256TR;

use super::super::import::{Dealt, Shape, deal, receive};
use super::*;
use crate::codec::{element_to_bytes, scalar_from_bytes};
use crate::sign::verify;
use crate::suite::Tweak;
use crate::testing::{for_every_suite, sign};

for_every_suite!(
    an_imported_key_is_shared_as_it_is,
    every_attack_on_an_import_is_named,
    another_polynomial_for_another_receiver_is_found,
    messages_of_import_and_resharing_do_not_mix,
    a_share_of_zero_is_refused,
    an_imported_key_is_reshared_like_any_other,
    what_is_dealt_is_bounded,
);

const SHAPE: Shape = Shape { min_signers: 2, max_signers: 3, context: [4; 32] };
const CHAIN_CODE: [u8; 32] = [6; 32];

fn secret<S: Suite>(byte: u8) -> Scalar<S> {
    // Below both orders in both byte orders.
    let mut bytes = [byte; 32];
    bytes[0] = 1;
    bytes[31] = 1;
    scalar_from_bytes::<S>(&bytes).unwrap()
}

fn dealt<S: Suite>(seed: u64) -> Dealt<S> {
    deal::<S>(&secret::<S>(3), &CHAIN_CODE, &SHAPE, &[1, 3], &mut rng(seed)).unwrap()
}

fn to_bytes(confirmations: &Confirmations) -> BTreeMap<u16, Vec<u8>> {
    confirmations.iter().map(|(i, bytes)| (*i, bytes.to_vec())).collect()
}

fn imported<S: Suite>(seed: u64) -> BTreeMap<u16, KeyShare<S>> {
    let dealt = dealt::<S>(seed);
    let (state, own) = receive::<S>(&SHAPE, &[2], &dealt.message1, &dealt.messages2).unwrap();
    let mut shares = dealt.state.confirm(&to_bytes(&own)).unwrap();
    shares.extend(state.confirm(&to_bytes(&dealt.confirmations)).unwrap());
    shares
}

fn an_imported_key_is_shared_as_it_is<S: Suite>() {
    let dealt = dealt::<S>(1);
    assert_eq!(dealt.message1.len(), message1_len::<S>(Kind::Import, 2));
    assert_eq!(dealt.message1.len(), 73 + 2 * S::ELEMENT_LEN);
    assert_eq!(dealt.messages2.keys().copied().collect::<Vec<_>>(), [2]);
    assert!(dealt.messages2.values().all(|message| message.len() == message2_len()));
    let shares = imported::<S>(1);
    let public = element_to_bytes::<S>(&S::mul_base(&secret::<S>(3))).unwrap();
    for (i, share) in &shares {
        assert_eq!((share.identifier(), share.epoch(), *share.chain_code()), (*i, 1, CHAIN_CODE));
        assert_eq!((share.min_signers(), share.max_signers()), (2, 3));
        assert_eq!(share.group_public_key().unwrap(), public);
        assert_eq!(share.group().encode().unwrap(), shares[&1].group().encode().unwrap());
        KeyShare::<S>::decode(&share.encode().unwrap()).unwrap();
    }
    // Everybody elsewhere, and nobody elsewhere.
    let all = deal::<S>(&secret::<S>(3), &CHAIN_CODE, &SHAPE, &[], &mut rng(1)).unwrap();
    assert_eq!((all.messages2.len(), all.confirmations.len()), (3, 0));
    let (_, own) = receive::<S>(&SHAPE, &[1, 2, 3], &all.message1, &all.messages2).unwrap();
    assert!(all.state.confirm(&to_bytes(&own)).unwrap().is_empty());
    let none = deal::<S>(&secret::<S>(3), &CHAIN_CODE, &SHAPE, &[1, 2, 3], &mut rng(1)).unwrap();
    assert!(none.messages2.is_empty());
    assert_eq!(none.state.confirm(&BTreeMap::new()).unwrap().len(), 3);
}

fn every_attack_on_an_import_is_named<S: Suite>() {
    let refused = |code: Code, change: &dyn Fn(&mut Vec<u8>, &mut Vec<u8>)| {
        let mut dealt = dealt::<S>(1);
        change(&mut dealt.message1, dealt.messages2.get_mut(&2).unwrap());
        let error = error(receive::<S>(&SHAPE, &[2], &dealt.message1, &dealt.messages2));
        // The dealer is no participant, so that nobody is named.
        assert_eq!((error.code, error.culprit, error.reaction), (code, None, Reaction::Abort));
    };
    refused(Code::WrongKind, &|m, _| m[0] = 2);
    refused(Code::WrongKind, &|m, _| m[1] = 3);
    refused(Code::WrongSuite, &|m, _| m[2] ^= 3);
    refused(Code::WrongSender, &|m, _| m[4] = 1);
    refused(Code::WrongParameters, &|m, _| m[6] = 3);
    refused(Code::WrongParameters, &|m, _| m[8] = 2);
    refused(Code::WrongContext, &|m, _| m[9] ^= 1);
    refused(Code::MalformedMessage, &|m, _| m[73..73 + S::ELEMENT_LEN].fill(0xff));
    refused(Code::MalformedMessage, &|m, _| m.push(0));
    refused(Code::MalformedMessage, &|m, _| m.truncate(50));
    refused(Code::WrongCommitmentCount, &|m, _| m.truncate(73 + S::ELEMENT_LEN));
    // Another chain code, or other points in another order: the second message was made for other bytes.
    refused(Code::TranscriptMismatch, &|m, _| m[41] ^= 1);
    refused(Code::TranscriptMismatch, &|m, _| m[73..].rotate_left(S::ELEMENT_LEN));
    refused(Code::WrongKind, &|_, m| m[1] = 4);
    refused(Code::WrongSuite, &|_, m| m[2] ^= 3);
    refused(Code::WrongSender, &|_, m| m[4] = 1);
    refused(Code::WrongReceiver, &|_, m| m[6] = 1);
    refused(Code::TranscriptMismatch, &|_, m| m[7] ^= 1);
    refused(Code::InvalidSubShare, &|_, m| m[39 + 16] ^= 1);
    refused(Code::MalformedMessage, &|_, m| m[39..].fill(0xff));
    refused(Code::MalformedMessage, &|_, m| m.push(0));
    // No byte can change.
    let honest = dealt::<S>(1);
    for at in 0..honest.message1.len() + message2_len() {
        let mut dealt = dealt::<S>(1);
        match at.checked_sub(dealt.message1.len()) {
            None => dealt.message1[at] ^= 1 << (at % 8),
            Some(at) => dealt.messages2.get_mut(&2).unwrap()[at] ^= 1 << (at % 8),
        }
        assert!(receive::<S>(&SHAPE, &[2], &dealt.message1, &dealt.messages2).is_err(), "byte {at}");
    }
}

/// Each receiver's messages fit each other; the confirmations do not.
fn another_polynomial_for_another_receiver_is_found<S: Suite>() {
    let deal = |seed: u64| deal::<S>(&secret::<S>(3), &CHAIN_CODE, &SHAPE, &[1], &mut rng(seed)).unwrap();
    let (one, mut other) = (deal(1), deal(2));
    let for_one = |dealt: &Dealt<S>, i: u16| BTreeMap::from([(i, dealt.messages2[&i].clone())]);
    let (two, of_two) = receive::<S>(&SHAPE, &[2], &one.message1, &for_one(&one, 2)).unwrap();
    let (_, of_three) = receive::<S>(&SHAPE, &[3], &other.message1, &for_one(&other, 3)).unwrap();
    let mut confirmations = to_bytes(&one.confirmations);
    confirmations.extend(to_bytes(&of_three));
    assert_blames(two.confirm(&confirmations), Code::ConfirmationMismatch, 3);
    let mut confirmations = to_bytes(&of_two);
    confirmations.extend(to_bytes(&of_three));
    assert_blames(one.state.confirm(&confirmations), Code::ConfirmationMismatch, 3);
    // A sub-share of the other polynomial under this one's first message.
    let mut mixed = other.messages2.remove(&3).unwrap();
    mixed[7..39].copy_from_slice(&one.messages2[&3][7..39]);
    let refused = error(receive::<S>(&SHAPE, &[3], &one.message1, &BTreeMap::from([(3, mixed)])));
    assert_eq!(refused.code, Code::InvalidSubShare);
}

fn messages_of_import_and_resharing_do_not_mix<S: Suite>() {
    let dealt = dealt::<S>(1);
    let mut play = Play::begin(&three(), &dkg::<S>(2, 3, 1), &mut rng(5));
    let mut messages = play.first_for(0);
    let reshared = messages.insert(2, dealt.message1.clone()).unwrap();
    assert_blames(play.round1[0].take().unwrap().advance(&messages), Code::WrongKind, 2);
    let refused = error(receive::<S>(&SHAPE, &[2], &reshared, &dealt.messages2));
    assert_eq!(refused.code, Code::WrongKind);
}

fn a_share_of_zero_is_refused<S: Suite>() {
    // f(2) = 0, by hand: the commitments are P and -P / 2.
    let secret = secret::<S>(3);
    let two = <<S::Group as Group>::Field as Field>::one() + <<S::Group as Group>::Field as Field>::one();
    let half = <<S::Group as Group>::Field as Field>::invert(&two).unwrap();
    let zero = <<S::Group as Group>::Field as Field>::zero();
    let honest = dealt::<S>(1);
    let mut message1 = honest.message1[..73].to_vec();
    message1.extend(element_to_bytes::<S>(&S::mul_base(&secret)).unwrap());
    message1.extend(element_to_bytes::<S>(&S::mul_base(&((zero - secret) * half))).unwrap());
    let context_hash = honest.message1[9..41].try_into().unwrap();
    let run = Run { kind: Kind::Import, min_signers: 2, max_signers: 3, context_hash };
    let hash = super::super::rounds::round1_hash(&run, &[&message1]);
    let share = frost_core::keys::SigningShare::<S>::new(zero);
    let message2 = Message2::encode(Kind::Import, 0, 2, &hash, &share);
    let refused = error(receive::<S>(&SHAPE, &[2], &message1, &BTreeMap::from([(2, message2)])));
    assert_eq!((refused.code, refused.culprit), (Code::DegenerateKey, None));
}

fn an_imported_key_is_reshared_like_any_other<S: Suite>() {
    let old = imported::<S>(1);
    let new = reshare(&three(), &old, 2);
    assert_eq!(new[&2].group_public_key().unwrap(), old[&2].group_public_key().unwrap());
    assert_eq!((new[&2].epoch(), *new[&2].chain_code()), (2, CHAIN_CODE));
}

fn what_is_dealt_is_bounded<S: Suite>() {
    let zero = <<S::Group as Group>::Field as Field>::zero();
    assert_refused(deal::<S>(&zero, &CHAIN_CODE, &SHAPE, &[1], &mut rng(1)), Code::InvalidParameter);
    for (t, n) in [(1, 2), (3, 2), (2, 65), (0, 0)] {
        let shape = Shape { min_signers: t, max_signers: n, ..SHAPE };
        let one = secret::<S>(3);
        assert_refused(deal::<S>(&one, &CHAIN_CODE, &shape, &[1], &mut rng(1)), Code::InvalidParameter);
        assert_refused(receive::<S>(&shape, &[], &[], &BTreeMap::new()), Code::InvalidParameter);
    }
    for receivers in [&[0][..], &[4], &[2, 1], &[1, 1]] {
        let one = secret::<S>(3);
        assert_refused(deal::<S>(&one, &CHAIN_CODE, &SHAPE, receivers, &mut rng(1)), Code::InvalidParameter);
        assert_refused(receive::<S>(&SHAPE, receivers, &[], &BTreeMap::new()), Code::InvalidParameter);
    }
    let dealt = dealt::<S>(1);
    let receive = |receivers: &[u16]| receive::<S>(&SHAPE, receivers, &dealt.message1, &dealt.messages2);
    assert_refused(receive(&[]), Code::UnexpectedSender);
    assert_refused(receive(&[1]), Code::UnexpectedSender);
    assert_refused(receive(&[2, 3]), Code::MissingMessage);
}

#[test]
fn imported_keys_sign() {
    let shares = imported::<Ed25519Sha512>(1);
    let messages = [b"message".to_vec()];
    let signatures = sign(&shares, &[3, 2], &messages, &[Tweak::None], 5);
    let key = shares[&1].group_public_key().unwrap();
    verify::<Ed25519Sha512>(&key, b"message", &signatures[0], &Tweak::None).unwrap();
    // Both parities of the key's y: the key is taken as it is, not tweaked as after key generation.
    let mut parities = std::collections::BTreeSet::new();
    for byte in 1..12 {
        let secret = secret::<Secp256K1Sha256TR>(byte);
        let dealt = deal::<Secp256K1Sha256TR>(&secret, &CHAIN_CODE, &SHAPE, &[1, 2, 3], &mut rng(1)).unwrap();
        let shares = dealt.state.confirm(&BTreeMap::new()).unwrap();
        let key = shares[&1].group_public_key().unwrap();
        for tweak in [Tweak::None, Tweak::KeyPath] {
            let signatures = sign(&shares, &[1, 3], &[vec![7; 32]], std::slice::from_ref(&tweak), 5);
            verify::<Secp256K1Sha256TR>(&key, &[7; 32], &signatures[0], &tweak).unwrap();
        }
        parities.insert(key[0]);
    }
    assert_eq!(Vec::from_iter(parities), [2, 3]);
}
