//! Messages of resharing and import, groups and pending states: nothing panics, what parses encodes to the same bytes,
//! and a whole step takes nothing but the honest message.
#![no_main]

use std::collections::BTreeMap;

use cosigner_core::any::AnyReshare3;
use cosigner_core::dkg::{self, Params};
use cosigner_core::reshare::import::{self, Shape};
use cosigner_core::reshare::{Handover, Kind, Message1, Message2, Run, join, start};
use cosigner_core::seal::{self, SealingKey};
use cosigner_core::share::{KeyShare, PublicGroup};
use cosigner_core::suite::Suite;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

/// The input as it is, and patched over a valid message, so that both the header and the points are reached.
fn both(data: &[u8], valid: &[u8]) -> [Vec<u8>; 2] {
    let mut patched = valid.to_vec();
    for change in data.chunks_exact(3) {
        if let [high, low, value] = change {
            let at = usize::from(u16::from_be_bytes([*high, *low])) % valid.len();
            patched[at] ^= value;
        }
    }
    [data.to_vec(), patched]
}

/// Both shares of a 2-of-2 key.
fn shares<S: Suite>(rng: &mut ChaCha20Rng) -> [KeyShare<S>; 2] {
    let params = |identifier| Params { identifier, min_signers: 2, max_signers: 2, context: [7; 32] };
    let (one, message1) = dkg::start::<S>(params(1), rng).expect("valid parameters");
    let (two, message2) = dkg::start::<S>(params(2), rng).expect("valid parameters");
    let (one, to_two) = one.advance(&BTreeMap::from([(2, message2)])).expect("honest");
    let (two, to_one) = two.advance(&BTreeMap::from([(1, message1)])).expect("honest");
    let (one, of_one) = one.advance(&BTreeMap::from([(2, to_one[&1].clone())])).expect("honest");
    let (two, of_two) = two.advance(&BTreeMap::from([(1, to_two[&2].clone())])).expect("honest");
    let one = one.confirm(&BTreeMap::from([(2, of_two.to_vec())])).expect("honest");
    [one, two.confirm(&BTreeMap::from([(1, of_one.to_vec())])).expect("honest")]
}

fn handover(receiver: u16) -> Handover {
    Handover {
        dealers: vec![1, 2],
        receivers: vec![receiver],
        min_signers: 2,
        max_signers: 2,
        context: [9; 32],
    }
}

/// A message that parses is the one encoding of what it says.
fn canonical<S: Suite>(bytes: &[u8], valid: &[u8]) {
    for kind in [Kind::Reshare, Kind::Import] {
        let context_hash = valid[9..41].try_into().expect("32 bytes");
        let run = Run { kind, min_signers: 2, max_signers: 2, context_hash };
        for sender in [0, 2] {
            if let Ok(message) = Message1::<S>::decode(bytes, sender, &run) {
                assert_eq!(message.encode(&run, sender).expect("parsed"), bytes);
            }
            let hash = valid[7..39].try_into().expect("32 bytes");
            if let Ok(message) = Message2::<S>::decode(bytes, kind, sender, 1, &hash) {
                assert_eq!(*Message2::encode(kind, sender, 1, &hash, &message.sub_share), bytes);
            }
        }
    }
    if let Ok(group) = PublicGroup::<S>::decode(bytes) {
        assert_eq!(group.encode().expect("parsed"), bytes);
        let _ = join::<S>(bytes, handover(1));
    }
}

/// Node 1 with hostile bytes in the place of each message from node 2.
fn resharing<S: Suite>(data: &[u8]) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let [one, two] = shares::<S>(&mut rng);
    let begin = || start(&[&one], handover(1), &mut ChaCha20Rng::seed_from_u64(2)).expect("valid");
    let (node2, from_two) = start(&[&two], handover(2), &mut rng).expect("valid");
    let (_, to_one) = node2.advance(&begin().1).expect("honest");
    for bytes in both(data, &from_two[&2]) {
        canonical::<S>(&bytes, &from_two[&2]);
        let _ = begin().0.advance(&BTreeMap::from([(2, bytes)]));
    }
    for bytes in both(data, &to_one[&(2, 1)]) {
        canonical::<S>(&bytes, &to_one[&(2, 1)]);
        let honest = bytes == **to_one[&(2, 1)];
        let (node1, _) = begin().0.advance(&from_two).expect("honest");
        let taken = node1.advance(&BTreeMap::from([((2, 1), Zeroizing::new(bytes))])).is_ok();
        assert_eq!(taken, honest);
    }
    for bytes in both(data, &one.group().encode().expect("checked")) {
        canonical::<S>(&bytes, &from_two[&2]);
    }
}

fn imports<S: Suite>(data: &[u8]) {
    let shape = Shape { min_signers: 2, max_signers: 2, context: [9; 32] };
    let one = <<S::Group as frost_core::Group>::Field as frost_core::Field>::one();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let dealt = import::deal::<S>(&one, &[6; 32], &shape, &[1], &mut rng).expect("valid");
    for bytes in both(data, &dealt.message1) {
        canonical::<S>(&bytes, &dealt.message1);
        let honest = bytes == dealt.message1;
        assert_eq!(import::receive::<S>(&shape, &[2], &bytes, &dealt.messages2).is_ok(), honest);
    }
}

/// Authentic records with hostile contents.
fn pending(data: &[u8]) {
    let key = SealingKey::from_data_key(&[1; 32]).expect("32 bytes");
    let seeded = || ChaCha20Rng::seed_from_u64(1);
    assert!(AnyReshare3::open(&key, data, b"").is_err());
    if let Ok(record) = key.seal(seal::Kind::Reshare, data, b"", &mut seeded())
        && let Ok(state) = AnyReshare3::open(&key, &record, b"")
    {
        assert_eq!(state.seal(&key, b"", &mut seeded()).expect("sealed before"), record);
    }
}

fuzz_target!(|data: &[u8]| {
    pending(data);
    resharing::<frost_ed25519::Ed25519Sha512>(data);
    imports::<frost_secp256k1_tr::Secp256K1Sha256TR>(data);
    resharing::<frost_secp256k1::Secp256K1Sha256>(data);
});
