//! Attacks from outside and mistakes of callers, by name.

use frost_ed25519::Ed25519Sha512;

use super::*;
use crate::testing::for_every_suite;

for_every_suite!(
    every_attack_on_first_messages_is_named,
    every_attack_on_second_messages_is_named,
    a_wrong_confirmation_is_named,
    senders_are_exactly_the_dealers_elsewhere,
    second_messages_are_exactly_those_between_nodes,
    confirmations_are_exactly_those_of_receivers_elsewhere,
    a_run_replayed_in_another_is_refused,
    equivocation_is_found_before_any_share_comes_out,
    shares_of_two_groups_do_not_deal_together,
    the_epoch_does_not_wrap,
);

/// Byte offsets in both messages: see `docs/spec/threshold.md`.
const SUITE: usize = 2;
const SENDER: usize = 4;
const RECEIVER: usize = 6;
const THRESHOLD: usize = 6;
const PARTICIPANTS: usize = 8;
const CONTEXT_AT: usize = 9;
const POINTS: usize = 41;
const ROUND1: usize = 7;
const SUB_SHARE: usize = 39;

fn begun<S: Suite>(seed: u64) -> Play<S> {
    Play::begin(&three(), &dkg::<S>(2, 3, 1), &mut rng(seed))
}

fn every_attack_on_first_messages_is_named<S: Suite>() {
    let attack = |code: Code, change: &dyn Fn(&mut Vec<u8>)| {
        // Node 0 deals, node 2 only receives: both look.
        for node in [0, 2] {
            let mut play = begun::<S>(5);
            let mut messages = play.first_for(node);
            change(messages.get_mut(&2).unwrap());
            assert_blames(play.round1[node].take().unwrap().advance(&messages), code, 2);
        }
    };
    attack(Code::WrongKind, &|m| m[0] ^= 1);
    for kind in [1, 2, 4, 5, 6] {
        attack(Code::WrongKind, &|m| m[1] = kind);
    }
    attack(Code::WrongSuite, &|m| m[SUITE] ^= 3);
    attack(Code::WrongSuite, &|m| m[SUITE] = 0);
    attack(Code::WrongSender, &|m| m[SENDER] = 1);
    attack(Code::WrongSender, &|m| m[SENDER] = 0);
    attack(Code::WrongParameters, &|m| m[THRESHOLD] = 3);
    attack(Code::WrongParameters, &|m| m[PARTICIPANTS] = 4);
    attack(Code::WrongContext, &|m| m[CONTEXT_AT] ^= 1);
    attack(Code::MalformedMessage, &|m| m[POINTS..POINTS + S::ELEMENT_LEN].fill(0xff));
    attack(Code::MalformedMessage, &|m| {
        m.pop();
    });
    attack(Code::MalformedMessage, &|m| m.push(0));
    attack(Code::MalformedMessage, &|m| m.truncate(10));
    attack(Code::MalformedMessage, &|m| m.clear());
    attack(Code::WrongCommitmentCount, &|m| {
        let point = m[POINTS..POINTS + S::ELEMENT_LEN].to_vec();
        m.extend(point);
    });
    attack(Code::WrongCommitmentCount, &|m| {
        m.drain(POINTS + S::ELEMENT_LEN..);
    });
    attack(Code::WrongCommitmentCount, &|m| m.truncate(POINTS));
    // The coefficients the other way round: a constant term of another value.
    attack(Code::WrongConstantTerm, &|m| {
        let points = m.split_off(POINTS);
        m.extend_from_slice(&points[S::ELEMENT_LEN..]);
        m.extend_from_slice(&points[..S::ELEMENT_LEN]);
    });
    // The identity, in the form that each curve has for it.
    attack(Code::MalformedMessage, &|m| {
        let point = &mut m[POINTS + S::ELEMENT_LEN..];
        point.fill(0);
        point[0] = u8::from(S::ELEMENT_LEN == 32);
    });
    // A second encoding of a point, which the library would take: SEC 1's compact form.
    if S::ELEMENT_LEN == 33 {
        attack(Code::MalformedMessage, &|m| m[POINTS + S::ELEMENT_LEN] = 5);
    }
    // Another dealer's message, and the same under one's own name.
    let copied = begun::<S>(5).messages1[&1].clone();
    let mut play = begun::<S>(5);
    let mut messages = play.first_for(2);
    messages.insert(2, copied.clone());
    assert_blames(play.round1[2].take().unwrap().advance(&messages), Code::WrongSender, 2);
    let mut play = begun::<S>(5);
    let mut renamed = copied;
    renamed[SENDER] = 2;
    messages.insert(2, renamed);
    assert_blames(play.round1[2].take().unwrap().advance(&messages), Code::WrongConstantTerm, 2);
}

