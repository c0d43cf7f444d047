//! What a resharing gives: the same key in other shares, which do not fit the old ones.

use std::collections::BTreeSet;

use frost_core::keys::refresh::{compute_refreshing_shares, refresh_share};
use frost_core::{Element, Field, Group, Scalar, compute_lagrange_coefficient};
use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use proptest::prelude::*;

use super::*;
use crate::ecdsa::{ClientSetup, EnclaveSetup, begin, respond};
use crate::seal::OVERHEAD;
use crate::share::identifier;
use crate::sign;
use crate::suite::Tweak;
use crate::testing::{for_every_suite, sign as sign_together};

for_every_suite!(
    the_key_stays_and_the_shares_change,
    a_wallet_goes_through_its_life,
    shares_of_two_epochs_give_another_key,
    message_lengths_are_exact,
    one_node_may_be_several_parties,
    the_result_is_what_frost_calls_refreshed,
    a_pending_state_survives_encoding,
    a_group_has_one_encoding,
);

/// The key that the shares of `quorum` give when they are combined.
fn combined<S: Suite>(shares: &BTreeMap<u16, &KeyShare<S>>) -> Element<S> {
    let set: BTreeSet<_> = shares.keys().map(|i| identifier::<S>(*i).unwrap()).collect();
    let mut secret: Scalar<S> = <<S::Group as Group>::Field as Field>::zero();
    for (i, share) in shares {
        let lambda = compute_lagrange_coefficient(&set, None, identifier::<S>(*i).unwrap()).unwrap();
        secret = secret + lambda * share.key.signing_share().to_scalar();
    }
    <S::Group as Group>::generator() * secret
}

fn subsets(n: u16, t: u16) -> Vec<Vec<u16>> {
    (0_u32..1 << n)
        .filter(|bits| bits.count_ones() == u32::from(t))
        .map(|bits| (1..=n).filter(|i| bits >> (i - 1) & 1 == 1).collect())
        .collect()
}

/// Everything that must hold between an old group and a new one.
fn check<S: Suite>(old: &BTreeMap<u16, KeyShare<S>>, new: &BTreeMap<u16, KeyShare<S>>, t: u16, n: u16) {
    let (before, after) = (old.values().next().unwrap(), &new[&1]);
    assert_eq!(new.keys().copied().collect::<Vec<_>>(), (1..=n).collect::<Vec<_>>());
    let group = after.group().encode().unwrap();
    for (i, share) in new {
        assert_eq!((share.identifier(), share.min_signers(), share.max_signers()), (*i, t, n));
        assert_eq!(share.epoch(), before.epoch() + 1);
        assert_eq!(share.group_public_key().unwrap(), before.group_public_key().unwrap());
        assert_eq!(share.chain_code(), before.chain_code());
        assert_eq!(share.group().encode().unwrap(), group);
        // What a stored share goes through.
        let again = KeyShare::<S>::decode(&share.encode().unwrap()).unwrap();
        assert_eq!(again.fingerprint, share.fingerprint);
    }
    let key = before.group().public().verifying_key().to_element();
    for quorum in subsets(n, t) {
        let shares = quorum.iter().map(|i| (*i, &new[i])).collect();
        assert!(combined(&shares) == key, "{quorum:?}");
    }
    // One fewer gives another key.
    let fewer: BTreeMap<_, _> = new.iter().take(usize::from(t) - 1).map(|(i, share)| (*i, share)).collect();
    assert!(combined(&fewer) != key);
    for (i, share) in new {
        for other in old.values() {
            assert!(share.verifying_share(*i).unwrap() != other.verifying_share(other.identifier()).unwrap());
        }
    }
}

fn the_key_stays_and_the_shares_change<S: Suite>() {
    for ((t, n), quorum, (new_t, new_n)) in [
        ((2, 2), &[1, 2][..], (2, 2)),
        ((2, 2), &[1, 2], (2, 3)),
        ((2, 3), &[2, 3], (2, 2)),
        ((2, 3), &[1, 3], (3, 3)),
        ((3, 5), &[1, 3, 5], (3, 5)),
        ((3, 5), &[2, 3, 4], (2, 2)),
        ((2, 2), &[1, 2], (4, 6)),
    ] {
        let old = dkg::<S>(t, n, 1);
        let new = reshare(&Cast::apart(quorum, new_t, new_n), &old, 2);
        check(&old, &new, new_t, new_n);
    }
}

