//! 128 base transfers at once: Endemic OT (Masny, Rindal, "Endemic Oblivious Transfer", CCS 2019, eprint
//! 2019/706: the construction from one-round key agreement) over Ristretto255 (RFC 9496).
//!
//! The client is the sender and speaks first, the enclave chooses by the bits of its Delta. Each transfer has a key
//! agreement of its own; index and slot are hashed wherever a hash is taken, so that no two transfers of a batch are
//! related (McQuoid, Rosulek, Roy, "Batching Base Oblivious Transfers", eprint 2021/682). *Endemic* means that whoever
//! cheats may choose its own outputs; the extension is secure with that (Roy, eprint 2022/192).

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest as _, Sha512};
use subtle::{Choice, ConditionallySelectable as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::KAPPA;
use super::ct::public;
use super::wire::{Kind, SETUP_ANSWER_LEN, SETUP_LEN, open, start};
use crate::codec::Reader;
use crate::error::{Code, Error, Result};
use crate::hash::tagged;

/// A seed that a transfer moves.
pub(super) type Seed = [u8; 32];

/// The sender's secret: one scalar for each transfer.
pub(super) type SenderScalars = Zeroizing<Vec<Scalar>>;

/// Sender: draws one key pair for each transfer.
pub(super) fn offer(rng: &mut (impl RngCore + CryptoRng)) -> (SenderScalars, Vec<u8>) {
    let mut scalars = Zeroizing::new(Vec::with_capacity(KAPPA));
    let mut message = start(Kind::Setup, SETUP_LEN);
    for _ in 0..KAPPA {
        let b = random_scalar(rng);
        message.extend_from_slice(RistrettoPoint::mul_base(&b).compress().as_bytes());
        scalars.push(b);
    }
    public(&mut message);
    (scalars, message)
}

/// Receiver: chooses by the bits of `delta`, and has the chosen seeds at once.
pub(super) fn choose(
    message: &[u8],
    delta: u128,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Zeroizing<Vec<Seed>>, Vec<u8>)> {
    let mut reader = open(message, Kind::Setup, SETUP_LEN)?;
    // Everything is parsed before a choice is made.
    let offers = (0..KAPPA).map(|_| point(&mut reader)).collect::<Result<Vec<_>>>()?;
    reader.finish()?;
    let mut seeds = Zeroizing::new(Vec::with_capacity(KAPPA));
    let mut answer = start(Kind::SetupAnswer, SETUP_ANSWER_LEN);
    for (i, (offer, offer_bytes)) in (0_u8..).zip(&offers) {
        let slot = Choice::from((delta >> i) as u8 & 1);
        let mut a = random_scalar(rng);
        // The slot that is not chosen holds a point whose logarithm nobody knows.
        let mut wide = [0; 64];
        rng.fill_bytes(&mut wide);
        let other = RistrettoPoint::from_uniform_bytes(&wide).compress().to_bytes();
        let chosen =
            (RistrettoPoint::mul_base(&a) - to_group(i, slot.unwrap_u8(), &other)).compress().to_bytes();
        let r0 = <[u8; 32]>::conditional_select(&chosen, &other, slot);
        let r1 = <[u8; 32]>::conditional_select(&other, &chosen, slot);
        answer.extend_from_slice(&r0);
        answer.extend_from_slice(&r1);
        let mut shared = offer * a;
        seeds.push(seed(i, slot.unwrap_u8(), offer_bytes, &r0, &r1, &shared));
        shared.zeroize();
        a.zeroize();
        wide.zeroize();
    }
    public(&mut answer);
    Ok((seeds, answer))
}

/// Sender: both seeds of every transfer.
pub(super) fn receive(
    scalars: &SenderScalars,
    message: &[u8],
    answer: &[u8],
) -> Result<Zeroizing<Vec<[Seed; 2]>>> {
    let mut reader = open(answer, Kind::SetupAnswer, SETUP_ANSWER_LEN)?;
    let mut offers = open(message, Kind::Setup, SETUP_LEN)?;
    let mut seeds = Zeroizing::new(Vec::with_capacity(KAPPA));
    for (i, b) in (0_u8..).zip(scalars.iter()) {
        let offer = offers.array()?;
        let (point0, r0) = point(&mut reader)?;
        let (point1, r1) = point(&mut reader)?;
        let mut shared0 = (point0 + to_group(i, 0, &r1)) * b;
        let mut shared1 = (point1 + to_group(i, 1, &r0)) * b;
        seeds.push([seed(i, 0, &offer, &r0, &r1, &shared0), seed(i, 1, &offer, &r0, &r1, &shared1)]);
        shared0.zeroize();
        shared1.zeroize();
    }
    reader.finish()?;
    Ok(seeds)
}

/// A random oracle into the group, one for each transfer and slot.
fn to_group(i: u8, slot: u8, other: &[u8; 32]) -> RistrettoPoint {
    const TAG: &str = "cosigner/ecdsa/v1/base-ot/point";
    let mut hasher = Sha512::new();
    hasher.update([TAG.len() as u8]);
    hasher.update(TAG);
    hasher.update([i, slot]);
    hasher.update(other);
    RistrettoPoint::from_uniform_bytes(&hasher.finalize().into())
}

fn seed(i: u8, slot: u8, offer: &[u8; 32], r0: &[u8; 32], r1: &[u8; 32], shared: &RistrettoPoint) -> Seed {
    let shared = Zeroizing::new(shared.compress().to_bytes());
    tagged("cosigner/ecdsa/v1/base-ot/seed", &[&[i, slot], offer, r0, r1, shared.as_ref()])
}

/// A uniform scalar (a wide reduction, so that no draw is thrown away).
fn random_scalar(rng: &mut (impl RngCore + CryptoRng)) -> Scalar {
    let mut wide = Zeroizing::new([0; 64]);
    rng.fill_bytes(wide.as_mut());
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// A canonical point that is not the identity, with its encoding.
fn point(reader: &mut Reader<'_>) -> Result<(RistrettoPoint, [u8; 32])> {
    let bytes = reader.array()?;
    CompressedRistretto(bytes)
        .decompress()
        .filter(|point| !point.is_identity())
        .map(|point| (point, bytes))
        .ok_or_else(|| {
            Error::abort(Code::MalformedMessage, "a point of the setup is not a valid group element")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    #[test]
    fn the_receiver_has_the_chosen_seeds_and_only_those() {
        for (n, delta) in [0, u128::MAX, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210].into_iter().enumerate() {
            let mut rng = rng(n as u64);
            let (scalars, message) = offer(&mut rng);
            assert_eq!(message.len(), SETUP_LEN);
            let (chosen, answer) = choose(&message, delta, &mut rng).unwrap();
            assert_eq!(answer.len(), SETUP_ANSWER_LEN);
            let both = receive(&scalars, &message, &answer).unwrap();
            for i in 0..KAPPA {
                let slot = (delta >> i) as usize & 1;
                assert_eq!(chosen[i], both[i][slot]);
                assert_ne!(chosen[i], both[i][1 - slot]);
            }
        }
    }
}
