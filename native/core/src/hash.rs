//! Domain-separated SHA-256.

use sha2::{Digest, Sha256};

/// `SHA-256(len(tag) as one byte ‖ tag ‖ parts…)`.
///
/// Parts are not framed: every caller hashes parts whose lengths follow from what was hashed before them.
pub fn tagged(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    // Tags are constants of this crate, all far below 256 bytes.
    hasher.update([tag.len() as u8]);
    hasher.update(tag.as_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_framed() {
        assert_ne!(tagged("a", &[b"b"]), tagged("ab", &[]));
        assert_eq!(tagged("a", &[b"b", b"c"]), tagged("a", &[b"bc"]));
    }
}
