//! PSBTs: parsing never panics; inspecting twice says the same; an empty finalization changes nothing but order.
#![no_main]

use std::collections::BTreeMap;

use cosigner_payload::bitcoin::{finalize, inspect};
use libfuzzer_sys::fuzz_target;

const KEY: [u8; 32] = [
    0xcc, 0x8a, 0x4b, 0xc6, 0x4d, 0x89, 0x7b, 0xdd, 0xc5, 0xfb, 0xc2, 0xf6, 0x70, 0xf7, 0xa8, 0xba, 0x0b,
    0x38, 0x67, 0x79, 0x10, 0x6c, 0xf1, 0x22, 0x3c, 0x6f, 0xc5, 0xd7, 0xcd, 0x6f, 0xc1, 0x15,
];

fuzz_target!(|data: &[u8]| {
    // The magic costs the fuzzer time and teaches it nothing.
    for bytes in [data.to_vec(), [b"psbt\xff".as_slice(), data].concat()] {
        let summary = inspect(&bytes, &KEY, "regtest");
        if let Ok(finalized) = finalize(&bytes, &BTreeMap::new()) {
            assert_eq!(finalized.psbt.len(), bytes.len());
            assert_eq!(inspect(&finalized.psbt, &KEY, "regtest"), summary);
        }
        assert!(finalize(&bytes, &BTreeMap::from([(0, vec![1; 64])])).is_err());
    }
});
