//! ctgrind for ECDSA and resharing: all randomness and the key shares are marked as secret, then a session is set up and
//! signs, and the key is reshared. Run under valgrind, any branch or memory access that depends on a secret is an error:
//!
//! ```text
//! cargo build --release && valgrind -q --error-exitcode=1 --suppressions=valgrind.supp target/release/cosigner-ct
//! ```
//!
//! With the argument `leak` it branches on a secret on purpose, and valgrind must fail. Valgrind hides instruction sets
//! that it does not know (SHA, AVX-512, VAES), so it sees the crates' other code paths.

mod valgrind;

use std::collections::BTreeMap;
use std::sync::Arc;

use cosigner_core::any::AnyShare;
use cosigner_core::ecdsa::{ClientSetup, EnclaveSetup, Share, begin, ct, respond};
use cosigner_core::reshare::{Handover, start};
use cosigner_core::seal::{Kind, SealingKey};
use k256::elliptic_curve::sec1::ToEncodedPoint;
use k256::{ProjectivePoint, Scalar};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Error, RngCore, SeedableRng};

/// A generator whose output is secret.
struct Secret(ChaCha20Rng);

impl RngCore for Secret {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
        valgrind::secret(dest);
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Secret {}

/// A 2-of-2 share of the polynomial 5 + 7x times large constants, its scalar marked as secret.
fn share(identifier: u16) -> Share {
    let constants =
        [Scalar::from(0xdead_beef_u64).invert().unwrap(), Scalar::from(0xcafe_f00d_u64).invert().unwrap()];
    let at = |x: u64| constants[0] + constants[1] * Scalar::from(x);
    let point = |k: Scalar| (ProjectivePoint::GENERATOR * k).to_affine().to_encoded_point(true);
    // docs/spec/threshold.md §3.
    let mut bytes = vec![1, 3];
    for number in [identifier, 2, 2, 0, 1] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&[7; 32]);
    for x in 0..3 {
        bytes.extend_from_slice(point(at(x)).as_bytes());
    }
    let scalar = at(u64::from(identifier));
    bytes.extend_from_slice(&scalar.to_bytes());
    let key = SealingKey::from_data_key(&[1; 32]).unwrap();
    let record = key.seal(Kind::Share, &bytes, b"", &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    match AnyShare::open(&key, &record, b"").unwrap() {
        AnyShare::Ecdsa(share) => share,
        _ => panic!("another suite"),
    }
}

/// Finds the scalar inside a share and marks it.
fn hide(share: &mut Share, identifier: u16) {
    let a = Scalar::from(0xdead_beef_u64).invert().unwrap();
    let b = Scalar::from(0xcafe_f00d_u64).invert().unwrap();
    let mut limbs: [u8; 32] = (a + b * Scalar::from(u64::from(identifier))).to_bytes().into();
    limbs.reverse();
    let len = std::mem::size_of_val(share);
    // SAFETY: the bytes of a live value, read to compare them; padding is only compared, never used.
    let bytes = unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(share).cast::<u8>(), len) };
    // Padding is undefined already, which is nobody's secret.
    valgrind::public(bytes);
    let at: Vec<usize> = (0..len - 31).filter(|at| bytes[*at..at + 32] == limbs).collect();
    assert_eq!(at.len(), 1, "the scalar stands in the share once");
    valgrind::secret(&mut bytes[at[0]..at[0] + 32]);
}

fn main() {
    assert!(valgrind::is_running(), "run this under valgrind");
    assert!(ct::HOOK.set(|bytes| valgrind::public(bytes)).is_ok());
    let mut rng = Secret(ChaCha20Rng::seed_from_u64(2));
    if std::env::args().nth(1).as_deref() == Some("leak") {
        let mut byte = [0];
        rng.fill_bytes(&mut byte);
        println!("{}", if byte[0] & 1 == 1 { "odd" } else { "even" });
    }
    let (mut client_share, mut enclave_share) = (share(1), share(2));
    hide(&mut client_share, 1);
    hide(&mut enclave_share, 2);
    eprintln!("setup: client offers");
    let (setup, offers) = ClientSetup::begin(&mut rng);
    valgrind::public(&offers);
    eprintln!("setup: enclave answers");
    let (enclave, answer) = EnclaveSetup::respond(&offers, &mut rng).unwrap();
    valgrind::public(&answer);
    eprintln!("setup: client finishes");
    let client = Arc::new(setup.finish(&answer, &[3; 32]).unwrap());
    let enclave = enclave.bind(&[3; 32]);
    for path in [&[][..], &[0, 5]] {
        eprintln!("sign: client begins");
        let (pending, message1) = begin(&client_share, &client, &[9; 32], path, 2, &mut rng).unwrap();
        valgrind::public(&message1);
        eprintln!("sign: enclave responds");
        let message2 = respond(&enclave_share, &enclave, &message1, &[9; 32], path, 1, &mut rng).unwrap();
        valgrind::public(&message2);
        eprintln!("sign: client finishes");
        let signature = pending.finish(&message2).unwrap();
        valgrind::public(&signature.rs);
    }
    reshare(&[client_share, enclave_share], &mut rng);
    eprintln!("done");
}

/// Gives a 2-of-2 key to a group of three: the device deals with share 1 and receives for 1 and 3, the enclave has 2.
fn reshare(shares: &[Share; 2], rng: &mut Secret) {
    let handover = |receivers: &[u16]| Handover {
        dealers: vec![1, 2],
        receivers: receivers.to_vec(),
        min_signers: 2,
        max_signers: 3,
        context: [4; 32],
    };
    eprintln!("reshare: dealers start");
    let (device, from_device) = start(&[&shares[0]], handover(&[1, 3]), rng).unwrap();
    let (enclave, from_enclave) = start(&[&shares[1]], handover(&[2]), rng).unwrap();
    eprintln!("reshare: dealers deal");
    let (enclave, to_device) = enclave.advance(&from_device).unwrap();
    let (device, to_enclave) = device.advance(&from_enclave).unwrap();
    eprintln!("reshare: receivers check and add up");
    let (device, of_device) = device.advance(&to_device).unwrap();
    let (enclave, of_enclave) = enclave.advance(&to_enclave).unwrap();
    eprintln!("reshare: everybody confirms");
    let as_bytes = |from: BTreeMap<u16, [u8; 32]>| from.into_iter().map(|(i, c)| (i, c.to_vec())).collect();
    let mut shares = device.confirm(&as_bytes(of_enclave)).unwrap();
    shares.extend(enclave.confirm(&as_bytes(of_device)).unwrap());
    assert_eq!(shares.len(), 3);
}
