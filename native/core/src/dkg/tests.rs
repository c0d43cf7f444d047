use std::collections::{BTreeMap, BTreeSet};

use frost_core::compute_lagrange_coefficient;
use frost_core::{Field, Group};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::{CONFIRMATION_LEN, Message1, Message2, Params, Round3, message1_len, message2_len, start};
use crate::error::{Code, Culprit, Error, Reaction};
use crate::share::identifier;
use crate::suite::Suite;
use crate::testing::*;

fn error<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

/// The code, and that the run is over with this participant to blame.
fn assert_blames<T>(result: Result<T, Error>, code: Code, culprit: u16) {
    let error = error(result);
    assert_eq!(
        (error.code, error.culprit, error.reaction),
        (code, Some(Culprit::Participant(culprit)), Reaction::Abort)
    );
}

for_every_suite!(
    shares_are_points_of_one_polynomial,
    message_lengths_are_exact,
    every_round_one_attack_is_named,
    every_round_two_attack_is_named,
    a_wrong_confirmation_is_named,
    the_set_of_senders_is_exact,
    equivocation_in_round_one_is_found_in_round_two,
    one_polynomial_sent_twice_is_refused,
    an_unconfirmed_state_survives_encoding,
);

fn shares_are_points_of_one_polynomial<S: Suite>() {
    for (t, n) in [(2, 2), (2, 3), (3, 3), (3, 5)] {
        let shares = dkg::<S>(t, n, 1);
        let first = &shares[&1];
        for share in shares.values() {
            assert_eq!(share.group_public_key().unwrap(), first.group_public_key().unwrap());
            assert_eq!(share.verifying_shares().unwrap(), first.verifying_shares().unwrap());
            assert_eq!(share.chain_code(), first.chain_code());
            assert_eq!((share.min_signers(), share.max_signers(), share.epoch()), (t, n, 1));
        }
        // Any t shares interpolate to the group key's discrete logarithm.
        let set: BTreeSet<_> = (n - t + 1..=n).map(|i| identifier::<S>(i).unwrap()).collect();
        let mut secret = <<S::Group as Group>::Field as Field>::zero();
        for i in n - t + 1..=n {
            let lambda = compute_lagrange_coefficient(&set, None, identifier::<S>(i).unwrap()).unwrap();
            secret = secret + lambda * shares[&i].key.signing_share().to_scalar();
        }
        let public = <S::Group as Group>::generator() * secret;
        assert_eq!(
            <S::Group as Group>::serialize(&public).unwrap().as_ref(),
            first.group_public_key().unwrap()
        );
        let chain_codes: BTreeSet<_> = (1..4).map(|seed| *dkg::<S>(2, 2, seed)[&1].chain_code()).collect();
        assert_eq!(chain_codes.len(), 3);
    }
}

fn message_lengths_are_exact<S: Suite>() {
    let all = round1::<S>(3, 5, 1);
    assert!(all.values().all(|(_, message)| message.len() == message1_len::<S>(3)));
    let all = round2(all);
    assert!(all.values().flat_map(|(_, out)| out.values()).all(|message| message.len() == message2_len()));
    assert!(round3(all).values().all(|(_, confirmation)| confirmation.len() == CONFIRMATION_LEN));
}

/// Byte offsets in message 1: see `docs/spec/threshold.md`.
const SUITE: usize = 2;
const SENDER: usize = 4;
const THRESHOLD: usize = 6;
const PARTICIPANTS: usize = 8;
const CONTEXT: usize = 9;
const POINTS: usize = 41;

