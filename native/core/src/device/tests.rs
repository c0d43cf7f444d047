use proptest::prelude::*;

use super::*;
use crate::any::{AnyShare, import_receive};
use crate::error::{Code, Result};
use crate::reshare::Confirmations;
use crate::reshare::import::Shape;
use crate::seal::{Kind, PassphraseCost};
use crate::suite::SuiteId;
use crate::testing::{dkg, rng};

const PHRASE: &[u8] =
    b"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

fn code<T>(result: Result<T>) -> Code {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => error.code,
    }
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// BIP-32, test vector 1, and of test vector 3 the master and m/0H, whose keys begin with a zero byte.
#[test]
fn nodes_are_those_of_bip32() {
    let one = "000102030405060708090a0b0c0d0e0f";
    let three = "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4acba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be";
    for (seed, path, key, chain_code) in [
        (
            one,
            "m",
            "e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35",
            "873dff81c02f525623fd1fe5167eac3a55a049de3d314bb42ee227ffed37d508",
        ),
        (
            one,
            "m/0'",
            "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea",
            "47fdacbd0f1097043b78c63c20c34ef4ed9a111d980047ad16282c7ae6236141",
        ),
        (
            one,
            "m/0h/1",
            "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368",
            "2a7857631386ba23dacac34180dd1983734e444fdbf774041578e9b6adb37c19",
        ),
        (
            one,
            "m/0H/1/2H/2/1000000000",
            "471b76e389e528d6de6d816857e012c5455051cad6660850e58372a6c3e6e7c8",
            "c783e67b921d2beb8f6b389cc646d7263b4145701dadd2161548a8b078e65e9e",
        ),
        (
            three,
            "m",
            "00ddb80b067e0d4993197fe10f2657a844a384589847602d56f0c629c81aae32",
            "01d28a3e53cffa419ec122c968b3259e16b65076495494d97cae10bbfec3c36f",
        ),
        (
            three,
            "m/0H",
            "491f7a2eebc7b57028e0d3faa0acda02e75c33b03c48fb288c41e2ea44e1daef",
            "e5fea12a97b927fc9dc3d2cb0d1ea1cf50aa5a1fdc1f933e8906bb38df3377bd",
        ),
    ] {
        let node = tree::bip32(&hex::decode(seed).unwrap(), &tree::parse_path(path).unwrap()).unwrap();
        assert_eq!(hex::encode(node.key.as_ref()), key, "{path}");
        assert_eq!(hex::encode(node.chain_code), chain_code, "{path}");
    }
}

/// SLIP-10, test vector 1 for ed25519.
#[test]
fn nodes_are_those_of_slip10() {
    for (path, key, chain_code, public_key) in [
        (
            "m",
            "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
            "90046a93de5380a72b5e45010748567d5ea02bbf6522f979e05c0d8d8ca9fffb",
            "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
        ),
        (
            "m/0H",
            "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
            "8b59aa11380b624e81507a27fedda59fea6d0b779a778918a2fd3590e16e9c69",
            "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
        ),
        (
            "m/0H/1H/2H/2H/1000000000H",
            "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
            "68789923a0cac2cd5a29172a475fe9e0fb14cd6adb5ad98a3fa70333e7afa230",
            "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
        ),
    ] {
        let seed = unhex::<16>("000102030405060708090a0b0c0d0e0f");
        let node = tree::slip10_ed25519(&seed, &tree::parse_path(path).unwrap()).unwrap();
        assert_eq!(hex::encode(node.key.as_ref()), key, "{path}");
        assert_eq!(hex::encode(node.chain_code), chain_code, "{path}");
        let key = SecretKey::from_ed25519_seed(node.key.as_ref()).unwrap();
        assert_eq!(hex::encode(key.public_key()), public_key, "{path}");
    }
}

