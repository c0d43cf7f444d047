//! The four messages of ECDSA. Parsing never panics; no changed message gives a seed, an answer or a signature; a
//! session is burnt exactly when the error says so.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use cosigner_core::SuiteId;
use cosigner_core::any::{AnyShare, dkg_start};
use cosigner_core::dkg::Params;
use cosigner_core::ecdsa::{ClientOt, ClientSetup, EnclaveOt, EnclaveSetup, Pending, Share, begin, respond};
use cosigner_core::error::Reaction;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const DIGEST: [u8; 32] = [9; 32];

/// Both shares of a key.
static SHARES: LazyLock<[Share; 2]> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let params = |identifier| Params { identifier, min_signers: 2, max_signers: 2, context: [7; 32] };
    let mut start = |i| dkg_start(SuiteId::EcdsaSecp256k1, params(i), &mut rng).expect("valid parameters");
    let ((a, a1), (b, b1)) = (start(1), start(2));
    let (a, mut a2) = a.advance(&BTreeMap::from([(2, b1)])).expect("honest");
    let (b, mut b2) = b.advance(&BTreeMap::from([(1, a1)])).expect("honest");
    let (a, a3) = a.advance(&BTreeMap::from([(2, b2.remove(&1).expect("there"))])).expect("honest");
    let (b, b3) = b.advance(&BTreeMap::from([(1, a2.remove(&2).expect("there"))])).expect("honest");
    let a = a.confirm(&BTreeMap::from([(2, b3.to_vec())])).expect("honest");
    let b = b.confirm(&BTreeMap::from([(1, a3.to_vec())])).expect("honest");
    match (a, b) {
        (AnyShare::Ecdsa(a), AnyShare::Ecdsa(b)) => [a, b],
        _ => unreachable!("the suite is ECDSA's"),
    }
});

struct Session {
    offers: Vec<u8>,
    answer: Vec<u8>,
    client: Arc<ClientOt>,
    enclave: EnclaveOt,
    rng: ChaCha20Rng,
}

/// The same session every time.
fn session() -> Session {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let (setup, offers) = ClientSetup::begin(&mut rng);
    let (enclave, answer) = EnclaveSetup::respond(&offers, &mut rng).expect("honest");
    let client = Arc::new(setup.finish(&answer, &[3; 32]).expect("honest"));
    Session { offers, answer, client, enclave: enclave.bind(&[3; 32]), rng }
}

impl Session {
    fn begin(&mut self) -> (Pending, Vec<u8>) {
        begin(&SHARES[0], &self.client, &DIGEST, &[0, 5], 2, &mut self.rng).expect("honest")
    }

    fn respond(&mut self, message1: &[u8]) -> cosigner_core::Result<Vec<u8>> {
        respond(&SHARES[1], &self.enclave, message1, &DIGEST, &[0, 5], 1, &mut self.rng)
    }
}

/// The input as it is, and patched over a valid message, so that both the header and the insides are reached.
fn both(data: &[u8], valid: &[u8]) -> [Vec<u8>; 2] {
    let mut patched = valid.to_vec();
    for change in data.chunks_exact(4) {
        if let [high, middle, low, value] = change {
            let at = u32::from_be_bytes([0, *high, *middle, *low]) as usize % valid.len();
            patched[at] ^= value;
        }
    }
    [data.to_vec(), patched]
}

fuzz_target!(|input: (u8, &[u8])| {
    let (which, data) = input;
    let mut session = session();
    match which % 4 {
        0 => {
            for bytes in both(data, &session.offers) {
                let _ = EnclaveSetup::respond(&bytes, &mut session.rng);
            }
        }
        1 => {
            for bytes in both(data, &session.answer) {
                let _ = ClientSetup::begin(&mut session.rng).0.finish(&bytes, &[3; 32]);
            }
        }
        2 => {
            let (_, message1) = session.begin();
            for bytes in both(data, &message1).into_iter().filter(|bytes| *bytes != message1) {
                let alive = session.enclave.is_alive();
                let error = session.respond(&bytes).expect_err("a changed request was answered");
                assert_eq!(session.enclave.is_alive(), alive && error.reaction != Reaction::Burn);
            }
        }
        _ => {
            let (pending, message1) = session.begin();
            let message2 = session.respond(&message1).expect("honest");
            let [_, bytes] = both(data, &message2);
            if bytes != message2 {
                let error = pending.finish(&bytes).expect_err("a changed answer gave a signature");
                assert_eq!(session.client.is_alive(), error.reaction != Reaction::Burn);
            }
        }
    }
});
