//! The bytes of resharing and import (`docs/spec/threshold.md`, "Resharing").

use frost_core::keys::{SigningShare, VerifiableSecretSharingCommitment};
use zeroize::Zeroizing;

use crate::codec::{Reader, SCALAR_LEN};
use crate::error::{Code, Error, Result};
use crate::suite::{Suite, SuiteId};

const VERSION: u8 = 1;
/// version, kind, suite, sender, t', n', context hash.
const HEADER1_LEN: usize = 3 + 3 * 2 + 32;
/// version, kind, suite, sender, receiver, round-one hash.
const HEADER2_LEN: usize = 3 + 2 * 2 + 32;
const CHAIN_CODE_LEN: usize = 32;

/// Length of a confirmation, in bytes.
pub const CONFIRMATION_LEN: usize = 32;

/// What the sender in a message of a trusted dealer is, who is no participant.
pub(super) const TRUSTED_DEALER: u16 = 0;

/// Which protocol a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Between an old group and a new one.
    Reshare,
    /// From a trusted dealer, whose first message has the chain code too.
    Import,
}

impl Kind {
    const fn first(self) -> u8 {
        match self {
            Self::Reshare => 3,
            Self::Import => 5,
        }
    }

    const fn second(self) -> u8 {
        self.first() + 1
    }

    const fn chain_code_len(self) -> usize {
        match self {
            Self::Reshare => 0,
            Self::Import => CHAIN_CODE_LEN,
        }
    }
}

/// What all first messages of a run have in common.
#[derive(Clone, Debug)]
pub struct Run {
    /// The protocol.
    pub kind: Kind,
    /// The new threshold t'.
    pub min_signers: u16,
    /// The new number of participants n'.
    pub max_signers: u16,
    /// Hash of everything that the parties agreed on beforehand.
    pub context_hash: [u8; 32],
}

/// Exact length of a first message.
pub const fn message1_len<S: Suite>(kind: Kind, min_signers: u16) -> usize {
    HEADER1_LEN + kind.chain_code_len() + min_signers as usize * S::ELEMENT_LEN
}

/// Exact length of a second message.
pub const fn message2_len() -> usize {
    HEADER2_LEN + SCALAR_LEN
}

/// A parsed first message.
#[derive(Debug)]
pub struct Message1<S: Suite> {
    /// Commitments to the sender's polynomial, the constant term's first.
    pub commitment: VerifiableSecretSharingCommitment<S>,
    /// The chain code, in an import.
    pub chain_code: Option<[u8; 32]>,
}

impl<S: Suite> Message1<S> {
    /// Encodes the message of `sender`.
    ///
    /// # Errors
    /// `degenerate_key`: a commitment is the identity, which no party makes by chance.
    pub fn encode(&self, run: &Run, sender: u16) -> Result<Vec<u8>> {
        let points = self.commitment.serialize_whole().map_err(|_| degenerate())?;
        let mut out = Vec::with_capacity(message1_len::<S>(run.kind, run.min_signers));
        out.extend_from_slice(&[VERSION, run.kind.first(), S::SUITE.tag()]);
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&run.min_signers.to_be_bytes());
        out.extend_from_slice(&run.max_signers.to_be_bytes());
        out.extend_from_slice(&run.context_hash);
        out.extend(self.chain_code.iter().flatten());
        out.extend_from_slice(&points);
        Ok(out)
    }

    /// Parses the message that came from `sender` and checks that it belongs to this run.
    ///
    /// # Errors
    /// `malformed_message`, `wrong_kind`, `wrong_suite`, `wrong_sender`, `wrong_parameters`, `wrong_context` or
    /// `wrong_commitment_count`; the culprit is `sender`, or nobody for a trusted dealer.
    pub fn decode(bytes: &[u8], sender: u16, run: &Run) -> Result<Self> {
        Self::read(bytes, sender, run).map_err(|error| blame(error, sender))
    }

    fn read(bytes: &[u8], sender: u16, run: &Run) -> Result<Self> {
        let mut reader = Reader::new(bytes, Code::MalformedMessage);
        read_start::<S>(&mut reader, run.kind.first())?;
        if reader.u16()? != sender {
            return Err(Error::abort(Code::WrongSender, "a first message names another sender"));
        }
        if reader.u16()? != run.min_signers || reader.u16()? != run.max_signers {
            return Err(Error::abort(Code::WrongParameters, "a dealer runs with another threshold or size"));
        }
        if reader.array::<32>()? != run.context_hash {
            return Err(Error::abort(Code::WrongContext, "a first message belongs to another context"));
        }
        let chain_code = match run.kind {
            Kind::Reshare => None,
            Kind::Import => Some(reader.array::<CHAIN_CODE_LEN>()?),
        };
        // A longer commitment would raise the number of signers that are really needed (frost#600).
        let t = usize::from(run.min_signers);
        let points = reader.remaining();
        if points.is_multiple_of(S::ELEMENT_LEN) && points / S::ELEMENT_LEN != t {
            return Err(Error::abort(
                Code::WrongCommitmentCount,
                "a commitment does not have t coefficients",
            ));
        }
        if points != t * S::ELEMENT_LEN {
            return Err(Error::abort(Code::MalformedMessage, "a first message has a wrong length"));
        }
        let commitment = reader.commitment::<S>(run.min_signers)?;
        reader.finish()?;
        Ok(Self { commitment, chain_code })
    }
}

