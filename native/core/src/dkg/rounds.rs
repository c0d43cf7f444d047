//! The states of key generation, each consumed by its next step.

use std::collections::BTreeMap;

use frost_core::keys::dkg::{self, round1, round2};
use frost_core::{Error as FrostError, Identifier};
use rand_core::{CryptoRng, RngCore};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::message::{CONFIRMATION_LEN, Message1, Message2, internal};
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::share::{KeyShare, check_parameters, identifier};
use crate::suite::Suite;

/// Who takes part in a run, and in which context.
#[derive(Clone, Debug)]
pub struct Params {
    /// The own identifier, 1..=n.
    pub identifier: u16,
    /// The threshold t.
    pub min_signers: u16,
    /// The number of participants n.
    pub max_signers: u16,
    /// 32 bytes that name this run, equal for all participants (a hash over session, wallet and purpose).
    pub context: [u8; 32],
}

impl Params {
    /// Suite, t and n, as they are hashed.
    fn shape<S: Suite>(&self) -> [u8; 5] {
        let [t0, t1] = self.min_signers.to_be_bytes();
        let [n0, n1] = self.max_signers.to_be_bytes();
        [S::SUITE.tag(), t0, t1, n0, n1]
    }

    /// What stands in round-one messages for context, suite, t and n.
    pub fn context_hash<S: Suite>(&self) -> [u8; 32] {
        tagged("cosigner/dkg/v1/context", &[&self.shape::<S>(), &self.context])
    }

    fn chain_commitment<S: Suite>(&self, sender: u16, part: &[u8; 32]) -> [u8; 32] {
        tagged(
            "cosigner/dkg/v1/chain-code-commitment",
            &[&self.context_hash::<S>(), &sender.to_be_bytes(), part],
        )
    }

    fn peers(&self) -> impl Iterator<Item = u16> {
        let own = self.identifier;
        (1..=self.max_signers).filter(move |i| *i != own)
    }

    fn check_senders<T>(&self, messages: &BTreeMap<u16, T>) -> Result<()> {
        check_senders(self.identifier, self.max_signers, messages)
    }
}

/// Exactly one message from every peer.
fn check_senders<T>(own: u16, max_signers: u16, messages: &BTreeMap<u16, T>) -> Result<()> {
    if let Some(stranger) = messages.keys().find(|i| **i == own || !(1..=max_signers).contains(*i)) {
        return Err(Error::caller(
            Code::UnexpectedSender,
            format!("participant {stranger} is not a peer in this run"),
        ));
    }
    if let Some(missing) = (1..=max_signers).find(|i| *i != own && !messages.contains_key(i)) {
        return Err(Error::caller(
            Code::MissingMessage,
            format!("the message of participant {missing} is missing"),
        ));
    }
    Ok(())
}

/// After the first step: holds the own polynomial.
pub struct Round1<S: Suite> {
    params: Params,
    secret: round1::SecretPackage<S>,
    own_message: Vec<u8>,
    chain_part: Zeroizing<[u8; 32]>,
}

/// Starts a run. Returns the state and the message to broadcast.
///
/// # Errors
/// `invalid_parameter` unless 2 <= t <= n <= 64 and 1 <= identifier <= n.
pub fn start<S: Suite>(params: Params, rng: &mut (impl RngCore + CryptoRng)) -> Result<(Round1<S>, Vec<u8>)> {
    check_parameters(params.identifier, params.min_signers, params.max_signers)?;
    let own = identifier::<S>(params.identifier)?;
    let (secret, package) = dkg::part1::<S, _>(own, params.max_signers, params.min_signers, &mut *rng)
        .map_err(|_| Error::abort(Code::Internal, "the polynomial could not be made"))?;
    let mut chain_part = Zeroizing::new([0; 32]);
    rng.fill_bytes(chain_part.as_mut());
    let chain_commitment = params.chain_commitment::<S>(params.identifier, &chain_part);
    let own_message = Message1 { package, chain_commitment }.encode(&params, &params.context_hash::<S>())?;
    Ok((Round1 { params, secret, own_message: own_message.clone(), chain_part }, own_message))
}