fn every_attack_on_second_messages_is_named<S: Suite>() {
    let attack = |code: Code, change: &dyn Fn(&mut Messages2)| {
        for (node, receiver) in [(0, 1), (2, 3)] {
            let mut play = begun::<S>(5).advance1();
            let mut messages = play.second_for(node);
            let own = messages.remove(&(2, receiver)).unwrap();
            let mut one = BTreeMap::from([((2, receiver), own)]);
            change(&mut one);
            messages.extend(one);
            assert_blames(play.round2[node].take().unwrap().advance(&messages), code, 2);
        }
    };
    let each = |code: Code, change: &dyn Fn(&mut Vec<u8>)| {
        attack(code, &|messages| messages.values_mut().for_each(|message| change(message)));
    };
    each(Code::WrongKind, &|m| m[0] = 0);
    for kind in [1, 2, 3, 5, 6] {
        each(Code::WrongKind, &|m| m[1] = kind);
    }
    each(Code::WrongSuite, &|m| m[SUITE] ^= 3);
    each(Code::WrongSender, &|m| m[SENDER] = 1);
    each(Code::WrongReceiver, &|m| m[RECEIVER] = 2);
    each(Code::TranscriptMismatch, &|m| m[ROUND1] ^= 1);
    each(Code::InvalidSubShare, &|m| m[SUB_SHARE + 16] ^= 1);
    each(Code::InvalidSubShare, &|m| m[SUB_SHARE..].fill(0));
    each(Code::MalformedMessage, &|m| m[SUB_SHARE..].fill(0xff));
    each(Code::MalformedMessage, &|m| m.push(0));
    each(Code::MalformedMessage, &|m| {
        m.pop();
    });
    each(Code::MalformedMessage, &|m| m.clear());
}

fn a_wrong_confirmation_is_named<S: Suite>() {
    let attack = |change: &dyn Fn(&mut Vec<u8>, &[u8])| {
        let mut play = begun::<S>(5).advance1().advance2();
        let mut messages = play.confirmations_for(0);
        let own = play.confirmations[&1].clone();
        change(messages.get_mut(&3).unwrap(), &own);
        assert_blames(play.round3[0].take().unwrap().confirm(&messages), Code::ConfirmationMismatch, 3);
    };
    attack(&|m, _| m[31] ^= 0x80);
    attack(&|m, _| m.truncate(31));
    attack(&|m, _| m.push(0));
    attack(&|m, _| m.clear());
    // An echo of our own confirmation.
    attack(&|m, own| m.copy_from_slice(own));
    // Two receivers' confirmations swapped.
    let mut play = begun::<S>(5).advance1().advance2();
    let mut messages = play.confirmations_for(0);
    let (two, three) = (messages[&2].clone(), messages[&3].clone());
    messages.extend([(2, three), (3, two)]);
    assert_blames(play.round3[0].take().unwrap().confirm(&messages), Code::ConfirmationMismatch, 2);
}

fn senders_are_exactly_the_dealers_elsewhere<S: Suite>() {
    // Ourselves, somebody who does not deal, nobody, a stranger.
    for stranger in [1, 3, 0, 9] {
        let mut play = begun::<S>(5);
        let mut messages = play.first_for(0);
        messages.insert(stranger, play.messages1[&1].clone());
        assert_refused(play.round1[0].take().unwrap().advance(&messages), Code::UnexpectedSender);
    }
    for missing in [1, 2] {
        let mut play = begun::<S>(5);
        let mut messages = play.first_for(2);
        messages.remove(&missing);
        assert_refused(play.round1[2].take().unwrap().advance(&messages), Code::MissingMessage);
    }
    // Our own message, replayed as another dealer's.
    let mut play = begun::<S>(5);
    let own = play.messages1[&1].clone();
    assert_blames(play.round1[0].take().unwrap().advance(&BTreeMap::from([(2, own)])), Code::WrongSender, 2);
}