fn every_round_one_attack_is_named<S: Suite>() {
    let attack = |code: Code, change: &dyn Fn(&mut Vec<u8>)| {
        let mut all = round1::<S>(2, 3, 5);
        let (state, _) = all.remove(&1).unwrap();
        let mut messages = messages1(&all, 1);
        change(messages.get_mut(&3).unwrap());
        assert_blames(state.advance(&messages), code, 3);
    };
    attack(Code::WrongKind, &|m| m[0] ^= 1);
    attack(Code::WrongKind, &|m| m[1] = 2);
    attack(Code::WrongSuite, &|m| m[SUITE] ^= 3);
    attack(Code::WrongSuite, &|m| m[SUITE] = 0);
    attack(Code::WrongSender, &|m| m[SENDER] = 2);
    attack(Code::WrongSender, &|m| m[SENDER] = 1);
    attack(Code::WrongParameters, &|m| m[THRESHOLD] = 3);
    attack(Code::WrongParameters, &|m| m[PARTICIPANTS] = 4);
    attack(Code::WrongContext, &|m| m[CONTEXT] ^= 1);
    attack(Code::MalformedMessage, &|m| m[POINTS..POINTS + S::ELEMENT_LEN].fill(0xff));
    attack(Code::MalformedMessage, &|m| {
        m.pop();
    });
    attack(Code::MalformedMessage, &|m| m.push(0));
    attack(Code::MalformedMessage, &|m| m.truncate(10));
    attack(Code::MalformedMessage, &|m| m.clear());
    // A second encoding of a point, which the library would take: SEC 1's compact form.
    if S::ELEMENT_LEN == 33 {
        attack(Code::MalformedMessage, &|m| m[POINTS + S::ELEMENT_LEN] = 5);
    }
    if S::PROOF_LEN == 65 {
        attack(Code::MalformedMessage, &|m| m[POINTS + 2 * S::ELEMENT_LEN] = 5);
    }
    // frost#600: one coefficient more would silently raise the number of signers needed.
    attack(Code::WrongCommitmentCount, &|m| {
        let point = m[POINTS..POINTS + S::ELEMENT_LEN].to_vec();
        m.splice(POINTS..POINTS, point);
    });
    attack(Code::WrongCommitmentCount, &|m| {
        m.drain(POINTS..POINTS + S::ELEMENT_LEN);
    });
    // The constant term replaced by another valid point: nobody knows its logarithm here.
    let other = round1::<S>(2, 3, 6)[&3].1.clone();
    attack(Code::InvalidProof, &|m| {
        m[POINTS..POINTS + S::ELEMENT_LEN].copy_from_slice(&other[POINTS..POINTS + S::ELEMENT_LEN]);
    });
    // The last byte of the proof's response (little endian in one suite, big endian in the others).
    let proof = POINTS + 2 * S::ELEMENT_LEN;
    attack(Code::InvalidProof, &|m| m[proof + S::PROOF_LEN - 16] ^= 1);
    // Another participant's message, complete with its proof.
    let mut all = round1::<S>(2, 3, 5);
    let (state, _) = all.remove(&1).unwrap();
    let mut messages = messages1(&all, 1);
    let swapped = messages[&2].clone();
    messages.insert(3, swapped);
    assert_blames(state.advance(&messages), Code::WrongSender, 3);
}

fn every_round_two_attack_is_named<S: Suite>() {
    let attack = |code: Code, change: &dyn Fn(&mut Zeroizing<Vec<u8>>)| {
        let mut all = round2(round1::<S>(2, 3, 5));
        let (state, _) = all.remove(&1).unwrap();
        let mut messages = messages2(&all, 1);
        change(messages.get_mut(&3).unwrap());
        assert_blames(state.advance(&messages), code, 3);
    };
    attack(Code::WrongKind, &|m| m[0] = 0);
    attack(Code::WrongKind, &|m| m[1] = 1);
    attack(Code::WrongSuite, &|m| m[2] ^= 3);
    attack(Code::WrongSender, &|m| m[4] = 2);
    attack(Code::WrongReceiver, &|m| m[6] = 2);
    attack(Code::TranscriptMismatch, &|m| m[7] ^= 1);
    attack(Code::InvalidSubShare, &|m| m[39 + 16] ^= 1);
    attack(Code::MalformedMessage, &|m| m[39..71].fill(0xff));
    attack(Code::ChainCodeMismatch, &|m| m[71] ^= 1);
    attack(Code::MalformedMessage, &|m| m.push(0));
    attack(Code::MalformedMessage, &|m| {
        m.pop();
    });
    // The message to another receiver.
    let mut all = round2(round1::<S>(2, 3, 5));
    let (state, _) = all.remove(&1).unwrap();
    let mut messages = messages2(&all, 1);
    messages.insert(3, all[&3].1[&2].clone());
    assert_blames(state.advance(&messages), Code::WrongReceiver, 3);
}

