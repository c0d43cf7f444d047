//! Integers as typed data writes them.

use alloy_primitives::U256;

use super::json::Json;

/// Longest text of a number that is read: 78 digits, a sign, and room for zeros before them.
const MAX_TEXT: usize = 96;

/// The sign (true: negative) and the magnitude of an integer: a JSON number without fraction and exponent, or a string
/// in decimal or, without a sign, in hexadecimal after `0x`. `None` for anything else and above 256 bits.
pub(super) fn integer(json: &Json) -> Option<(bool, U256)> {
    let (Json::Number(text) | Json::String(text)) = json else {
        return None;
    };
    if text.len() > MAX_TEXT {
        return None;
    }
    let (negative, digits, radix) = if let Some(digits) = text.strip_prefix("0x") {
        (false, digits, 16)
    } else if let Some(digits) = text.strip_prefix('-') {
        (true, digits, 10)
    } else {
        (false, text.as_str(), 10)
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = U256::from_str_radix(digits, u64::from(radix)).ok()?;
    Some((negative && !magnitude.is_zero(), magnitude))
}

/// A number of at most `bits` bits as a word.
pub(super) fn uint(json: &Json, bits: usize) -> Option<[u8; 32]> {
    let (negative, magnitude) = integer(json)?;
    (!negative && magnitude.bit_len() <= bits).then(|| magnitude.to_be_bytes())
}

/// A number of `bits` bits with its sign as a word in two's complement.
pub(super) fn int(json: &Json, bits: usize) -> Option<[u8; 32]> {
    let (negative, magnitude) = integer(json)?;
    if !negative {
        return (magnitude.bit_len() < bits).then(|| magnitude.to_be_bytes());
    }
    // The least number is one further from zero than the greatest.
    let fits = (magnitude - U256::ONE).bit_len() < bits;
    fits.then(|| magnitude.wrapping_neg().to_be_bytes())
}
