//! One attack for each check: stopped by the check, and successful without it.

use k256::Scalar;

use super::super::bits::bit;
use super::super::check::{Check, without};
use super::super::client::gives_back_the_key;
use super::super::context::{Parties, Task, challenge};
use super::super::multiply::{self, Batch};
use super::super::pads::Pads;
use super::super::wire::Response;
use super::cheats::{Cheat, answer, forged_request};
use super::*;

const BURN_CLIENT: (Code, Option<u16>, Reaction) = (Code::OtCheckFailed, Some(CLIENT), Reaction::Burn);

/// Extension. A client whose columns differ in single rows makes these rows' pads depend on single bits of Delta.
#[test]
fn a_client_with_inconsistent_columns_burns_the_session() {
    let world = World::new(1);
    let mut rng = rng(2);
    let delta = *world.enclave.seeds().unwrap().delta;
    for i in 0..KAPPA {
        let world = world.fork();
        let (pending, message1) = world.begin(&mut rng);
        let (seeds, _) = world.client.take().unwrap();
        // A bet on one bit of Delta is right in half of all sessions (and worth one bit); a wrong one burns.
        let guess = (i as u128 % 2) << i;
        let forged = forged_request(&seeds, &pending, &message1, &[(i, 5)], guess);
        let result = world.respond(&forged, &mut rng);
        if bit(delta, i) == i as u128 % 2 {
            result.unwrap();
        } else {
            assert_eq!(refused(result), BURN_CLIENT);
            assert!(!world.enclave.is_alive());
            assert_eq!(refused(world.respond(&message1, &mut rng)).0, Code::SessionBurned);
        }
    }
    let errors: Vec<_> = (0..KAPPA).map(|i| (i, i)).collect();
    let (pending, message1) = world.begin(&mut rng);
    let (seeds, _) = world.client.take().unwrap();
    let forged = forged_request(&seeds, &pending, &message1, &errors, 0);
    assert_eq!(refused(world.respond(&forged, &mut rng)), BURN_CLIENT);
}

/// Without the check of the extension sixteen requests give a client all of Delta, and the next one the enclave's key
/// share.
#[test]
fn without_the_extension_check_a_client_takes_the_enclaves_share() {
    let world = World::new(3);
    let mut rng = rng(4);
    let (seeds, _) = world.client.take().unwrap();
    let mut delta = 0_u128;
    for start in (0..KAPPA).step_by(8) {
        let (pending, message1) = world.begin(&mut rng);
        let errors: Vec<_> = (0..8).map(|row| (start + row, row)).collect();
        let forged = forged_request(&seeds, &pending, &message1, &errors, 0);
        let message2 = without(Check::Extension, || world.respond(&forged, &mut rng)).unwrap();
        delta |= u128::from(eight_bits(&pending, &forged, &message2, start)) << start;
    }
    assert_eq!(delta, *world.enclave.seeds().unwrap().delta);
    // With Delta the client has both pads of every row, and thereby the inputs 1/k, and the share divided by k.
    let (pending, message1) = world.begin(&mut rng);
    let response_bytes = world.respond(&message1, &mut rng).unwrap();
    let response = Response::parse(&response_bytes).unwrap();
    let inputs0 = inputs(&pending, Batch::First, &response.tau0, delta);
    let inputs1 = inputs(&pending, Batch::Second, &response.tau1, delta);
    let stolen = inputs0[1] * inputs1[0].invert().unwrap();
    let share = &world.shares[&ENCLAVE];
    let task = Task::new(share, Parties { client: CLIENT, enclave: ENCLAVE }, &DIGEST, &PATH).unwrap();
    assert_eq!(stolen, *task.weighted(share).unwrap() + task.tweak);
}

