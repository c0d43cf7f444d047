use std::collections::BTreeMap;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, TapTweak};
use bitcoin::psbt::{Input, Psbt, PsbtSighashType};
use bitcoin::secp256k1::{Message, Secp256k1};
use bitcoin::taproot::TapNodeHash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use proptest::prelude::*;

use super::{address, finalize, inspect};
use crate::error::{Code, Error};

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.unwrap_err().code
}

fn keypair(byte: u8) -> Keypair {
    Keypair::from_seckey_slice(&Secp256k1::new(), &[byte; 32]).unwrap()
}

/// The wallet's internal key as its group key: 33 bytes.
fn wallet() -> Vec<u8> {
    keypair(1).public_key().serialize().to_vec()
}

fn script_of(byte: u8, root: Option<TapNodeHash>) -> ScriptBuf {
    ScriptBuf::new_p2tr(&Secp256k1::new(), keypair(byte).x_only_public_key().0, root)
}

/// Two inputs of 1000 sat, the first the wallet's; two outputs, the second back to the wallet.
fn example() -> Psbt {
    let input = |byte: u8| TxIn {
        previous_output: OutPoint { txid: Txid::from_byte_array([byte; 32]), vout: u32::from(byte) },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    };
    let output = |byte, sat| TxOut { value: Amount::from_sat(sat), script_pubkey: script_of(byte, None) };
    let mut psbt = Psbt::from_unsigned_tx(Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input(1), input(2)],
        output: vec![output(3, 1200), output(1, 700)],
    })
    .unwrap();
    psbt.inputs[0].witness_utxo = Some(output(1, 1000));
    psbt.inputs[1].witness_utxo = Some(output(2, 1000));
    psbt
}

fn inspect_changed(change: impl Fn(&mut Psbt)) -> Result<super::Summary, Error> {
    let mut psbt = example();
    change(&mut psbt);
    inspect(&psbt.serialize(), &wallet(), "regtest")
}

/// A signature by the wallet's key for input 0, with the plain key tweaked like the output.
fn signature(sighash: [u8; 32], root: Option<TapNodeHash>) -> Vec<u8> {
    let secp = Secp256k1::new();
    let pair = keypair(1).tap_tweak(&secp, root).to_keypair();
    secp.sign_schnorr_no_aux_rand(&Message::from_digest(sighash), &pair).serialize().to_vec()
}

#[test]
fn a_payment_is_summarized() {
    let summary = inspect_changed(|_| ()).unwrap();
    assert_eq!(summary.fee, 100);
    assert_eq!(summary.txid, example().unsigned_tx.compute_txid().to_string());
    let [ours, other] = &summary.inputs[..] else { panic!() };
    assert_eq!((ours.amount, ours.vout, other.ours.clone()), (1000, 1, None));
    assert_eq!(ours.ours.as_ref().unwrap().tweak, b"");
    let [payment, change] = &summary.outputs[..] else { panic!() };
    assert!(!payment.ours && change.ours);
    assert_eq!(change.address, Some(address(&wallet(), "regtest").unwrap()));
}

#[test]
fn a_signed_input_becomes_final() {
    for sighash_type in [None, Some(0), Some(1)] {
        let mut psbt = example();
        psbt.inputs[0].sighash_type = sighash_type.map(PsbtSighashType::from_u32);
        psbt.inputs[0].tap_internal_key = Some(keypair(1).x_only_public_key().0);
        let bytes = psbt.serialize();
        let ours = inspect(&bytes, &wallet(), "regtest").unwrap().inputs[0].ours.clone().unwrap();
        assert_eq!(ours.sighash_type, sighash_type.unwrap_or(0) as u8);
        let good = signature(ours.sighash, None);
        let finalized = finalize(&bytes, &BTreeMap::from([(0, good.clone())])).unwrap();
        assert_eq!(finalized.transaction, None);
        let done = Psbt::deserialize(&finalized.psbt).unwrap();
        let witness = done.inputs[0].final_script_witness.clone().unwrap();
        let mut expected = good.clone();
        expected.extend((sighash_type == Some(1)).then_some(1));
        assert_eq!(witness.to_vec(), [expected]);
        assert!(done.inputs[0].tap_internal_key.is_none() && done.inputs[0].sighash_type.is_none());
        assert!(done.inputs[0].witness_utxo.is_some());
        // A final input is left alone.
        assert_eq!(code(finalize(&finalized.psbt, &BTreeMap::from([(0, good)]))), Code::PsbtAlreadySigned);
        assert_eq!(code(inspect(&finalized.psbt, &wallet(), "regtest")), Code::PsbtAlreadySigned);
    }
}

