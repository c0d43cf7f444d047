use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Lookup, Message, Transfer, Version, address, inspect_text};
use crate::error::{Code, Error};

/// A message by its parts: header, keys, blockhash, instructions; for v0 also lookups.
#[derive(Clone)]
struct Parts {
    prefix: Option<u8>,
    header: [u8; 3],
    keys: Vec<[u8; 32]>,
    instructions: Vec<(u8, Vec<u8>, Vec<u8>)>,
    lookups: Vec<([u8; 32], Vec<u8>, Vec<u8>)>,
}

const TOKEN: [u8; 32] = [
    6, 221, 246, 225, 215, 101, 161, 147, 217, 203, 225, 70, 206, 235, 121, 172, 28, 180, 133, 237, 95, 91,
    55, 145, 58, 140, 245, 133, 126, 255, 0, 169,
];

fn transfer(lamports: u64) -> Vec<u8> {
    [&[2, 0, 0, 0][..], &lamports.to_le_bytes()].concat()
}

impl Parts {
    fn new() -> Self {
        Self {
            prefix: None,
            header: [1, 0, 1],
            keys: vec![[1; 32], [2; 32], [0; 32]],
            instructions: vec![(2, vec![0, 1], transfer(5))],
            lookups: vec![],
        }
    }

    fn v0() -> Self {
        Self { prefix: Some(0x80), ..Self::new() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out: Vec<u8> = self.prefix.into_iter().chain(self.header).collect();
        let vector = |out: &mut Vec<u8>, bytes: &[u8]| {
            short(out, bytes.len());
            out.extend_from_slice(bytes);
        };
        short(&mut out, self.keys.len());
        out.extend(self.keys.concat());
        out.extend([9; 32]);
        short(&mut out, self.instructions.len());
        for (program, accounts, data) in &self.instructions {
            out.push(*program);
            vector(&mut out, accounts);
            vector(&mut out, data);
        }
        if self.prefix.is_some() {
            short(&mut out, self.lookups.len());
            for (table, writable, readonly) in &self.lookups {
                out.extend(table);
                vector(&mut out, writable);
                vector(&mut out, readonly);
            }
        }
        out
    }
}

/// Solana's compact-u16.
fn short(out: &mut Vec<u8>, len: usize) {
    let mut rest = len;
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        out.push(if rest == 0 { low } else { low | 0x80 });
        if rest == 0 {
            break;
        }
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.unwrap_err().code
}

#[test]
fn a_legacy_transfer_is_decoded() {
    let bytes = Parts::new().bytes();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.signed_bytes(), bytes);
    assert_eq!(message.version(), Version::Legacy);
    assert_eq!(message.required_signers(), [[1; 32]]);
    assert_eq!(message.recent_blockhash(), address(&[9; 32]));
    assert_eq!(
        message.accounts(),
        [(address(&[1; 32]), true), (address(&[2; 32]), true), (address(&[0; 32]), false)]
    );
    let [instruction] = &message.instructions()[..] else { panic!() };
    assert_eq!(instruction.program.as_deref(), Some("11111111111111111111111111111111"));
    assert_eq!(
        instruction.transfer,
        Some(Transfer::System { from: address(&[1; 32]), to: address(&[2; 32]), lamports: 5 })
    );
    assert!(message.lookups().is_empty());
}

#[test]
fn token_transfers_are_decoded() {
    let mut parts = Parts::v0();
    parts.keys = vec![[1; 32], [2; 32], [3; 32], [4; 32], TOKEN];
    parts.header = [1, 0, 2];
    let amount = 7_u64.to_le_bytes();
    parts.instructions = vec![
        (4, vec![1, 2, 0], [&[3][..], &amount].concat()),
        (4, vec![1, 3, 2, 0], [&[12][..], &amount, &[6]].concat()),
        (4, vec![1, 2], [&[3][..], &amount].concat()),
        (4, vec![1, 2, 0], [&[3][..], &amount[1..]].concat()),
        (4, vec![1, 2, 0], vec![]),
        (4, vec![1, 3, 2, 0], [&[12][..], &amount].concat()),
    ];
    let message = Message::parse(&parts.bytes()).unwrap();
    assert_eq!(message.version(), Version::V0);
    let transfers: Vec<_> = message.instructions().into_iter().map(|i| i.transfer).collect();
    let name = |k: u8| address(&[k; 32]);
    assert_eq!(
        transfers,
        [
            Some(Transfer::Token { source: name(2), destination: name(3), owner: name(1), amount: 7 }),
            Some(Transfer::TokenChecked {
                source: name(2),
                mint: name(4),
                destination: name(3),
                owner: name(1),
                amount: 7,
                decimals: 6
            }),
            None,
            None,
            None,
            None,
        ]
    );
}

