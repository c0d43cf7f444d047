//! Public keys and signatures: verification never panics and accepts nothing made up.
#![no_main]

use cosigner_core::SuiteId;
use cosigner_core::any::verify;
use cosigner_core::suite::Tweak;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for key_len in [32, 33] {
        let Some((key, rest)) = data.split_at_checked(key_len) else { return };
        let Some((signature, message)) = rest.split_at_checked(64) else { return };
        for suite in SuiteId::ALL {
            for tweak in [Tweak::None, Tweak::KeyPath] {
                assert!(verify(suite, key, message, signature, &tweak).is_err());
            }
        }
    }
});
