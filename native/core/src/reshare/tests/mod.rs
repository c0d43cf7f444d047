//! Whole resharings: honest, mutated, attacked, recorded.

mod attacks;
mod cheats;
mod honest;
#[cfg(feature = "device")]
mod imported;
mod mutations;
mod proofs;
#[cfg(feature = "device")]
mod recorded;

use std::collections::BTreeMap;

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::*;
use crate::error::{Code, Culprit, Error, Reaction, Result};
use crate::share::KeyShare;
use crate::suite::Suite;
use crate::testing::{dkg, rng};

const CONTEXT: [u8; 32] = [9; 32];

/// Who plays where: each node's old shares and new participants.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    pub(super) dealers: Vec<u16>,
    pub(super) t: u16,
    pub(super) n: u16,
    /// (dealers at this node, receivers at this node).
    pub(super) nodes: Vec<(Vec<u16>, Vec<u16>)>,
}

impl Cast {
    /// One node for each identifier that deals or receives.
    pub(super) fn apart(dealers: &[u16], t: u16, n: u16) -> Self {
        let last = dealers.iter().copied().chain([n]).max().unwrap();
        let nodes = (1..=last)
            .map(|i| {
                let deals = dealers.iter().copied().filter(|d| *d == i).collect();
                (deals, (1..=n).filter(|r| *r == i).collect())
            })
            .filter(|(deals, receives): &(Vec<u16>, Vec<u16>)| !deals.is_empty() || !receives.is_empty())
            .collect();
        Self { dealers: dealers.to_vec(), t, n, nodes }
    }

    pub(super) fn handover(&self, node: usize) -> Handover {
        Handover {
            dealers: self.dealers.clone(),
            receivers: self.nodes[node].1.clone(),
            min_signers: self.t,
            max_signers: self.n,
            context: CONTEXT,
        }
    }

    /// Whose messages do not come from `node`.
    fn elsewhere<T: Clone>(&self, node: usize, all: &BTreeMap<u16, T>) -> BTreeMap<u16, T> {
        let own = &self.nodes[node].0;
        all.iter().filter(|(i, _)| !own.contains(i)).map(|(i, m)| (*i, m.clone())).collect()
    }
}

/// A resharing with everybody honest, stopped where a test wants to interfere. States stand in the order of the nodes.
pub(super) struct Play<S: Suite> {
    pub(super) cast: Cast,
    pub(super) round1: Vec<Option<Round1<S>>>,
    pub(super) messages1: BTreeMap<u16, Vec<u8>>,
    pub(super) round2: Vec<Option<Round2<S>>>,
    pub(super) messages2: Messages2,
    pub(super) round3: Vec<Option<Round3<S>>>,
    pub(super) confirmations: BTreeMap<u16, Vec<u8>>,
}

impl<S: Suite> Play<S> {
    pub(super) fn begin(
        cast: &Cast,
        old: &BTreeMap<u16, KeyShare<S>>,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Self {
        let group = old.values().next().unwrap().group().encode().unwrap();
        let mut play = Self {
            cast: cast.clone(),
            round1: Vec::new(),
            messages1: BTreeMap::new(),
            round2: Vec::new(),
            messages2: BTreeMap::new(),
            round3: Vec::new(),
            confirmations: BTreeMap::new(),
        };
        for (node, (deals, _)) in cast.nodes.iter().enumerate() {
            let handover = cast.handover(node);
            let state = if deals.is_empty() {
                join(&group, handover).unwrap()
            } else {
                let shares: Vec<_> = deals.iter().map(|dealer| &old[dealer]).collect();
                let (state, messages) = start(&shares, handover, rng).unwrap();
                play.messages1.extend(messages);
                state
            };
            play.round1.push(Some(state));
        }
        play
    }

    /// The first messages for `node`.
    pub(super) fn first_for(&self, node: usize) -> BTreeMap<u16, Vec<u8>> {
        self.cast.elsewhere(node, &self.messages1)
    }

    pub(super) fn advance1(mut self) -> Self {
        for node in 0..self.round1.len() {
            let messages = self.first_for(node);
            let (state, outgoing) = self.round1[node].take().unwrap().advance(&messages).unwrap();
            self.round2.push(Some(state));
            self.messages2.extend(outgoing);
        }
        self
    }

    /// The second messages for `node`.
    pub(super) fn second_for(&self, node: usize) -> Messages2 {
        let (own, receivers) = &self.cast.nodes[node];
        let is_for = |(d, r): &(u16, u16)| receivers.contains(r) && !own.contains(d);
        self.messages2.iter().filter(|(pair, _)| is_for(pair)).map(|(p, m)| (*p, m.clone())).collect()
    }

    pub(super) fn advance2(mut self) -> Self {
        for node in 0..self.round2.len() {
            let messages = self.second_for(node);
            let (state, own) = self.round2[node].take().unwrap().advance(&messages).unwrap();
            self.round3.push(Some(state));
            self.confirmations.extend(own.into_iter().map(|(i, bytes)| (i, bytes.to_vec())));
        }
        self
    }

    /// The confirmations for `node`.
    pub(super) fn confirmations_for(&self, node: usize) -> BTreeMap<u16, Vec<u8>> {
        let own = &self.cast.nodes[node].1;
        self.confirmations.iter().filter(|(i, _)| !own.contains(i)).map(|(i, c)| (*i, c.clone())).collect()
    }

    pub(super) fn finish(mut self) -> BTreeMap<u16, KeyShare<S>> {
        let mut shares = BTreeMap::new();
        for node in 0..self.round3.len() {
            let confirmations = self.confirmations_for(node);
            shares.extend(self.round3[node].take().unwrap().confirm(&confirmations).unwrap());
        }
        shares
    }
}

/// A whole resharing.
pub(super) fn reshare<S: Suite>(
    cast: &Cast,
    old: &BTreeMap<u16, KeyShare<S>>,
    seed: u64,
) -> BTreeMap<u16, KeyShare<S>> {
    Play::begin(cast, old, &mut rng(seed)).advance1().advance2().finish()
}

pub(super) fn error<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

/// The code, and that the run is over with this participant to blame.
pub(super) fn assert_blames<T>(result: Result<T>, code: Code, culprit: u16) {
    let error = error(result);
    assert_eq!(
        (error.code, error.culprit, error.reaction),
        (code, Some(Culprit::Participant(culprit)), Reaction::Abort)
    );
}

/// The code, and that the caller made the mistake.
pub(super) fn assert_refused<T>(result: Result<T>, code: Code) {
    let error = error(result);
    assert_eq!((error.code, error.culprit, error.reaction), (code, Some(Culprit::Caller), Reaction::Retry));
}

/// 2-of-3 held by 1, 2, 3; dealers 1 and 2; again 2-of-3, everybody at a node of their own.
pub(super) fn three() -> Cast {
    Cast::apart(&[1, 2], 2, 3)
}