fn second_messages_are_exactly_those_between_nodes<S: Suite>() {
    for stranger in [(1, 1), (2, 2), (3, 1), (2, 3), (0, 1), (2, 0)] {
        let mut play = begun::<S>(5).advance1();
        let mut messages = play.second_for(0);
        messages.insert(stranger, messages[&(2, 1)].clone());
        assert_refused(play.round2[0].take().unwrap().advance(&messages), Code::UnexpectedSender);
    }
    for missing in [(1, 3), (2, 3)] {
        let mut play = begun::<S>(5).advance1();
        let mut messages = play.second_for(2);
        messages.remove(&missing);
        assert_refused(play.round2[2].take().unwrap().advance(&messages), Code::MissingMessage);
    }
    // Swapped receivers at a node that receives for two.
    let cast =
        Cast { dealers: vec![1, 2], t: 2, n: 3, nodes: vec![(vec![1], vec![1, 3]), (vec![2], vec![2])] };
    let mut play = Play::begin(&cast, &dkg::<S>(2, 3, 1), &mut rng(5)).advance1();
    let mut messages = play.second_for(0);
    let (one, three) = (messages[&(2, 1)].clone(), messages[&(2, 3)].clone());
    messages.extend([((2, 1), three), ((2, 3), one)]);
    assert_blames(play.round2[0].take().unwrap().advance(&messages), Code::WrongReceiver, 2);
}

fn confirmations_are_exactly_those_of_receivers_elsewhere<S: Suite>() {
    for stranger in [0, 1, 4] {
        let mut play = begun::<S>(5).advance1().advance2();
        let mut messages = play.confirmations_for(0);
        messages.insert(stranger, messages[&2].clone());
        assert_refused(play.round3[0].take().unwrap().confirm(&messages), Code::UnexpectedSender);
    }
    for missing in [2, 3] {
        let mut play = begun::<S>(5).advance1().advance2();
        let mut messages = play.confirmations_for(0);
        messages.remove(&missing);
        assert_refused(play.round3[0].take().unwrap().confirm(&messages), Code::MissingMessage);
    }
}

/// Another context, other dealers, another shape, another group, a later epoch: none of their messages fits.
fn a_run_replayed_in_another_is_refused<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let share = |dealers: &[u16], n: u16, context: u8, shares: &BTreeMap<u16, KeyShare<S>>| {
        let handover = Handover {
            dealers: dealers.to_vec(),
            receivers: vec![2],
            min_signers: 2,
            max_signers: n,
            context: [context; 32],
        };
        start(&[&shares[&2]], handover, &mut rng(5)).unwrap().1[&2].clone()
    };
    let later = reshare(&three(), &old, 7);
    for (replayed, code) in [
        (share(&[1, 2], 3, 8, &old), Code::WrongContext),
        (share(&[2, 3], 3, 9, &old), Code::WrongContext),
        (share(&[1, 2], 4, 9, &old), Code::WrongParameters),
        (share(&[1, 2], 3, 9, &dkg::<S>(2, 3, 2)), Code::WrongContext),
        (share(&[1, 2], 3, 9, &dkg::<S>(2, 4, 1)), Code::WrongContext),
        (share(&[1, 2], 3, 9, &later), Code::WrongContext),
    ] {
        let mut play = begun::<S>(5);
        assert_blames(play.round1[0].take().unwrap().advance(&BTreeMap::from([(2, replayed)])), code, 2);
    }
    // The same run begun once more: the commitments are others, and so is everything that follows.
    let (mut play, other) = (begun::<S>(5).advance1(), begun::<S>(6).advance1());
    let second = other.second_for(0);
    assert_blames(play.round2[0].take().unwrap().advance(&second), Code::TranscriptMismatch, 2);
    let mut play = play_to_end::<S>(5);
    let confirmations = play_to_end::<S>(6).confirmations_for(0);
    assert_blames(play.round3[0].take().unwrap().confirm(&confirmations), Code::ConfirmationMismatch, 2);
}

fn play_to_end<S: Suite>(seed: u64) -> Play<S> {
    begun::<S>(seed).advance1().advance2()
}

/// Dealer 2 shows receiver 1 another polynomial than receiver 3, each with sub-shares that fit.
fn equivocation_is_found_before_any_share_comes_out<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let dealing = |seed: u64| {
        let handover = Cast::apart(&[1, 2], 2, 3).handover(1);
        start(&[&old[&2]], handover, &mut rng(seed)).unwrap()
    };
    let mut play = begun::<S>(5);
    let one = play.messages1[&1].clone();
    let ((shown_to_one, for_one), (shown_to_three, for_three)) = (dealing(10), dealing(11));
    let views = [for_one[&2].clone(), for_three[&2].clone()];
    let (node1, from_one) =
        play.round1[0].take().unwrap().advance(&BTreeMap::from([(2, views[0].clone())])).unwrap();
    let (node3, _) = play.round1[2]
        .take()
        .unwrap()
        .advance(&BTreeMap::from([(1, one.clone()), (2, views[1].clone())]))
        .unwrap();
    let from_two = |state: Round1<S>| state.advance(&BTreeMap::from([(1, one.clone())])).unwrap().1;
    let (to_one, to_three) = (from_two(shown_to_one), from_two(shown_to_three));
    // Receiver 1 sees nothing yet: all that it got fits. But dealer 1, who is there too, has told 3 what it saw.
    let (state, _) = node1.advance(&BTreeMap::from([((2, 1), to_one[&(2, 1)].clone())])).unwrap();
    let messages = BTreeMap::from([((1, 3), from_one[&(1, 3)].clone()), ((2, 3), to_three[&(2, 3)].clone())]);
    assert_blames(node3.advance(&messages), Code::TranscriptMismatch, 1);
    // If it deals from one node alone, the confirmations differ.
    let confirmations = play_to_end::<S>(5).confirmations_for(0);
    assert_blames(state.confirm(&confirmations), Code::ConfirmationMismatch, 2);
}

