//! secp256k1: multiplications by secret scalars, and sums of products of scalars.
//!
//! Public points are multiplied by secret scalars by libsecp256k1, in constant time (`secp256k1_ecdh`, which its own
//! ctgrind tests cover) and in two thirds of `k256`'s time. Everything else is `k256`.

use std::sync::LazyLock;

use k256::elliptic_curve::Group as _;
use k256::elliptic_curve::ops::{MulByGenerator as _, Reduce as _};
use k256::elliptic_curve::point::AffineCoordinates as _;
use k256::elliptic_curve::sec1::{EncodedPoint, FromEncodedPoint as _, ToEncodedPoint as _};
use k256::{AffinePoint, ProjectivePoint, Scalar, Secp256k1, U256};
use rand_core::{CryptoRng, RngCore};
use secp256k1::{PublicKey, SecretKey, VerifyOnly};
use zeroize::{Zeroize as _, Zeroizing};

use super::ct::{public, some, verdict};
use crate::error::{Code, Error, Result};

/// Length of a compressed point, in bytes.
pub(super) const POINT_LEN: usize = 33;

/// libsecp256k1's context for finished signatures.
pub(super) static LIBRARY: LazyLock<secp256k1::Secp256k1<VerifyOnly>> =
    LazyLock::new(secp256k1::Secp256k1::verification_only);

/// `k` times the generator.
pub(super) fn mul_base(k: &Scalar) -> ProjectivePoint {
    ProjectivePoint::mul_by_generator(k)
}

/// `k` times a public point.
///
/// # Errors
/// `internal`: k is zero or the point the identity (never happens by chance).
pub(super) fn mul(point: &AffinePoint, k: &Scalar) -> Result<AffinePoint> {
    let point = PublicKey::from_slice(point.to_encoded_point(false).as_bytes()).map_err(|_| degenerate())?;
    let bytes = Zeroizing::new(scalar_bytes(k));
    let mut secret = SecretKey::from_slice(bytes.as_ref()).map_err(|_| degenerate())?;
    let product = Zeroizing::new(secp256k1::ecdh::shared_secret_point(&point, &secret));
    secret.non_secure_erase();
    let encoded = EncodedPoint::<Secp256k1>::from_untagged_bytes((&*product).into());
    some(AffinePoint::from_encoded_point(&encoded), AffinePoint::IDENTITY).ok_or_else(degenerate)
}

/// The sum of two points.
///
/// # Errors
/// `internal`: it is the identity (never happens by chance).
pub(super) fn sum(a: &ProjectivePoint, b: &AffinePoint) -> Result<AffinePoint> {
    let sum = a + b;
    if verdict(sum.is_identity()) { Err(degenerate()) } else { Ok(sum.to_affine()) }
}

fn degenerate() -> Error {
    Error::abort(Code::Internal, "a scalar is zero or a point the identity")
}

/// A point that is public although it was computed from secrets.
pub(super) fn public_point(point: AffinePoint) -> AffinePoint {
    if !cfg!(feature = "ctgrind") {
        return point;
    }
    // The checking program needs the same point, made of public bytes.
    let mut bytes = point_bytes(&point);
    public(&mut bytes);
    crate::codec::element_from_bytes::<super::Curve>(&bytes).map_or(point, |point| point.to_affine())
}

/// SEC 1 compressed form of a point that is not the identity, without a branch on the point.
pub(super) fn point_bytes(point: &AffinePoint) -> [u8; POINT_LEN] {
    let mut out = [0; POINT_LEN];
    if let Some((tag, x)) = out.split_first_mut() {
        *tag = 2 | point.y_is_odd().unwrap_u8();
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
            assert_eq!(mul_base(&l).to_affine(), point);
            assert_eq!(public_point(point), point);
            assert_eq!(mul(&point, &k).unwrap(), (ProjectivePoint::from(point) * k).to_affine());
            assert_eq!(
                sum(&mul_base(&l), &point).unwrap(),
                (ProjectivePoint::GENERATOR * (l + l)).to_affine()
            );
        }
        let g = AffinePoint::GENERATOR;
        assert_eq!(mul(&g, &Scalar::ZERO).unwrap_err().code, Code::Internal);
        assert_eq!(mul(&AffinePoint::IDENTITY, &Scalar::ONE).unwrap_err().code, Code::Internal);
        assert_eq!(sum(&ProjectivePoint::GENERATOR, &-g).unwrap_err().code, Code::Internal);
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