#[test]
fn accounts_from_lookup_tables_are_not_named() {
    let mut parts = Parts::v0();
    parts.lookups = vec![([5; 32], vec![8], vec![9])];
    parts.instructions = vec![(2, vec![0, 3], transfer(5)), (2, vec![0, 4], transfer(5))];
    let message = Message::parse(&parts.bytes()).unwrap();
    assert_eq!(
        message.lookups(),
        [Lookup { table: address(&[5; 32]), writable: vec![8], readonly: vec![9] }]
    );
    for instruction in message.instructions() {
        assert_eq!(instruction.accounts, [Some(address(&[1; 32])), None]);
        assert_eq!(instruction.transfer, None, "a policy must not see a transfer to nowhere");
    }
    // Indexes beyond static and loaded accounts; a program from a table.
    parts.instructions = vec![(2, vec![5], vec![])];
    assert_eq!(code(Message::parse(&parts.bytes())), Code::SolanaInvalid);
    parts.instructions = vec![(3, vec![0], vec![])];
    assert_eq!(code(Message::parse(&parts.bytes())), Code::SolanaInvalid);
    parts.instructions = vec![];
    parts.lookups = vec![([5; 32], vec![], vec![])];
    assert_eq!(code(Message::parse(&parts.bytes())), Code::SolanaInvalid);
}

#[test]
fn contradictions_are_refused() {
    let refused = |change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::new();
        change(&mut parts);
        code(Message::parse(&parts.bytes()))
    };
    assert_eq!(refused(&|p| p.header = [0, 0, 1]), Code::SolanaInvalid);
    assert_eq!(refused(&|p| p.header = [1, 1, 1]), Code::SolanaInvalid);
    assert_eq!(refused(&|p| p.header = [4, 0, 0]), Code::SolanaInvalid);
    assert_eq!(refused(&|p| p.header = [1, 0, 3]), Code::SolanaInvalid);
    assert_eq!(refused(&|p| p.instructions[0].0 = 3), Code::SolanaInvalid);
    assert_eq!(refused(&|p| p.instructions[0].0 = 0), Code::SolanaInvalid);
    assert_eq!(refused(&|p| p.instructions[0].1[0] = 3), Code::SolanaInvalid);
    assert_eq!(refused(&|p| p.keys[1] = [1; 32]), Code::SolanaInvalid);
    assert_eq!(refused(&|p| p.keys.clear()), Code::SolanaInvalid);
}

#[test]
fn other_versions_are_refused() {
    for prefix in [0x81, 0x82, 0xfe, 0xff] {
        let parts = Parts { prefix: Some(prefix), ..Parts::new() };
        assert_eq!(code(Message::parse(&parts.bytes())), Code::SolanaVersionUnsupported);
    }
    assert_eq!(code(Message::parse(&[])), Code::SolanaMalformed);
}

#[test]
fn only_one_encoding_is_accepted() {
    for bytes in [Parts::new().bytes(), Parts::v0().bytes()] {
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(code(Message::parse(&longer)), Code::SolanaMalformed);
        for len in 1..bytes.len() {
            assert!(Message::parse(&bytes[..len]).is_err());
        }
    }
    // A length in two bytes that fits one.
    let mut bytes = Parts::new().bytes();
    assert_eq!(bytes[3], 3);
    bytes.splice(3..4, [0x83, 0x00]);
    assert_eq!(code(Message::parse(&bytes)), Code::SolanaMalformed);
}

#[test]
fn the_wire_transaction_is_bounded() {
    let sized = |len: usize, signers: u8| {
        let mut parts = Parts::new();
        parts.header = [signers, 0, 1];
        parts.instructions = vec![(2, vec![], vec![])];
        let base = parts.bytes().len() + 1; // the data's length will take two bytes
        parts.instructions[0].2 = vec![0; len - base];
        assert_eq!(parts.bytes().len(), len);
        Message::parse(&parts.bytes()).map(|_| ())
    };
    sized(1232 - 65, 1).unwrap();
    assert_eq!(code(sized(1232 - 64, 1)), Code::SolanaTooLarge);
    sized(1232 - 129, 2).unwrap();
    assert_eq!(code(sized(1232 - 128, 2)), Code::SolanaTooLarge);
}

