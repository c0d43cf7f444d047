//! What one signature is about: who signs what with which key, as one hash that both sides must agree on.

use k256::elliptic_curve::ops::Reduce as _;
use k256::{AffinePoint, Scalar, U256};
use zeroize::Zeroizing;

use super::curve::{point_bytes, to_scalar};
use super::derive::{Derived, derive};
use super::{Curve, Share};
use crate::codec::element_to_bytes;
use crate::error::{Code, Error, Result};
use crate::hash::tagged;

/// The two parties of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parties {
    pub(super) client: u16,
    pub(super) enclave: u16,
}

impl Parties {
    /// Both signers are different participants of the share's key, whose threshold is 2.
    pub(super) fn check(self, share: &Share) -> Result<Self> {
        if share.min_signers() != 2 {
            return Err(Error::caller(
                Code::WrongSignerCount,
                "two parties sign for keys of threshold 2 only",
            ));
        }
        let peer = if self.client == share.identifier() { self.enclave } else { self.client };
        if peer == share.identifier() || !(1..=share.max_signers()).contains(&peer) {
            return Err(Error::caller(
                Code::UnexpectedSender,
                "the peer is not another participant of this key",
            ));
        }
        Ok(self)
    }
}

/// Everything public about one signature but the session.
pub(super) struct Task {
    pub(super) parties: Parties,
    /// The key that signs: the group key moved along the path.
    pub(super) key: AffinePoint,
    /// What must be added to the secret.
    pub(super) tweak: Scalar,
    /// The digest as a scalar (SEC 1 §4.1.3, step 5).
    pub(super) z: Scalar,
    pub(super) digest: [u8; 32],
    /// Encoding of all of this.
    encoded: Vec<u8>,
}

impl Task {
    pub(super) fn new(share: &Share, parties: Parties, digest: &[u8; 32], path: &[u32]) -> Result<Self> {
        let parties = parties.check(share)?;
        let Derived { key, tweak, .. } =
            derive(&share.public.verifying_key().to_element(), share.chain_code(), path)?;
        let key = key.to_affine();
        let mut encoded = Vec::with_capacity(256);
        encoded.extend_from_slice(&parties.client.to_be_bytes());
        encoded.extend_from_slice(&parties.enclave.to_be_bytes());
        encoded.extend_from_slice(&share.min_signers().to_be_bytes());
        encoded.extend_from_slice(&share.max_signers().to_be_bytes());
        encoded.extend_from_slice(&share.epoch().to_be_bytes());
        encoded.extend_from_slice(share.chain_code());
        encoded.extend_from_slice(&share.group_public_key()?);
        for party in [parties.client, parties.enclave] {
            let verifying = element_to_bytes::<Curve>(&share.verifying_share(party)?);
            encoded.extend_from_slice(
                &verifying
                    .ok_or_else(|| Error::abort(Code::DegenerateKey, "a verifying share is the identity"))?,
            );
        }
        // At most 16 elements, checked above.
        encoded.push(path.len() as u8);
        for element in path {
            encoded.extend_from_slice(&element.to_be_bytes());
        }
        encoded.extend_from_slice(&point_bytes(&key));
        encoded.extend_from_slice(digest);
        Ok(Self { parties, key, tweak, z: to_scalar(digest), digest: *digest, encoded })
    }

    /// The context of one run: this task under an index of a session.
    pub(super) fn context(&self, binding: &[u8; 32], index: u64) -> [u8; 32] {
        tagged("cosigner/ecdsa/v1/context", &[binding, &index.to_be_bytes(), &self.encoded])
    }

    /// The party's additive share of the group's secret: its Shamir share times its Lagrange coefficient at zero.
    pub(super) fn weighted(&self, share: &Share) -> Result<Zeroizing<Scalar>> {
        let own = Scalar::from(u32::from(share.identifier()));
        let Parties { client, enclave } = self.parties;
        let peer = Scalar::from(u32::from(if client == share.identifier() { enclave } else { client }));
        // The identifiers are public and differ.
        let inverse = Option::<Scalar>::from((peer - own).invert())
            .ok_or_else(|| Error::abort(Code::Internal, "the identifiers are equal"))?;
        let secret = Zeroizing::new(share.key.signing_share().to_scalar());
        Ok(Zeroizing::new(*secret * peer * inverse))
    }
}

/// The hash of a whole request under its context; everything after message 1 is bound to it.
pub(super) fn transcript(context: &[u8; 32], message1: &[u8]) -> [u8; 32] {
    tagged("cosigner/ecdsa/v1/transcript", &[context, message1])
}

/// The challenge of the multiplications' check: everything up to and with the taus.
pub(super) fn challenge(transcript: &[u8; 32], head: &[u8]) -> [u8; 32] {
    tagged("cosigner/ecdsa/v1/multiply/challenge", &[transcript, head])
}

/// The offset that makes R unpredictable for the enclave (DKLs19's H(R')).
pub(super) fn nonce_offset(transcript: &[u8; 32], r_prime: &AffinePoint) -> Scalar {
    to_scalar(&tagged("cosigner/ecdsa/v1/nonce", &[transcript, &point_bytes(r_prime)]))
}

/// Which of the two padded scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gamma {
    /// Pads phi.
    One = 1,
    /// Pads m.
    Two = 2,
}

/// XORs 32 bytes with the pad that a point gives.
pub(super) fn pad(
    which: Gamma,
    transcript: &[u8; 32],
    gamma: &AffinePoint,
    bytes: &[u8; 32],
) -> Zeroizing<[u8; 32]> {
    let gamma = Zeroizing::new(point_bytes(gamma));
    let mut pad =
        Zeroizing::new(tagged("cosigner/ecdsa/v1/gamma", &[transcript, &[which as u8], gamma.as_ref()]));
    for (to, from) in pad.iter_mut().zip(bytes) {
        *to ^= from;
    }
    pad
}

/// The x coordinate modulo q, whether it was reduced, and whether y is odd.
pub(super) fn x_coordinate(r: &AffinePoint) -> (Scalar, bool, bool) {
    let encoded = point_bytes(r);
    let (odd, x) = encoded.split_first_chunk::<1>().map_or((false, &[][..]), |([tag], x)| (*tag == 3, x));
    let x = U256::from_be_slice(x);
    let reduced = Scalar::reduce(x);
    (reduced, U256::from(reduced) != x, odd)
}
