#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]
use k256::elliptic_curve::Field;
use k256::elliptic_curve::ops::{LinearCombination, MulByGenerator, Reduce};
use k256::{ProjectivePoint, Scalar, U256};
use std::hint::black_box;
use std::time::Instant;
fn t<T>(name: &str, n: u32, mut f: impl FnMut() -> T) {
    let mut best = f64::MAX;
    for _ in 0..20 {
        let s = Instant::now();
        for _ in 0..n {
            black_box(f());
        }
        best = best.min(s.elapsed().as_secs_f64() / n as f64);
    }
    println!("{name:30} {:.3} us", best * 1e6);
}
fn main() {
    let mut rng = rand_core::OsRng;
    let k = Scalar::random(&mut rng);
    let l = Scalar::random(&mut rng);
    let p = ProjectivePoint::GENERATOR * l;
    t("var", 20, || black_box(p) * black_box(k));
    t("fixed", 20, || ProjectivePoint::mul_by_generator(&black_box(k)));
    t("lincomb2", 20, || ProjectivePoint::lincomb(&black_box(p), &k, &ProjectivePoint::GENERATOR, &l));
    t("to_affine", 20, || black_box(p).to_affine());
    t("invert", 20, || black_box(k).invert());
    t("mul", 1000, || black_box(k) * black_box(l));
    t("add", 1000, || black_box(k) + black_box(l));
    t("sub", 1000, || black_box(k) - black_box(l));
    t("to_bytes", 1000, || black_box(k).to_bytes());
    t("reduce", 1000, || Scalar::reduce(black_box(U256::ONE)));
    let u: U256 = k.into();
    t("mul_wide", 1000, || black_box(u).mul_wide(&black_box(u)));
    let b = vec![7u8; 66_560];
    use sha2::Digest;
    t("sha256 66k", 10, || sha2::Sha256::digest(black_box(&b)));
    t("aes128 key", 1000, || <aes::Aes128Enc as aes::cipher::KeyInit>::new(&black_box([1u8; 16]).into()));
    t("aes256 key", 1000, || <aes::Aes256Enc as aes::cipher::KeyInit>::new(&black_box([1u8; 32]).into()));
    use aes::cipher::BlockCipherEncrypt;
    let c = <aes::Aes128Enc as aes::cipher::KeyInit>::new(&black_box([1u8; 16]).into());
    let mut blocks = [[0u8; 16]; 12];
    t("aes128 12 blocks", 1000, || {
        c.encrypt_blocks(aes::cipher::Array::cast_slice_from_core_mut(black_box(&mut blocks)))
    });
    let mut blocks = [[0u8; 16]; 2];
    t("aes128 2 blocks", 1000, || {
        c.encrypt_blocks(aes::cipher::Array::cast_slice_from_core_mut(black_box(&mut blocks)))
    });
    let ctx = secp256k1::Secp256k1::new();
    let sk = secp256k1::SecretKey::from_slice(&k.to_bytes()).unwrap();
    let pk = secp256k1::PublicKey::from_secret_key(&ctx, &sk);
    let m = secp256k1::Message::from_digest([7; 32]);
    let s = ctx.sign_ecdsa_recoverable(&m, &sk);
    t("recover", 20, || ctx.recover_ecdsa(&m, &s));
    t("ecdh point (const time)", 20, || secp256k1::ecdh::shared_secret_point(&pk, &sk));
    t("c keygen", 20, || secp256k1::PublicKey::from_secret_key(&ctx, &sk));
}
