//! The states of a resharing, each consumed by its next step.

use std::collections::{BTreeMap, BTreeSet};

use frost_core::compute_lagrange_coefficient;
use frost_core::keys::{SigningShare, VerifiableSecretSharingCommitment};
use frost_core::{Element, Scalar};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::message::{Kind, Message1, Message2, Run};
use super::pending::{Key, Round3, check_senders};
use super::polynomial::{Polynomial, check_sub_share};
use super::{Confirmations, Messages2};
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::share::{KeyShare, PublicGroup, check_parameters, identifier};
use crate::suite::Suite;

/// Who gives to whom, and in which context; equal for all nodes but for `receivers`.
#[derive(Clone, Debug)]
pub struct Handover {
    /// Identifiers in the old group of exactly t members, ascending.
    pub dealers: Vec<u16>,
    /// Identifiers in the new group that this node receives for, ascending; may be empty.
    pub receivers: Vec<u16>,
    /// The new threshold t'.
    pub min_signers: u16,
    /// The new number of participants n'.
    pub max_signers: u16,
    /// 32 bytes that name this run (a hash over session, wallet and purpose).
    pub context: [u8; 32],
}

impl Handover {
    fn check<S: Suite>(&self, group: &PublicGroup<S>) -> Result<()> {
        let wrong = |message: &'static str| Err(Error::caller(Code::InvalidParameter, message));
        check_parameters(1, self.min_signers, self.max_signers)?;
        if self.dealers.len() != usize::from(group.min_signers())
            || !ascending_up_to(&self.dealers, group.max_signers())
        {
            return wrong("the dealers are t members of the old group, in ascending order");
        }
        check_receivers(&self.receivers, self.max_signers)?;
        if group.epoch() == u32::MAX {
            return wrong("there is no further epoch");
        }
        Ok(())
    }

    fn run<S: Suite>(&self, group: &PublicGroup<S>) -> Result<Run> {
        let mut shape = vec![S::SUITE.tag()];
        for number in [group.min_signers(), group.max_signers(), self.min_signers, self.max_signers] {
            shape.extend_from_slice(&number.to_be_bytes());
        }
        let dealers: Vec<u8> = self.dealers.iter().flat_map(|dealer| dealer.to_be_bytes()).collect();
        Ok(Run {
            kind: Kind::Reshare,
            min_signers: self.min_signers,
            max_signers: self.max_signers,
            context_hash: tagged(
                "cosigner/reshare/v1/context",
                &[&shape, &group.fingerprint()?, &self.context, &dealers],
            ),
        })
    }
}

/// Receivers are in bounds, ascending, each once.
pub(super) fn check_receivers(receivers: &[u16], max_signers: u16) -> Result<()> {
    if !ascending_up_to(receivers, max_signers) {
        return Err(Error::caller(
            Code::InvalidParameter,
            "receivers are members of the new group, in ascending order",
        ));
    }
    Ok(())
}

fn ascending_up_to(identifiers: &[u16], max: u16) -> bool {
    identifiers.iter().all(|i| (1..=max).contains(i)) && identifiers.is_sorted_by(|a, b| a < b)
}

/// The old group and what is agreed about the new one.
struct Setup<S: Suite> {
    group: PublicGroup<S>,
    handover: Handover,
    run: Run,
}

impl<S: Suite> Setup<S> {
    fn new(group: PublicGroup<S>, handover: Handover) -> Result<Self> {
        handover.check(&group)?;
        let run = handover.run(&group)?;
        Ok(Self { group, handover, run })
    }

    /// What the part of `dealer` in the key is multiplied with: public.
    fn lambda(&self, dealer: u16) -> Result<Scalar<S>> {
        let quorum: BTreeSet<_> =
            self.handover.dealers.iter().map(|i| identifier::<S>(*i)).collect::<Result<_>>()?;
        compute_lagrange_coefficient::<S>(&quorum, None, identifier::<S>(dealer)?)
            .map_err(|_| Error::abort(Code::Internal, "the dealers are not distinct"))
    }

    /// What a dealer's constant term has to be, so that the key cannot move.
    fn constant_term(&self, dealer: u16) -> Result<Element<S>> {
        Ok(self.group.verifying_share(dealer)? * self.lambda(dealer)?)
    }

