//! Typed data: reading is total, and what is read does not depend on the white space around it.
#![no_main]

use cosigner_payload::evm::inspect_typed_data;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(read) = inspect_typed_data(data) else { return };
    assert!(read.encoded_type.starts_with(&read.primary_type));
    if data.len() < 1 << 16 {
        let spaced = [b" \n", data, b"\t"].concat();
        assert_eq!(inspect_typed_data(&spaced), Ok(read));
    }
});
