//! What a responder reads: commitments, messages, tweaks.
#![no_main]

mod shares;

use std::collections::BTreeMap;

use cosigner_core::suite::Tweak;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fuzz_target!(|data: (u16, Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<Option<Vec<u8>>>)| {
    let (sender, messages, commitments, tweaks) = data;
    let tweaks: Result<Vec<Tweak>, _> = tweaks.iter().map(|t| Tweak::from_bytes(t.as_deref())).collect();
    let Ok(tweaks) = tweaks else { return };
    for share in shares::all() {
        let peers = BTreeMap::from([(sender, commitments.clone())]);
        let _ = share[1].respond(&messages, &peers, &tweaks, &mut ChaCha20Rng::seed_from_u64(1));
    }
});
