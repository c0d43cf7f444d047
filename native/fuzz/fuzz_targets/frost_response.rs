//! What an initiator reads: commitments and signature shares. No forged response gives a signature.
#![no_main]

mod shares;

use std::collections::BTreeMap;

use cosigner_core::suite::Tweak;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fuzz_target!(|data: (Vec<Vec<u8>>, Vec<Vec<u8>>)| {
    for share in shares::all() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (nonces, _) = share[0].begin(1, &mut rng).expect("one message");
        let responses = BTreeMap::from([(2, data.clone())]);
        assert!(nonces.finish(&share[0], &[vec![1; 32]], &responses, &[Tweak::None]).is_err());
    }
});