#[test]
fn the_transaction_comes_out_when_every_input_is_final() {
    let mut psbt = example();
    psbt.inputs[1].final_script_witness = Some(Witness::from_slice(&[vec![1; 64]]));
    let bytes = psbt.serialize();
    let ours = inspect(&bytes, &wallet(), "regtest").unwrap().inputs[0].ours.clone().unwrap();
    let finalized = finalize(&bytes, &BTreeMap::from([(0, signature(ours.sighash, None))])).unwrap();
    let transaction: Transaction = deserialize(&finalized.transaction.unwrap()).unwrap();
    assert_eq!(transaction.compute_txid(), psbt.unsigned_tx.compute_txid());
    assert!(transaction.input.iter().all(|input| input.witness.len() == 1));
}

#[test]
fn a_script_tree_is_signed_under_its_root() {
    let root = TapNodeHash::from_byte_array([5; 32]);
    let mut psbt = example();
    psbt.inputs[0].witness_utxo.as_mut().unwrap().script_pubkey = script_of(1, Some(root));
    assert_eq!(code(inspect(&psbt.serialize(), &wallet(), "regtest")), Code::PsbtNoInputOfWallet);
    psbt.inputs[0].tap_internal_key = Some(keypair(1).x_only_public_key().0);
    psbt.inputs[0].tap_merkle_root = Some(root);
    let bytes = psbt.serialize();
    let ours = inspect(&bytes, &wallet(), "regtest").unwrap().inputs[0].ours.clone().unwrap();
    assert_eq!(ours.tweak, [5; 32]);
    finalize(&bytes, &BTreeMap::from([(0, signature(ours.sighash, Some(root)))])).unwrap();
    assert_eq!(
        code(finalize(&bytes, &BTreeMap::from([(0, signature(ours.sighash, None))]))),
        Code::PsbtSignatureInvalid
    );
}

#[test]
fn every_rule_has_its_code() {
    let refused = |change: &dyn Fn(&mut Psbt)| code(inspect_changed(change));
    assert_eq!(refused(&|p| p.inputs[1].witness_utxo = None), Code::PsbtMissingUtxo);
    assert_eq!(
        refused(&|p| p.unsigned_tx.input[1].previous_output = p.unsigned_tx.input[0].previous_output),
        Code::PsbtDuplicateInput
    );
    assert_eq!(refused(&|p| p.unsigned_tx.output[0].value = Amount::from_sat(1301)), Code::PsbtOverspend);
    assert_eq!(
        refused(&|p| p.unsigned_tx.output[0].value = Amount::from_sat(21_000_000 * 100_000_000 + 1)),
        Code::PsbtAmount
    );
    assert_eq!(
        refused(&|p| {
            for input in &mut p.inputs {
                input.witness_utxo.as_mut().unwrap().value = Amount::from_sat(u64::MAX);
            }
        }),
        Code::PsbtAmount
    );
    for sighash_type in [2, 3, 0x81, 0x82, 0x83, 0x80, 4, 256] {
        assert_eq!(
            refused(&|p| p.inputs[0].sighash_type = Some(PsbtSighashType::from_u32(sighash_type))),
            Code::PsbtSighashType
        );
    }
    assert_eq!(
        refused(&|p| p.inputs[0].tap_internal_key = Some(keypair(2).x_only_public_key().0)),
        Code::PsbtFieldConflict
    );
    assert_eq!(
        refused(&|p| p.inputs[0].tap_merkle_root = Some(TapNodeHash::all_zeros())),
        Code::PsbtFieldConflict
    );
    assert_eq!(
        refused(&|p| p.inputs[0].witness_utxo.as_mut().unwrap().script_pubkey = script_of(4, None)),
        Code::PsbtNoInputOfWallet
    );
    // Another wallet's input may have any type of signature hash.
    inspect_changed(|p| p.inputs[1].sighash_type = Some(PsbtSighashType::from_u32(0x83))).unwrap();
    let bytes = example().serialize();
    assert_eq!(code(inspect(&bytes, &wallet()[..31], "regtest")), Code::InvalidPublicKey);
    assert_eq!(code(inspect(&bytes, &[0xff; 32], "regtest")), Code::InvalidPublicKey);
    assert_eq!(code(inspect(&bytes, &wallet(), "bitcoin")), Code::UnknownNetwork);
}

