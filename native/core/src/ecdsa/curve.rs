//! secp256k1: multiplications by secret scalars, and sums of products of scalars.
//!
//! Points are multiplied by libsecp256k1 (its constant-time `ecmult_const` and `ecmult_gen`, which its own ctgrind tests
//! cover); that takes half of `k256`'s time. Everything else is `k256`.

use std::sync::LazyLock;

use k256::elliptic_curve::ops::Reduce as _;
use k256::elliptic_curve::point::AffineCoordinates as _;
use k256::elliptic_curve::sec1::{EncodedPoint, FromEncodedPoint as _, ToEncodedPoint as _};
use k256::{AffinePoint, ProjectivePoint, Scalar, Secp256k1, U256};
use rand_core::{CryptoRng, RngCore};
use secp256k1::{All, PublicKey, SecretKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{Code, Error, Result};

/// Length of a compressed point, in bytes.
pub(super) const POINT_LEN: usize = 33;

/// libsecp256k1's context.
pub(super) static LIBRARY: LazyLock<secp256k1::Secp256k1<All>> = LazyLock::new(secp256k1::Secp256k1::new);

/// `k` times the generator.
///
/// # Errors
/// `internal`: k is zero (never happens by chance).
pub(super) fn mul_base(k: &Scalar) -> Result<AffinePoint> {
    let product = with_secret(k, |k| PublicKey::from_secret_key(&LIBRARY, k))?;
    from_coordinates(product.serialize_uncompressed().last_chunk().unwrap_or(&[0; 64]))
}

/// `k` times a public point.
///
/// # Errors
/// `internal`: k is zero or the point the identity (never happens by chance).
pub(super) fn mul(point: &AffinePoint, k: &Scalar) -> Result<AffinePoint> {
    let point = PublicKey::from_slice(point.to_encoded_point(false).as_bytes()).map_err(|_| degenerate())?;
    let product = with_secret(k, |k| secp256k1::ecdh::shared_secret_point(&point, k))?;
    from_coordinates(&Zeroizing::new(product))
}

/// The sum of two points.
///
/// # Errors
/// `internal`: it is the identity (never happens by chance).
pub(super) fn sum(a: &AffinePoint, b: &AffinePoint) -> Result<AffinePoint> {
    let sum = ProjectivePoint::from(*a) + b;
    if sum == ProjectivePoint::IDENTITY { Err(degenerate()) } else { Ok(sum.to_affine()) }
}

fn with_secret<T>(k: &Scalar, run: impl FnOnce(&SecretKey) -> T) -> Result<T> {
    let bytes = Zeroizing::new(scalar_bytes(k));
    let mut secret = SecretKey::from_slice(bytes.as_ref()).map_err(|_| degenerate())?;
    let result = run(&secret);
    secret.non_secure_erase();
    Ok(result)
}

fn from_coordinates(xy: &[u8; 64]) -> Result<AffinePoint> {
    let encoded = EncodedPoint::<Secp256k1>::from_untagged_bytes(xy.into());
    Option::from(AffinePoint::from_encoded_point(&encoded)).ok_or_else(degenerate)
}

fn degenerate() -> Error {
    Error::abort(Code::Internal, "a scalar is zero or a point the identity")
}

/// SEC 1 compressed form of a point that is not the identity, without a branch on the point.
pub(super) fn point_bytes(point: &AffinePoint) -> [u8; POINT_LEN] {
    let mut out = [0; POINT_LEN];
    if let Some((tag, x)) = out.split_first_mut() {
        *tag = 2 + point.y_is_odd().unwrap_u8();
        x.copy_from_slice(&point.x());
    }
    out
}

/// Big-endian form of a scalar.
pub(super) fn scalar_bytes(scalar: &Scalar) -> [u8; 32] {
    scalar.to_bytes().into()
}

/// 256 bits as a big-endian number modulo q. For secp256k1 2^256 - q < 2^129, so that the result of uniform bits is
/// uniform but for a statistical distance below 2^-127: no worse than a wider reduction would be on other curves.
pub(super) fn to_scalar(bytes: &[u8; 32]) -> Scalar {
    Scalar::reduce(U256::from_be_slice(bytes))
}

/// A uniform scalar (see [`to_scalar`]); no draw is thrown away.
pub(super) fn random_scalar(rng: &mut (impl RngCore + CryptoRng)) -> Scalar {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    to_scalar(&bytes)
}

/// A sum of products of scalars that is reduced once, at the end.
pub(super) struct Sum {
    low: U256,
    high: U256,
    carry: u64,
}

impl Sum {
    /// Starts with a scalar.
    pub(super) fn new(start: &Scalar) -> Self {
        Self { low: start.into(), high: U256::ZERO, carry: 0 }
    }

    /// Adds a * b. At most 2^64 products fit, far more than there are.
    pub(super) fn add(&mut self, a: &Scalar, b: &Scalar) {
        let (low, high) = U256::from(a).mul_wide(&b.into());
        let (low, carry) = self.low.adc(&low, k256::elliptic_curve::bigint::Limb::ZERO);
        let (high, carry) = self.high.adc(&high, carry);
        self.low = low;
        self.high = high;
        self.carry = self.carry.wrapping_add(carry.0);
    }

    /// The sum modulo q.
    pub(super) fn reduce(&self) -> Scalar {
        let two_256 = Scalar::reduce(U256::MAX) + Scalar::ONE;
        Scalar::reduce(self.high.concat(&self.low)) + Scalar::from(self.carry) * two_256 * two_256
    }
}

impl Drop for Sum {
    fn drop(&mut self) {
        self.low.zeroize();
        self.high.zeroize();
        self.carry.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use k256::elliptic_curve::Field as _;

    use super::*;
    use crate::testing::rng;

    #[test]
    fn both_libraries_agree() {
        let mut rng = rng(1);
        for _ in 0..50 {
            let (k, l) = (random_scalar(&mut rng), random_scalar(&mut rng));
            let point = (ProjectivePoint::GENERATOR * l).to_affine();
            assert_eq!(mul_base(&l).unwrap(), point);
            assert_eq!(mul(&point, &k).unwrap(), (ProjectivePoint::from(point) * k).to_affine());
            assert_eq!(sum(&point, &point).unwrap(), (ProjectivePoint::GENERATOR * (l + l)).to_affine());
        }
        let g = AffinePoint::GENERATOR;
        assert_eq!(mul_base(&Scalar::ZERO).unwrap_err().code, Code::Internal);
        assert_eq!(mul(&g, &Scalar::ZERO).unwrap_err().code, Code::Internal);
        assert_eq!(mul(&AffinePoint::IDENTITY, &Scalar::ONE).unwrap_err().code, Code::Internal);
        assert_eq!(sum(&g, &-g).unwrap_err().code, Code::Internal);
        assert_eq!(point_bytes(&-g)[..], *(-g).to_encoded_point(true).as_bytes());
    }

    #[test]
    fn sums_are_reduced_once_and_right() {
        let mut rng = rng(2);
        for count in [0, 1, 2, 3, 416, 3000] {
            let pairs: Vec<_> = (0..count)
                .map(|i| {
                    if i % 3 == 0 {
                        (-Scalar::ONE, -Scalar::ONE)
                    } else {
                        (Scalar::random(&mut rng), Scalar::random(&mut rng))
                    }
                })
                .collect();
            let mut sum = Sum::new(&-Scalar::ONE);
            let mut expected = -Scalar::ONE;
            for (a, b) in &pairs {
                sum.add(a, b);
                expected += a * b;
            }
            assert_eq!(sum.reduce(), expected);
        }
    }

    #[test]
    fn bytes_wrap_at_the_order() {
        assert_eq!(to_scalar(&scalar_bytes(&-Scalar::ONE)), -Scalar::ONE);
        let mut order = scalar_bytes(&-Scalar::ONE);
        order[31] += 1;
        assert_eq!(to_scalar(&order), Scalar::ZERO);
    }
}
