use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use proptest::prelude::*;

use super::transaction::Transaction;
use super::{Call, UnsignedTransaction, Value, address, inspect_message, inspect_typed_data};
use crate::error::{Code, Error};

const MAIL: &str = r#"{
  "types": {
    "EIP712Domain": [{"name":"name","type":"string"},{"name":"version","type":"string"},
                     {"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],
    "Person": [{"name":"name","type":"string"},{"name":"wallet","type":"address"}],
    "Mail": [{"name":"from","type":"Person"},{"name":"to","type":"Person"},{"name":"contents","type":"string"}]
  },
  "primaryType": "Mail",
  "domain": {"name":"Ether Mail","version":"1","chainId":1,
             "verifyingContract":"0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"},
  "message": {"from":{"name":"Cow","wallet":"0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
              "to":{"name":"Bob","wallet":"0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
              "contents":"Hello, Bob!"}
}"#;

fn code(result: Result<UnsignedTransaction, Error>) -> (Code, Option<String>) {
    let error = result.unwrap_err();
    (error.code, error.field)
}

#[test]
fn the_example_of_eip_155_has_its_digest_and_its_signed_form() {
    let unsigned = hex::decode(
        "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080",
    )
    .unwrap();
    let parsed = UnsignedTransaction::parse(&unsigned).unwrap();
    assert_eq!(
        hex::encode(parsed.digest()),
        "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
    );
    let signature = hex::decode(concat!(
        "28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276",
        "67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    ))
    .unwrap();
    // The key is 32 times 46.
    let secret = secp256k1::SecretKey::from_slice(&[0x46; 32]).unwrap();
    let key = secret.public_key(&secp256k1::Secp256k1::new()).serialize();
    assert_eq!(address(&key).unwrap(), "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F");
    assert_eq!(
        hex::encode(parsed.assemble(&signature, 0, &key).unwrap().raw),
        concat!(
            "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080",
            "25a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276",
            "a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
        )
    );
    assert_eq!(parsed.assemble(&signature, 1, &key).unwrap_err().code, Code::EvmSignatureInvalid);
}

#[test]
fn other_encodings_of_the_same_transaction_are_refused() {
    let malformed = |field: &str| (Code::EvmMalformed, Some(field.to_owned()));
    let cases = [
        // A long header for a short list, a length with leading zeros, a number with leading zeros.
        ("f80909018080808080018080", malformed("transaction")),
        ("f9000909018080808080018080", malformed("transaction")),
        ("cb82000901808080808001808080", malformed("transaction")),
        ("ca0001808080808001808080", malformed("transaction")),
        ("c90001808080808001808080", malformed("transaction")),
        ("c9000180808080018080", malformed("nonce")),
        ("ca810901808080800180 80", malformed("nonce")),
        ("cb82000901808080800180 80", malformed("nonce")),
        ("c909b80080808080018080", malformed("transaction")),
    ];
    for (text, expected) in cases {
        let bytes = hex::decode(text.replace(' ', "")).unwrap();
        assert_eq!(code(UnsignedTransaction::parse(&bytes)), expected, "{text}");
    }
    let plain = hex::decode("c9090180808080018080").unwrap();
    assert!(UnsignedTransaction::parse(&plain).is_ok());
}

#[test]
fn a_call_is_decoded_only_with_addresses_of_160_bits() {
    let mut data = hex::decode("a9059cbb").unwrap();
    data.extend([0; 12]);
    data.extend([7; 20]);
    data.extend([9; 32]);
    let to = Address::repeat_byte(7).to_string();
    assert_eq!(Call::decode(&data), Some(Call::Transfer { to, amount: [9; 32] }));
    data[15] = 1;
    assert_eq!(Call::decode(&data), None);
}

#[test]
fn the_example_of_eip_712_has_its_digest() {
    let data = inspect_typed_data(MAIL.as_bytes()).unwrap();
    assert_eq!(hex::encode(data.digest), "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2");
    assert_eq!(data.message.last().unwrap().1, Value::String("Hello, Bob!".to_owned()));
}

#[test]
fn a_key_that_means_something_to_the_json_library_is_an_ordinary_key() {
    for key in ["$serde_json::private::Number", "$serde_json::private::RawValue"] {
        let text = MAIL.replace("\"Hello, Bob!\"", &format!("{{\"{key}\":\"1\"}}"));
        let error = inspect_typed_data(text.as_bytes()).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (Code::TypedDataValue, Some("message.contents")));
    }
}

#[test]
fn control_characters_of_a_key_do_not_reach_the_error() {
    let text = MAIL.replace("\"contents\":\"Hello", "\"a\\u001b[31m\":1,\"contents\":\"Hello");
    let error = inspect_typed_data(text.as_bytes()).unwrap_err();
    assert_eq!(error.code, Code::TypedDataUnknownField);
    assert_eq!(error.field.as_deref(), Some("message.a\u{fffd}[31m"));
}

#[test]
fn a_message_and_data_for_a_validator_differ() {
    let plain = inspect_message(b"hello", None).unwrap();
    assert_eq!(plain.digest, keccak256(b"\x19Ethereum Signed Message:\n5hello").0);
    let data = inspect_message(b"hello", Some(&[1; 20])).unwrap();
    assert_eq!(data.digest, keccak256([&b"\x19\0"[..], &[1; 20], b"hello"].concat()).0);
}

fn kind() -> impl Strategy<Value = TxKind> {
    prop_oneof![Just(TxKind::Create), any::<[u8; 20]>().prop_map(|to| TxKind::Call(to.into()))]
}

fn access_list() -> impl Strategy<Value = AccessList> {
    let slots = prop::collection::vec(any::<[u8; 32]>().prop_map(B256::from), 0..3);
    let item = (any::<[u8; 20]>(), slots)
        .prop_map(|(address, storage_keys)| AccessListItem { address: address.into(), storage_keys });
    prop::collection::vec(item, 0..3).prop_map(AccessList)
}

fn authorizations() -> impl Strategy<Value = Vec<SignedAuthorization>> {
    let one = (any::<[u8; 32]>(), any::<[u8; 20]>(), any::<u64>(), any::<u8>(), any::<[u8; 32]>());
    let one = one.prop_map(|(number, address, nonce, y_parity, r)| {
        let inner = Authorization { chain_id: number_of(number), address: address.into(), nonce };
        SignedAuthorization::new_unchecked(inner, y_parity, number_of(r), number_of(number))
    });
    prop::collection::vec(one, 1..3)
}

fn number_of(bytes: [u8; 32]) -> U256 {
    // Short numbers too: the first byte says how many bits are left out.
    U256::from_be_bytes(bytes) >> usize::from(bytes[0])
}

/// Transactions of every type, as `alloy` encodes them.
fn transactions() -> impl Strategy<Value = Transaction> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u128>(), any::<u128>(), any::<[u8; 32]>());
    let rest = (kind(), prop::collection::vec(any::<u8>(), 0..100), access_list(), authorizations());
    (0..5, numbers, rest).prop_map(|(kind, numbers, (to, input, access_list, authorization_list))| {
        let (chain_id, nonce, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, value) = numbers;
        let (value, input) = (number_of(value), Bytes::from(input));
        let address = to.into_to().unwrap_or_default();
        let gas_price = max_fee_per_gas;
        match kind {
            0 => TxLegacy { chain_id: Some(chain_id), nonce, gas_price, gas_limit, to, value, input }.into(),
            1 => TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input }.into(),
            2 => TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                access_list,
                input,
            }
            .into(),
            3 => TxEip4844 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to: address,
                value,
                access_list,
                blob_versioned_hashes: vec![B256::repeat_byte(1); 2],
                max_fee_per_blob_gas: max_fee_per_gas,
                input,
            }
            .into(),
            _ => TxEip7702 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to: address,
                value,
                access_list,
                authorization_list,
                input,
            }
            .into(),
        }
    })
}

proptest! {
    #[test]
    fn what_alloy_encodes_is_read_as_it_was(transaction in transactions()) {
        let bytes = transaction.encoded_for_signing();
        let parsed = UnsignedTransaction::parse(&bytes).unwrap();
        prop_assert_eq!(&parsed.transaction, &transaction);
        prop_assert_eq!(parsed.digest(), keccak256(&bytes).0);
        parsed.summary();
    }

    #[test]
    fn a_changed_transaction_is_refused_or_is_its_own_encoding(
        transaction in transactions(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = transaction.encoded_for_signing();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(parsed) = UnsignedTransaction::parse(&bytes) {
            prop_assert_eq!(parsed.transaction.encoded_for_signing(), bytes);
            parsed.summary();
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = UnsignedTransaction::parse(&bytes);
        let _ = inspect_typed_data(&bytes);
        let _ = inspect_message(&bytes, None);
    }

    #[test]
    fn changed_typed_data_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = MAIL.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = inspect_typed_data(&bytes);
    }
}
