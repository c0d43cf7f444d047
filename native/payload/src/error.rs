//! Errors of the payload parsers.

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
    /// A public key is not 32 or 33 bytes, or not a point.
    InvalidPublicKey => "invalid_public_key",
    /// The network's name is not known.
    UnknownNetwork => "unknown_network",
    /// A transaction or message of more than 131072 bytes.
    EvmTooLarge => "evm_too_large",
    /// Not canonical RLP, or not the fields of its transaction type.
    EvmMalformed => "evm_malformed",
    /// A transaction type other than legacy, 1, 2, 3 and 4.
    EvmTypeUnsupported => "evm_type_unsupported",
    /// A legacy transaction without a chain id (EIP-155), which every chain would accept.
    EvmNoReplayProtection => "evm_no_replay_protection",
    /// The transaction has a signature already.
    EvmAlreadySigned => "evm_already_signed",
    /// Well formed, but no transaction of this type can be so.
    EvmInvalid => "evm_invalid",
    /// A signature has a wrong form, a high s, or is not of the wallet's key.
    EvmSignatureInvalid => "evm_signature_invalid",
    /// Typed data of more than 131072 bytes, or nested too deeply.
    TypedDataTooLarge => "typed_data_too_large",
    /// Not JSON, or not of the shape of EIP-712.
    TypedDataMalformed => "typed_data_malformed",
    /// A type is not defined, not well formed, or defined twice.
    TypedDataType => "typed_data_type",
    /// A field that the type has is missing.
    TypedDataMissingField => "typed_data_missing_field",
    /// A field that the type does not have is present.
    TypedDataUnknownField => "typed_data_unknown_field",
    /// A value is not of its type.
    TypedDataValue => "typed_data_value",
    /// The domain's type is not one that every implementation reads in the same way.
    TypedDataDomain => "typed_data_domain",
    /// With its signatures the transaction would exceed 1232 bytes.
    SolanaTooLarge => "solana_too_large",
    /// Not a legacy or v0 message, or not in its only encoding.
    SolanaMalformed => "solana_malformed",
    /// A message version other than legacy and 0.
    SolanaVersionUnsupported => "solana_version_unsupported",
    /// Indexes, header counts or accounts contradict each other.
    SolanaInvalid => "solana_invalid",
    /// A text of more than 65515 bytes.
    SolanaTextTooLarge => "solana_text_too_large",
    /// A text that is empty, not UTF-8, or does not show as what it is.
    SolanaTextInvalid => "solana_text_invalid",
    /// A text that is a transaction's message as well.
    SolanaTextIsMessage => "solana_text_is_message",
    /// A required signature is missing.
    SolanaMissingSignature => "solana_missing_signature",
    /// A signature is of an account that does not sign.
    SolanaUnexpectedSignature => "solana_unexpected_signature",
    /// A signature has a wrong length or does not verify.
    SolanaSignatureInvalid => "solana_signature_invalid",
    /// More than 524288 bytes, 256 inputs or 512 outputs.
    PsbtTooLarge => "psbt_too_large",
    /// Not a well-formed PSBT.
    PsbtMalformed => "psbt_malformed",
    /// A PSBT version other than 0.
    PsbtVersionUnsupported => "psbt_version_unsupported",
    /// The PSBT's entries are not those that it means.
    PsbtNotCanonical => "psbt_not_canonical",
    /// An output is spent twice.
    PsbtDuplicateInput => "psbt_duplicate_input",
    /// An input does not say which output it spends, which BIP-341 needs of all.
    PsbtMissingUtxo => "psbt_missing_utxo",
    /// The two descriptions of a spent output disagree.
    PsbtUtxoMismatch => "psbt_utxo_mismatch",
    /// An amount or a sum is above 21 million bitcoin.
    PsbtAmount => "psbt_amount",
    /// The outputs are worth more than the inputs.
    PsbtOverspend => "psbt_overspend",
    /// The wallet's input asks for a signature hash type other than DEFAULT or ALL.
    PsbtSighashType => "psbt_sighash_type",
    /// Fields of the wallet's input contradict each other.
    PsbtFieldConflict => "psbt_field_conflict",
    /// No input belongs to the wallet.
    PsbtNoInputOfWallet => "psbt_no_input_of_wallet",
    /// The wallet's input has a signature already.
    PsbtAlreadySigned => "psbt_already_signed",
    /// A signature is for an input that does not exist or is not a Taproot output.
    PsbtUnexpectedSignature => "psbt_unexpected_signature",
    /// A signature has a wrong length or does not verify.
    PsbtSignatureInvalid => "psbt_signature_invalid",
}

/// An error with its code, a text for a person, and the part of the payload it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Stable code.
    pub code: Code,
    /// For a person.
    pub message: Cow<'static, str>,
    /// For example `inputs[2].witness_utxo`.
    pub field: Option<String>,
}

impl Error {
    /// An error about the payload as a whole.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// The same error, about one part of the payload.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{} ({field})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}
