//! Parties that deviate: a client with its own columns, an enclave with its own products. Without deviation they give
//! byte for byte what the real ones give.

use k256::elliptic_curve::ops::MulByGenerator as _;
use k256::{AffinePoint, ProjectivePoint, Scalar};
use rand_chacha::ChaCha20Rng;

use super::super::bits::{self, BLOCKS, Column, MASK_ROWS};
use super::super::context::{Gamma, Parties, Task, challenge, nonce_offset, pad, transcript, x_coordinate};
use super::super::curve::{point_bytes, random_scalar, scalar_bytes};
use super::super::extension::{self, LinearHash, commitment, expand};
use super::super::multiply::{self, Batch};
use super::super::pads::Pads;
use super::super::proof;
use super::super::session::ClientSeeds;
use super::super::wire::{Kind, MESSAGE2_LEN, Request, start};
use super::*;

/// Message 1 of `pending` with the same choices, but column `i` of the matrix flipped in each row that `errors` pairs
/// with it. Where `guess` has bit i the client bets that Delta_i is 1.
pub(super) fn forged_request(
    seeds: &ClientSeeds,
    pending: &Pending,
    message1: &[u8],
    errors: &[(usize, usize)],
    guess: u128,
) -> Vec<u8> {
    let request = Request::parse(message1).unwrap();
    let mut message = request.head.to_vec();
    let x = choices(seeds, &request);
    let mut errors_by_column = vec![[0_u128; BLOCKS]; KAPPA];
    for (i, row) in errors {
        errors_by_column[*i][(MASK_ROWS + row) / 128] ^= 1 << ((MASK_ROWS + row) % 128);
    }
    let mut columns = Vec::new();
    for ([seed0, seed1], error) in seeds.pairs.iter().zip(&errors_by_column) {
        let column = expand(seed0, request.index);
        let mut sent = expand(seed1, request.index);
        for b in 0..BLOCKS {
            sent[b] ^= column[b] ^ x[b] ^ error[b];
        }
        bits::write(&sent, &mut message);
        columns.push(column);
    }
    let hash = LinearHash::new(&pending.context, &message, &[]);
    let t_hashes: Vec<u128> = columns
        .iter()
        .zip(&errors_by_column)
        .enumerate()
        .map(|(i, (column, error))| hash.of(column) ^ (bits::mask((guess >> i) & 1 == 1) & hash.of(error)))
        .collect();
    message.extend_from_slice(&hash.of(&x).to_le_bytes());
    message.extend_from_slice(&commitment(&pending.context, &t_hashes));
    message
}

/// The choice column behind an honest request.
fn choices(seeds: &ClientSeeds, request: &Request<'_>) -> Column {
    let (columns, _) = request.columns.as_chunks();
    let sent = bits::from_bytes(&columns[0]);
    let [seed0, seed1] = &seeds.pairs[0];
    let (t0, t1) = (expand(seed0, request.index), expand(seed1, request.index));
    std::array::from_fn(|b| sent[b] ^ t0[b] ^ t1[b])
}

/// How an enclave deviates.
#[derive(Default)]
pub(super) struct Cheat {
    /// Added to tau of the first input, by row of the first batch.
    pub(super) shifts: Vec<(usize, Scalar)>,
    /// Use -1/k in the place of 1/k.
    pub(super) negate: bool,
    /// Prove something else.
    pub(super) spoil_proof: bool,
}

/// What an enclave knows after its step.
pub(super) struct Known {
    pub(super) message2: Vec<u8>,
    pub(super) k: Scalar,
    pub(super) phi: Scalar,
    pub(super) secret: Scalar,
    pub(super) r: AffinePoint,
    pub(super) t1: Scalar,
    pub(super) t2: Scalar,
    pub(super) gammas: [AffinePoint; 2],
    pub(super) m: Scalar,
}

