//! Whole sessions and signatures: honest, mutated, attacked, recorded.

mod attacks;
mod cheats;
mod equations;
mod honest;
mod mutations;
mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;

use super::*;
use crate::error::{Code, Culprit, Error, Reaction, Result};
use crate::testing::{dkg, rng};

const SESSION: [u8; 32] = [3; 32];
const DIGEST: [u8; 32] = [9; 32];
const PATH: [u32; 2] = [0, 5];
/// Identifiers of the two signers, among three participants.
const CLIENT: u16 = 3;
const ENCLAVE: u16 = 2;

/// A key and an established session.
struct World {
    shares: Arc<BTreeMap<u16, Share>>,
    client: Arc<ClientOt>,
    enclave: EnclaveOt,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let (client, message) = ClientSetup::begin(&mut rng);
        let (enclave, answer) = EnclaveSetup::respond(&message, &mut rng).unwrap();
        Self {
            shares: Arc::new(dkg(2, 3, seed)),
            client: Arc::new(client.finish(&answer, &SESSION).unwrap()),
            enclave: enclave.bind(&SESSION),
        }
    }

    /// The same session once more, to be broken.
    fn fork(&self) -> Self {
        Self {
            shares: Arc::clone(&self.shares),
            client: Arc::new(self.client.fork()),
            enclave: self.enclave.fork(),
        }
    }

    fn begin(&self, rng: &mut ChaCha20Rng) -> (Pending, Vec<u8>) {
        begin(&self.shares[&CLIENT], &self.client, &DIGEST, &PATH, ENCLAVE, rng).unwrap()
    }

    fn respond(&self, message1: &[u8], rng: &mut ChaCha20Rng) -> Result<Vec<u8>> {
        respond(&self.shares[&ENCLAVE], &self.enclave, message1, &DIGEST, &PATH, CLIENT, rng)
    }

    fn is_alive(&self) -> [bool; 2] {
        [self.client.is_alive(), self.enclave.is_alive()]
    }

    /// That an honest signature goes through.
    fn signs(&self, rng: &mut ChaCha20Rng) -> Signature {
        let (pending, message1) = self.begin(rng);
        pending.finish(&self.respond(&message1, rng).unwrap()).unwrap()
    }
}

fn refused<T>(result: Result<T>) -> (Code, Option<u16>, Reaction) {
    let Error { code, culprit, reaction, .. } = match result {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    };
    let culprit = match culprit {
        Some(Culprit::Participant(i)) => Some(i),
        Some(Culprit::Caller) => Some(0),
        None => None,
    };
    (code, culprit, reaction)
}
