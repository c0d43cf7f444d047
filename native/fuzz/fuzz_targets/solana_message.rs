//! Solana messages: what parses is exactly the input, and every accessor is total.
#![no_main]

use std::collections::BTreeMap;

use cosigner_payload::solana::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(message) = Message::parse(data) else { return };
    assert_eq!(message.signed_bytes(), data);
    let signers = message.required_signers();
    assert!(!signers.is_empty() && 1 + 64 * signers.len() + data.len() <= 1232);
    let _ = (message.accounts(), message.instructions(), message.lookups(), message.recent_blockhash());
    let signatures: BTreeMap<_, _> = signers.iter().map(|key| (key.to_vec(), vec![0; 64])).collect();
    let wire = message.assemble(&signatures, |_, _, _| true).expect("all signatures");
    assert!(wire.ends_with(data));
});