/// 2-of-2, with a backup share 2-of-3, participant 3 replaced after a loss, back to 2-of-2, and refreshed twice.
fn a_wallet_goes_through_its_life<S: Suite>() {
    let mut shares = dkg::<S>(2, 2, 1);
    let key = shares[&1].group_public_key().unwrap();
    let steps: [(&[u16], u16, u16); 5] =
        [(&[1, 2], 2, 3), (&[1, 2], 2, 3), (&[2, 3], 2, 2), (&[1, 2], 2, 2), (&[1, 2], 2, 2)];
    for (seed, (quorum, t, n)) in steps.into_iter().enumerate() {
        let new = reshare(&Cast::apart(quorum, t, n), &shares, seed as u64);
        check(&shares, &new, t, n);
        shares = new;
    }
    assert_eq!((shares[&1].epoch(), shares[&1].group_public_key().unwrap()), (6, key));
}

fn shares_of_two_epochs_give_another_key<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let new = reshare(&three(), &old, 2);
    let key = old[&1].group().public().verifying_key().to_element();
    for (i, j) in [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)] {
        assert!(combined(&BTreeMap::from([(i, &old[&i]), (j, &new[&j])])) != key);
    }
    // Two resharings of one group: separate sets.
    let other = reshare(&three(), &old, 3);
    assert!(combined(&BTreeMap::from([(1, &other[&1]), (2, &new[&2])])) != key);
}

fn message_lengths_are_exact<S: Suite>() {
    for (cast, t) in [(three(), 2), (Cast::apart(&[1, 2], 3, 5), 3)] {
        let play = Play::begin(&cast, &dkg::<S>(2, 3, 1), &mut rng(1)).advance1().advance2();
        let expected = message1_len::<S>(Kind::Reshare, t);
        assert_eq!(expected, 41 + usize::from(t) * S::ELEMENT_LEN);
        assert!(play.messages1.values().all(|message| message.len() == expected));
        assert!(play.messages2.values().all(|message| message.len() == message2_len()));
        assert_eq!(message2_len(), 71);
        assert!(play.confirmations.values().all(|bytes| bytes.len() == CONFIRMATION_LEN));
        let distinct: BTreeSet<_> = play.confirmations.values().collect();
        assert_eq!(distinct.len(), usize::from(cast.n));
    }
}

/// The device deals with shares 1 and 3 or with one of them, and receives for 1 and 3; the enclave is 2; a fourth node
/// only joins; a fifth only deals.
fn one_node_may_be_several_parties<S: Suite>() {
    let old = dkg::<S>(3, 4, 1);
    let cast = Cast {
        dealers: vec![1, 3, 4],
        t: 2,
        n: 4,
        nodes: vec![(vec![1, 3], vec![1, 3]), (vec![], vec![2]), (vec![4], vec![]), (vec![], vec![4])],
    };
    let play = Play::begin(&cast, &old, &mut rng(1)).advance1();
    // Nothing goes to a node itself, and nothing to nobody.
    let pairs: Vec<_> = play.messages2.keys().copied().collect();
    assert_eq!(pairs, [(1, 2), (1, 4), (3, 2), (3, 4), (4, 1), (4, 2), (4, 3), (4, 4)]);
    let play = play.advance2();
    let receivers: Vec<_> = play.round3.iter().map(|state| state.as_ref().unwrap().receivers()).collect();
    assert_eq!(receivers, [vec![1, 3], vec![2], vec![], vec![4]]);
    check(&old, &play.finish(), 2, 4);
    // A node that is everybody needs no message at all.
    let alone = Cast { dealers: vec![1, 2, 3], t: 2, n: 2, nodes: vec![(vec![1, 2, 3], vec![1, 2])] };
    let play = Play::begin(&alone, &old, &mut rng(1)).advance1();
    assert!(play.messages2.is_empty());
    check(&old, &play.advance2().finish(), 2, 2);
}

/// What `frost_core::keys::refresh` guarantees: the same key and threshold, every share and verifying share new.
fn the_result_is_what_frost_calls_refreshed<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let ours = reshare(&three(), &old, 2);
    let public = old[&1].group().public().clone();
    let everybody: Vec<_> = (1..=3).map(|i| identifier::<S>(i).unwrap()).collect();
    let (refreshing, theirs) =
        compute_refreshing_shares::<S, _>(public.clone(), &everybody, &mut rng(3)).unwrap();
    let ours_public = ours[&1].group().public().clone();
    for refreshed in [&theirs, &ours_public] {
        assert!(refreshed.verifying_key() == public.verifying_key());
        assert_eq!(refreshed.min_signers(), public.min_signers());
        assert_eq!(refreshed.verifying_shares().len(), 3);
        for id in &everybody {
            assert!(refreshed.verifying_shares()[id] != public.verifying_shares()[id]);
        }
    }
    for (i, refreshing) in (1..=3).zip(refreshing) {
        let theirs = refresh_share::<S>(refreshing, &old[&i].key).unwrap();
        for key in [&theirs, &ours[&i].key] {
            assert!(key.verifying_key() == old[&i].key.verifying_key());
            assert_eq!(key.min_signers(), old[&i].key.min_signers());
            assert_eq!(key.identifier(), old[&i].key.identifier());
            assert!(key.signing_share() != old[&i].key.signing_share());
        }
    }
}

