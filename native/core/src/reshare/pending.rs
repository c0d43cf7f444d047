//! What a node has at the end: new shares, held back until all receivers have confirmed.

use std::collections::{BTreeMap, BTreeSet};

use frost_core::keys::{PublicKeyPackage, SigningShare, VerifiableSecretSharingCommitment, sum_commitments};
use frost_core::{Group, Identifier, VerifyingKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Confirmations;
use super::message::{CONFIRMATION_LEN, Run, degenerate};
use crate::codec::{Reader, SCALAR_LEN};
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::share::{KeyShare, PublicGroup, check_parameters, identifier};
use crate::suite::Suite;

/// After the last step: holds the shares back until everybody has confirmed.
pub struct Round3<S: Suite> {
    transcript: [u8; 32],
    group: PublicGroup<S>,
    shares: BTreeMap<u16, KeyShare<S>>,
}

/// What of the key stays as it is.
pub(super) struct Key<S: Suite> {
    pub(super) public: VerifyingKey<S>,
    pub(super) chain_code: [u8; 32],
    /// The epoch of the new shares.
    pub(super) epoch: u32,
}

impl<S: Suite> Round3<S> {
    /// Sums up what came from all dealers: their commitments, and for each of this node's receivers its sub-shares,
    /// which were checked.
    ///
    /// # Errors
    /// `degenerate_key`: the sums do not make a group of this key with threshold t'.
    pub(super) fn assemble(
        run: &Run,
        round1_hash: &[u8; 32],
        key: &Key<S>,
        commitments: &[&VerifiableSecretSharingCommitment<S>],
        sub_shares: &BTreeMap<u16, Vec<Zeroizing<SigningShare<S>>>>,
    ) -> Result<(Self, Confirmations)> {
        let sum = sum_commitments(commitments).map_err(|_| degenerate())?;
        // With a coefficient gone, fewer than t' could sign.
        let identity = <S::Group as Group>::identity();
        if sum.coefficients().iter().any(|coefficient| coefficient.value() == identity) {
            return Err(degenerate());
        }
        let everybody: BTreeSet<Identifier<S>> =
            (1..=run.max_signers).map(identifier::<S>).collect::<Result<_>>()?;
        let public = PublicKeyPackage::from_commitment(&everybody, &sum).map_err(|_| degenerate())?;
        let public =
            PublicKeyPackage::new(public.verifying_shares().clone(), key.public, Some(run.min_signers));
        let moved = |error: Error| Error::abort(Code::DegenerateKey, error.message);
        let group = PublicGroup::new(run.min_signers, run.max_signers, key.epoch, key.chain_code, public)
            .map_err(moved)?;
        let mut shares = BTreeMap::new();
        for (receiver, parts) in sub_shares {
            let mut scalar = Zeroizing::new(SigningShare::<S>::default());
            for part in parts {
                *scalar = SigningShare::new(scalar.to_scalar() + part.to_scalar());
            }
            shares.insert(*receiver, KeyShare::of_group(&group, *receiver, &scalar).map_err(moved)?);
        }
        let transcript =
            tagged("cosigner/reshare/v1/transcript", &[&run.context_hash, round1_hash, &group.encode()?]);
        let own = shares.keys().map(|receiver| (*receiver, confirmation(&transcript, *receiver)));
        let own = own.collect();
        Ok((Self { transcript, group, shares }, own))
    }

    /// Takes the confirmation of every receiver elsewhere and releases this node's shares.
    ///
    /// # Errors
    /// `confirmation_mismatch`, `missing_message`, `unexpected_sender`.
    pub fn confirm(self, confirmations: &BTreeMap<u16, Vec<u8>>) -> Result<BTreeMap<u16, KeyShare<S>>> {
        let everybody = 1..=self.group.max_signers();
        let is_peer = |i: &u16| everybody.contains(i) && !self.shares.contains_key(i);
        check_senders(everybody.clone().filter(is_peer), confirmations)?;
        for (receiver, theirs) in confirmations {
            let expected = confirmation(&self.transcript, *receiver);
            if !bool::from(expected.as_slice().ct_eq(theirs)) {
                return Err(Error::peer(
                    Code::ConfirmationMismatch,
                    *receiver,
                    "a receiver confirmed another transcript",
                ));
            }
        }
        Ok(self.shares)
    }

    /// What is public about the new group.
    pub fn group(&self) -> &PublicGroup<S> {
        &self.group
    }

    /// The new participants that this node receives for.
    pub fn receivers(&self) -> Vec<u16> {
        self.shares.keys().copied().collect()
    }

    /// `transcript ‖ group ‖ number of shares, 2 ‖ (identifier, 2 ‖ scalar, 32)…`, for sealing. Secret.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let group = self.group.encode()?;
        let len = 32 + group.len() + 2 + self.shares.len() * (2 + SCALAR_LEN);
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        out.extend_from_slice(&self.transcript);
        out.extend_from_slice(&group);
        // At most MAX_PARTICIPANTS.
        out.extend_from_slice(&(self.shares.len() as u16).to_be_bytes());
        for (receiver, share) in &self.shares {
            out.extend_from_slice(&receiver.to_be_bytes());
            out.extend_from_slice(&Zeroizing::new(share.key.signing_share().serialize()));
        }
        Ok(out)
    }

    /// Reads what [`Self::encode`] wrote, and checks the shares against their group.
    ///
    /// # Errors
    /// `record_malformed`, `share_inconsistent`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (transcript, rest) = split_transcript(bytes)?;
        let mut reader = Reader::new(rest, Code::RecordMalformed);
        let malformed = || Error::abort(Code::RecordMalformed, "the pending shares are malformed");
        let group_len = PublicGroup::<S>::len_of(rest).ok_or_else(malformed)?;
        let group = PublicGroup::<S>::decode(reader.take(group_len)?).map_err(|_| malformed())?;
        let mut shares = BTreeMap::new();
        let mut last = 0;
        for _ in 0..reader.u16()? {
            let receiver = reader.u16()?;
            if receiver <= last
                || check_parameters(receiver, group.min_signers(), group.max_signers()).is_err()
            {
                return Err(malformed());
            }
            last = receiver;
            let scalar = Zeroizing::new(SigningShare::<S>::new(reader.scalar::<S>()?));
            shares.insert(receiver, KeyShare::of_group(&group, receiver, &scalar)?);
        }
        reader.finish()?;
        Ok(Self { transcript, group, shares })
    }
}

