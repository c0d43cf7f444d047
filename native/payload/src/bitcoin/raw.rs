//! A PSBT as its maps of entries (BIP-174), before anything is interpreted.
//!
//! This is where bounds are checked, and what "encodes to the same bytes" means: BIP-174 does not order the
//! entries of a map, so two PSBTs are the same when map by map they have the same entries.

use bitcoin::psbt::Psbt;

use crate::error::{Code, Error, Result};

const MAX_LEN: usize = 512 * 1024;
const MAX_INPUTS: usize = 256;
const MAX_OUTPUTS: usize = 512;
const MAGIC: &[u8] = b"psbt\xff";
const GLOBAL_UNSIGNED_TX: u8 = 0x00;
const GLOBAL_VERSION: u8 = 0xfb;

/// The entries of one map: key (type and key data) and value, sorted by key.
type Map<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Parses a PSBT version 0 of bounded size.
///
/// # Errors
/// `psbt_too_large`, `psbt_malformed`, `psbt_version_unsupported`, `psbt_not_canonical`.
pub(super) fn parse(bytes: &[u8]) -> Result<Psbt> {
    if bytes.len() > MAX_LEN {
        return Err(Error::new(Code::PsbtTooLarge, "a PSBT has at most 524288 bytes"));
    }
    let maps = maps(bytes)?;
    let global = maps.first().ok_or_else(malformed)?;
    if let Some((_, version)) = global.iter().find(|(key, _)| *key == [GLOBAL_VERSION])
        && *version != [0; 4]
    {
        return Err(Error::new(Code::PsbtVersionUnsupported, "only PSBT version 0 is signed"));
    }
    if !global.iter().any(|(key, _)| *key == [GLOBAL_UNSIGNED_TX]) {
        return Err(malformed().at("global.unsigned_tx"));
    }
    let psbt = Psbt::deserialize(bytes).map_err(|_| malformed())?;
    let (inputs, outputs) = (psbt.unsigned_tx.input.len(), psbt.unsigned_tx.output.len());
    if inputs > MAX_INPUTS || outputs > MAX_OUTPUTS {
        return Err(Error::new(Code::PsbtTooLarge, "a PSBT has at most 256 inputs and 512 outputs"));
    }
    if inputs == 0 || outputs == 0 {
        return Err(malformed().at("global.unsigned_tx"));
    }
    let again = psbt.serialize();
    if maps.len() != 1 + inputs + outputs || self::maps(&again)? != maps {
        return Err(Error::new(Code::PsbtNotCanonical, "the PSBT has entries or bytes without meaning"));
    }
    Ok(psbt)
}

/// All maps up to the end of the bytes.
fn maps(bytes: &[u8]) -> Result<Vec<Map<'_>>> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(malformed)?;
    let mut maps = Vec::new();
    while !rest.is_empty() {
        if maps.len() > MAX_INPUTS + MAX_OUTPUTS {
            return Err(Error::new(Code::PsbtTooLarge, "a PSBT has at most 256 inputs and 512 outputs"));
        }
        maps.push(map(&mut rest)?);
    }
    Ok(maps)
}

fn map<'a>(rest: &mut &'a [u8]) -> Result<Map<'a>> {
    let mut entries = Vec::new();
    loop {
        let key = string(rest)?;
        if key.is_empty() {
            break;
        }
        entries.push((key, string(rest)?));
    }
    entries.sort_unstable();
    if entries.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return Err(Error::new(Code::PsbtMalformed, "a map has an entry twice"));
    }
    Ok(entries)
}

/// A compact size, in its shortest form, and that many bytes.
fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let first = *take(rest, 1)?.first().ok_or_else(malformed)?;
    let width = match first {
        0..=0xfc => 0,
        0xfd => 2,
        0xfe => 4,
        0xff => 8,
    };
    let mut wide = [0; 8];
    for (to, from) in wide.iter_mut().zip(take(rest, width)?) {
        *to = *from;
    }
    let value = if width == 0 { u64::from(first) } else { u64::from_le_bytes(wide) };
    let shortest = match value {
        0..=0xfc => 0,
        0xfd..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    if width != shortest {
        return Err(Error::new(Code::PsbtMalformed, "a length is not in its shortest form"));
    }
    take(rest, usize::try_from(value).map_err(|_| malformed())?)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len).ok_or_else(malformed)?;
    *rest = tail;
    Ok(head)
}

fn malformed() -> Error {
    Error::new(Code::PsbtMalformed, "not a well-formed PSBT")
}
