//! FROST (RFC 9591) in one round trip, and in the ordinary two rounds for t > 2.
//!
//! The initiator draws nonces ([`begin`]) and sends their commitments with its request. The responder, having
//! every commitment, draws its own nonces, signs, and answers with commitments and signature shares
//! ([`respond`]). The initiator computes its own shares, aggregates and verifies ([`Nonces::finish`]). One request
//! carries a batch: one entry per message, each with nonces of its own.

mod session;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod wire;

use std::collections::BTreeMap;

use frost_core::{Signature, VerifyingKey};
use rand_core::{CryptoRng, RngCore};

use crate::MAX_BATCH;
use crate::error::{Code, Error, Result};
use crate::share::KeyShare;
use crate::suite::{Suite, Tweak};
use session::{NoncePair, Session, nth};
use wire::{parse_peers, parse_shares};

pub use wire::{Batch, commitments_len, decode_commitments};

/// The initiator's nonces: one pair per message, all consumed by the first use.
pub struct Nonces<S: Suite> {
    owner: [u8; 32],
    pairs: Vec<NoncePair<S>>,
}

/// Draws `count` pairs of nonces and returns their commitments.
///
/// # Errors
/// `invalid_parameter` unless 1 <= count <= 256.
pub fn begin<S: Suite>(
    share: &KeyShare<S>,
    count: usize,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Nonces<S>, Batch)> {
    if !(1..=MAX_BATCH).contains(&count) {
        return Err(Error::caller(Code::InvalidParameter, "a batch has 1 to 256 messages"));
    }
    let (pairs, commitments) = draw(share, count, rng)?;
    Ok((Nonces { owner: share.fingerprint, pairs }, commitments))
}

/// Answers an initiator: draws nonces, signs every message with them once, and forgets them.
///
/// `peers` holds the commitments of all other signers, so that the caller is the last to commit.
///
/// # Errors
/// `count_mismatch`, `message_length`, `invalid_tweak`, `wrong_signer_count`, `unexpected_sender`,
/// `invalid_commitment` (culprit: the sender).
pub fn respond<S: Suite>(
    share: &KeyShare<S>,
    messages: &[Vec<u8>],
    peers: &BTreeMap<u16, Batch>,
    tweaks: &[Tweak],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Batch, Batch)> {
    check_batch::<S>(messages, tweaks)?;
    // Everything is parsed before a nonce is drawn: hostile input costs no randomness and meets no secret.
    let peers = parse_peers(share, messages.len(), peers)?;
    let (pairs, commitments) = draw(share, messages.len(), rng)?;
    let mut shares = Vec::with_capacity(messages.len());
    for (k, (message, tweak)) in messages.iter().zip(tweaks).enumerate() {
        let pair = nth(&pairs, k)?;
        let key = share.signing_key(tweak)?;
        shares.push(Session::new(&key, pair, &peers, k, message)?.own_share(pair)?);
    }
    Ok((commitments, shares.iter().map(wire::encode_share::<S>).collect()))
}

impl<S: Suite> Nonces<S> {
    /// How many messages these nonces are for.
    pub fn count(&self) -> usize {
        self.pairs.len()
    }

    /// Second round of ordinary FROST: the own signature shares, given every other signer's commitments.
    ///
    /// # Errors
    /// As for [`respond`], and `wrong_share` when the nonces were drawn for another share.
    pub fn sign(
        self,
        share: &KeyShare<S>,
        messages: &[Vec<u8>],
        peers: &BTreeMap<u16, Batch>,
        tweaks: &[Tweak],
    ) -> Result<Batch> {
        self.check(share, messages, tweaks)?;
        let peers = parse_peers(share, messages.len(), peers)?;
        let mut shares = Vec::with_capacity(messages.len());
        for (k, (message, tweak)) in messages.iter().zip(tweaks).enumerate() {
            let pair = nth(&self.pairs, k)?;
            let key = share.signing_key(tweak)?;
            shares.push(wire::encode_share::<S>(
                &Session::new(&key, pair, &peers, k, message)?.own_share(pair)?,
            ));
        }
        Ok(shares)
    }

