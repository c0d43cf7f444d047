//! Messages of key generation: parsing never panics, and what parses encodes to the same bytes.
#![no_main]

use cosigner_core::dkg::{Message1, Message2, Params, message1_len, start};
use cosigner_core::suite::Suite;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const PARAMS: Params = Params { identifier: 2, min_signers: 2, max_signers: 3, context: [7; 32] };

/// The input as it is, and patched over a valid message, so that both the header and the points are reached.
fn both(data: &[u8], valid: &[u8]) -> [Vec<u8>; 2] {
    let mut patched = valid.to_vec();
    for change in data.chunks_exact(3) {
        if let [high, low, value] = change {
            let at = usize::from(u16::from_be_bytes([*high, *low])) % valid.len();
            patched[at] ^= value;
        }
    }
    [data.to_vec(), patched]
}

fn run<S: Suite>(data: &[u8]) {
    let hash = PARAMS.context_hash::<S>();
    let (_, valid) = start::<S>(PARAMS, &mut ChaCha20Rng::seed_from_u64(1)).expect("valid parameters");
    assert_eq!(valid.len(), message1_len::<S>(2));
    for bytes in both(data, &valid) {
        if let Ok(message) = Message1::<S>::decode(&bytes, 2, &PARAMS, &hash) {
            assert_eq!(message.encode(&PARAMS, &hash).expect("parsed"), bytes);
        }
        if let Ok(message) = Message2::<S>::decode(&bytes, 2, 1, &[0; 32]) {
            let again = Message2::<S>::encode(2, 1, &[0; 32], &message.sub_share, &message.chain_part);
            assert_eq!(*again, bytes);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    run::<frost_ed25519::Ed25519Sha512>(data);
    run::<frost_secp256k1_tr::Secp256K1Sha256TR>(data);
    run::<frost_secp256k1::Secp256K1Sha256>(data);
});