#[test]
fn assembly_wants_exactly_the_required_signatures() {
    let mut parts = Parts::new();
    parts.header = [2, 0, 1];
    let message = Message::parse(&parts.bytes()).unwrap();
    let good = |key: u8| (vec![key; 32], vec![key; 64]);
    let verify = |key: &[u8; 32], bytes: &[u8], signature: &[u8]| {
        assert_eq!(bytes, message.signed_bytes());
        signature == [key[0]; 64]
    };
    let assemble = |signatures: Vec<(Vec<u8>, Vec<u8>)>| {
        message.assemble(&signatures.into_iter().collect::<BTreeMap<_, _>>(), verify)
    };
    let wire = assemble(vec![good(2), good(1)]).unwrap();
    assert_eq!(wire, [&[2][..], &[1; 64], &[2; 64], message.signed_bytes()].concat());
    assert_eq!(code(assemble(vec![good(1)])), Code::SolanaMissingSignature);
    assert_eq!(code(assemble(vec![good(1), good(2), good(3)])), Code::SolanaUnexpectedSignature);
    assert_eq!(code(assemble(vec![good(1), (vec![2; 31], vec![])])), Code::SolanaUnexpectedSignature);
    assert_eq!(code(assemble(vec![good(1), (vec![2; 32], vec![3; 64])])), Code::SolanaSignatureInvalid);
    assert_eq!(code(assemble(vec![good(1), (vec![2; 32], vec![2; 65])])), Code::SolanaSignatureInvalid);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    /// What parses is what was given, whatever was done to it.
    #[test]
    fn changed_messages_are_refused_or_mean_what_they_say(
        v0 in any::<bool>(),
        changes in proptest::collection::vec((0_usize..300, any::<u8>()), 1..4),
    ) {
        let mut parts = if v0 { Parts::v0() } else { Parts::new() };
        if v0 {
            parts.lookups = vec![([5; 32], vec![8], vec![9, 10])];
        }
        let mut bytes = parts.bytes();
        let len = bytes.len();
        for (at, value) in changes {
            bytes[at % len] = value;
        }
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(message.signed_bytes(), &bytes[..]);
            prop_assert!(!message.required_signers().is_empty());
            let _ = (message.instructions(), message.lookups(), message.accounts());
        }
    }

    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        let _ = Message::parse(&bytes);
    }
}

#[test]
fn texts_are_signed_as_they_are() {
    for text in ["gm", "Sign in to example.com\nNonce: 4af1\r\n\tthanks", "日本語 ✓", &"x".repeat(65_515)]
    {
        assert_eq!(inspect_text(text.as_bytes()).unwrap(), text);
    }
}

#[test]
fn what_does_not_show_is_no_text() {
    let long = "x".repeat(65_516);
    let refused: [(&[u8], Code); 8] = [
        (b"", Code::SolanaTextInvalid),
        (b"\x00", Code::SolanaTextInvalid),
        (b"bell \x07", Code::SolanaTextInvalid),
        (b"\xff\xfe", Code::SolanaTextInvalid),
        (b"\xffsolana offchain", Code::SolanaTextInvalid),
        ("turned \u{202e}round".as_bytes(), Code::SolanaTextInvalid),
        ("nothing\u{200b}".as_bytes(), Code::SolanaTextInvalid),
        (long.as_bytes(), Code::SolanaTextTooLarge),
    ];
    for (bytes, code) in refused {
        assert_eq!(inspect_text(bytes).unwrap_err().code, code);
    }
    for message in [Parts::new().bytes(), Parts::v0().bytes()] {
        assert!(inspect_text(&message).is_err());
    }
}

proptest! {
    /// The least that a text could be as a message: header of 9, 10 and 13, and printable everything else.
    #[test]
    fn no_text_is_a_message(
        header in proptest::array::uniform3(prop::sample::select(vec![9_u8, 10, 13, 32, 48])),
        keys in 0_usize..70,
        tail in "[ -~]{0,400}",
    ) {
        let mut bytes = header.to_vec();
        bytes.push(u8::try_from(keys).unwrap());
        bytes.extend((0..keys).flat_map(|k| [b' ' + u8::try_from(k).unwrap(); 32]));
        bytes.extend([b'h'; 32]);
        bytes.extend(tail.as_bytes());
        prop_assert!(inspect_text(&bytes).is_err() || Message::parse(&bytes).is_err());
        if inspect_text(&bytes).is_ok() {
            prop_assert!(std::str::from_utf8(&bytes).is_ok());
        }
    }
}
