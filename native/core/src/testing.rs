//! Helpers of this crate's tests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Error, RngCore, SeedableRng};
use zeroize::Zeroizing;

use crate::dkg::{Params, Round1, Round2, Round3, start};
use crate::share::KeyShare;
use crate::sign::{self, Batch};
use crate::suite::{Suite, Tweak};

/// A deterministic generator.
pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A generator that hands out given bytes and then fails.
pub(crate) struct FixedRng(pub(crate) Vec<u8>);

impl RngCore for FixedRng {
    fn next_u32(&mut self) -> u32 {
        unreachable!("only bytes are asked for")
    }
    fn next_u64(&mut self) -> u64 {
        unreachable!("only bytes are asked for")
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        let rest = self.0.split_off(dest.len());
        dest.copy_from_slice(&self.0);
        self.0 = rest;
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for FixedRng {}

pub(crate) type Round1s<S> = BTreeMap<u16, (Round1<S>, Vec<u8>)>;
pub(crate) type Round2s<S> = BTreeMap<u16, (Round2<S>, BTreeMap<u16, Zeroizing<Vec<u8>>>)>;
pub(crate) type Round3s<S> = BTreeMap<u16, (Round3<S>, [u8; 32])>;

pub(crate) fn params(identifier: u16, min_signers: u16, max_signers: u16) -> Params {
    Params { identifier, min_signers, max_signers, context: [7; 32] }
}

pub(crate) fn round1<S: Suite>(t: u16, n: u16, seed: u64) -> Round1s<S> {
    let mut rng = rng(seed);
    (1..=n).map(|i| (i, start(params(i, t, n), &mut rng).unwrap())).collect()
}

/// The round-one messages for participant `i`.
pub(crate) fn messages1<S: Suite>(all: &Round1s<S>, i: u16) -> BTreeMap<u16, Vec<u8>> {
    all.iter().filter(|(j, _)| **j != i).map(|(j, (_, message))| (*j, message.clone())).collect()
}

pub(crate) fn round2<S: Suite>(all: Round1s<S>) -> Round2s<S> {
    let messages: BTreeMap<u16, _> = all.keys().map(|i| (*i, messages1(&all, *i))).collect();
    all.into_iter().map(|(i, (state, _))| (i, state.advance(&messages[&i]).unwrap())).collect()
}

/// The round-two messages for participant `i`.
pub(crate) fn messages2<S: Suite>(all: &Round2s<S>, i: u16) -> BTreeMap<u16, Zeroizing<Vec<u8>>> {
    all.iter().filter(|(j, _)| **j != i).map(|(j, (_, outgoing))| (*j, outgoing[&i].clone())).collect()
}

pub(crate) fn round3<S: Suite>(all: Round2s<S>) -> Round3s<S> {
    let messages: BTreeMap<u16, _> = all.keys().map(|i| (*i, messages2(&all, *i))).collect();
    all.into_iter().map(|(i, (state, _))| (i, state.advance(&messages[&i]).unwrap())).collect()
}

/// The confirmations for participant `i`.
pub(crate) fn confirmations<S: Suite>(all: &Round3s<S>, i: u16) -> BTreeMap<u16, Vec<u8>> {
    all.iter().filter(|(j, _)| **j != i).map(|(j, (_, bytes))| (*j, bytes.to_vec())).collect()
}

/// A complete key generation.
pub(crate) fn dkg<S: Suite>(t: u16, n: u16, seed: u64) -> BTreeMap<u16, KeyShare<S>> {
    let all = round3::<S>(round2(round1(t, n, seed)));
    let messages: BTreeMap<u16, _> = all.keys().map(|i| (*i, confirmations(&all, *i))).collect();
    all.into_iter().map(|(i, (state, _))| (i, state.confirm(&messages[&i]).unwrap())).collect()
}

/// Signs with the given participants; the first is the initiator, the last responds, those between use two rounds.
pub(crate) fn sign<S: Suite>(
    shares: &BTreeMap<u16, KeyShare<S>>,
    signers: &[u16],
    messages: &[Vec<u8>],
    tweaks: &[Tweak],
    seed: u64,
) -> Vec<Vec<u8>> {
    let mut rng = rng(seed);
    let (last, early) = signers.split_last().unwrap();
    let mut nonces = BTreeMap::new();
    let mut commitments: BTreeMap<u16, Batch> = BTreeMap::new();
    for i in early {
        let (state, batch) = sign::begin(&shares[i], messages.len(), &mut rng).unwrap();
        nonces.insert(*i, state);
        commitments.insert(*i, batch);
    }
    let mut responses = BTreeMap::new();
    let response = sign::respond(&shares[last], messages, &commitments, tweaks, &mut rng).unwrap();
    commitments.insert(*last, response.0.clone());
    responses.insert(*last, response);
    for i in &early[1..] {
        let mut peers = commitments.clone();
        let own = peers.remove(i).unwrap();
        let batch = nonces.remove(i).unwrap().sign(&shares[i], messages, &peers, tweaks).unwrap();
        responses.insert(*i, (own, batch));
    }
    let initiator = early[0];
    nonces.remove(&initiator).unwrap().finish(&shares[&initiator], messages, &responses, tweaks).unwrap()
}

/// A file of the conformance vectors. `None` (after saying so) where the folder is absent and `CI` is not set.
pub(crate) fn vectors(name: &str) -> Option<String> {
    let folder = std::env::var_os("CONFORMANCE_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "no conformance vectors in {}", folder.display());
        eprintln!("skipped: no conformance vectors in {}", folder.display());
        return None;
    }
    Some(std::fs::read_to_string(folder.join(name)).unwrap())
}

/// Calls a generic test for every suite.
macro_rules! for_every_suite {
    ($($test:ident),+ $(,)?) => {
        mod frost_ed25519_suite {
            $(#[test] fn $test() { super::$test::<frost_ed25519::Ed25519Sha512>(); })+
        }
        mod frost_secp256k1_tr_suite {
            $(#[test] fn $test() { super::$test::<frost_secp256k1_tr::Secp256K1Sha256TR>(); })+
        }
        mod ecdsa_secp256k1_suite {
            $(#[test] fn $test() { super::$test::<frost_secp256k1::Secp256K1Sha256>(); })+
        }
    };
}
pub(crate) use for_every_suite;
