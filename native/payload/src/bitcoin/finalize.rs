//! Putting signatures into a PSBT, and the transaction out of it.

use std::collections::BTreeMap;

use bitcoin::Witness;
use bitcoin::consensus::encode::serialize;
use bitcoin::psbt::{Input, Psbt};
use bitcoin::secp256k1::{Message, Secp256k1, VerifyOnly, XOnlyPublicKey, schnorr};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::taproot::Signature;

use super::inspect::{is_final, is_signed, sighash_type, spent_outputs};
use super::raw;
use crate::error::{Code, Error, Result};

/// A PSBT with the wallet's inputs in their final form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finalized {
    /// The PSBT.
    pub psbt: Vec<u8>,
    /// The transaction for the network, when all inputs are final.
    pub transaction: Option<Vec<u8>>,
}

/// Verifies each signature (64 bytes, by input index) against the output key that its input spends, and makes
/// these inputs final (BIP-174, BIP-371: the witness is set, the fields that served signing are removed).
///
/// # Errors
/// Those of parsing, `psbt_unexpected_signature`, `psbt_already_signed`, `psbt_sighash_type`,
/// `psbt_signature_invalid`.
pub fn finalize(psbt: &[u8], signatures: &BTreeMap<u32, Vec<u8>>) -> Result<Finalized> {
    let mut psbt = raw::parse(psbt)?;
    let spent = spent_outputs(&psbt)?;
    let secp = Secp256k1::verification_only();
    let mut witnesses = Vec::with_capacity(signatures.len());
    {
        let mut cache = SighashCache::new(&psbt.unsigned_tx);
        for (index, bytes) in signatures {
            let field = || format!("inputs[{index}]");
            let unexpected = |message| Error::new(Code::PsbtUnexpectedSignature, message).at(field());
            let k = usize::try_from(*index).map_err(|_| unexpected("there is no such input"))?;
            let (Some(input), Some(utxo)) = (psbt.inputs.get(k), spent.get(k)) else {
                return Err(unexpected("there is no such input"));
            };
            if is_signed(input) {
                return Err(Error::new(Code::PsbtAlreadySigned, "the input is signed already").at(field()));
            }
            let output_key = utxo
                .script_pubkey
                .is_p2tr()
                .then(|| utxo.script_pubkey.as_bytes().get(2..))
                .flatten()
                .and_then(|x| XOnlyPublicKey::from_slice(x).ok())
                .ok_or_else(|| unexpected("the input does not spend a Taproot output"))?;
            let sighash_type = sighash_type(input).map_err(|error| error.at(field()))?;
            let sighash = cache
                .taproot_key_spend_signature_hash(k, &Prevouts::All(&spent), sighash_type)
                .map_err(|_| Error::new(Code::PsbtMalformed, "the signature hash cannot be computed"))?;
            let signature = verified(&secp, bytes, Message::from(sighash), &output_key).ok_or_else(|| {
                Error::new(Code::PsbtSignatureInvalid, "a signature does not verify").at(field())
            })?;
            witnesses.push((k, Witness::p2tr_key_spend(&Signature { signature, sighash_type })));
        }
    }
    for (k, witness) in witnesses {
        if let Some(input) = psbt.inputs.get_mut(k) {
            make_final(input, witness);
        }
    }
    let bytes = psbt.serialize();
    let transaction = psbt.inputs.iter().all(is_final).then(|| transaction(psbt));
    Ok(Finalized { psbt: bytes, transaction })
}

/// The signature, when it verifies. libsecp256k1 checks here what another implementation made.
fn verified(
    secp: &Secp256k1<VerifyOnly>,
    bytes: &[u8],
    message: Message,
    output_key: &XOnlyPublicKey,
) -> Option<schnorr::Signature> {
    let signature = schnorr::Signature::from_slice(bytes).ok()?;
    secp.verify_schnorr(&signature, &message, output_key).ok()?;
    Some(signature)
}

fn make_final(input: &mut Input, witness: Witness) {
    let done = std::mem::take(input);
    *input = Input {
        non_witness_utxo: done.non_witness_utxo,
        witness_utxo: done.witness_utxo,
        final_script_witness: Some(witness),
        proprietary: done.proprietary,
        unknown: done.unknown,
        ..Input::default()
    };
}

fn transaction(psbt: Psbt) -> Vec<u8> {
    // The fee is the policy's business, which saw it when the PSBT was inspected.
    serialize(&psbt.extract_tx_unchecked_fee_rate())
}
