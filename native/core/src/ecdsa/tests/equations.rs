//! The algebra of docs/spec/ecdsa.md, equation by equation.

use k256::elliptic_curve::Field as _;
use k256::{ProjectivePoint, Scalar};
use rand_core::RngCore as _;
use zeroize::Zeroizing;

use super::super::curve::point_bytes;
use super::super::multiply::{self, Batch};
use super::super::pads::Pads;
use super::super::wire::Response;
use super::cheats::{Cheat, answer};
use super::*;

#[test]
fn shares_of_products_add_up() {
    for seed in 0..5 {
        let mut rng = rng(seed);
        let delta = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        let bits: Vec<u8> = (0..ROWS).map(|_| rng.next_u32() as u8 & 1).collect();
        let sent: Vec<u128> =
            (0..ROWS).map(|_| u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).collect();
        // What a correct extension gives the client: q = t + x Delta.
        let received: Vec<u128> =
            sent.iter().zip(&bits).map(|(q, x)| if *x == 1 { q ^ delta } else { *q }).collect();
        let pads = Pads::new(&[seed as u8; 32]);
        for batch in [Batch::First, Batch::Second] {
            let gadget = batch.gadget(&[seed as u8; 32]);
            let inputs: [Scalar; 3] = std::array::from_fn(|_| Scalar::random(&mut rng));
            let mut taus = Vec::new();
            let u0 = multiply::send(batch, &pads, &sent, delta, &inputs, &mut taus);
            let taus: Vec<[Scalar; 3]> = taus
                .chunks(96)
                .map(|row| {
                    std::array::from_fn(|i| {
                        crate::codec::scalar_from_bytes::<Curve>(&row[32 * i..32 * i + 32]).unwrap()
                    })
                })
                .collect();
            let d = multiply::receive(batch, &pads, &received, &bits, &taus);
            for ((u0, d), bit) in u0.iter().zip(d.iter()).zip(batch.of(&bits)) {
                for i in 0..3 {
                    assert_eq!(d[i] - u0[i], inputs[i] * Scalar::from(u64::from(*bit)));
                }
            }
            let beta = multiply::beta(batch, &gadget, &bits);
            let (ours, theirs): ([Scalar; 2], [Scalar; 2]) =
                (multiply::fold(&gadget, &u0), multiply::fold(&gadget, &d));
            for i in 0..2 {
                assert_eq!(theirs[i] - ours[i], inputs[i] * beta);
            }
            let theta = batch.theta::<2>(&[1; 32]);
            let eta = multiply::combine(&theta, &inputs);
            let (mut sent_rows, mut received_rows) = (Vec::new(), Vec::new());
            multiply::sent_rows(&theta, &u0, &mut sent_rows);
            multiply::received_rows(batch, &theta, &eta, &bits, &d, &mut received_rows);
            assert!(sent_rows == received_rows);
        }
    }
}

#[test]
fn every_equation_of_a_signature_holds() {
    let world = World::new(1);
    let mut rng = rng(2);
    for _ in 0..5 {
        let (pending, message1) = world.begin(&mut rng);
        let enclave = answer(&world, &message1, &Cheat::default(), &mut rng);
        let response = Response::parse(&enclave.message2).unwrap();
        let pads = Pads::new(&pending.transcript);
        let (rows, bits) = (&pending.chosen.rows, &pending.chosen.bits);
        let d0 = multiply::receive(Batch::First, &pads, rows, bits, &response.tau0);
        let d1 = multiply::receive(Batch::Second, &pads, rows, bits, &response.tau1);
        let [t1, first] = multiply::fold(&Batch::First.gadget(&pending.context), &d0);
        let [second] = multiply::fold(&Batch::Second.gadget(&pending.context), &d1);
        let t2 = first + second;
        let inverse = enclave.k.invert().unwrap();
        let (beta0, k) = (*pending.beta0, *pending.k);
        let own = *pending.task.weighted(&world.shares[&CLIENT]).unwrap();
        let secret = own + enclave.secret;
        let base = |k: Scalar| ProjectivePoint::GENERATOR * k;
        // The keys' shares, the nonce, the products.
        assert_eq!(base(secret).to_affine(), pending.task.key);
        assert_eq!(beta0 * k, Scalar::ONE);
        assert_eq!(base(k * enclave.k).to_affine(), enclave.r);
        assert_eq!(enclave.t1 + t1, beta0 * (inverse + enclave.phi));
        assert_eq!(enclave.t2 + t2, beta0 * inverse * secret);
        // The pads.
        let r = ProjectivePoint::from(enclave.r);
        assert_eq!((r * t1).to_affine(), enclave.gammas[0]);
        let t1 = t1 - beta0 * enclave.phi;
        let gamma2 = base(t2) - ProjectivePoint::from(pending.task.key) * t1;
        assert_eq!(gamma2.to_affine(), enclave.gammas[1]);
        // The signature.
        let x = crate::codec::scalar_from_bytes::<Curve>(&point_bytes(&enclave.r)[1..]).unwrap();
        let s = enclave.m + t1 * pending.task.z + t2 * x;
        assert_eq!(s * k * enclave.k, pending.task.z + x * secret);
        pending.finish(&enclave.message2).unwrap();
    }
}

/// Nothing that travels holds a secret's bytes, and what is padded looks random (chi square over bytes).
#[test]
fn messages_hold_no_secret_and_look_random() {
    let world = World::new(3);
    let mut rng = rng(4);
    let mut counts = [0_u32; 256];
    for _ in 0..4 {
        let (pending, message1) = world.begin(&mut rng);
        let enclave = answer(&world, &message1, &Cheat::default(), &mut rng);
        let own = Zeroizing::new(world.shares[&CLIENT].key.signing_share().to_scalar());
        let secrets = [*own, *pending.beta0, *pending.k, enclave.k, enclave.phi, enclave.secret, enclave.m];
        for message in [&message1, &enclave.message2] {
            for secret in &secrets {
                let bytes = secret.to_bytes();
                assert!(!message.windows(8).any(|window| window == &bytes[8..16]));
            }
        }
        for byte in message1[107..].iter().chain(&enclave.message2[131..]) {
            counts[usize::from(*byte)] += 1;
        }
    }
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    let chi: f64 = counts.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
    // 255 degrees of freedom: mean 255, standard deviation 22.6.
    assert!((140.0..400.0).contains(&chi), "{chi}");
}