fn shares_of_two_groups_do_not_deal_together<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let new = reshare(&three(), &old, 2);
    let other = dkg::<S>(2, 3, 2);
    let handover = || Handover { receivers: vec![], ..three().handover(0) };
    for second in [&new[&2], &other[&2]] {
        assert_refused(start(&[&old[&1], second], handover(), &mut rng(1)), Code::SharesMismatch);
    }
    // Twice the same share, a share of somebody who does not deal, none at all.
    let wrong: [&[&KeyShare<S>]; 3] = [&[&old[&1], &old[&1]], &[&old[&1], &old[&3]], &[]];
    for shares in wrong {
        assert_refused(start(shares, handover(), &mut rng(1)), Code::InvalidParameter);
    }
}

fn the_epoch_does_not_wrap<S: Suite>() {
    let shares = dkg::<S>(2, 2, 1);
    let mut bytes = shares[&1].encode().unwrap();
    bytes[8..12].fill(0xff);
    let last = KeyShare::<S>::decode(&bytes).unwrap();
    let handover = || Cast::apart(&[1, 2], 2, 2).handover(0);
    assert_refused(start(&[&last], handover(), &mut rng(1)), Code::InvalidParameter);
    assert_refused(join::<S>(&last.group().encode().unwrap(), handover()), Code::InvalidParameter);
    bytes[11] = 0xfe;
    let last_but_one = KeyShare::<S>::decode(&bytes).unwrap();
    assert_eq!(start(&[&last_but_one], handover(), &mut rng(1)).unwrap().1.len(), 1);
}

#[test]
fn parameters_are_bounded() {
    type S = Ed25519Sha512;
    let old = dkg::<S>(2, 3, 1);
    let good = three().handover(0);
    let bad = [
        Handover { min_signers: 1, ..good.clone() },
        Handover { min_signers: 4, ..good.clone() },
        Handover { min_signers: 0, max_signers: 0, ..good.clone() },
        Handover { max_signers: 65, ..good.clone() },
        Handover { max_signers: u16::MAX, ..good.clone() },
        Handover { dealers: vec![1], ..good.clone() },
        Handover { dealers: vec![1, 2, 3], ..good.clone() },
        Handover { dealers: vec![2, 1], ..good.clone() },
        Handover { dealers: vec![1, 1], ..good.clone() },
        Handover { dealers: vec![1, 4], ..good.clone() },
        Handover { dealers: vec![0, 1], ..good.clone() },
        Handover { dealers: vec![2, 3], ..good.clone() },
        Handover { receivers: vec![0], ..good.clone() },
        Handover { receivers: vec![4], ..good.clone() },
        Handover { receivers: vec![2, 1], ..good.clone() },
        Handover { receivers: vec![1, 1], ..good.clone() },
    ];
    let group = old[&1].group().encode().unwrap();
    for handover in bad {
        let joins = handover.dealers != [2, 3];
        assert_refused(start(&[&old[&1]], handover.clone(), &mut rng(1)), Code::InvalidParameter);
        if joins {
            assert_refused(join::<S>(&group, handover), Code::InvalidParameter);
        }
    }
}

#[test]
fn a_group_of_another_key_gives_another_context() {
    type S = Ed25519Sha512;
    let mut play = begun::<S>(5);
    let stranger = dkg::<S>(2, 3, 2)[&1].group().encode().unwrap();
    let fooled = join::<S>(&stranger, three().handover(2)).unwrap();
    assert_blames(fooled.advance(&play.first_for(2)), Code::WrongContext, 1);
    let honest = play.round1[2].take().unwrap();
    assert_eq!(honest.advance(&play.first_for(2)).unwrap().1.len(), 0);
}