/// Tries the 2^8 combinations of eight bits of Delta against the hash of the rows.
fn eight_bits(pending: &Pending, message1: &[u8], message2: &[u8], start: usize) -> u8 {
    let transcript = super::super::context::transcript(&pending.context, message1);
    let response = Response::parse(message2).unwrap();
    let (pads, bits) = (Pads::new(&transcript), &pending.chosen.bits);
    let challenge = challenge(&transcript, response.head);
    let (theta0, theta1) = (Batch::First.theta::<2>(&challenge), Batch::Second.theta::<1>(&challenge));
    let checked = |flip: bool| {
        let mut rows = pending.chosen.rows.to_vec();
        for (j, row) in rows.iter_mut().take(8).enumerate() {
            *row ^= u128::from(flip) << (start + j);
        }
        let mut out = Vec::new();
        let d0 = multiply::receive(Batch::First, &pads, &rows, bits, &response.tau0);
        multiply::received_rows(Batch::First, &theta0, &response.eta0, bits, &d0, &mut out);
        let d1 = multiply::receive(Batch::Second, &pads, &rows, bits, &response.tau1);
        multiply::received_rows(Batch::Second, &theta1, &response.eta1, bits, &d1, &mut out);
        out
    };
    let (mut tried, flipped) = (checked(false), checked(true));
    let plain = tried.clone();
    (0..=255)
        .find(|guess| {
            for j in 0..8 {
                let from = if guess >> j & 1 == 1 { &flipped } else { &plain };
                tried[32 * j..32 * j + 32].copy_from_slice(&from[32 * j..32 * j + 32]);
            }
            multiply::rows_hash(&challenge, &tried) == response.rows_hash
        })
        .unwrap()
}

/// a = tau - u0 + u1 for the first row of a batch.
fn inputs<const N: usize>(pending: &Pending, batch: Batch, taus: &[[Scalar; N]], delta: u128) -> [Scalar; N] {
    let rows = batch.of(&pending.chosen.rows).first_chunk::<8>().unwrap();
    let bits = batch.of(&pending.chosen.bits);
    let pads = Pads::new(&pending.transcript);
    let group = batch as usize * XI / 8;
    let both = pads.of::<N, 2>(group, &rows.map(|row| [row, row ^ delta]));
    let [chosen, other] = both[0];
    let (u0, u1) = if bits[0] == 0 { (chosen, other) } else { (other, chosen) };
    std::array::from_fn(|i| taus[0][i] - u0[i] + u1[i])
}

/// Two rows, both chosen by the client, whose errors cancel in the product.
fn cancelling(pending: &Pending) -> Cheat {
    let bits = Batch::First.of(&pending.chosen.bits);
    let gadget = Batch::First.gadget(&pending.context);
    let mut rows = (0..XI).filter(|j| bits[*j] == 1);
    let (a, b) = (rows.next().unwrap(), rows.next().unwrap());
    Cheat { shifts: vec![(a, gadget[b]), (b, -gadget[a])], ..Cheat::default() }
}

/// Multiplication. An enclave that uses other inputs in some rows learns from the outcome a relation of the client's
/// bits; with the check it must guess every such bit.
#[test]
fn an_enclave_with_inconsistent_rows_is_caught() {
    let world = World::new(5);
    let mut rng = rng(6);
    let (pending, message1) = world.begin(&mut rng);
    let cheat = cancelling(&pending);
    let forged = answer(&world, &message1, &cheat, &mut rng);
    let caught = (Code::MultiplicationCheckFailed, Some(ENCLAVE), Reaction::Burn);
    assert_eq!(refused(pending.finish(&forged.message2)), caught);
    assert!(!world.client.is_alive());
}

#[test]
fn without_the_multiplication_check_inconsistent_rows_pass() {
    let world = World::new(5);
    let mut rng = rng(6);
    let (pending, message1) = world.begin(&mut rng);
    let cheat = cancelling(&pending);
    let forged = answer(&world, &message1, &cheat, &mut rng);
    without(Check::Multiplication, || pending.finish(&forged.message2)).unwrap();
}

/// Every single row is checked, in both batches and all columns.
#[test]
fn no_row_can_be_shifted_where_the_client_chose_one() {
    let world = World::new(7);
    let start = rng(8);
    let (pending, message1) = world.fork().begin(&mut start.clone());
    let bits = Batch::First.of(&pending.chosen.bits);
    for row in (0..XI).step_by(13) {
        let fork = world.fork();
        let (pending, _) = fork.begin(&mut start.clone());
        let cheat = Cheat { shifts: vec![(row, Scalar::ONE)], ..Cheat::default() };
        let forged = answer(&fork, &message1, &cheat, &mut rng(9));
        let result = pending.finish(&forged.message2);
        if bits[row] == 0 {
            // A right guess of one bit: allowed for, by the 160 bits that beta0 has to spare.
            result.unwrap();
        } else {
            assert_eq!(refused(result).0, Code::MultiplicationCheckFailed);
        }
    }
}