fn a_wrong_confirmation_is_named<S: Suite>() {
    let attack = |change: &dyn Fn(&mut Vec<u8>, &[u8])| {
        let mut all = round3(round2(round1::<S>(2, 3, 5)));
        let (state, own) = all.remove(&1).unwrap();
        let mut messages = confirmations(&all, 1);
        change(messages.get_mut(&3).unwrap(), &own);
        assert_blames(state.confirm(&messages), Code::ConfirmationMismatch, 3);
    };
    attack(&|m, _| m[31] ^= 0x80);
    attack(&|m, _| m.truncate(31));
    attack(&|m, _| m.push(0));
    attack(&|m, _| m.clear());
    // An echo of our own confirmation.
    attack(&|m, own| m.copy_from_slice(own));
}

fn the_set_of_senders_is_exact<S: Suite>() {
    for (change, code) in
        [(0_u16, Code::UnexpectedSender), (1, Code::UnexpectedSender), (4, Code::UnexpectedSender)]
    {
        let mut all = round1::<S>(2, 3, 5);
        let (state, own) = all.remove(&1).unwrap();
        let mut messages = messages1(&all, 1);
        messages.insert(change, own);
        let error = error(state.advance(&messages));
        assert_eq!((error.code, error.culprit), (code, Some(Culprit::Caller)));
    }
    let mut all = round1::<S>(2, 3, 5);
    let (state, _) = all.remove(&1).unwrap();
    let mut messages = messages1(&all, 1);
    messages.remove(&2);
    assert_eq!(error(state.advance(&messages)).code, Code::MissingMessage);
    // Our own message, replayed as a peer's.
    let mut all = round1::<S>(2, 2, 5);
    let (state, own) = all.remove(&1).unwrap();
    assert_blames(state.advance(&BTreeMap::from([(2, own)])), Code::WrongSender, 2);
}

/// Participant 3 shows participant 2 another chain code commitment than participant 1: everything else verifies.
fn equivocation_in_round_one_is_found_in_round_two<S: Suite>() {
    let mut all = round1::<S>(2, 3, 5);
    let honest = all[&3].1.clone();
    let mut equivocated = honest.clone();
    *equivocated.last_mut().unwrap() ^= 1;
    let (one, message1) = all.remove(&1).unwrap();
    let (two, message2) = all.remove(&2).unwrap();
    let (one, _) = one.advance(&BTreeMap::from([(2, message2), (3, honest)])).unwrap();
    let (_, to_one) = two.advance(&BTreeMap::from([(1, message1.clone()), (3, equivocated)])).unwrap();
    let (three, _) = all.remove(&3).unwrap();
    let mut fresh = round1::<S>(2, 3, 5);
    let message2 = fresh.remove(&2).unwrap().1;
    let (_, from_three) = three.advance(&BTreeMap::from([(1, message1), (2, message2)])).unwrap();
    let messages = BTreeMap::from([(2, to_one[&1].clone()), (3, from_three[&1].clone())]);
    // What is proven is that 1 and 2 saw different things; 2 is the one who says so.
    assert_blames(one.advance(&messages), Code::TranscriptMismatch, 2);
}

/// A participant that copies another's commitments cannot prove that it knows their logarithm under its own name.
fn one_polynomial_sent_twice_is_refused<S: Suite>() {
    let mut all = round1::<S>(2, 3, 5);
    let (state, _) = all.remove(&1).unwrap();
    let mut messages = messages1(&all, 1);
    let mut copied = messages[&2].clone();
    copied[SENDER] = 3;
    messages.insert(3, copied);
    assert_blames(state.advance(&messages), Code::InvalidProof, 3);
}

