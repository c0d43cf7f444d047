//! One error type: a stable code, who is to blame, and what to do now.

use std::borrow::Cow;
use std::fmt;

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)+) => {
        /// Stable error codes. The text form is part of the public interface and never changes meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// Every code, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable snake_case form.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

codes! {
    /// The caller's parameters are outside their documented bounds.
    InvalidParameter => "invalid_parameter",
    /// The suite's name is not known.
    UnknownSuite => "unknown_suite",
    /// The suite has keys but no signing protocol here.
    SuiteCannotSign => "suite_cannot_sign",
    /// A one-shot state was used a second time.
    StateConsumed => "state_consumed",
    /// A message does not have the exact length or layout of its kind, or holds an invalid point or scalar.
    MalformedMessage => "malformed_message",
    /// A message has another format version or kind.
    WrongKind => "wrong_kind",
    /// A message or a share is of another suite.
    WrongSuite => "wrong_suite",
    /// A message states another threshold or number of participants.
    WrongParameters => "wrong_parameters",
    /// A message belongs to another context.
    WrongContext => "wrong_context",
    /// A message states another sender than the one it came from.
    WrongSender => "wrong_sender",
    /// A message is addressed to somebody else.
    WrongReceiver => "wrong_receiver",
    /// A participant's message is missing.
    MissingMessage => "missing_message",
    /// A message came from somebody who is not a peer in this run (ourselves included).
    UnexpectedSender => "unexpected_sender",
    /// A polynomial commitment does not have exactly t coefficients.
    WrongCommitmentCount => "wrong_commitment_count",
    /// A proof of knowledge (of a polynomial's constant term, of a nonce, of a share) does not verify.
    InvalidProof => "invalid_proof",
    /// A sub-share does not lie on its sender's committed polynomial.
    InvalidSubShare => "invalid_sub_share",
    /// A chain code contribution does not open its commitment.
    ChainCodeMismatch => "chain_code_mismatch",
    /// A peer saw other round-one messages than we did.
    TranscriptMismatch => "transcript_mismatch",
    /// A peer's confirmation is not the one that our transcript calls for.
    ConfirmationMismatch => "confirmation_mismatch",
    /// A result of key generation or resharing is the identity or zero (never happens by chance).
    DegenerateKey => "degenerate_key",
    /// A dealer's constant term is not its part of the key, so that the key would move.
    WrongConstantTerm => "wrong_constant_term",
    /// Shares that are to be used together are not of one group at one epoch.
    SharesMismatch => "shares_mismatch",
    /// The public data of a group has another form, or contradicts itself.
    InvalidGroup => "invalid_group",
    /// Fewer signers than the threshold, or more than there are participants.
    WrongSignerCount => "wrong_signer_count",
    /// Lists that must have one entry per message do not.
    CountMismatch => "count_mismatch",
    /// A message to sign has a length that the suite does not allow.
    MessageLength => "message_length",
    /// A tweak that the suite does not know or of a wrong length.
    InvalidTweak => "invalid_tweak",
    /// The nonces belong to another key share.
    WrongShare => "wrong_share",
    /// A nonce commitment is malformed or the identity.
    InvalidCommitment => "invalid_commitment",
    /// A signature share does not verify against its sender's verifying share.
    InvalidSignatureShare => "invalid_signature_share",
    /// A public key is not a valid encoding of a non-identity point of prime order.
    InvalidPublicKey => "invalid_public_key",
    /// A signature does not verify.
    SignatureInvalid => "signature_invalid",
    /// A sealed record has a wrong kind, version or length.
    RecordMalformed => "record_malformed",
    /// A sealed record does not authenticate under this key and associated data.
    RecordNotAuthentic => "record_not_authentic",
    /// An authentic record holds a share that contradicts its own public data.
    ShareInconsistent => "share_inconsistent",
    /// A derivation path is too long, hardened, or has no key.
    InvalidPath => "invalid_path",
    /// An extension index of the session was used before.
    IndexReused => "index_reused",
    /// The client's oblivious transfers are not consistent.
    OtCheckFailed => "ot_check_failed",
    /// The enclave's products are not consistent.
    MultiplicationCheckFailed => "multiplication_check_failed",
    /// A check failed in this session before: its oblivious transfers are gone.
    SessionBurned => "session_burned",
    /// A private key has a wrong length or form, is zero, or is not below the group order.
    InvalidSecretKey => "invalid_secret_key",
    /// The checksum of an encoded private key is wrong.
    KeyChecksumMismatch => "key_checksum_mismatch",
    /// An encoded private key is of a kind that is not imported: for an uncompressed public key, of another network.
    UnsupportedKey => "unsupported_key",
    /// A key pair's public half does not belong to its private half.
    PublicKeyMismatch => "public_key_mismatch",
    /// Not a recovery phrase: a wrong number of words, or one that is not in the list.
    InvalidPhrase => "invalid_phrase",
    /// The words of a recovery phrase contradict its checksum.
    PhraseChecksumMismatch => "phrase_checksum_mismatch",
    /// The key has no such form: a format of another chain, or one that needs the seed.
    ExportUnavailable => "export_unavailable",
    /// The random number generator or a primitive failed; no output was made.
    Internal => "internal",
}

/// Whose message or argument caused the error. A participant's name here is evidence only as far as the
/// channel that delivered the message authenticates its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// The local caller.
    Caller,
    /// The participant with this identifier.
    Participant(u16),
}

/// What the caller has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Start the same operation again; nothing was learnt by anybody.
    Retry,
    /// Give up this run; its state is gone.
    Abort,
    /// Give up this run and the session it ran in.
    Burn,
}

impl Reaction {
    /// The stable text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Abort => "abort",
            Self::Burn => "burn",
        }
    }
}

/// An error with its code, culprit and reaction. The message is for a person and holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Stable code.
    pub code: Code,
    /// Who caused it, where that is known.
    pub culprit: Option<Culprit>,
    /// What to do now.
    pub reaction: Reaction,
    /// For a person.
    pub message: Cow<'static, str>,
}

impl Error {
    /// A mistake of the local caller: nothing was computed, calling again correctly is fine.
    pub fn caller(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, culprit: Some(Culprit::Caller), reaction: Reaction::Retry, message: message.into() }
    }

    /// A peer's message was refused: the run is over.
    pub fn peer(code: Code, identifier: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            culprit: Some(Culprit::Participant(identifier)),
            reaction: Reaction::Abort,
            message: message.into(),
        }
    }

    /// A peer's message failed a check that protects secrets: the run and its session are over.
    pub fn burn(code: Code, identifier: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reaction: Reaction::Burn, ..Self::peer(code, identifier, message) }
    }

    /// Nobody in particular is to blame: the run is over.
    pub fn abort(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, culprit: None, reaction: Reaction::Abort, message: message.into() }
    }

    /// The same error, blamed on the participant who sent the bytes.
    #[must_use]
    pub fn blame(mut self, identifier: u16) -> Self {
        self.culprit = Some(Culprit::Participant(identifier));
        self.reaction = Reaction::Abort;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_snake_case() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(texts.iter().all(|t| t.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }
}