/// Proof. Nothing else makes an enclave show that it knows the nonce's share.
#[test]
fn a_wrong_proof_is_refused_and_only_by_its_check() {
    let world = World::new(9);
    let mut rng = rng(10);
    let cheat = Cheat { spoil_proof: true, ..Cheat::default() };
    let (pending, message1) = world.begin(&mut rng);
    let forged = answer(&world, &message1, &cheat, &mut rng);
    without(Check::Proof, || pending.finish(&forged.message2)).unwrap();
    let (pending, message1) = world.begin(&mut rng);
    let forged = answer(&world, &message1, &cheat, &mut rng);
    let result = pending.finish(&forged.message2);
    assert_eq!(refused(result), (Code::InvalidProof, Some(ENCLAVE), Reaction::Burn));
    assert!(!world.client.is_alive());
}

/// Signature. An enclave that negates its inputs makes a signature that verifies, with a recovery id that is wrong:
/// whoever recovers the sender from it gets a stranger's address.
#[test]
fn a_negated_signature_is_refused_and_only_by_the_final_check() {
    let world = World::new(11);
    let mut rng = rng(12);
    let cheat = Cheat { negate: true, ..Cheat::default() };
    let (pending, message1) = world.begin(&mut rng);
    let forged = answer(&world, &message1, &cheat, &mut rng);
    let signature = without(Check::Signature, || pending.finish(&forged.message2)).unwrap();
    let key = secp256k1::PublicKey::from_slice(&signature.public_key).unwrap();
    let rs = secp256k1::ecdsa::Signature::from_compact(&signature.rs).unwrap();
    let message = secp256k1::Message::from_digest(DIGEST);
    secp256k1::Secp256k1::new().verify_ecdsa(&message, &rs, &key).unwrap();
    assert!(!gives_back_the_key(&signature, &DIGEST));
    let (pending, message1) = world.begin(&mut rng);
    let forged = answer(&world, &message1, &cheat, &mut rng);
    let result = pending.finish(&forged.message2);
    assert_eq!(refused(result), (Code::SignatureInvalid, Some(ENCLAVE), Reaction::Burn));
    assert!(!world.client.is_alive());
}

#[test]
fn without_the_final_check_rubbish_is_returned() {
    let world = World::new(11);
    let mut rng = rng(12);
    let (pending, message1) = world.begin(&mut rng);
    let mut message2 = world.respond(&message1, &mut rng).unwrap();
    *message2.last_mut().unwrap() ^= 1;
    let signature = without(Check::Signature, || pending.finish(&message2)).unwrap();
    assert!(!gives_back_the_key(&signature, &DIGEST));
}

/// Index. A request answered twice shares its pads: the difference of the answers is that of the enclave's inputs, in
/// every row the same.
#[test]
fn a_repeated_index_is_refused_and_would_reuse_the_pads() {
    let world = World::new(13);
    let mut rng = rng(14);
    let (_, message1) = world.begin(&mut rng);
    let first = world.respond(&message1, &mut rng).unwrap();
    let result = world.respond(&message1, &mut rng);
    assert_eq!(refused(result), (Code::IndexReused, Some(CLIENT), Reaction::Abort));
    assert!(world.enclave.is_alive());
    let second = without(Check::Index, || world.respond(&message1, &mut rng)).unwrap();
    let (first, second) = (Response::parse(&first).unwrap(), Response::parse(&second).unwrap());
    let differences: std::collections::BTreeSet<_> =
        first.tau0.iter().zip(&second.tau0).map(|(a, b)| (a[0] - b[0]).to_bytes()).collect();
    assert_eq!(differences.len(), 1);
}