    /// Computes the own shares, aggregates with the responses, and verifies every signature.
    ///
    /// `responses` maps each other signer to its commitments and its signature shares.
    ///
    /// # Errors
    /// As for [`Self::sign`], `malformed_message` and `invalid_signature_share` (culprit: the sender).
    pub fn finish(
        self,
        share: &KeyShare<S>,
        messages: &[Vec<u8>],
        responses: &BTreeMap<u16, (Batch, Batch)>,
        tweaks: &[Tweak],
    ) -> Result<Vec<Vec<u8>>> {
        self.check(share, messages, tweaks)?;
        let mut commitments = BTreeMap::new();
        let mut shares = BTreeMap::new();
        for (sender, (their_commitments, their_shares)) in responses {
            commitments.insert(*sender, their_commitments.clone());
            shares.insert(*sender, parse_shares::<S>(*sender, messages.len(), their_shares)?);
        }
        let peers = parse_peers(share, messages.len(), &commitments)?;
        let mut signatures = Vec::with_capacity(messages.len());
        for (k, (message, tweak)) in messages.iter().zip(tweaks).enumerate() {
            let pair = nth(&self.pairs, k)?;
            let key = share.signing_key(tweak)?;
            let session = Session::new(&key, pair, &peers, k, message)?;
            let own = session.own_share(pair)?;
            let mut all = BTreeMap::from([(share.identifier, own)]);
            for (sender, batch) in &shares {
                all.insert(*sender, *nth(batch, k)?);
            }
            match session.aggregate(&all) {
                Some(signature) => signatures.push(signature),
                None => return Err(session.blame(share, tweak, &all)),
            }
        }
        Ok(signatures)
    }

    fn check(&self, share: &KeyShare<S>, messages: &[Vec<u8>], tweaks: &[Tweak]) -> Result<()> {
        if self.owner != share.fingerprint {
            return Err(Error::caller(Code::WrongShare, "the nonces were drawn for another share"));
        }
        if messages.len() != self.pairs.len() {
            return Err(Error::caller(Code::CountMismatch, "there is not one message per pair of nonces"));
        }
        check_batch::<S>(messages, tweaks)
    }
}

/// Verifies a signature: RFC 8032 without cofactor for Ed25519 (points outside the prime-order subgroup and
/// non-canonical encodings refused), BIP-340 for secp256k1.
///
/// `public_key` has 32 bytes for Ed25519; 33 (compressed) or 32 (x only) for secp256k1.
///
/// # Errors
/// `invalid_public_key`, `message_length`, `invalid_tweak`, `signature_invalid`.
pub fn verify<S: Suite>(public_key: &[u8], message: &[u8], signature: &[u8], tweak: &Tweak) -> Result<()> {
    if message.len() > crate::MAX_MESSAGE_LEN {
        return Err(Error::caller(Code::MessageLength, "a message has at most 65536 bytes"));
    }
    let element = S::decode_public_key(public_key)
        .ok_or_else(|| Error::caller(Code::InvalidPublicKey, "the public key is not a valid point"))?;
    let public = frost_core::keys::PublicKeyPackage::new(BTreeMap::new(), VerifyingKey::new(element), None);
    let public = S::tweaked_public(public, tweak)?;
    let invalid = || Error::abort(Code::SignatureInvalid, "the signature does not verify");
    let signature = Signature::<S>::deserialize(signature).map_err(|_| invalid())?;
    public.verifying_key().verify(message, &signature).map_err(|_| invalid())
}

fn draw<S: Suite>(
    share: &KeyShare<S>,
    count: usize,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Vec<NoncePair<S>>, Batch)> {
    let mut pairs = Vec::with_capacity(count);
    let mut encoded = Vec::with_capacity(count);
    for _ in 0..count {
        let pair = NoncePair::draw(share.key.signing_share(), rng);
        encoded.push(wire::encode_commitments(&pair.commitments)?);
        pairs.push(pair);
    }
    Ok((pairs, encoded))
}

fn check_batch<S: Suite>(messages: &[Vec<u8>], tweaks: &[Tweak]) -> Result<()> {
    if !(1..=MAX_BATCH).contains(&messages.len()) {
        return Err(Error::caller(Code::InvalidParameter, "a batch has 1 to 256 messages"));
    }
    if tweaks.len() != messages.len() {
        return Err(Error::caller(Code::CountMismatch, "there is not one tweak per message"));
    }
    messages.iter().try_for_each(|message| S::check_message(message))
}
