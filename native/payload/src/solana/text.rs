//! Texts that a wallet signs as they are (a wallet adapter's `signMessage`): a signature over the bytes themselves, so what could be a
//! transaction must never pass for a text.
//!
//! It cannot: a legacy message begins with the counts of signers and of read-only accounts, then the number of keys, each one byte up to
//! 127. Of bytes below 32 a text has 9, 10 and 13 alone, so it would name at least 9 signers and 9 read-only accounts, hence 32 keys or
//! more, which with 9 signatures exceed 1232 bytes. Version 0 begins with 0x80, which begins no UTF-8. Whatever parses as a message is
//! refused all the same.

use super::message::Message;
use crate::error::{Code, Error, Result};
use crate::text::is_printable;

/// The longest text, in bytes: what the off-chain message format allows.
const MAX_TEXT_LEN: usize = 65_515;

/// Reads a text.
///
/// # Errors
/// `solana_text_too_large`, `solana_text_invalid` (empty, not UTF-8, or with characters that do not show), `solana_text_is_message`.
pub fn inspect_text(bytes: &[u8]) -> Result<String> {
    if bytes.len() > MAX_TEXT_LEN {
        return Err(Error::new(Code::SolanaTextTooLarge, "a text has at most 65515 bytes"));
    }
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty() && text.chars().all(is_printable))
        .ok_or_else(|| {
            Error::new(
                Code::SolanaTextInvalid,
                "only text is signed that can be shown as it is: UTF-8, no control characters",
            )
        })?;
    if Message::parse(bytes).is_ok() {
        return Err(Error::new(Code::SolanaTextIsMessage, "this text is a transaction's message"));
    }
    Ok(text.to_owned())
}
