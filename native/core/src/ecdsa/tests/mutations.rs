//! Every field of every message changed, in both directions: the right code, the right culprit, the right reaction,
//! nothing returned, and the session burnt exactly where the specification says so.

use k256::Scalar;

use super::super::curve::scalar_bytes;
use super::super::wire::{MESSAGE1_LEN, MESSAGE2_LEN, SETUP_ANSWER_LEN, SETUP_LEN};
use super::*;
use Code::*;

/// A named field: first byte, length.
type Field = (&'static str, usize, usize);

const MESSAGE1: [Field; 8] = [
    ("header", 0, 2),
    ("index", 2, 8),
    ("context", 10, 32),
    ("d", 42, 33),
    ("delta", 75, 32),
    ("columns", 107, 15_360),
    ("x", 15_467, 16),
    ("t", 15_483, 32),
];

const MESSAGE2: [Field; 12] = [
    ("header", 0, 2),
    ("transcript", 2, 32),
    ("r", 34, 33),
    ("proof challenge", 67, 32),
    ("proof response", 99, 32),
    ("tau0", 131, 39_936),
    ("tau1", 40_067, 26_624),
    ("eta0", 66_691, 32),
    ("eta1", 66_723, 32),
    ("rows", 66_755, 32),
    ("phi", 66_787, 32),
    ("m", 66_819, 32),
];

/// Which bytes of a field to flip: all of a short one, some of a long one.
fn positions((_, start, len): Field) -> impl Iterator<Item = usize> {
    let step = if len > 64 { len / 37 } else { 1 };
    (start..start + len).step_by(step).chain([start + len - 1])
}

#[test]
fn the_fields_cover_the_messages() {
    for (fields, len) in [(&MESSAGE1[..], MESSAGE1_LEN), (&MESSAGE2[..], MESSAGE2_LEN)] {
        let mut at = 0;
        for (_, start, field) in fields {
            assert_eq!(*start, at);
            at += field;
        }
        assert_eq!(at, len);
    }
}

#[test]
fn a_changed_message1_is_refused_by_the_enclave() {
    let world = World::new(1);
    let mut rng = rng(2);
    let (pending, message1) = world.begin(&mut rng);
    for field in MESSAGE1 {
        for at in positions(field) {
            for flip in [1, 0x80] {
                let fork = world.fork();
                let mut changed = message1.clone();
                changed[at] ^= flip;
                let (code, culprit, reaction) = refused(fork.respond(&changed, &mut rng));
                let burnt = match (field.0, code) {
                    ("header", WrongKind) | ("index" | "context", WrongContext) => false,
                    // Off the curve, or above the order.
                    ("d" | "delta", MalformedMessage) => false,
                    ("d" | "delta" | "columns" | "x" | "t", OtCheckFailed) => true,
                    other => panic!("{other:?} at {at}"),
                };
                assert_eq!(culprit, Some(CLIENT));
                assert_eq!(reaction, if burnt { Reaction::Burn } else { Reaction::Abort });
                assert_eq!(fork.enclave.is_alive(), !burnt);
                if burnt {
                    assert_eq!(refused(fork.respond(&message1, &mut rng)).0, SessionBurned);
                } else {
                    fork.respond(&message1, &mut rng).unwrap();
                }
            }
        }
    }
    pending.finish(&world.respond(&message1, &mut rng).unwrap()).unwrap();
}

#[test]
fn a_changed_message2_is_refused_by_the_client() {
    let world = World::new(3);
    let start = rng(4);
    let (pending, message1) = world.fork().begin(&mut start.clone());
    let message2 = world.respond(&message1, &mut rng(5)).unwrap();
    for field in MESSAGE2 {
        for at in positions(field) {
            let fork = world.fork();
            let (pending, again) = fork.begin(&mut start.clone());
            assert!(again == message1);
            let mut changed = message2.clone();
            changed[at] ^= if at % 2 == 0 { 1 } else { 0x80 };
            let (code, culprit, reaction) = refused(pending.finish(&changed));
            let burnt = match (field.0, code) {
                ("header", WrongKind) | ("transcript", TranscriptMismatch) => false,
                (
                    "r" | "proof challenge" | "proof response" | "tau0" | "tau1" | "eta0" | "eta1",
                    MalformedMessage,
                ) => false,
                (
                    "r" | "proof challenge" | "proof response" | "tau0" | "tau1" | "eta0" | "eta1" | "rows",
                    MultiplicationCheckFailed,
                ) => true,
                ("phi" | "m", SignatureInvalid) => true,
                other => panic!("{other:?} at {at}"),
            };
            assert_eq!(culprit, Some(ENCLAVE));
            assert_eq!(reaction, if burnt { Reaction::Burn } else { Reaction::Abort });
            assert_eq!(fork.client.is_alive(), !burnt);
        }
    }
    pending.finish(&message2).unwrap();
}

#[test]
fn points_and_scalars_are_canonical() {
    let world = World::new(5);
    let mut rng = rng(6);
    let (pending, message1) = world.begin(&mut rng);
    let message2 = world.respond(&message1, &mut rng).unwrap();
    let mut order = scalar_bytes(&-Scalar::ONE);
    order[31] += 1;
    let mut uncompressed = [4; 33];
    uncompressed[1..].copy_from_slice(&message1[43..75]);
    // The identity in two forms, another tag, x without a point, x not below the field's order.
    let points = [[0; 33], uncompressed, [2; 33].map(|_| 0xff), {
        let mut five = [0; 33];
        (five[0], five[32]) = (2, 5);
        five
    }];
    let malformed = |who| (MalformedMessage, Some(who), Reaction::Abort);
    for point in points {
        let mut changed = message1.clone();
        changed[42..75].copy_from_slice(&point);
        assert_eq!(refused(world.respond(&changed, &mut rng)), malformed(CLIENT));
        let mut changed = message2.clone();
        changed[34..67].copy_from_slice(&point);
        assert_eq!(refused(fresh(&world, &pending).finish(&changed)), malformed(ENCLAVE));
    }
    for bytes in [order, [0xff; 32]] {
        let mut changed = message1.clone();
        changed[75..107].copy_from_slice(&bytes);
        assert_eq!(refused(world.respond(&changed, &mut rng)), malformed(CLIENT));
        for at in [67, 99, 131, 131 + 32 * 1247, 40_067, 66_659, 66_691, 66_723] {
            let mut changed = message2.clone();
            changed[at..at + 32].copy_from_slice(&bytes);
            assert_eq!(refused(fresh(&world, &pending).finish(&changed)), malformed(ENCLAVE));
        }
    }
    assert_eq!(world.is_alive(), [true; 2]);
    pending.finish(&message2).unwrap();
}

/// A pending signature that waits for the same answer. Only for messages that are refused before secrets are touched.
fn fresh(world: &World, like: &Pending) -> Pending {
    let (mut pending, _) = world.begin(&mut rng(7));
    pending.transcript = like.transcript;
    pending
}

#[test]
fn lengths_are_exact() {
    let world = World::new(7);
    let mut rng = rng(8);
    let (pending, message1) = world.begin(&mut rng);
    let message2 = world.respond(&message1, &mut rng).unwrap();
    let (setup, offers) = ClientSetup::begin(&mut rng);
    let (_, answer) = EnclaveSetup::respond(&offers, &mut rng).unwrap();
    drop(setup);
    let cut = |message: &[u8], len: usize| {
        let mut message = message.to_vec();
        message.resize(len, 0);
        message
    };
    let lengths = |len: usize| (0..40).chain([len / 2, len - 1, len + 1, len + 32, 2 * len]);
    for len in lengths(MESSAGE1_LEN) {
        let result = world.respond(&cut(&message1, len), &mut rng);
        assert_eq!(refused(result), (MalformedMessage, Some(CLIENT), Reaction::Abort));
    }
    for len in lengths(MESSAGE2_LEN) {
        let result = fresh(&world, &pending).finish(&cut(&message2, len));
        assert_eq!(refused(result), (MalformedMessage, Some(ENCLAVE), Reaction::Abort));
    }
    for len in lengths(SETUP_LEN) {
        assert_eq!(refused(EnclaveSetup::respond(&cut(&offers, len), &mut rng)).0, MalformedMessage);
    }
    for len in lengths(SETUP_ANSWER_LEN) {
        let (setup, _) = ClientSetup::begin(&mut rng);
        assert_eq!(refused(setup.finish(&cut(&answer, len), &SESSION)).0, MalformedMessage);
    }
    // One kind does not pass for another.
    let mut padded = offers.clone();
    padded.resize(SETUP_ANSWER_LEN, 0);
    let (setup, _) = ClientSetup::begin(&mut rng);
    assert_eq!(refused(setup.finish(&padded, &SESSION)).0, WrongKind);
    pending.finish(&message2).unwrap();
}

#[test]
fn a_changed_setup_is_refused_or_noticed_before_any_transfer_is_used() {
    let mut rng = rng(9);
    let mut seen = std::collections::BTreeSet::new();
    for at in (0..SETUP_LEN).step_by(257).chain([1, SETUP_LEN - 1]) {
        let (client, mut offers) = ClientSetup::begin(&mut rng);
        offers[at] ^= 1;
        let noticed = match EnclaveSetup::respond(&offers, &mut rng) {
            Err(error) => error.code.as_str(),
            Ok((enclave, answer)) => noticed(client, &answer, enclave, &mut rng),
        };
        seen.insert(noticed);
    }
    for at in (0..SETUP_ANSWER_LEN).step_by(509).chain([1, SETUP_ANSWER_LEN - 1]) {
        let (client, offers) = ClientSetup::begin(&mut rng);
        let (enclave, mut answer) = EnclaveSetup::respond(&offers, &mut rng).unwrap();
        answer[at] ^= 1;
        seen.insert(noticed(client, &answer, enclave, &mut rng));
    }
    assert_eq!(Vec::from_iter(seen), ["malformed_message", "wrong_context", "wrong_kind"]);
}

/// The code with which a session with different setups ends; it must not be burnt.
fn noticed(client: ClientSetup, answer: &[u8], enclave: EnclaveSetup, rng: &mut ChaCha20Rng) -> &'static str {
    let client = match client.finish(answer, &SESSION) {
        Err(error) => return error.code.as_str(),
        Ok(client) => Arc::new(client),
    };
    let world = World { shares: Arc::new(dkg(2, 3, 1)), client, enclave: enclave.bind(&SESSION) };
    let (_, message1) = world.begin(rng);
    let (code, culprit, reaction) = refused(world.respond(&message1, rng));
    assert_eq!((culprit, reaction, world.is_alive()), (Some(CLIENT), Reaction::Abort, [true; 2]));
    code.as_str()
}

#[test]
fn setup_points_are_canonical_and_not_the_identity() {
    let mut rng = rng(10);
    // The identity; not below the field's order; negative; no square root.
    let order: [u8; 32] = hex::decode("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
        .unwrap()
        .try_into()
        .unwrap();
    let negative: [u8; 32] = std::array::from_fn(|i| u8::from(i == 0));
    for bytes in [[0; 32], order, negative, [0xff; 32]] {
        let (client, mut offers) = ClientSetup::begin(&mut rng);
        let (_, mut answer) = EnclaveSetup::respond(&offers, &mut rng).unwrap();
        offers[2 + 32 * 127..].copy_from_slice(&bytes);
        assert_eq!(refused(EnclaveSetup::respond(&offers, &mut rng)).0, MalformedMessage);
        answer[2 + 32..2 + 64].copy_from_slice(&bytes);
        assert_eq!(refused(client.finish(&answer, &SESSION)).0, MalformedMessage);
    }
}