/// A parsed second message. Secret.
pub struct Message2<S: Suite> {
    /// The sub-share for the receiver.
    pub sub_share: Zeroizing<SigningShare<S>>,
}

impl<S: Suite> Message2<S> {
    /// Encodes the message to `receiver`.
    pub fn encode(
        kind: Kind,
        sender: u16,
        receiver: u16,
        round1_hash: &[u8; 32],
        sub_share: &SigningShare<S>,
    ) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(message2_len()));
        out.extend_from_slice(&[VERSION, kind.second(), S::SUITE.tag()]);
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&receiver.to_be_bytes());
        out.extend_from_slice(round1_hash);
        out.extend_from_slice(&Zeroizing::new(sub_share.serialize()));
        out
    }

    /// Parses the message that `sender` sent to `receiver`.
    ///
    /// # Errors
    /// `malformed_message`, `wrong_kind`, `wrong_suite`, `wrong_sender`, `wrong_receiver` or
    /// `transcript_mismatch`; the culprit is `sender`, or nobody for a trusted dealer.
    pub fn decode(
        bytes: &[u8],
        kind: Kind,
        sender: u16,
        receiver: u16,
        round1_hash: &[u8; 32],
    ) -> Result<Self> {
        Self::read(bytes, kind, sender, receiver, round1_hash).map_err(|error| blame(error, sender))
    }

    fn read(bytes: &[u8], kind: Kind, sender: u16, receiver: u16, round1_hash: &[u8; 32]) -> Result<Self> {
        let mut reader = Reader::new(bytes, Code::MalformedMessage);
        read_start::<S>(&mut reader, kind.second())?;
        if reader.u16()? != sender {
            return Err(Error::abort(Code::WrongSender, "a second message names another sender"));
        }
        if reader.u16()? != receiver {
            return Err(Error::abort(Code::WrongReceiver, "a second message is for somebody else"));
        }
        if reader.array::<32>()? != *round1_hash {
            return Err(Error::abort(Code::TranscriptMismatch, "a dealer saw other first messages"));
        }
        let sub_share = Zeroizing::new(SigningShare::<S>::new(reader.scalar::<S>()?));
        reader.finish()?;
        Ok(Self { sub_share })
    }
}

fn read_start<S: Suite>(reader: &mut Reader<'_>, kind: u8) -> Result<()> {
    if reader.array::<2>()? != [VERSION, kind] {
        return Err(Error::abort(Code::WrongKind, "a message is of another kind or version"));
    }
    if SuiteId::from_tag(reader.u8()?) != Some(S::SUITE) {
        return Err(Error::abort(Code::WrongSuite, "a message is for another suite"));
    }
    Ok(())
}

/// The error with the dealer as culprit; a trusted dealer has no name here.
pub(super) fn blame(error: Error, dealer: u16) -> Error {
    if dealer == TRUSTED_DEALER { error } else { error.blame(dealer) }
}

pub(super) fn degenerate() -> Error {
    Error::abort(Code::DegenerateKey, "a public value is the identity")
}
