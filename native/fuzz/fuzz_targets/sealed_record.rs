//! Sealed records, and authentic records with hostile contents.
#![no_main]

use cosigner_core::any::{AnyRound3, AnyShare};
use cosigner_core::seal::{Kind, SealingKey};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fuzz_target!(|data: &[u8]| {
    let key = SealingKey::from_data_key(&[1; 32]).expect("32 bytes");
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    assert!(AnyShare::open(&key, data, b"aad").is_err());
    assert!(key.open(Kind::Bytes, data, b"aad").is_err());
    assert!(AnyRound3::open(&key, data, b"aad").is_err());
    if let Ok(record) = key.seal(Kind::Unconfirmed, data, b"aad", &mut rng)
        && let Ok(state) = AnyRound3::open(&key, &record, b"aad")
    {
        let again = state.seal(&key, b"aad", &mut ChaCha20Rng::seed_from_u64(1)).expect("sealed before");
        assert_eq!(again, record);
    }
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let Ok(record) = key.seal(Kind::Share, data, b"aad", &mut rng) else { return };
    if let Ok(share) = AnyShare::open(&key, &record, b"aad") {
        // The contents are canonical: sealing the share again with the same randomness gives the same record.
        let again = share.seal(&key, b"aad", &mut ChaCha20Rng::seed_from_u64(1)).expect("sealed before");
        assert_eq!(again, record);
    }
});