#[test]
fn previous_transactions_must_agree() {
    let previous = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![],
        output: vec![TxOut { value: Amount::from_sat(1000), script_pubkey: script_of(1, None) }],
    };
    let with = |change: &dyn Fn(&mut Input, &mut OutPoint)| {
        inspect_changed(|p| {
            let point = OutPoint { txid: previous.compute_txid(), vout: 0 };
            p.unsigned_tx.input[0].previous_output = point;
            p.inputs[0].non_witness_utxo = Some(previous.clone());
            change(&mut p.inputs[0], &mut p.unsigned_tx.input[0].previous_output);
        })
    };
    with(&|_, _| ()).unwrap();
    assert_eq!(with(&|input, _| input.witness_utxo = None).unwrap().inputs[0].amount, 1000);
    assert_eq!(code(with(&|_, point| point.txid = Txid::all_zeros())), Code::PsbtUtxoMismatch);
    assert_eq!(code(with(&|_, point| point.vout = 1)), Code::PsbtUtxoMismatch);
    // The classic lie: a smaller amount, so that the fee looks smaller.
    assert_eq!(
        code(with(&|input, _| input.witness_utxo.as_mut().unwrap().value = Amount::from_sat(999))),
        Code::PsbtUtxoMismatch
    );
}

#[test]
fn signatures_are_checked_before_they_are_put_in() {
    let bytes = example().serialize();
    let sighash = inspect(&bytes, &wallet(), "regtest").unwrap().inputs[0].ours.clone().unwrap().sighash;
    let good = signature(sighash, None);
    let with = |index: u32, signature: Vec<u8>| code(finalize(&bytes, &BTreeMap::from([(index, signature)])));
    assert_eq!(with(1, good.clone()), Code::PsbtSignatureInvalid);
    assert_eq!(with(2, good.clone()), Code::PsbtUnexpectedSignature);
    assert_eq!(with(u32::MAX, good.clone()), Code::PsbtUnexpectedSignature);
    assert_eq!(with(0, good[..63].to_vec()), Code::PsbtSignatureInvalid);
    assert_eq!(with(0, [good.as_slice(), &[1]].concat()), Code::PsbtSignatureInvalid);
    let mut bad = good.clone();
    bad[40] ^= 1;
    assert_eq!(with(0, bad), Code::PsbtSignatureInvalid);
    let mut psbt = example();
    psbt.inputs[0].witness_utxo.as_mut().unwrap().script_pubkey = ScriptBuf::new_op_return([0; 32]);
    assert_eq!(
        code(finalize(&psbt.serialize(), &BTreeMap::from([(0, good)]))),
        Code::PsbtUnexpectedSignature
    );
}