fn an_unconfirmed_state_survives_encoding<S: Suite>() {
    let mut all = round3(round2(round1::<S>(2, 3, 5)));
    let (state, _) = all.remove(&1).unwrap();
    let bytes = state.encode().unwrap();
    let again = Round3::<S>::decode(&bytes).unwrap();
    assert_eq!(*again.encode().unwrap(), *bytes);
    assert_eq!(again.group_public_key().unwrap(), state.group_public_key().unwrap());
    for len in 0..bytes.len() {
        assert_eq!(error(Round3::<S>::decode(&bytes[..len])).code, Code::RecordMalformed);
    }
    assert_eq!(error(Round3::<S>::decode(&[bytes.as_slice(), &[0]].concat())).code, Code::RecordMalformed);
    // Another transcript waits for other confirmations.
    let mut changed = bytes.to_vec();
    changed[0] ^= 1;
    let other = Round3::<S>::decode(&changed).unwrap();
    assert_blames(other.confirm(&confirmations(&all, 1)), Code::ConfirmationMismatch, 2);
    assert_eq!(again.confirm(&confirmations(&all, 1)).unwrap().identifier(), 1);
}

#[test]
fn parameters_are_bounded() {
    type S = frost_ed25519::Ed25519Sha512;
    for (i, t, n) in [(1, 1, 2), (1, 3, 2), (0, 2, 2), (3, 2, 2), (1, 0, 0), (1, 2, 65), (1, 2, u16::MAX)] {
        let error = error(start::<S>(params(i, t, n), &mut rng(1)).map(|_| ()));
        assert_eq!((error.code, error.culprit), (Code::InvalidParameter, Some(Culprit::Caller)));
    }
}

#[test]
fn runs_in_different_contexts_do_not_mix() {
    type S = frost_ed25519::Ed25519Sha512;
    let mut rng = rng(1);
    let (state, _) = start::<S>(params(1, 2, 2), &mut rng).unwrap();
    let other = Params { context: [8; 32], ..params(2, 2, 2) };
    let (_, message) = start::<S>(other, &mut rng).unwrap();
    assert_blames(state.advance(&BTreeMap::from([(2, message)])), Code::WrongContext, 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A message changed on its way is refused at once, or, where only a later step can tell (a higher coefficient,
    /// the chain code commitment), when its sender's view of round one turns out to differ.
    #[test]
    fn a_changed_message_is_always_found(at in 0_usize..1000, bit in 0_u8..8) {
        type S = frost_ed25519::Ed25519Sha512;
        let mut all = round1::<S>(2, 2, 5);
        let (one, message1) = all.remove(&1).unwrap();
        let (two, mut message2) = all.remove(&2).unwrap();
        let at = at % message2.len();
        message2[at] ^= 1 << bit;
        let (_, mut from_two) = two.advance(&BTreeMap::from([(1, message1)])).unwrap();
        match one.advance(&BTreeMap::from([(2, message2)])) {
            Ok((one, _)) => {
                prop_assert!(at >= POINTS + S::ELEMENT_LEN);
                let messages = BTreeMap::from([(2, from_two.remove(&1).unwrap())]);
                assert_blames(one.advance(&messages), Code::TranscriptMismatch, 2);
            }
            Err(error) => prop_assert_eq!(error.culprit, Some(Culprit::Participant(2))),
        }
    }

    #[test]
    fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), prefix in any::<bool>()) {
        type S = frost_ed25519::Ed25519Sha512;
        let params = params(1, 2, 2);
        let mut bytes = bytes;
        if prefix {
            let start = round1::<S>(2, 2, 5)[&2].1[..41].to_vec();
            bytes.splice(0..0, start);
        }
        let _ = Message1::<S>::decode(&bytes, 2, &params, &[0; 32]);
        let _ = Message2::<S>::decode(&bytes, 2, 1, &[0; 32]);
    }
}
