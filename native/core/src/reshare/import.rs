//! Import: the same messages from one dealer who has the whole key, on the user's own device.
//!
//! The new group is at epoch 1. Its receivers trust nothing but that they all got the same polynomial: the key and the
//! chain code are the dealer's to choose. Dealing out needs the feature `device`, which no build for an enclave has.

use std::collections::BTreeMap;

use zeroize::Zeroizing;
#[cfg(feature = "device")]
use {
    super::polynomial::Polynomial,
    frost_core::{Field, Group, Scalar},
    rand_core::{CryptoRng, RngCore},
};

use super::Confirmations;
use super::message::{Kind, Message1, Message2, Run, TRUSTED_DEALER, degenerate};
use super::pending::{Key, Round3};
use super::polynomial::check_sub_share;
use super::rounds::{check_receivers, round1_hash};
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::share::check_parameters;
use crate::suite::Suite;
use frost_core::VerifyingKey;
use frost_core::keys::VerifiableSecretSharingCommitment;

/// The group that a key is dealt out to, and in which context; equal for all nodes.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The threshold t.
    pub min_signers: u16,
    /// The number of participants n.
    pub max_signers: u16,
    /// 32 bytes that name this run.
    pub context: [u8; 32],
}

impl Shape {
    fn run<S: Suite>(&self) -> Result<Run> {
        check_parameters(1, self.min_signers, self.max_signers)?;
        let [t0, t1] = self.min_signers.to_be_bytes();
        let [n0, n1] = self.max_signers.to_be_bytes();
        let shape = [S::SUITE.tag(), t0, t1, n0, n1];
        Ok(Run {
            kind: Kind::Import,
            min_signers: self.min_signers,
            max_signers: self.max_signers,
            context_hash: tagged("cosigner/reshare/v1/import-context", &[&shape, &self.context]),
        })
    }
}

/// What a trusted dealer makes.
#[cfg(feature = "device")]
pub struct Dealt<S: Suite> {
    /// The dealer's own shares, waiting for the confirmations of the receivers elsewhere.
    pub state: Round3<S>,
    /// The confirmations of the dealer's own receivers.
    pub confirmations: Confirmations,
    /// For every node elsewhere.
    pub message1: Vec<u8>,
    /// For each receiver elsewhere. Secret.
    pub messages2: BTreeMap<u16, Zeroizing<Vec<u8>>>,
}

/// Deals out a whole key; `receivers` are those of this node, ascending.
///
/// # Errors
/// `invalid_parameter`: bounds as for key generation, or a zero key.
#[cfg(feature = "device")]
pub fn deal<S: Suite>(
    secret: &Scalar<S>,
    chain_code: &[u8; 32],
    shape: &Shape,
    receivers: &[u16],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Dealt<S>> {
    let run = shape.run::<S>()?;
    check_receivers(receivers, run.max_signers)?;
    if *secret == <<S::Group as Group>::Field as Field>::zero() {
        return Err(Error::caller(Code::InvalidParameter, "a key is not zero"));
    }
    let polynomial = Polynomial::<S>::draw(secret, run.min_signers, rng);
    let commitment = polynomial.commitment();
    let message = Message1 { commitment: commitment.clone(), chain_code: Some(*chain_code) };
    let message1 = message.encode(&run, TRUSTED_DEALER)?;
    let hash = round1_hash(&run, &[&message1]);
    let mut own = BTreeMap::new();
    let mut messages2 = BTreeMap::new();
    for receiver in 1..=run.max_signers {
        let sub_share = polynomial.at(receiver)?;
        if receivers.contains(&receiver) {
            own.insert(receiver, vec![sub_share]);
        } else {
            let message = Message2::encode(Kind::Import, TRUSTED_DEALER, receiver, &hash, &sub_share);
            messages2.insert(receiver, message);
        }
    }
    let key = key(&commitment, *chain_code)?;
    let (state, confirmations) = Round3::assemble(&run, &hash, &key, &[&commitment], &own)?;
    Ok(Dealt { state, confirmations, message1, messages2 })
}

/// Takes a trusted dealer's messages for `receivers`, ascending; `messages2` has one for each of them. Returns the state
/// and the own receivers' confirmations.
///
/// # Errors
/// Those of [`Message1`] and [`Message2`], `invalid_sub_share` and `degenerate_key`, all without a culprit, since the
/// dealer is no participant. `invalid_parameter`, `missing_message`, `unexpected_sender`.
pub fn receive<S: Suite>(
    shape: &Shape,
    receivers: &[u16],
    message1: &[u8],
    messages2: &BTreeMap<u16, Zeroizing<Vec<u8>>>,
) -> Result<(Round3<S>, Confirmations)> {
    let run = shape.run::<S>()?;
    check_receivers(receivers, run.max_signers)?;
    super::pending::check_senders(receivers.iter().copied(), messages2)?;
    let first = Message1::<S>::decode(message1, TRUSTED_DEALER, &run)?;
    let chain_code =
        first.chain_code.ok_or_else(|| Error::abort(Code::Internal, "an import has a chain code"))?;
    let hash = round1_hash(&run, &[message1]);
    let mut sub_shares = BTreeMap::new();
    for (receiver, bytes) in messages2 {
        let message = Message2::<S>::decode(bytes, Kind::Import, TRUSTED_DEALER, *receiver, &hash)?;
        check_sub_share(&message.sub_share, &first.commitment, TRUSTED_DEALER, *receiver)?;
        sub_shares.insert(*receiver, vec![message.sub_share]);
    }
    let key = key(&first.commitment, chain_code)?;
    Round3::assemble(&run, &hash, &key, &[&first.commitment], &sub_shares)
}

/// The key that a dealer's commitment names.
fn key<S: Suite>(commitment: &VerifiableSecretSharingCommitment<S>, chain_code: [u8; 32]) -> Result<Key<S>> {
    let public = commitment.coefficients().first().ok_or_else(degenerate)?.value();
    Ok(Key { public: VerifyingKey::new(public), chain_code, epoch: 1 })
}
