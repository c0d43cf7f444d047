//! What a PSBT does, and what the wallet's signatures on it cover.

use std::collections::BTreeSet;

use bitcoin::hashes::Hash;
use bitcoin::psbt::{Input, Psbt};
use bitcoin::secp256k1::{Secp256k1, VerifyOnly, XOnlyPublicKey};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::{Address, Amount, Network, OutPoint, ScriptBuf, TxIn, TxOut};

use super::{key, raw};
use crate::error::{Code, Error, Result};

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSummary {
    /// Transaction of the spent output, hex in display order.
    pub txid: String,
    /// Index of the spent output.
    pub vout: u32,
    /// In satoshi.
    pub amount: u64,
    /// Script of the spent output.
    pub script: Vec<u8>,
    /// Sequence number.
    pub sequence: u32,
    /// Whether it is a key-path output of the wallet.
    pub ours: Option<Ours>,
}

/// What is signed for an input of the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// The BIP-341 signature hash.
    pub sighash: [u8; 32],
    /// 0 (DEFAULT) or 1 (ALL).
    pub sighash_type: u8,
    /// The Merkle root of the script tree; empty for BIP-86.
    pub tweak: Vec<u8>,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSummary {
    /// Address, where the script has one.
    pub address: Option<String>,
    /// Script.
    pub script: Vec<u8>,
    /// In satoshi.
    pub amount: u64,
    /// Whether it pays the wallet's BIP-86 output.
    pub ours: bool,
}

/// What the transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Transaction id, hex in display order.
    pub txid: String,
    /// Transaction version.
    pub version: i32,
    /// Lock time, as it stands in the transaction.
    pub lock_time: u32,
    /// Inputs, in order.
    pub inputs: Vec<InputSummary>,
    /// Outputs, in order.
    pub outputs: Vec<OutputSummary>,
    /// In satoshi.
    pub fee: u64,
}

/// Parses and checks a PSBT for the wallet with this group public key (33 bytes, or 32: the internal key).
///
/// # Errors
/// Every `psbt_*` code but those of finalizing, `invalid_public_key`, `unknown_network`.
pub fn inspect(psbt: &[u8], group_public_key: &[u8], network_name: &str) -> Result<Summary> {
    let network = key::network(network_name)?;
    let internal_key = key::x_only(group_public_key)?;
    let psbt = raw::parse(psbt)?;
    let spent = spent_outputs(&psbt)?;
    let fee = fee(&psbt, &spent)?;
    let secp = Secp256k1::verification_only();
    let wallet_script = key::script(&secp, internal_key, None);

    let inputs = input_summaries(&psbt, &spent, &secp, internal_key, &wallet_script)?;
    if inputs.iter().all(|input| input.ours.is_none()) {
        return Err(Error::new(Code::PsbtNoInputOfWallet, "no input is an output of this wallet"));
    }
    let outputs = psbt
        .unsigned_tx
        .output
        .iter()
        .map(|output| output_summary(output, network, &wallet_script))
        .collect();
    Ok(Summary {
        txid: psbt.unsigned_tx.compute_txid().to_string(),
        version: psbt.unsigned_tx.version.0,
        lock_time: psbt.unsigned_tx.lock_time.to_consensus_u32(),
        inputs,
        outputs,
        fee,
    })
}

fn input_summaries(
    psbt: &Psbt,
    spent: &[TxOut],
    secp: &Secp256k1<VerifyOnly>,
    internal_key: XOnlyPublicKey,
    wallet_script: &ScriptBuf,
) -> Result<Vec<InputSummary>> {
    let mut cache = SighashCache::new(&psbt.unsigned_tx);
    let mut summaries = Vec::with_capacity(spent.len());
    for (k, ((txin, input), utxo)) in psbt.unsigned_tx.input.iter().zip(&psbt.inputs).zip(spent).enumerate() {
        let ours = match wallet_tweak(input, utxo, secp, internal_key, wallet_script)
            .map_err(|error| error.at(format!("inputs[{k}]")))?
        {
            None => None,
            Some(tweak) => {
                let sighash_type =
                    sighash_type(input).map_err(|error| error.at(format!("inputs[{k}].sighash_type")))?;
                if is_signed(input) {
                    return Err(Error::new(Code::PsbtAlreadySigned, "the wallet's input is signed already")
                        .at(format!("inputs[{k}]")));
                }
                let sighash = cache
                    .taproot_key_spend_signature_hash(k, &Prevouts::All(spent), sighash_type)
                    .map_err(|_| Error::new(Code::PsbtMalformed, "the signature hash cannot be computed"))?;
                Some(Ours { sighash: sighash.to_byte_array(), sighash_type: sighash_type as u8, tweak })
            }
        };
        summaries.push(input_summary(txin, utxo, ours));
    }
    Ok(summaries)
}

fn input_summary(txin: &TxIn, utxo: &TxOut, ours: Option<Ours>) -> InputSummary {
    let OutPoint { txid, vout } = txin.previous_output;
    InputSummary {
        txid: txid.to_string(),
        vout,
        amount: utxo.value.to_sat(),
        script: utxo.script_pubkey.to_bytes(),
        sequence: txin.sequence.to_consensus_u32(),
        ours,
    }
}