#[test]
fn old_and_skipped_indices_are_refused() {
    let world = World::new(15);
    let mut rng = rng(16);
    let old: Vec<_> = (0..130).map(|_| world.begin(&mut rng)).collect();
    world.respond(&old[129].1, &mut rng).unwrap();
    // 128 indices are remembered.
    world.respond(&old[2].1, &mut rng).unwrap();
    for n in [0, 1, 2, 129] {
        assert_eq!(refused(world.respond(&old[n].1, &mut rng)).0, Code::IndexReused);
    }
    // A client cannot hand an index out again: each `begin` has its own.
    let indices: std::collections::BTreeSet<_> =
        old.iter().map(|(_, message)| message[2..10].to_vec()).collect();
    assert_eq!(indices.len(), 130);
}

/// Context. A relay that brings an honest request into another session, to another key or digest, must not be able to
/// make the enclave burn a session.
#[test]
fn another_session_key_path_or_digest_is_refused_before_any_transfer_is_checked() {
    let world = World::new(17);
    let other = World::new(18);
    let mut rng = rng(19);
    let (_, message1) = world.begin(&mut rng);
    let share = &world.shares[&ENCLAVE];
    let wrong = (Code::WrongContext, Some(CLIENT), Reaction::Abort);
    let ot = &world.enclave;
    assert_eq!(refused(respond(share, ot, &message1, &[8; 32], &PATH, CLIENT, &mut rng)), wrong);
    assert_eq!(refused(respond(share, ot, &message1, &DIGEST, &[0, 6], CLIENT, &mut rng)), wrong);
    assert_eq!(refused(respond(share, ot, &message1, &DIGEST, &[], CLIENT, &mut rng)), wrong);
    assert_eq!(refused(respond(share, ot, &message1, &DIGEST, &PATH, 1, &mut rng)).0, Code::WrongContext);
    let third = &world.shares[&1];
    assert_eq!(refused(respond(third, ot, &message1, &DIGEST, &PATH, CLIENT, &mut rng)), wrong);
    let stranger = &other.shares[&ENCLAVE];
    assert_eq!(refused(respond(stranger, ot, &message1, &DIGEST, &PATH, CLIENT, &mut rng)), wrong);
    assert_eq!(refused(respond(share, &other.enclave, &message1, &DIGEST, &PATH, CLIENT, &mut rng)), wrong);
    assert_eq!([world.is_alive(), other.is_alive()], [[true; 2]; 2]);
    // Without the check the honest client's request burns the honest enclave's session.
    let result = without(Check::Context, || {
        respond(share, &other.enclave, &message1, &DIGEST, &PATH, CLIENT, &mut rng)
    });
    assert_eq!(refused(result), BURN_CLIENT);
    assert!(!other.enclave.is_alive());
    // The refused attempts used up no index.
    world.respond(&message1, &mut rng).unwrap();
}

#[test]
fn the_session_context_is_compared_before_any_transfer_is_checked() {
    let mut rng = rng(20);
    let (client, message) = ClientSetup::begin(&mut rng);
    let (enclave, answer) = EnclaveSetup::respond(&message, &mut rng).unwrap();
    let world = World {
        shares: Arc::new(dkg(2, 3, 1)),
        client: Arc::new(client.finish(&answer, &[1; 32]).unwrap()),
        enclave: enclave.bind(&[2; 32]),
    };
    let (_, message1) = world.begin(&mut rng);
    assert_eq!(
        refused(world.respond(&message1, &mut rng)),
        (Code::WrongContext, Some(CLIENT), Reaction::Abort)
    );
    assert_eq!(world.is_alive(), [true; 2]);
}

/// Transcript. An answer to another request must not make the client burn its session.
#[test]
fn the_answer_to_another_request_is_refused_before_it_is_opened() {
    let world = World::new(21);
    let mut rng = rng(22);
    let (first, message1) = world.begin(&mut rng);
    let (second, other1) = world.begin(&mut rng);
    let other2 = world.respond(&other1, &mut rng).unwrap();
    let _ = world.respond(&message1, &mut rng).unwrap();
    let mismatch = (Code::TranscriptMismatch, Some(ENCLAVE), Reaction::Abort);
    assert_eq!(refused(first.finish(&other2)), mismatch);
    assert!(world.client.is_alive());
    second.finish(&other2).unwrap();
    let (third, _) = world.begin(&mut rng);
    let result = without(Check::Transcript, || third.finish(&other2));
    assert_eq!(refused(result), (Code::MultiplicationCheckFailed, Some(ENCLAVE), Reaction::Burn));
    assert!(!world.client.is_alive());
}