/// Splits the encoding of a [`Round3`] into the transcript and the rest, which begins with the group.
pub(crate) fn split_transcript(bytes: &[u8]) -> Result<([u8; 32], &[u8])> {
    let (transcript, rest) = bytes
        .split_first_chunk::<32>()
        .ok_or_else(|| Error::abort(Code::RecordMalformed, "the record is too short"))?;
    Ok((*transcript, rest))
}

/// Exactly one message from each of `peers`.
pub(super) fn check_senders<T>(peers: impl Iterator<Item = u16>, messages: &BTreeMap<u16, T>) -> Result<()> {
    let peers: BTreeSet<u16> = peers.collect();
    if let Some(stranger) = messages.keys().find(|i| !peers.contains(i)) {
        return Err(Error::caller(
            Code::UnexpectedSender,
            format!("participant {stranger} is not a peer in this run"),
        ));
    }
    if let Some(missing) = peers.iter().find(|i| !messages.contains_key(i)) {
        return Err(Error::caller(
            Code::MissingMessage,
            format!("the message of participant {missing} is missing"),
        ));
    }
    Ok(())
}

/// The receiver's identifier is hashed in, so that an echo of our own confirmation confirms nothing.
fn confirmation(transcript: &[u8; 32], receiver: u16) -> [u8; CONFIRMATION_LEN] {
    tagged("cosigner/reshare/v1/confirmation", &[transcript, &receiver.to_be_bytes()])
}