#[test]
fn the_order_of_entries_is_free_but_nothing_else_is() {
    let mut psbt = example();
    psbt.inputs[0].tap_internal_key = Some(keypair(1).x_only_public_key().0);
    let bytes = psbt.serialize();
    // Find input 0's two entries and swap them.
    let utxo = [&[1, 1, 43][..], &serialize(psbt.inputs[0].witness_utxo.as_ref().unwrap())].concat();
    let key = [&[1, 0x17, 32][..], &keypair(1).x_only_public_key().0.serialize()].concat();
    let both = [utxo.as_slice(), &key].concat();
    let at = bytes.windows(both.len()).position(|window| window == both).unwrap();
    let mut swapped = bytes.clone();
    swapped.splice(at..at + both.len(), [key.as_slice(), &utxo].concat());
    assert_ne!(swapped, bytes);
    assert_eq!(
        inspect(&swapped, &wallet(), "regtest").unwrap(),
        inspect(&bytes, &wallet(), "regtest").unwrap()
    );
    // An entry twice, a trailing byte, a trailing map, an unterminated map.
    let mut twice = bytes.clone();
    twice.splice(at..at, key.clone());
    assert_eq!(code(inspect(&twice, &wallet(), "regtest")), Code::PsbtMalformed);
    for tail in [&[0][..], &[0, 0], &[1]] {
        let longer = [bytes.as_slice(), tail].concat();
        assert!(matches!(
            code(inspect(&longer, &wallet(), "regtest")),
            Code::PsbtMalformed | Code::PsbtNotCanonical
        ));
    }
    for len in 0..bytes.len() {
        assert!(inspect(&bytes[..len], &wallet(), "regtest").is_err());
    }
    // A length in three bytes that fits one.
    let mut wide = bytes.clone();
    let txlen = wide[7];
    assert_eq!(&wide[..7], b"psbt\xff\x01\x00");
    wide.splice(7..8, [0xfd, txlen, 0]);
    assert_eq!(code(inspect(&wide, &wallet(), "regtest")), Code::PsbtMalformed);
}

#[test]
fn versions_and_sizes_are_bounded() {
    let bytes = example().serialize();
    let mut version2 = bytes.clone();
    version2.splice(5..5, [1, 0xfb, 4, 2, 0, 0, 0]);
    assert_eq!(code(inspect(&version2, &wallet(), "regtest")), Code::PsbtVersionUnsupported);
    let no_transaction = [b"psbt\xff".as_slice(), &[0]].concat();
    assert_eq!(code(inspect(&no_transaction, &wallet(), "regtest")), Code::PsbtMalformed);
    assert_eq!(code(inspect(&vec![0; 512 * 1024 + 1], &wallet(), "regtest")), Code::PsbtTooLarge);
    let many = |inputs: u32, outputs: usize| {
        let mut psbt = example();
        let (txin, txout) = (psbt.unsigned_tx.input[0].clone(), psbt.unsigned_tx.output[1].clone());
        psbt.unsigned_tx.input = (0..inputs)
            .map(|vout| {
                let mut txin = txin.clone();
                txin.previous_output.vout = vout;
                txin
            })
            .collect();
        psbt.unsigned_tx.output = vec![TxOut { value: Amount::from_sat(1), ..txout }; outputs];
        psbt.inputs = vec![psbt.inputs[0].clone(); inputs as usize];
        psbt.outputs = vec![psbt.outputs[0].clone(); outputs];
        inspect(&psbt.serialize(), &wallet(), "regtest")
    };
    assert_eq!(many(256, 512).unwrap().inputs.len(), 256);
    assert_eq!(code(many(257, 1)), Code::PsbtTooLarge);
    assert_eq!(code(many(1, 513)), Code::PsbtTooLarge);
    assert_eq!(code(many(0, 1)), Code::PsbtMalformed);
    assert_eq!(code(many(1, 0)), Code::PsbtMalformed);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    /// A changed PSBT is refused, or is a PSBT that says what it says: its entries survive parsing.
    #[test]
    fn changed_psbts_are_refused_or_mean_what_they_say(
        changes in proptest::collection::vec((0_usize..1000, any::<u8>()), 1..3),
    ) {
        let mut psbt = example();
        psbt.inputs[0].tap_internal_key = Some(keypair(1).x_only_public_key().0);
        let mut bytes = psbt.serialize();
        let len = bytes.len();
        for (at, value) in changes {
            bytes[at % len] = value;
        }
        if let Ok(psbt) = super::raw::parse(&bytes) {
            let again = psbt.serialize();
            prop_assert_eq!(again.len(), bytes.len());
            prop_assert_eq!(super::raw::parse(&again).unwrap(), psbt);
        }
        let _ = inspect(&bytes, &wallet(), "regtest");
        let _ = finalize(&bytes, &BTreeMap::from([(0, vec![1; 64])]));
    }

    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic {
            bytes.splice(0..0, *b"psbt\xff\x01\x00");
        }
        prop_assert!(inspect(&bytes, &wallet(), "regtest").is_err());
    }
}
