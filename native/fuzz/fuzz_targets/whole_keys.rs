//! Whole keys from text: parsing never panics, and what parses is written as the same text again.
#![no_main]

use cosigner_core::SuiteId;
use cosigner_core::any::AnyShare;
use cosigner_core::device::{Export, SecretKey};
use libfuzzer_sys::fuzz_target;

/// Enough for phrases with a right checksum, of every length.
const WORDS: [&str; 8] = ["abandon", "about", "address", "agent", "admit", "art", "zoo", "wrong"];

fn phrase(data: &[u8]) -> String {
    let words = data.iter().take(25).filter_map(|byte| WORDS.get(usize::from(byte % 8)));
    words.copied().collect::<Vec<_>>().join(" ")
}

fuzz_target!(|data: &[u8]| {
    if let Ok((key, network)) = SecretKey::from_wif(data) {
        let again = key.export(Export::Wif(network)).expect("a Taproot key");
        assert_eq!(again.as_bytes(), data.trim_ascii());
    }
    if let Ok(key) = SecretKey::from_solana_keypair(data) {
        let again = key.export(Export::SolanaKeypair).expect("a key from a seed");
        let parsed = SecretKey::from_solana_keypair(again.as_bytes()).expect("written here");
        assert_eq!(parsed.public_key(), key.public_key());
    }
    if let Ok(share) = AnyShare::decode(data) {
        assert_eq!(*share.encode().expect("parsed"), data);
        assert!(SecretKey::combine(&[&share]).is_err());
    }
    for suite in SuiteId::ALL {
        let _ = SecretKey::from_bytes(suite, data);
        let path = String::from_utf8_lossy(data);
        assert!(SecretKey::from_mnemonic(suite, data, data, &path).is_err());
        if let Ok(key) = SecretKey::from_mnemonic(suite, phrase(data).as_bytes(), data, "m/44'/0'") {
            assert_eq!(key.public_key().len(), if suite == SuiteId::FrostEd25519 { 32 } else { 33 });
        }
    }
});