#[test]
fn paths_have_one_spelling_but_for_the_mark() {
    let hardened = |index: u32| index | 1 << 31;
    assert!(tree::parse_path("m").unwrap().is_empty());
    assert_eq!(
        tree::parse_path("m/44'/60h/0H/0/2147483647").unwrap(),
        [hardened(44), hardened(60), hardened(0), 0, 2_147_483_647]
    );
    assert_eq!(tree::parse_path(&format!("m{}", "/0".repeat(16))).unwrap().len(), 16);
    for bad in [
        "",
        "m/",
        "/0",
        "0",
        "M/0",
        "m//0",
        "m/0/",
        "m/00",
        "m/01",
        "m/+1",
        "m/-1",
        "m/ 1",
        "m/1 ",
        "m/0x1",
        "m/2147483648",
        "m/2147483648'",
        "m/4294967296",
        "m/99999999999999999999",
        "m/1''",
        "m/'",
        "m/h",
        "m/1p",
        "m/\u{661}",
        "m/1\u{2019}",
        "n/0",
        "m0",
        "mm",
    ] {
        assert_eq!(code(tree::parse_path(bad)), Code::InvalidPath, "{bad}");
    }
    assert_eq!(code(tree::parse_path(&format!("m{}", "/0".repeat(17)))), Code::InvalidPath);
    for bad in ["m/44'/501'/0", "m/0"] {
        let key = SecretKey::from_mnemonic(SuiteId::FrostEd25519, PHRASE, b"", bad);
        assert_eq!(code(key), Code::InvalidPath);
    }
}

#[test]
fn what_is_no_phrase_is_refused_without_repeating_it() {
    let refused =
        |phrase: &[u8]| SecretKey::from_mnemonic(SuiteId::EcdsaSecp256k1, phrase, b"", "m").unwrap_err();
    let words = |count: usize| "abandon ".repeat(count);
    for count in [0, 1, 11, 13, 14, 25, 100] {
        assert_eq!(refused(words(count).as_bytes()).code, Code::InvalidPhrase);
    }
    assert_eq!(refused(words(12).as_bytes()).code, Code::PhraseChecksumMismatch);
    let error = refused(format!("{}hunter2 about", words(10)).as_bytes());
    assert_eq!(error.code, Code::InvalidPhrase);
    assert!(error.message.contains("word 11 ") && !error.message.contains("hunter2"));
    assert_eq!(refused(&PHRASE.to_ascii_uppercase()).code, Code::InvalidPhrase);
    assert_eq!(refused(&[0xff; 20]).code, Code::InvalidPhrase);
    assert_eq!(refused(&[PHRASE, &[b' '; 1024]].concat()).code, Code::InvalidPhrase);
    for passphrase in [&[0xff][..], &[b'x'; 1025]] {
        let key = SecretKey::from_mnemonic(SuiteId::EcdsaSecp256k1, PHRASE, passphrase, "m");
        assert_eq!(code(key), Code::InvalidParameter);
    }
}

#[test]
fn white_space_and_form_of_normalization_do_not_matter() {
    let key = |phrase: &[u8], passphrase: &str| {
        let key = SecretKey::from_mnemonic(SuiteId::FrostSecp256k1Tr, phrase, passphrase.as_bytes(), "m/0");
        key.unwrap().public_key().to_vec()
    };
    let spaced = String::from_utf8_lossy(PHRASE).replace(' ', " \n\t ");
    assert_eq!(key(PHRASE, ""), key(format!("\n{spaced}\r\n").as_bytes(), ""));
    // U+00E9 and U+212B, and what they decompose to.
    assert_eq!(key(PHRASE, "caf\u{e9} \u{212b}"), key(PHRASE, "cafe\u{301} A\u{30a}"));
    assert_ne!(key(PHRASE, "caf\u{e9}"), key(PHRASE, "cafe"));
}

