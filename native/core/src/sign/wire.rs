//! The bytes of signing (`docs/spec/threshold.md`, "Signing").

use std::collections::BTreeMap;

use frost_core::round1::{NonceCommitment, SigningCommitments};
use frost_core::{Field, Group, Scalar};

use crate::codec::{Reader, element_to_bytes, scalar_from_bytes};
use crate::error::{Code, Error, Result};
use crate::share::KeyShare;
use crate::suite::Suite;

/// Encoded nonce commitments or signature shares, one per message of a batch.
pub type Batch = Vec<Vec<u8>>;

/// The other signers' commitments, parsed: per signer one pair per message.
pub(super) type Peers<S> = BTreeMap<u16, Vec<SigningCommitments<S>>>;

/// Length of the encoded commitments to one pair of nonces: hiding ‖ binding.
pub const fn commitments_len<S: Suite>() -> usize {
    2 * S::ELEMENT_LEN
}

/// Hiding ‖ binding.
pub(super) fn encode_commitments<S: Suite>(commitments: &SigningCommitments<S>) -> Result<Vec<u8>> {
    let identity = || Error::abort(Code::Internal, "a nonce commitment is the identity");
    let mut out = element_to_bytes::<S>(&commitments.hiding().value()).ok_or_else(identity)?;
    out.extend_from_slice(&element_to_bytes::<S>(&commitments.binding().value()).ok_or_else(identity)?);
    Ok(out)
}

/// Parses hiding ‖ binding, both valid and not the identity.
///
/// # Errors
/// `invalid_commitment`.
pub fn decode_commitments<S: Suite>(bytes: &[u8]) -> Result<SigningCommitments<S>> {
    let mut reader = Reader::new(bytes, Code::InvalidCommitment);
    let hiding = NonceCommitment::new(reader.element::<S>()?);
    let binding = NonceCommitment::new(reader.element::<S>()?);
    reader.finish()?;
    Ok(SigningCommitments::new(hiding, binding))
}

/// A scalar in the suite's encoding, 32 bytes.
pub(super) fn encode_share<S: Suite>(share: &Scalar<S>) -> Vec<u8> {
    <<S::Group as Group>::Field as Field>::serialize(share).as_ref().to_vec()
}

/// Checks who signs, and parses their commitments.
pub(super) fn parse_peers<S: Suite>(
    share: &KeyShare<S>,
    count: usize,
    peers: &BTreeMap<u16, Batch>,
) -> Result<Peers<S>> {
    if let Some(stranger) =
        peers.keys().find(|i| **i == share.identifier || !(1..=share.max_signers).contains(*i))
    {
        return Err(Error::caller(
            Code::UnexpectedSender,
            format!("participant {stranger} is not another signer of this key"),
        ));
    }
    if peers.len() + 1 < usize::from(share.min_signers()) {
        return Err(Error::caller(Code::WrongSignerCount, "there are fewer signers than the threshold"));
    }
    let mut parsed = BTreeMap::new();
    for (sender, batch) in peers {
        if batch.len() != count {
            return Err(Error::peer(
                Code::CountMismatch,
                *sender,
                "there is not one pair of nonce commitments per message",
            ));
        }
        let commitments = batch
            .iter()
            .map(|bytes| decode_commitments::<S>(bytes).map_err(|error| error.blame(*sender)))
            .collect::<Result<_>>()?;
        parsed.insert(*sender, commitments);
    }
    Ok(parsed)
}

/// Parses a signer's shares: scalars below the group order.
pub(super) fn parse_shares<S: Suite>(sender: u16, count: usize, batch: &[Vec<u8>]) -> Result<Vec<Scalar<S>>> {
    if batch.len() != count {
        return Err(Error::peer(Code::CountMismatch, sender, "there is not one signature share per message"));
    }
    batch
        .iter()
        .map(|bytes| {
            scalar_from_bytes::<S>(bytes).ok_or_else(|| {
                Error::peer(Code::MalformedMessage, sender, "a signature share is not a scalar of 32 bytes")
            })
        })
        .collect()
}