impl<S: Suite> Round1<S> {
    /// Takes every peer's round-one message; returns one secret message per peer.
    ///
    /// # Errors
    /// Those of [`Message1`], `invalid_proof`, `missing_message`, `unexpected_sender`.
    #[allow(clippy::type_complexity)]
    pub fn advance(
        self,
        messages: &BTreeMap<u16, Vec<u8>>,
    ) -> Result<(Round2<S>, BTreeMap<u16, Zeroizing<Vec<u8>>>)> {
        let Self { params, secret, own_message, chain_part } = self;
        params.check_senders(messages)?;
        let context_hash = params.context_hash::<S>();
        let mut packages = BTreeMap::new();
        let mut chain_commitments = BTreeMap::new();
        for (sender, bytes) in messages {
            let message = Message1::<S>::decode(bytes, *sender, &params, &context_hash)?;
            packages.insert(identifier::<S>(*sender)?, message.package);
            chain_commitments.insert(*sender, message.chain_commitment);
        }
        let (secret, sub_shares) =
            dkg::part2::<S>(secret, &packages).map_err(|error| blame::<S>(&params, &error))?;

        let mut transcript = messages.clone();
        transcript.insert(params.identifier, own_message);
        let round1_hash = {
            let shape = params.shape::<S>();
            let mut parts: Vec<&[u8]> = vec![&shape, &params.context];
            parts.extend(transcript.values().map(Vec::as_slice));
            tagged("cosigner/dkg/v1/round1", &parts)
        };
        let mut outgoing = BTreeMap::new();
        for receiver in params.peers() {
            let sub_share =
                sub_shares.get(&identifier::<S>(receiver)?).ok_or_else(|| internal(()))?.signing_share();
            outgoing.insert(
                receiver,
                Message2::encode(params.identifier, receiver, &round1_hash, sub_share, &chain_part),
            );
        }
        Ok((Round2 { params, secret, packages, chain_commitments, chain_part, round1_hash }, outgoing))
    }
}

/// After the second step: waits for the sub-shares.
pub struct Round2<S: Suite> {
    params: Params,
    secret: round2::SecretPackage<S>,
    packages: BTreeMap<Identifier<S>, round1::Package<S>>,
    chain_commitments: BTreeMap<u16, [u8; 32]>,
    chain_part: Zeroizing<[u8; 32]>,
    round1_hash: [u8; 32],
}

impl<S: Suite> Round2<S> {
    /// Takes every peer's round-two message; returns the own confirmation to broadcast.
    ///
    /// # Errors
    /// Those of [`Message2`], `chain_code_mismatch`, `invalid_sub_share`, `missing_message`,
    /// `unexpected_sender`, `degenerate_key`.
    pub fn advance(
        self,
        messages: &BTreeMap<u16, Zeroizing<Vec<u8>>>,
    ) -> Result<(Round3<S>, [u8; CONFIRMATION_LEN])> {
        let Self { params, secret, packages, chain_commitments, chain_part, round1_hash } = self;
        params.check_senders(messages)?;
        let mut chain_parts = BTreeMap::from([(params.identifier, chain_part)]);
        let mut sub_shares = BTreeMap::new();
        for (sender, bytes) in messages {
            let message = Message2::<S>::decode(bytes, *sender, params.identifier, &round1_hash)?;
            let commitment = chain_commitments.get(sender).ok_or_else(|| internal(()))?;
            if params.chain_commitment::<S>(*sender, &message.chain_part) != *commitment {
                return Err(Error::peer(
                    Code::ChainCodeMismatch,
                    *sender,
                    "a chain code part does not open its commitment",
                ));
            }
            chain_parts.insert(*sender, message.chain_part);
            sub_shares.insert(identifier::<S>(*sender)?, round2::Package::new(message.sub_share));
        }
        let (key, public) =
            dkg::part3::<S>(&secret, &packages, &sub_shares).map_err(|error| blame::<S>(&params, &error))?;

        let reveals: Vec<&[u8]> = chain_parts.values().map(|part| part.as_slice()).collect();
        let context_hash = params.context_hash::<S>();
        let chain_code = {
            let mut parts: Vec<&[u8]> = vec![&context_hash];
            parts.extend_from_slice(&reveals);
            tagged("cosigner/dkg/v1/chain-code", &parts)
        };
        let share = KeyShare::new(params.identifier, params.max_signers, 1, chain_code, key, public)
            .map_err(|error| Error::abort(Code::DegenerateKey, error.message))?;

        let transcript = {
            let group_key = share.group_public_key()?;
            let verifying_shares = share.verifying_shares()?;
            let mut parts: Vec<&[u8]> = vec![&round1_hash];
            parts.extend_from_slice(&reveals);
            parts.push(&group_key);
            parts.extend(verifying_shares.values().map(Vec::as_slice));
            parts.push(&chain_code);
            let shape = params.shape::<S>();
            parts.insert(0, &shape);
            tagged("cosigner/dkg/v1/transcript", &parts)
        };
        let own = confirmation(&transcript, params.identifier);
        Ok((Round3 { share, transcript }, own))
    }
}