#[test]
fn scalars_are_below_the_order_and_not_zero() {
    let secp256k1 = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let ed25519 = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    for (suite, order, last) in [
        (SuiteId::EcdsaSecp256k1, secp256k1, 31),
        (SuiteId::FrostSecp256k1Tr, secp256k1, 31),
        (SuiteId::FrostEd25519, ed25519, 0),
    ] {
        let mut order = unhex::<32>(order);
        for bad in [&order[..], &[0; 32], &[0xff; 32], &[1; 31], &[1; 33], &[]] {
            assert_eq!(code(SecretKey::from_bytes(suite, bad)), Code::InvalidSecretKey);
        }
        order[last] -= 1;
        SecretKey::from_bytes(suite, &order).unwrap();
    }
    for bad in [&[][..], &[1; 31], &[1; 33], &[1; 64]] {
        assert_eq!(code(SecretKey::from_ed25519_seed(bad)), Code::InvalidSecretKey);
    }
}

/// The example of the Bitcoin wiki, "Wallet import format".
#[test]
fn wif_names_its_network_and_is_checked() {
    let text = b"KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617";
    let (key, network) = SecretKey::from_wif(text).unwrap();
    assert_eq!(network, Network::Mainnet);
    let scalar = "0c28fca386c7a227600b2fe50b7cae11ec86d3bf1fbe471be89827e19d72aa1d";
    assert_eq!(key.export(Export::Hex).unwrap().as_str(), scalar);
    assert_eq!(key.export(Export::Wif(network)).unwrap().as_bytes(), text);
    let test = key.export(Export::Wif(Network::Testnet)).unwrap();
    assert!(test.starts_with('c'));
    assert_eq!(SecretKey::from_wif(format!(" {}\n", test.as_str()).as_bytes()).unwrap().1, Network::Testnet);
    let refused = |text: &[u8]| code(SecretKey::from_wif(text));
    assert_eq!(refused(b"5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ"), Code::UnsupportedKey);
    for at in 0..text.len() {
        let mut changed = *text;
        changed[at] = if text[at] == b'x' { b'y' } else { b'x' };
        assert!(matches!(refused(&changed), Code::KeyChecksumMismatch | Code::InvalidSecretKey));
    }
    for bad in [&b""[..], b"1", b"1111111111", &text[..51], b"0OIl", &[0xff; 52], &[b'1'; 53], &[b'z'; 52]] {
        assert!(matches!(refused(bad), Code::InvalidSecretKey | Code::KeyChecksumMismatch));
    }
    let encoded = |payload: &[u8]| {
        use sha2::{Digest as _, Sha256};
        let checksum: [u8; 32] = Sha256::digest(Sha256::digest(payload)).into();
        let mut text = [b'1'; 60];
        let len = bs58::encode([payload, &checksum[..4]].concat()).onto(text.as_mut_slice()).unwrap();
        refused(&text[..len])
    };
    assert_eq!(encoded(&[&[0xb0][..], &[1; 32], &[1]].concat()), Code::UnsupportedKey);
    assert_eq!(encoded(&[&[0x80][..], &[1; 32], &[2]].concat()), Code::InvalidSecretKey);
    assert_eq!(encoded(&[&[0x80][..], &[0; 32], &[1]].concat()), Code::InvalidSecretKey);
    assert_eq!(encoded(&[&[0x80][..], &[0xff; 32], &[1]].concat()), Code::InvalidSecretKey);
    assert_eq!(encoded(&[0x80]), Code::InvalidSecretKey);
    assert_eq!(encoded(&[]), Code::InvalidSecretKey);
}

