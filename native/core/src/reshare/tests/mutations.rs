//! Every byte of every message matters, and no bytes make a parser panic.

use frost_ed25519::Ed25519Sha512;
use proptest::prelude::*;

use super::*;
use crate::testing::for_every_suite;

for_every_suite!(
    a_changed_first_message_is_found,
    a_changed_second_message_is_found,
    a_changed_confirmation_is_found,
);

fn pair() -> Cast {
    Cast::apart(&[1, 2], 2, 2)
}

fn begun<S: Suite>(old: &BTreeMap<u16, KeyShare<S>>) -> Play<S> {
    Play::begin(&pair(), old, &mut rng(5))
}

/// Refused at once, or, where only a later step can tell (a higher coefficient), when its sender's view of the first
/// messages turns out to differ.
fn a_changed_first_message_is_found<S: Suite>() {
    let old = dkg::<S>(2, 2, 1);
    let honest = begun(&old).advance1();
    for at in 0..message1_len::<S>(Kind::Reshare, 2) {
        for bit in [at % 8, (at + 5) % 8] {
            let mut play = begun(&old);
            let mut messages = play.first_for(0);
            messages.get_mut(&2).unwrap()[at] ^= 1 << bit;
            match play.round1[0].take().unwrap().advance(&messages) {
                Ok((state, _)) => {
                    assert!(at >= 41 + S::ELEMENT_LEN);
                    assert_blames(state.advance(&honest.second_for(0)), Code::TranscriptMismatch, 2);
                }
                Err(error) => assert_eq!(error.culprit, Some(Culprit::Participant(2))),
            }
        }
    }
}

fn a_changed_second_message_is_found<S: Suite>() {
    let old = dkg::<S>(2, 2, 1);
    for at in 0..message2_len() {
        for bit in [at % 8, (at + 5) % 8] {
            let mut play = begun(&old).advance1();
            let mut messages = play.second_for(0);
            messages.get_mut(&(2, 1)).unwrap()[at] ^= 1 << bit;
            let error = error(play.round2[0].take().unwrap().advance(&messages));
            assert_eq!(error.culprit, Some(Culprit::Participant(2)));
        }
    }
}

fn a_changed_confirmation_is_found<S: Suite>() {
    let old = dkg::<S>(2, 2, 1);
    for at in 0..CONFIRMATION_LEN {
        let mut play = begun(&old).advance1().advance2();
        let mut messages = play.confirmations_for(0);
        messages.get_mut(&2).unwrap()[at] ^= 1 << (at % 8);
        assert_blames(play.round3[0].take().unwrap().confirm(&messages), Code::ConfirmationMismatch, 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), prefix in 0_usize..80) {
        type S = Ed25519Sha512;
        let old = dkg::<S>(2, 2, 1);
        let play = begun(&old).advance1();
        let run = Run { kind: Kind::Reshare, min_signers: 2, max_signers: 2, context_hash: [0; 32] };
        for valid in [&play.messages1[&2], &*play.messages2[&(2, 1)]] {
            let mut bytes = bytes.clone();
            bytes.splice(0..0, valid[..prefix.min(valid.len())].iter().copied());
            for kind in [Kind::Reshare, Kind::Import] {
                let _ = Message1::<S>::decode(&bytes, 2, &Run { kind, ..run.clone() });
                let _ = Message2::<S>::decode(&bytes, kind, 2, 1, &[0; 32]);
            }
        }
        let state = play.advance2().round3[0].take().unwrap().encode().unwrap();
        for valid in [&state[..], &old[&1].group().encode().unwrap()] {
            let mut bytes = bytes.clone();
            bytes.splice(0..0, valid[..prefix.min(valid.len())].iter().copied());
            let _ = Round3::<S>::decode(&bytes);
            let _ = join::<S>(&bytes, pair().handover(0));
        }
    }
}
