//! Proofs that a share is held.

use frost_core::{Signature, VerifyingKey};

use super::*;
use crate::hash::tagged;
use crate::testing::for_every_suite;

for_every_suite!(
    a_proof_holds_for_its_share_and_context_alone,
    every_byte_of_a_proof_matters,
    the_statement_is_the_documented_one,
);

fn a_proof_holds_for_its_share_and_context_alone<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let new = reshare(&three(), &old, 2);
    let proof = new[&1].prove(&[1; 32], &mut rng(1)).unwrap();
    assert_eq!(proof.len(), S::PROOF_LEN);
    new[&2].verify_proof(1, &[1; 32], &proof).unwrap();
    new[&3].verify_proof(1, &[1; 32], &proof).unwrap();
    assert_blames(new[&2].verify_proof(1, &[2; 32], &proof), Code::InvalidProof, 1);
    assert_blames(new[&2].verify_proof(3, &[1; 32], &proof), Code::InvalidProof, 3);
    // The old epoch, another resharing of the same group, another key.
    for share in [&old[&2], &reshare(&three(), &old, 3)[&2], &dkg::<S>(2, 3, 4)[&2]] {
        assert_blames(share.verify_proof(1, &[1; 32], &proof), Code::InvalidProof, 1);
    }
    // Nobody proves anything to itself: an echo of our own proof is none.
    for identifier in [2, 0, 4, u16::MAX] {
        assert_refused(new[&2].verify_proof(identifier, &[1; 32], &proof), Code::InvalidParameter);
    }
    // A share of the old epoch does not prove for the new one.
    let stale = old[&1].prove(&[1; 32], &mut rng(1)).unwrap();
    assert_blames(new[&2].verify_proof(1, &[1; 32], &stale), Code::InvalidProof, 1);
}

fn every_byte_of_a_proof_matters<S: Suite>() {
    let shares = dkg::<S>(2, 2, 1);
    let proof = shares[&1].prove(&[1; 32], &mut rng(1)).unwrap();
    let refuse = |bytes: &[u8]| {
        assert_blames(shares[&2].verify_proof(1, &[1; 32], bytes), Code::InvalidProof, 1);
    };
    for at in 0..proof.len() {
        let mut changed = proof.clone();
        changed[at] ^= 1 << (at % 8);
        refuse(&changed);
    }
    for len in 0..proof.len() {
        refuse(&proof[..len]);
    }
    refuse(&[proof.as_slice(), &[0]].concat());
    refuse(&vec![0; proof.len()]);
    refuse(&vec![0xff; proof.len()]);
}

/// It is a plain signature of the suite's library over the documented bytes.
fn the_statement_is_the_documented_one<S: Suite>() {
    let shares = dkg::<S>(2, 2, 1);
    let proof = shares[&2].prove(&[7; 32], &mut rng(1)).unwrap();
    let group = tagged("cosigner/share/v1/group", &[&shares[&1].group().encode().unwrap()]);
    let statement = tagged("cosigner/share/v1/proof", &[&group, &[0, 2], &[7; 32]]);
    let key = VerifyingKey::<S>::new(shares[&1].verifying_share(2).unwrap());
    key.verify(&statement, &Signature::<S>::deserialize(&proof).unwrap()).unwrap();
}