#[test]
fn solana_key_pairs_are_exact() {
    // RFC 8032 §7.1, test 1.
    let seed = unhex::<32>("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let key = SecretKey::from_ed25519_seed(&seed).unwrap();
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(hex::encode(key.public_key()), public);
    let json = key.export(Export::SolanaKeypair).unwrap();
    let pair = [&seed[..], key.public_key()].concat();
    assert_eq!(serde_json::from_str::<Vec<u8>>(&json).unwrap(), pair);
    let mut text = [0; 88];
    let len = bs58::encode(&pair).onto(text.as_mut_slice()).unwrap();
    for same in [json.as_bytes(), &text[..len], format!(" {} \n", json.replace(',', " ,\n ")).as_bytes()] {
        let again = SecretKey::from_solana_keypair(same).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.export(Export::SolanaKeypair).unwrap(), json);
    }
    let refused = |text: &[u8]| code(SecretKey::from_solana_keypair(text));
    let numbers = json.trim_matches(['[', ']']);
    for bad in [
        "",
        "[",
        "[]",
        "]",
        "[1]",
        "{}",
        "1",
        &format!("[{numbers}"),
        &format!("{numbers}]"),
        &format!("[{numbers},]"),
        &format!("[{numbers},1]"),
        &format!("[[{numbers}]]"),
        &format!("[0{numbers}]"),
        &format!("[+{numbers}]"),
        &format!("[-{numbers}]"),
        &format!("[{}]", numbers.replacen("157", "256", 1)),
        &format!("[{}]", numbers.replacen("157", "1e2", 1)),
        &format!("[{}]", numbers.replacen("157", "15 7", 1)),
        &format!("[{}]", numbers.replacen(',', ",,", 1)),
        &format!("[{numbers}]{}", " ".repeat(1024)),
        &format!("[{numbers}]x"),
    ] {
        assert_eq!(refused(bad.as_bytes()), Code::InvalidSecretKey, "{bad}");
    }
    assert_eq!(refused(&text[..len / 2]), Code::InvalidSecretKey);
    assert_eq!(refused(&[b'1'; 88]), Code::InvalidSecretKey);
    assert_eq!(refused(&[b'1'; 64]), Code::PublicKeyMismatch);
    assert_eq!(refused(json.replacen("157", "156", 1).as_bytes()), Code::PublicKeyMismatch);
}

#[test]
fn each_suite_has_its_exports() {
    let formats = ["hex", "wif:mainnet", "wif:testnet", "solana-expanded", "solana-keypair"]
        .map(|name| Export::from_name(name).unwrap());
    for name in ["", "Hex", "wif", "wif:", "wif:regtest", "wif:signet", "seed", "solana"] {
        assert_eq!(code(Export::from_name(name)), Code::InvalidParameter);
    }
    let available = |key: &SecretKey| formats.map(|format| key.export(format).is_ok());
    let key = |suite| SecretKey::from_bytes(suite, &unhex::<32>(&"05".repeat(32))).unwrap();
    assert_eq!(available(&key(SuiteId::EcdsaSecp256k1)), [true, false, false, false, false]);
    assert_eq!(available(&key(SuiteId::FrostSecp256k1Tr)), [true, true, true, false, false]);
    assert_eq!(available(&key(SuiteId::FrostEd25519)), [false, false, false, true, false]);
    let seeded = SecretKey::from_ed25519_seed(&[5; 32]).unwrap();
    assert_eq!(available(&seeded), [false, false, false, true, true]);
    assert_eq!(code(seeded.export(Export::Hex)), Code::ExportUnavailable);
}

/// The prefix of a key from a seed is RFC 8032's; that of any other key is the same each time, and the key's own.
#[test]
fn expanded_keys_hold_scalar_and_prefix() {
    let expanded = |key: &SecretKey| key.export(Export::SolanaExpanded).unwrap().to_string();
    let seeded = SecretKey::from_ed25519_seed(&[5; 32]).unwrap();
    let from_seed = expanded(&seeded);
    let unseeded = SecretKey::from_bytes(SuiteId::FrostEd25519, &unhex::<32>(&from_seed[..64])).unwrap();
    assert_eq!(unseeded.public_key(), seeded.public_key());
    assert_eq!(expanded(&unseeded), expanded(&unseeded));
    assert_eq!(expanded(&unseeded)[..64], from_seed[..64]);
    assert_ne!(expanded(&unseeded)[64..], from_seed[64..]);
    let other = SecretKey::from_bytes(SuiteId::FrostEd25519, &[6; 32]).unwrap();
    assert_ne!(expanded(&unseeded)[64..], expanded(&other)[64..]);
}

