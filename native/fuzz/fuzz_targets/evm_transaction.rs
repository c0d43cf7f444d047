//! Unsigned EVM transactions: the digest is of exactly the input, and every accessor is total.
#![no_main]

use cosigner_payload::evm::{UnsignedTransaction, inspect_message};
use libfuzzer_sys::fuzz_target;

/// The generator: a valid public key that has signed nothing.
const KEY: [u8; 33] = [
    2, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02,
    0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
];

fuzz_target!(|data: &[u8]| {
    let message = inspect_message(data, None).ok();
    if let Some(text) = message.and_then(|message| message.text) {
        assert_eq!(text.as_bytes(), data);
    }
    let Ok(transaction) = UnsignedTransaction::parse(data) else { return };
    assert_eq!(transaction.encoded(), data);
    let summary = transaction.summary();
    assert!(summary.kind <= 4 && summary.data.len() < data.len());
    assert!(transaction.assemble(&[1; 64], 0, &KEY).is_err());
});