fn a_pending_state_survives_encoding<S: Suite>() {
    let cast =
        Cast { dealers: vec![1, 2], t: 2, n: 3, nodes: vec![(vec![1], vec![1, 3]), (vec![2], vec![2])] };
    let mut play = Play::begin(&cast, &dkg::<S>(2, 2, 1), &mut rng(1)).advance1().advance2();
    let state = play.round3[0].take().unwrap();
    let bytes = state.encode().unwrap();
    assert_eq!(bytes.len(), 32 + 42 + 4 * S::ELEMENT_LEN + 2 + 2 * 34);
    let decode = |bytes: &[u8]| Round3::<S>::decode(bytes);
    let again = decode(&bytes).unwrap();
    assert_eq!(*again.encode().unwrap(), *bytes);
    assert_eq!(again.receivers(), [1, 3]);
    for len in 0..bytes.len() {
        assert_eq!(error(decode(&bytes[..len])).code, Code::RecordMalformed);
    }
    assert_eq!(error(decode(&[bytes.as_slice(), &[0]].concat())).code, Code::RecordMalformed);
    // Another transcript waits for other confirmations.
    let changed = |at: usize, value: u8| {
        let mut changed = bytes.to_vec();
        changed[at] ^= value;
        decode(&changed)
    };
    assert_blames(changed(0, 1).unwrap().confirm(&play.confirmations_for(0)), Code::ConfirmationMismatch, 2);
    let shares = 32 + 42 + 4 * S::ELEMENT_LEN;
    // Another version, another suite, another group, the receivers' identifiers, a scalar.
    for at in [32, 33, 32 + 43] {
        assert_eq!(error(changed(at, 3)).code, Code::RecordMalformed);
    }
    assert_eq!(error(changed(shares + 1, 3)).code, Code::RecordMalformed);
    assert_eq!(error(changed(shares + 3, 1)).code, Code::RecordMalformed);
    assert_eq!(error(changed(shares + 2 + 34 + 1, 2)).code, Code::RecordMalformed);
    assert_eq!(error(changed(shares + 2 + 34 + 1, 1)).code, Code::ShareInconsistent);
    assert_eq!(error(changed(shares + 4 + 16, 1)).code, Code::ShareInconsistent);
    let released = again.confirm(&play.confirmations_for(0)).unwrap();
    assert_eq!(released.keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(OVERHEAD, 68);
}

fn a_group_has_one_encoding<S: Suite>() {
    use crate::share::PublicGroup;
    let shares = dkg::<S>(2, 3, 1);
    let bytes = shares[&1].group().encode().unwrap();
    assert_eq!(bytes, shares[&3].group().encode().unwrap());
    assert_eq!(bytes.len(), 42 + 4 * S::ELEMENT_LEN);
    let again = PublicGroup::<S>::decode(&bytes).unwrap();
    assert_eq!((again.encode().unwrap(), again.epoch()), (bytes.clone(), 1));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.clone();
        change(&mut changed);
        let error = error(join::<S>(&changed, three().handover(2)));
        assert_eq!(error.culprit, Some(Culprit::Caller));
        error.code
    };
    for len in 0..bytes.len() {
        assert_eq!(refused(&|b| b.truncate(len)), Code::InvalidGroup);
    }
    assert_eq!(refused(&|b| b.push(0)), Code::InvalidGroup);
    assert_eq!(refused(&|b| b[0] = 2), Code::InvalidGroup);
    assert_eq!(refused(&|b| b[1] = 0), Code::InvalidGroup);
    assert_eq!(refused(&|b| b[1] = b[1] % 3 + 1), Code::WrongSuite);
    assert_eq!(refused(&|b| b[3] = 1), Code::InvalidGroup);
    assert_eq!(refused(&|b| b[3] = 4), Code::InvalidGroup);
    assert_eq!(refused(&|b| b[5] = 2), Code::InvalidGroup);
    assert_eq!(refused(&|b| b[9] = 0), Code::InvalidGroup);
    // A key, or a verifying share, of another polynomial.
    let other = dkg::<S>(2, 3, 2)[&1].group().encode().unwrap();
    for k in 0..4 {
        let at = 42 + k * S::ELEMENT_LEN;
        let point = at..at + S::ELEMENT_LEN;
        assert_eq!(refused(&|b| b[point.clone()].copy_from_slice(&other[point.clone()])), Code::InvalidGroup);
        assert_eq!(refused(&|b| b[point.clone()].fill(0xff)), Code::InvalidGroup);
    }
}