#[test]
fn nothing_printed_holds_the_key() {
    let key = SecretKey::from_ed25519_seed(&[5; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "<SecretKey frost-ed25519>");
    let passcode = Passcode::new(b"1234", &[1; 16], COST).unwrap();
    assert_eq!(format!("{passcode:?}"), "<Passcode>");
}

#[test]
fn only_enough_shares_of_one_polynomial_combine() {
    type S = frost_secp256k1::Secp256K1Sha256;
    let shares = |seed| {
        let shares = dkg::<S>(3, 5, seed).into_values();
        shares.map(AnyShare::Ecdsa).collect::<Vec<_>>()
    };
    let (ours, others) = (shares(1), shares(2));
    let pick = |at: &[usize]| SecretKey::combine(&at.iter().map(|i| &ours[*i]).collect::<Vec<_>>());
    for at in [&[0, 1, 2][..], &[4, 2, 0], &[1, 2, 3, 4], &[0, 1, 2, 3, 4]] {
        let key = pick(at).unwrap();
        assert_eq!(key.public_key(), ours[0].group_public_key().unwrap());
        assert_eq!(key.chain_code(), ours[0].chain_code());
    }
    for at in [&[][..], &[0], &[3, 1]] {
        assert_eq!(code(pick(at)), Code::WrongSignerCount);
    }
    assert_eq!(code(pick(&[0, 1, 1])), Code::InvalidParameter);
    assert_eq!(code(SecretKey::combine(&[&ours[0], &ours[1], &others[2]])), Code::SharesMismatch);
    type T = frost_secp256k1_tr::Secp256K1Sha256TR;
    let tr: Vec<_> = dkg::<T>(3, 5, 1).into_values().map(AnyShare::Secp256k1Tr).collect();
    assert_eq!(code(SecretKey::combine(&[&ours[0], &ours[1], &tr[2]])), Code::SharesMismatch);
}

/// The same group key and chain code at another epoch: another polynomial, as far as anybody may assume.
#[test]
fn shares_of_two_epochs_do_not_combine() {
    type S = frost_ed25519::Ed25519Sha512;
    let shares = dkg::<S>(2, 2, 1);
    let later = |i: u16| {
        let mut bytes = shares[&i].encode().unwrap().to_vec();
        bytes[11] = 2;
        AnyShare::decode(&bytes).unwrap()
    };
    let one = AnyShare::decode(&shares[&1].encode().unwrap()).unwrap();
    assert_eq!(code(SecretKey::combine(&[&one, &later(2)])), Code::SharesMismatch);
    SecretKey::combine(&[&later(1), &later(2)]).unwrap();
}

/// The user's device deals to itself (1) and to the backup (3), and the enclave (2) receives; any two of the shares
/// give the key back.
#[test]
fn a_key_that_was_dealt_out_combines_to_itself() {
    for suite in SuiteId::ALL {
        let key = SecretKey::from_mnemonic(suite, PHRASE, b"", "m/44'/501'/0'").unwrap();
        let shape = Shape { min_signers: 2, max_signers: 3, context: [7; 32] };
        let dealt = key.deal(&shape, &[1, 3], &mut rng(1)).unwrap();
        let (enclave, confirmation) =
            import_receive(suite, &shape, &[2], &dealt.message1, &dealt.messages2).unwrap();
        let sent = |own: &Confirmations| own.iter().map(|(i, bytes)| (*i, bytes.to_vec())).collect();
        let mut shares = dealt.state.confirm(&sent(&confirmation)).unwrap();
        shares.extend(enclave.confirm(&sent(&dealt.confirmations)).unwrap());
        let scalar = key.scalar();
        for pair in [[1, 2], [2, 3], [3, 1]] {
            let combined = SecretKey::combine(&pair.map(|i| &shares[&i])).unwrap();
            assert_eq!(combined.scalar(), scalar);
            assert_eq!(combined.public_key(), key.public_key());
            assert_eq!(combined.chain_code(), key.chain_code());
            // Shamir's shares are shares of the scalar: what it was made from is gone.
            assert!(combined.seed().is_none());
        }
        for share in shares.values() {
            assert_eq!((share.epoch(), share.chain_code()), (1, key.chain_code()));
            assert_eq!(share.group_public_key().unwrap(), key.public_key());
        }
        let bad = Shape { min_signers: 1, ..shape };
        assert_eq!(code(key.deal(&bad, &[1], &mut rng(1))), Code::InvalidParameter);
    }
}

const COST: PassphraseCost = PassphraseCost { memory_kib: 64, iterations: 1, parallelism: 1 };

#[test]
fn a_passcode_and_a_backup_key_are_both_needed() {
    let passcode = |text: &[u8]| Passcode::new(text, &[1; 16], COST).unwrap();
    let key = |text: &[u8], backup_key: u8, context: &[u8]| {
        passcode(text).sealing_key(&[backup_key; 32], context).unwrap()
    };
    let record = key(b"1234", 7, b"backup").seal(Kind::Bytes, b"share", b"", &mut rng(1)).unwrap();
    assert!(key(b"1234", 7, b"backup").open(Kind::Bytes, &record, b"").is_ok());
    for wrong in [key(b"1235", 7, b"backup"), key(b"1234", 8, b"backup"), key(b"1234", 7, b"other")] {
        assert_eq!(code(wrong.open(Kind::Bytes, &record, b"")), Code::RecordNotAuthentic);
    }
    let proof = |text: &[u8], context: &[u8]| *passcode(text).proof(context).unwrap();
    assert_eq!(proof(b"1234", b"a"), proof(b"1234", b"a"));
    assert_ne!(proof(b"1234", b"a"), proof(b"1234", b"b"));
    assert_ne!(proof(b"1234", b"a"), proof(b"1235", b"a"));
}

#[test]
fn passcodes_are_bounded() {
    for (passcode, salt) in [(&b""[..], &[0; 16][..]), (&[b'1'; 1025], &[0; 16]), (b"1234", &[0; 15])] {
        assert_eq!(code(Passcode::new(passcode, salt, COST)), Code::InvalidParameter);
    }
    let passcode = Passcode::new(b"1234", &[1; 16], COST).unwrap();
    for backup_key in [&[][..], &[1; 31], &[1; 33], &[0; 32]] {
        assert_eq!(code(passcode.sealing_key(backup_key, b"")), Code::InvalidParameter);
    }
    assert_eq!(code(passcode.sealing_key(&[1; 32], &[0; 1025])), Code::InvalidParameter);
    assert_eq!(code(passcode.proof(&[0; 1025])), Code::InvalidParameter);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_strange(text in proptest::collection::vec(any::<u8>(), 0..200), path in ".{0,40}") {
        let _ = SecretKey::from_wif(&text);
        let _ = SecretKey::from_solana_keypair(&text);
        let _ = SecretKey::from_mnemonic(SuiteId::FrostEd25519, &text, &text, "m");
        let _ = tree::parse_path(&path);
    }

    #[test]
    fn text_forms_give_the_key_back(scalar in proptest::array::uniform32(1_u8..)) {
        // No byte is zero, and the first is below the order's: every such number is a key.
        let mut scalar = scalar;
        scalar[0] &= 0x7f;
        let key = SecretKey::from_bytes(SuiteId::FrostSecp256k1Tr, &scalar).unwrap();
        prop_assert_eq!(key.export(Export::Hex).unwrap().to_string(), hex::encode(scalar));
        for network in [Network::Mainnet, Network::Testnet] {
            let text = key.export(Export::Wif(network)).unwrap();
            let (again, named) = SecretKey::from_wif(text.as_bytes()).unwrap();
            prop_assert_eq!(named, network);
            prop_assert_eq!(again.public_key(), key.public_key());
        }
        let seeded = SecretKey::from_ed25519_seed(&scalar).unwrap();
        let pair = seeded.export(Export::SolanaKeypair).unwrap();
        let again = SecretKey::from_solana_keypair(pair.as_bytes()).unwrap();
        prop_assert_eq!(again.public_key(), seeded.public_key());
    }
}