    fn receivers_elsewhere(&self) -> impl Iterator<Item = u16> {
        (1..=self.run.max_signers).filter(|i| !self.handover.receivers.contains(i))
    }
}

/// After the first step: holds the own polynomials.
pub struct Round1<S: Suite> {
    setup: Setup<S>,
    polynomials: BTreeMap<u16, Polynomial<S>>,
    own_messages: BTreeMap<u16, Vec<u8>>,
}

/// Starts a run at a node that deals with these shares. Returns the state and each own dealer's message for everybody.
///
/// # Errors
/// `invalid_parameter`: bounds as for key generation; dealers that are not exactly t members, a share of somebody who is
/// not a dealer or twice, no share at all, or an epoch that cannot be raised. `shares_mismatch`: shares of several groups.
#[allow(clippy::type_complexity)]
pub fn start<S: Suite>(
    shares: &[&KeyShare<S>],
    handover: Handover,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Round1<S>, BTreeMap<u16, Vec<u8>>)> {
    let group = common_group(shares)?;
    let setup = Setup::new(group, handover)?;
    let mut polynomials = BTreeMap::new();
    let mut own_messages = BTreeMap::new();
    for share in shares {
        let dealer = share.identifier();
        if !setup.handover.dealers.contains(&dealer) || polynomials.contains_key(&dealer) {
            return Err(Error::caller(Code::InvalidParameter, "each share is one dealer's"));
        }
        let part = Zeroizing::new(setup.lambda(dealer)? * share.key.signing_share().to_scalar());
        let polynomial = Polynomial::<S>::draw(&part, setup.run.min_signers, rng);
        let message = Message1 { commitment: polynomial.commitment(), chain_code: None };
        own_messages.insert(dealer, message.encode(&setup.run, dealer)?);
        polynomials.insert(dealer, polynomial);
    }
    Ok((Round1 { setup, polynomials, own_messages: own_messages.clone() }, own_messages))
}

/// Starts a run at a node that has no old share and knows the old group, whose encoding the caller authenticated.
///
/// # Errors
/// `invalid_group`, `wrong_suite`, and `invalid_parameter` as for [`start`].
pub fn join<S: Suite>(group: &[u8], handover: Handover) -> Result<Round1<S>> {
    let group = PublicGroup::decode(group).map_err(|error| Error::caller(error.code, error.message))?;
    let setup = Setup::new(group, handover)?;
    Ok(Round1 { setup, polynomials: BTreeMap::new(), own_messages: BTreeMap::new() })
}

/// The group that all shares are of.
///
/// # Errors
/// `invalid_parameter` without a share; `shares_mismatch`.
fn common_group<S: Suite>(shares: &[&KeyShare<S>]) -> Result<PublicGroup<S>> {
    let (first, rest) = shares
        .split_first()
        .ok_or_else(|| Error::caller(Code::InvalidParameter, "at least one share is needed"))?;
    let group = first.group();
    let fingerprint = group.fingerprint()?;
    for share in rest {
        if share.group().fingerprint()? != fingerprint {
            return Err(Error::caller(Code::SharesMismatch, "the shares are not of one group and epoch"));
        }
    }
    Ok(group)
}

impl<S: Suite> Round1<S> {
    /// Takes the first message of every dealer elsewhere; returns a secret message from each own dealer to each
    /// receiver elsewhere.
    ///
    /// # Errors
    /// Those of [`Message1`], `wrong_constant_term`, `missing_message`, `unexpected_sender`.
    pub fn advance(self, messages: &BTreeMap<u16, Vec<u8>>) -> Result<(Round2<S>, Messages2)> {
        let Self { setup, polynomials, own_messages } = self;
        let dealers = setup.handover.dealers.iter().copied();
        check_senders(dealers.filter(|i| !polynomials.contains_key(i)), messages)?;
        let mut commitments = BTreeMap::new();
        for (dealer, bytes) in messages {
            let commitment = Message1::<S>::decode(bytes, *dealer, &setup.run)?.commitment;
            let constant = commitment.coefficients().first().map(|first| first.value());
            if constant != Some(setup.constant_term(*dealer)?) {
                return Err(Error::peer(
                    Code::WrongConstantTerm,
                    *dealer,
                    "a dealer's constant term is not its part of the key",
                ));
            }
            commitments.insert(*dealer, commitment);
        }
        let mut all = messages.clone();
        all.extend(own_messages);
        let round1_hash = round1_hash(&setup.run, &all.values().map(Vec::as_slice).collect::<Vec<_>>());

        let mut outgoing = Messages2::new();
        let mut sub_shares: SubShares<S> = BTreeMap::new();
        for (dealer, polynomial) in &polynomials {
            commitments.insert(*dealer, polynomial.commitment());
            for receiver in setup.receivers_elsewhere() {
                let sub_share = polynomial.at(receiver)?;
                let message = Message2::encode(Kind::Reshare, *dealer, receiver, &round1_hash, &sub_share);
                outgoing.insert((*dealer, receiver), message);
            }
            for receiver in &setup.handover.receivers {
                sub_shares.entry(*receiver).or_default().push(polynomial.at(*receiver)?);
            }
        }
        let own_dealers = polynomials.into_keys().collect();
        Ok((Round2 { setup, own_dealers, commitments, sub_shares, round1_hash }, outgoing))
    }
}