/// The enclave's step written once more, plainly, and with room to cheat.
pub(super) fn answer(world: &World, message1: &[u8], cheat: &Cheat, rng: &mut ChaCha20Rng) -> Known {
    let share = &world.shares[&ENCLAVE];
    let seeds = world.enclave.seeds().unwrap();
    let task = Task::new(share, Parties { client: CLIENT, enclave: ENCLAVE }, &DIGEST, &PATH).unwrap();
    let request = Request::parse(message1).unwrap();
    let context = task.context(&seeds.binding, request.index);
    let rows = extension::send(&seeds, &context, &request).unwrap();
    let transcript = transcript(&context, message1);
    let k_prime = random_scalar(rng);
    let r_prime = (ProjectivePoint::from(request.d) * k_prime).to_affine();
    let k = k_prime + nonce_offset(&transcript, &r_prime);
    let r = (ProjectivePoint::from(request.d) * k).to_affine();
    let (e, mut s) = proof::prove(&transcript, &request.d, &r, &k, rng).unwrap();
    if cheat.spoil_proof {
        s += Scalar::ONE;
    }
    let sign = if cheat.negate { -Scalar::ONE } else { Scalar::ONE };
    let inverse = k.invert().unwrap() * sign;
    let phi = random_scalar(rng);
    let secret = *task.weighted(share).unwrap() + task.tweak;
    let inputs0 = [inverse + phi, secret * inverse, random_scalar(rng)];
    let inputs1 = [inverse, random_scalar(rng)];

    let mut out = start(Kind::Response, MESSAGE2_LEN);
    out.extend_from_slice(&transcript);
    for bytes in [&point_bytes(&r_prime)[..], &scalar_bytes(&e), &scalar_bytes(&s)] {
        out.extend_from_slice(bytes);
    }
    let pads = Pads::new(&transcript);
    let mut taus = Vec::new();
    let u0 = multiply::send(Batch::First, &pads, &rows, *seeds.delta, &inputs0, &mut taus);
    for (row, shift) in &cheat.shifts {
        let tau = &mut taus[row * 96..row * 96 + 32];
        let shifted = crate::codec::scalar_from_bytes::<Curve>(tau).unwrap() + shift;
        tau.copy_from_slice(&scalar_bytes(&shifted));
    }
    let u1 = multiply::send(Batch::Second, &pads, &rows, *seeds.delta, &inputs1, &mut taus);
    out.extend_from_slice(&taus);
    let challenge = challenge(&transcript, &out);
    let (theta0, theta1) = (Batch::First.theta::<2>(&challenge), Batch::Second.theta::<1>(&challenge));
    out.extend_from_slice(&scalar_bytes(&(inputs0[2] + theta0[0] * inputs0[0] + theta0[1] * inputs0[1])));
    out.extend_from_slice(&scalar_bytes(&(inputs1[1] + theta1[0] * inputs1[0])));
    let mut checked = Vec::new();
    multiply::sent_rows(&theta0, &u0, &mut checked);
    multiply::sent_rows(&theta1, &u1, &mut checked);
    out.extend_from_slice(&multiply::rows_hash(&challenge, &checked));

    let share_of = |batch: Batch, values: Vec<Scalar>| -> Scalar {
        -batch.gadget(&context).iter().zip(values).map(|(g, u)| g * &u).sum::<Scalar>()
    };
    let t1 = share_of(Batch::First, u0.iter().map(|u| u[0]).collect());
    let t2 = share_of(Batch::First, u0.iter().map(|u| u[1]).collect())
        + share_of(Batch::Second, u1.iter().map(|u| u[0]).collect())
        + request.delta * inverse;
    let base = |k: Scalar| ProjectivePoint::mul_by_generator(&k);
    let gamma1 = (base(k * phi + sign) - ProjectivePoint::from(r) * t1).to_affine();
    let (x, _, _) = x_coordinate(&r);
    let m = t1 * task.z + t2 * x;
    let gamma2 = (ProjectivePoint::from(task.key) * t1 - base(t2)).to_affine();
    out.extend_from_slice(pad(Gamma::One, &transcript, &gamma1, &scalar_bytes(&phi)).as_ref());
    out.extend_from_slice(pad(Gamma::Two, &transcript, &gamma2, &scalar_bytes(&m)).as_ref());
    Known { message2: out, k, phi, secret, r, t1, t2, gammas: [gamma1, gamma2], m }
}

#[test]
fn without_deviation_the_cheats_are_the_real_parties() {
    let world = World::new(1);
    let mut start = rng(2);
    let (pending, message1) = world.begin(&mut start);
    let (seeds, _) = world.client.take().unwrap();
    assert_eq!(forged_request(&seeds, &pending, &message1, &[], 0), message1);
    let known = answer(&world, &message1, &Cheat::default(), &mut start.clone());
    assert!(known.message2 == world.respond(&message1, &mut start).unwrap());
}