/// After the third step: holds the share back until everybody has confirmed.
pub struct Round3<S: Suite> {
    share: KeyShare<S>,
    transcript: [u8; 32],
}

impl<S: Suite> Round3<S> {
    /// Takes every peer's confirmation and releases the share.
    ///
    /// # Errors
    /// `confirmation_mismatch`, `missing_message`, `unexpected_sender`.
    pub fn confirm(self, confirmations: &BTreeMap<u16, Vec<u8>>) -> Result<KeyShare<S>> {
        check_senders(self.share.identifier, self.share.max_signers, confirmations)?;
        for (sender, theirs) in confirmations {
            let expected = confirmation(&self.transcript, *sender);
            if !bool::from(expected.as_slice().ct_eq(theirs)) {
                return Err(Error::peer(
                    Code::ConfirmationMismatch,
                    *sender,
                    "a peer confirmed another transcript",
                ));
            }
        }
        Ok(self.share)
    }

    /// The group public key that the share will have; see [`KeyShare::group_public_key`].
    ///
    /// # Errors
    /// `internal`, which a finished key generation does not raise.
    pub fn group_public_key(&self) -> Result<Vec<u8>> {
        self.share.group_public_key()
    }

    /// `transcript 32 ‖ share`, for sealing while the confirmations are awaited. Secret.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let share = self.share.encode()?;
        let mut out = Zeroizing::new(Vec::with_capacity(self.transcript.len() + share.len()));
        out.extend_from_slice(&self.transcript);
        out.extend_from_slice(&share);
        Ok(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (transcript, share) = split_transcript(bytes)?;
        Ok(Self { share: KeyShare::decode(share)?, transcript })
    }
}

/// Splits the encoding of a [`Round3`] into transcript and share.
pub(crate) fn split_transcript(bytes: &[u8]) -> Result<([u8; 32], &[u8])> {
    let (transcript, share) = bytes
        .split_first_chunk::<32>()
        .ok_or_else(|| Error::abort(Code::RecordMalformed, "the record is too short"))?;
    Ok((*transcript, share))
}

/// The sender's identifier is hashed in, so that an echo of our own confirmation confirms nothing.
fn confirmation(transcript: &[u8; 32], sender: u16) -> [u8; CONFIRMATION_LEN] {
    tagged("cosigner/dkg/v1/confirmation", &[transcript, &sender.to_be_bytes()])
}

/// Our error for a failure inside frost's DKG, with the culprit as one of our identifiers.
fn blame<S: Suite>(params: &Params, error: &FrostError<S>) -> Error {
    let culprit = error
        .culprits()
        .first()
        .and_then(|c| params.peers().find(|i| identifier::<S>(*i).is_ok_and(|id| id == *c)));
    let (code, message) = match error {
        FrostError::InvalidProofOfKnowledge { .. } => {
            (Code::InvalidProof, "a proof of knowledge does not verify")
        }
        FrostError::InvalidSecretShare { .. } => {
            (Code::InvalidSubShare, "a sub-share is not on its sender's polynomial")
        }
        FrostError::IncorrectNumberOfCommitments => {
            (Code::WrongCommitmentCount, "a commitment does not have t coefficients")
        }
        _ => (Code::Internal, "key generation failed"),
    };
    match culprit {
        Some(i) => Error::peer(code, i, message),
        None => Error::abort(code, message),
    }
}