/// Sub-shares by receiver.
type SubShares<S> = BTreeMap<u16, Vec<Zeroizing<SigningShare<S>>>>;

/// After the second step: waits for the sub-shares.
pub struct Round2<S: Suite> {
    setup: Setup<S>,
    own_dealers: BTreeSet<u16>,
    commitments: BTreeMap<u16, VerifiableSecretSharingCommitment<S>>,
    /// From the own dealers to the own receivers.
    sub_shares: SubShares<S>,
    round1_hash: [u8; 32],
}

impl<S: Suite> Round2<S> {
    /// Takes the second message from every dealer elsewhere to every own receiver; returns the own receivers'
    /// confirmations for everybody.
    ///
    /// # Errors
    /// Those of [`Message2`], `invalid_sub_share`, `missing_message`, `unexpected_sender`, `degenerate_key`.
    pub fn advance(self, messages: &Messages2) -> Result<(Round3<S>, Confirmations)> {
        self.check_senders(messages)?;
        let Self { setup, commitments, mut sub_shares, round1_hash, .. } = self;
        for ((dealer, receiver), bytes) in messages {
            let message = Message2::<S>::decode(bytes, Kind::Reshare, *dealer, *receiver, &round1_hash)?;
            let commitment = commitments
                .get(dealer)
                .ok_or_else(|| Error::abort(Code::Internal, "a dealer's commitment is missing"))?;
            check_sub_share(&message.sub_share, commitment, *dealer, *receiver)?;
            sub_shares.entry(*receiver).or_default().push(message.sub_share);
        }
        let epoch = setup.group.epoch().checked_add(1);
        let key = Key {
            public: *setup.group.public().verifying_key(),
            chain_code: *setup.group.chain_code(),
            epoch: epoch.ok_or_else(|| Error::abort(Code::Internal, "there is no further epoch"))?,
        };
        let commitments: Vec<_> = commitments.values().collect();
        Round3::assemble(&setup.run, &round1_hash, &key, &commitments, &sub_shares)
    }

    /// Exactly one message from every dealer elsewhere to every own receiver.
    fn check_senders(&self, messages: &Messages2) -> Result<()> {
        let elsewhere = || self.setup.handover.dealers.iter().filter(|i| !self.own_dealers.contains(i));
        let receivers = &self.setup.handover.receivers;
        let expected: BTreeSet<(u16, u16)> =
            elsewhere().flat_map(|dealer| receivers.iter().map(|receiver| (*dealer, *receiver))).collect();
        if let Some((dealer, receiver)) = messages.keys().find(|pair| !expected.contains(pair)) {
            return Err(Error::caller(
                Code::UnexpectedSender,
                format!("no message from dealer {dealer} to receiver {receiver} is expected"),
            ));
        }
        if let Some((dealer, receiver)) = expected.iter().find(|pair| !messages.contains_key(pair)) {
            return Err(Error::caller(
                Code::MissingMessage,
                format!("the message from dealer {dealer} to receiver {receiver} is missing"),
            ));
        }
        Ok(())
    }
}

/// Hash of the first messages of all dealers, in ascending order.
pub(super) fn round1_hash(run: &Run, messages: &[&[u8]]) -> [u8; 32] {
    tagged("cosigner/reshare/v1/round1", &[&[run.context_hash.as_slice()], messages].concat())
}
