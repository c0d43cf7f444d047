//! What ECDSA costs each party: `cargo run --release --example ecdsa_cost`. Medians of wall time, one thread.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cosigner_core::SuiteId;
use cosigner_core::any::{AnyShare, dkg_start};
use cosigner_core::dkg::Params;
use cosigner_core::ecdsa::{self, ClientSetup, EnclaveSetup, Share, wire};
use rand_core::OsRng;

fn main() {
    let (client_share, enclave_share) = shares();
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut session = None;
    for _ in 0..40 {
        let (setup, offers) = clock(&mut times, "1 setup: client offers", || ClientSetup::begin(&mut OsRng));
        let (enclave, answer) = clock(&mut times, "2 setup: enclave answers", || {
            EnclaveSetup::respond(&offers, &mut OsRng).unwrap()
        });
        let client =
            clock(&mut times, "3 setup: client finishes", || setup.finish(&answer, &[1; 32]).unwrap());
        let enclave = clock(&mut times, "4 setup: enclave binds", || enclave.bind(&[1; 32]));
        session = Some((Arc::new(client), enclave));
    }
    let (client, enclave) = session.unwrap();
    for i in 0..1000_u32 {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&i.to_be_bytes());
        let (pending, message1) = clock(&mut times, "5 sign: client begins", || {
            ecdsa::begin(&client_share, &client, &digest, &[], 2, &mut OsRng).unwrap()
        });
        let message2 = clock(&mut times, "6 sign: enclave responds", || {
            ecdsa::respond(&enclave_share, &enclave, &message1, &digest, &[], 1, &mut OsRng).unwrap()
        });
        clock(&mut times, "7 sign: client finishes", || pending.finish(&message2).unwrap());
    }
    for (name, mut list) in times {
        list.sort_unstable();
        println!(
            "{name:28} median {:>8.1} us, fastest {:>8.1} us",
            list[list.len() / 2].as_secs_f64() * 1e6,
            list[0].as_secs_f64() * 1e6
        );
    }
    println!(
        "bytes: setup {} + {}, signature {} + {} = {}",
        wire::SETUP_LEN,
        wire::SETUP_ANSWER_LEN,
        wire::MESSAGE1_LEN,
        wire::MESSAGE2_LEN,
        wire::MESSAGE1_LEN + wire::MESSAGE2_LEN
    );
}

fn clock<T>(
    times: &mut BTreeMap<&'static str, Vec<Duration>>,
    name: &'static str,
    run: impl FnOnce() -> T,
) -> T {
    let start = Instant::now();
    let result = run();
    times.entry(name).or_default().push(start.elapsed());
    result
}

fn shares() -> (Share, Share) {
    let params = |identifier| Params { identifier, min_signers: 2, max_signers: 2, context: [7; 32] };
    let start = |i| dkg_start(SuiteId::EcdsaSecp256k1, params(i), &mut OsRng).unwrap();
    let ((a, a1), (b, b1)) = (start(1), start(2));
    let (a, mut a2) = a.advance(&BTreeMap::from([(2, b1)])).unwrap();
    let (b, mut b2) = b.advance(&BTreeMap::from([(1, a1)])).unwrap();
    let (a, a3) = a.advance(&BTreeMap::from([(2, b2.remove(&1).unwrap())])).unwrap();
    let (b, b3) = b.advance(&BTreeMap::from([(1, a2.remove(&2).unwrap())])).unwrap();
    let a = a.confirm(&BTreeMap::from([(2, b3.to_vec())])).unwrap();
    let b = b.confirm(&BTreeMap::from([(1, a3.to_vec())])).unwrap();
    match (a, b) {
        (AnyShare::Ecdsa(a), AnyShare::Ecdsa(b)) => (a, b),
        _ => panic!("another suite"),
    }
}