#[test]
fn every_pair_signs_and_mixed_epochs_do_not() {
    signs::<Ed25519Sha512>(b"message".to_vec());
    signs::<Secp256K1Sha256TR>(vec![7; 32]);
}

fn signs<S: Suite>(message: Vec<u8>) {
    let old = dkg::<S>(2, 3, 1);
    let new = reshare(&three(), &old, 2);
    let key = old[&1].group_public_key().unwrap();
    for pair in subsets(3, 2) {
        let signatures = sign_together(&new, &pair, std::slice::from_ref(&message), &[Tweak::None], 5);
        sign::verify::<S>(&key, &message, &signatures[0], &Tweak::None).unwrap();
    }
    let mut rng = rng(6);
    for (one, two) in [(&old[&1], &new[&2]), (&new[&1], &old[&2])] {
        let (nonces, batch) = sign::begin(one, 1, &mut rng).unwrap();
        let messages = [message.clone()];
        let response =
            sign::respond(two, &messages, &BTreeMap::from([(1, batch)]), &[Tweak::None], &mut rng).unwrap();
        let responses = BTreeMap::from([(2, response)]);
        let result = nonces.finish(one, &messages, &responses, &[Tweak::None]);
        assert_blames(result, Code::InvalidSignatureShare, 2);
    }
}

#[test]
fn every_pair_signs_ecdsa_and_mixed_epochs_do_not() {
    let old = dkg::<Secp256K1Sha256>(2, 3, 1);
    let new = reshare(&three(), &old, 2);
    let mut rng = rng(3);
    let mut sign = |client: &KeyShare<Secp256K1Sha256>, enclave: &KeyShare<Secp256K1Sha256>| {
        let (setup, offers) = ClientSetup::begin(&mut rng);
        let (answering, answer) = EnclaveSetup::respond(&offers, &mut rng).unwrap();
        let ot = std::sync::Arc::new(setup.finish(&answer, &[3; 32]).unwrap());
        let answering = answering.bind(&[3; 32]);
        let (pending, message1) = begin(client, &ot, &[9; 32], &[], enclave.identifier(), &mut rng).unwrap();
        let message2 = respond(enclave, &answering, &message1, &[9; 32], &[], client.identifier(), &mut rng)?;
        pending.finish(&message2)
    };
    for (client, enclave) in [(1, 2), (3, 2), (1, 3)] {
        let signature = sign(&new[&client], &new[&enclave]).unwrap();
        assert_eq!(signature.public_key.to_vec(), old[&1].group_public_key().unwrap());
    }
    // The epoch is bound into the session's context, so that nothing secret is touched.
    assert_eq!(error(sign(&old[&1], &new[&2])).code, Code::WrongContext);
    assert_eq!(error(sign(&new[&1], &old[&2])).code, Code::WrongContext);
}

fn any_cast() -> impl Strategy<Value = ((u16, u16), Cast)> {
    let group = (2_u16..=4).prop_flat_map(|t| (Just(t), t..=5));
    (group.clone(), group)
        .prop_flat_map(|(old, new)| {
            let quorum = proptest::sample::subsequence((1..=old.1).collect::<Vec<_>>(), usize::from(old.0));
            let homes = proptest::collection::vec(0_usize..4, usize::from(old.1 + new.1));
            (Just(old), Just(new), quorum, homes)
        })
        .prop_map(|(old, (t, n), dealers, homes)| {
            let mut nodes = vec![(Vec::new(), Vec::new()); 4];
            for dealer in &dealers {
                nodes[homes[usize::from(*dealer) - 1]].0.push(*dealer);
            }
            for receiver in 1..=n {
                nodes[homes[usize::from(old.1 + receiver) - 1]].1.push(receiver);
            }
            nodes.retain(|(deals, receives)| !deals.is_empty() || !receives.is_empty());
            (old, Cast { dealers, t, n, nodes })
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any group to any other, whoever sits where.
    #[test]
    fn any_group_hands_over_to_any_other(((t, n), cast) in any_cast(), seed in 0_u64..1 << 32) {
        let old = dkg::<Secp256K1Sha256>(t, n, seed);
        check(&old, &reshare(&cast, &old, seed + 1), cast.t, cast.n);
        let old = dkg::<Ed25519Sha512>(t, n, seed);
        check(&old, &reshare(&cast, &old, seed + 1), cast.t, cast.n);
    }
}
