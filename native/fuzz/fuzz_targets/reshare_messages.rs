//! Messages of resharing and import, groups and pending states: nothing panics, what parses encodes to the same bytes,
//! and no step takes another second message, or another import, than the honest one.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cosigner_core::any::AnyReshare3;
use cosigner_core::dkg::{self, Params};
use cosigner_core::reshare::import::{self, Shape};
use cosigner_core::reshare::{Handover, Kind, Message1, Message2, Messages2, Round1, Run, join, start};
use cosigner_core::seal::{self, SealingKey};
use cosigner_core::share::{KeyShare, PublicGroup};
use cosigner_core::suite::Suite;
use frost_core::{Field, Group};
use frost_ed25519::Ed25519Sha512;
use frost_secp256k1::Secp256K1Sha256;
use frost_secp256k1_tr::Secp256K1Sha256TR;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

/// The input as it is, and patched over a valid message, so that both the header and the points are reached. The valid
/// message itself would only cost time.
fn both(data: &[u8], valid: &[u8]) -> Vec<Vec<u8>> {
    let mut patched = valid.to_vec();
    for change in data.chunks_exact(3) {
        if let [high, low, value] = change {
            let at = usize::from(u16::from_be_bytes([*high, *low])) % valid.len();
            patched[at] ^= value;
        }
    }
    if patched == valid { vec![data.to_vec()] } else { vec![data.to_vec(), patched] }
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

/// Honest shares and messages, made once: they cost a thousand times what a parser does.
struct World<S: Suite> {
    one: KeyShare<S>,
    group: Vec<u8>,
    from_two: BTreeMap<u16, Vec<u8>>,
    to_one: Messages2,
    dealt: import::Dealt<S>,
}

impl<S: Suite> World<S> {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let [one, two] = shares::<S>(&mut rng);
        let (node2, from_two) = start(&[&two], handover(2), &mut rng).expect("valid");
        let (_, to_one) = node2.advance(&begin(&one).1).expect("honest");
        let key = <<S::Group as Group>::Field as Field>::one();
        let dealt = import::deal::<S>(&key, &[6; 32], &SHAPE, &[1], &mut rng).expect("valid");
        Self { group: one.group().encode().expect("checked"), one, from_two, to_one, dealt }
    }
}

static ED25519: LazyLock<World<Ed25519Sha512>> = LazyLock::new(World::new);
static TAPROOT: LazyLock<World<Secp256K1Sha256TR>> = LazyLock::new(World::new);
static ECDSA: LazyLock<World<Secp256K1Sha256>> = LazyLock::new(World::new);

const SHAPE: Shape = Shape { min_signers: 2, max_signers: 2, context: [9; 32] };

/// Node 1, always with the same polynomial.
fn begin<S: Suite>(share: &KeyShare<S>) -> (Round1<S>, BTreeMap<u16, Vec<u8>>) {
    start(&[share], handover(1), &mut ChaCha20Rng::seed_from_u64(2)).expect("valid")
}

/// Whether bytes are a first message, in which case they are the one encoding of what they say.
fn is_first<S: Suite>(bytes: &[u8], kind: Kind, sender: u16, valid: &[u8]) -> bool {
    let context_hash = valid[9..41].try_into().expect("32 bytes");
    let run = Run { kind, min_signers: 2, max_signers: 2, context_hash };
    let parsed = Message1::<S>::decode(bytes, sender, &run);
    if let Ok(message) = &parsed {
        assert_eq!(message.encode(&run, sender).expect("parsed"), bytes);
    }
    parsed.is_ok()
}

/// The same for second messages.
fn is_second<S: Suite>(bytes: &[u8], valid: &[u8]) -> bool {
    let hash = valid[7..39].try_into().expect("32 bytes");
    let parsed = Message2::<S>::decode(bytes, Kind::Reshare, 2, 1, &hash);
    if let Ok(message) = &parsed {
        assert_eq!(*Message2::encode(Kind::Reshare, 2, 1, &hash, &message.sub_share), bytes);
    }
    parsed.is_ok()
}

/// Hostile bytes in the place of each message; whole steps where the bytes get beyond the parser.
fn run<S: Suite>(world: &World<S>, data: &[u8]) {
    for bytes in both(data, &world.from_two[&2]) {
        if is_first::<S>(&bytes, Kind::Reshare, 2, &world.from_two[&2]) {
            let _ = begin(&world.one).0.advance(&BTreeMap::from([(2, bytes)]));
        }
    }
    let honest = &world.to_one[&(2, 1)];
    for bytes in both(data, honest) {
        if is_second::<S>(&bytes, honest) {
            let same = bytes == **honest;
            let (node1, _) = begin(&world.one).0.advance(&world.from_two).expect("honest");
            let taken = node1.advance(&BTreeMap::from([((2, 1), Zeroizing::new(bytes))])).is_ok();
            assert_eq!(taken, same);
        }
    }
    let honest = &world.dealt.message1;
    for bytes in both(data, honest) {
        if is_first::<S>(&bytes, Kind::Import, 0, honest) {
            let taken = import::receive::<S>(&SHAPE, &[2], &bytes, &world.dealt.messages2).is_ok();
            assert_eq!(taken, bytes == *honest);
        }
    }
    for bytes in both(data, &world.group) {
        if let Ok(group) = PublicGroup::<S>::decode(&bytes) {
            assert_eq!(group.encode().expect("parsed"), bytes);
            let _ = join::<S>(&bytes, handover(1));
        }
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
    run(&ED25519, data);
    run(&TAPROOT, data);
    run(&ECDSA, data);
});