fn output_summary(output: &TxOut, network: Network, wallet_script: &ScriptBuf) -> OutputSummary {
    OutputSummary {
        address: Address::from_script(&output.script_pubkey, network).ok().map(|address| address.to_string()),
        script: output.script_pubkey.to_bytes(),
        amount: output.value.to_sat(),
        ours: output.script_pubkey == *wallet_script,
    }
}

/// The tweak under which the wallet's key spends this output; `None` when it does not.
fn wallet_tweak(
    input: &Input,
    utxo: &TxOut,
    secp: &Secp256k1<VerifyOnly>,
    internal_key: XOnlyPublicKey,
    wallet_script: &ScriptBuf,
) -> Result<Option<Vec<u8>>> {
    let conflict = |message| Err(Error::new(Code::PsbtFieldConflict, message));
    if utxo.script_pubkey == *wallet_script {
        if input.tap_internal_key.is_some_and(|key| key != internal_key) {
            return conflict("the wallet's output names another internal key");
        }
        if input.tap_merkle_root.is_some() {
            return conflict("the wallet's output has no script tree, but the input names one");
        }
        return Ok(Some(Vec::new()));
    }
    match input.tap_merkle_root {
        Some(root)
            if input.tap_internal_key == Some(internal_key)
                && utxo.script_pubkey == key::script(secp, internal_key, Some(root)) =>
        {
            Ok(Some(root.to_byte_array().to_vec()))
        }
        _ => Ok(None),
    }
}

/// DEFAULT and ALL commit to every input and output; nothing else is signed.
pub(super) fn sighash_type(input: &Input) -> Result<TapSighashType> {
    let sighash_type = match input.sighash_type {
        None => return Ok(TapSighashType::Default),
        Some(sighash_type) => sighash_type.taproot_hash_ty(),
    };
    match sighash_type {
        Ok(sighash_type @ (TapSighashType::Default | TapSighashType::All)) => Ok(sighash_type),
        _ => {
            Err(Error::new(Code::PsbtSighashType, "only the signature hash types DEFAULT and ALL are signed"))
        }
    }
}

/// Whether the input has its final form or a key-path signature.
pub(super) fn is_signed(input: &Input) -> bool {
    is_final(input) || input.tap_key_sig.is_some()
}

/// Whether the input has its final form.
pub(super) fn is_final(input: &Input) -> bool {
    input.final_script_witness.is_some() || input.final_script_sig.is_some()
}

/// The outputs that are spent, checked against the transactions that made them where those are given.
pub(super) fn spent_outputs(psbt: &Psbt) -> Result<Vec<TxOut>> {
    let mut seen = BTreeSet::new();
    let mut spent = Vec::with_capacity(psbt.inputs.len());
    for (k, (txin, input)) in psbt.unsigned_tx.input.iter().zip(&psbt.inputs).enumerate() {
        if !seen.insert(txin.previous_output) {
            return Err(
                Error::new(Code::PsbtDuplicateInput, "an output is spent twice").at(format!("inputs[{k}]"))
            );
        }
        spent.push(spent_output(txin, input).map_err(|error| error.at(format!("inputs[{k}]")))?);
    }
    Ok(spent)
}

fn spent_output(txin: &TxIn, input: &Input) -> Result<TxOut> {
    let mismatch = |message| Error::new(Code::PsbtUtxoMismatch, message);
    let OutPoint { txid, vout } = txin.previous_output;
    let from_transaction = match &input.non_witness_utxo {
        None => None,
        Some(transaction) => {
            if transaction.compute_txid() != txid {
                return Err(mismatch("the previous transaction is not the one that is spent"));
            }
            let index = usize::try_from(vout).map_err(|_| mismatch("the spent output does not exist"))?;
            Some(transaction.output.get(index).ok_or_else(|| mismatch("the spent output does not exist"))?)
        }
    };
    match (&input.witness_utxo, from_transaction) {
        (Some(stated), Some(real)) if stated != real => {
            Err(mismatch("the spent output is not that of the previous transaction"))
        }
        (Some(utxo), _) | (None, Some(utxo)) => Ok(utxo.clone()),
        (None, None) => Err(Error::new(Code::PsbtMissingUtxo, "the spent output is not given")),
    }
}

fn fee(psbt: &Psbt, spent: &[TxOut]) -> Result<u64> {
    let inputs = sum(spent, "inputs")?;
    let outputs = sum(&psbt.unsigned_tx.output, "outputs")?;
    inputs
        .checked_sub(outputs)
        .ok_or_else(|| Error::new(Code::PsbtOverspend, "the outputs are worth more than the inputs"))
}

fn sum(outputs: &[TxOut], field: &str) -> Result<u64> {
    let mut total = Amount::ZERO;
    for output in outputs {
        total = total
            .checked_add(output.value)
            .filter(|total| *total <= Amount::MAX_MONEY)
            .ok_or_else(|| Error::new(Code::PsbtAmount, "more than 21 million bitcoin").at(field))?;
    }
    Ok(total.to_sat())
}
