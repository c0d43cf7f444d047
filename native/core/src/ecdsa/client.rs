//! The client's two steps (DKLs19's Bob): message 1 out, message 2 in, a verified signature.

use std::sync::Arc;

use k256::elliptic_curve::PrimeField as _;
use k256::elliptic_curve::scalar::IsHigh as _;
use k256::{AffinePoint, Scalar};
use rand_core::{CryptoRng, RngCore};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::check::{Check, enforced};
use super::context::{Gamma, Parties, Task, challenge, nonce_offset, pad, transcript, x_coordinate};
use super::ct::{public, some, verdict};
use super::curve::{
    LIBRARY, POINT_LEN, mul, mul_base, point_bytes, public_point, scalar_bytes, sum, to_scalar,
};
use super::extension::{self, Choices, Chosen};
use super::multiply::{self, Batch};
use super::pads::Pads;
use super::proof;
use super::session::ClientOt;
use super::wire::{Kind, MESSAGE1_LEN, Response, start};
use super::{Share, XI};
use crate::error::{Code, Error, Reaction, Result};

/// A finished signature. It verifies under `public_key`, and `recovery_id` gives that key back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// r ‖ s, big endian, s at most q/2.
    pub rs: [u8; 64],
    /// Bit 0: y of R is odd; bit 1: x of R is not below q.
    pub recovery_id: u8,
    /// The key that signed: the group key moved along the path, compressed.
    pub public_key: [u8; POINT_LEN],
}

/// Message 1 is made, message 2 is awaited.
pub struct Pending {
    pub(super) ot: Arc<ClientOt>,
    pub(super) task: Task,
    pub(super) context: [u8; 32],
    pub(super) transcript: [u8; 32],
    pub(super) chosen: Chosen,
    pub(super) k: Zeroizing<Scalar>,
    pub(super) beta0: Zeroizing<Scalar>,
    pub(super) d: AffinePoint,
}

/// Starts a signature of `digest` with participant `enclave` under the key at `path`. Message 1 has
/// [`super::wire::MESSAGE1_LEN`] bytes.
///
/// # Errors
/// `wrong_signer_count`, `unexpected_sender`, `invalid_path`, `session_burned`.
pub fn begin(
    share: &Share,
    ot: &Arc<ClientOt>,
    digest: &[u8; 32],
    path: &[u32],
    enclave: u16,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Pending, Vec<u8>)> {
    let task = Task::new(share, Parties { client: share.identifier(), enclave }, digest, path)?;
    let (seeds, index) = ot.take()?;
    let context = task.context(&seeds.binding, index);
    let gadget0 = Batch::First.gadget(&context);
    // beta0 is zero with a chance of 2^-256.
    let (choices, bits, beta0, k) = loop {
        let choices = Choices::draw(rng);
        let bits = choices.bits();
        let beta0 = Zeroizing::new(multiply::beta(Batch::First, &gadget0, &bits));
        if let Some(k) = some(beta0.invert(), Scalar::ZERO) {
            break (choices, bits, beta0, Zeroizing::new(k));
        }
    };
    let beta1 = Zeroizing::new(multiply::beta(Batch::Second, &Batch::Second.gadget(&context), &bits));
    let d = public_point(mul_base(&k).to_affine());
    let delta = *task.weighted(share)? * *beta0 - *beta1;

    let mut message = start(Kind::Request, MESSAGE1_LEN);
    message.extend_from_slice(&index.to_be_bytes());
    message.extend_from_slice(&context);
    message.extend_from_slice(&point_bytes(&d));
    message.extend_from_slice(&scalar_bytes(&delta));
    let chosen = extension::receive(&seeds, index, &context, &choices, &mut message);
    let transcript = transcript(&context, &message);
    Ok((Pending { ot: Arc::clone(ot), task, context, transcript, chosen, k, beta0, d }, message))
}

impl Pending {
    /// Takes message 2 and finishes the signature.
    ///
    /// # Errors
    /// All name the enclave as culprit. The session lives: `malformed_message`, `wrong_kind`, `transcript_mismatch`. The
    /// session is burnt: `multiplication_check_failed`, `invalid_proof`, `signature_invalid`. It was burnt before:
    /// `session_burned`.
    pub fn finish(self, message2: &[u8]) -> Result<Signature> {
        let enclave = self.task.parties.enclave;
        // 1. The bytes.
        let response = Response::parse(message2).map_err(|error| error.blame(enclave))?;
        // 2. It answers this request.
        if !verdict(self.transcript.ct_eq(&response.transcript)) && enforced(Check::Transcript) {
            return Err(Error::peer(Code::TranscriptMismatch, enclave, "the answer is for another request"));
        }
        match self.open(&response) {
            Ok(signature) => self.ot.release(signature),
            Err(error) => {
                self.ot.burn();
                Err(Error { reaction: Reaction::Burn, ..error })
            }
        }
    }

    /// Everything that touches a secret; any failure burns the session.
    fn open(&self, response: &Response<'_>) -> Result<Signature> {
        let failed = |code, message| Error::burn(code, self.task.parties.enclave, message);
        let transcript = &self.transcript;
        // 3. The multiplications.
        let pads = Pads::new(transcript);
        let Chosen { rows, bits } = &self.chosen;
        let d0 = multiply::receive(Batch::First, &pads, rows, bits, &response.tau0);
        let d1 = multiply::receive(Batch::Second, &pads, rows, bits, &response.tau1);
        let challenge = challenge(transcript, response.head);
        let theta0 = Batch::First.theta::<2>(&challenge);
        let theta1 = Batch::Second.theta::<1>(&challenge);
        let mut checked = Zeroizing::new(Vec::with_capacity(2 * XI * 32));
        multiply::received_rows(Batch::First, &theta0, &response.eta0, bits, &d0, &mut checked);
        multiply::received_rows(Batch::Second, &theta1, &response.eta1, bits, &d1, &mut checked);
        let consistent = multiply::rows_hash(&challenge, &checked).ct_eq(&response.rows_hash);
        if !verdict(consistent) && enforced(Check::Multiplication) {
            return Err(failed(Code::MultiplicationCheckFailed, "the enclave's products are not consistent"));
        }
        // 4. R = R' + H(R') D and the proof; D = k G is multiplied through the generator's tables.
        let offset = nonce_offset(transcript, &response.r_prime);
        let r = sum(&mul_base(&(offset * *self.k)), &response.r_prime)
            .map(public_point)
            .map_err(|_| failed(Code::InvalidProof, "the nonce is the identity"))?;
        let commitment = self
            .commitment(response, &r)
            .map_err(|_| failed(Code::InvalidProof, "the proof of the nonce does not verify"))?;
        let expected = proof::challenge(transcript, &self.d, &r, &commitment);
        if expected != response.proof_challenge && enforced(Check::Proof) {
            return Err(failed(Code::InvalidProof, "the proof of the nonce does not verify"));
        }

        let [t1, product1] = *Zeroizing::new(multiply::fold(&Batch::First.gadget(&self.context), &d0));
        let [product2] = *Zeroizing::new(multiply::fold(&Batch::Second.gadget(&self.context), &d1));
        let (t1, t2) = (Zeroizing::new(t1), Zeroizing::new(product1 + product2));
        let open = |which, gamma: &AffinePoint, padded| {
            let bytes = pad(which, transcript, gamma, padded);
            some(Scalar::from_repr((*bytes).into()), Scalar::ZERO)
                .map(Zeroizing::new)
                .ok_or_else(|| failed(Code::SignatureInvalid, "a padded scalar does not open"))
        };
        let phi = open(Gamma::One, &mul(&r, &t1)?, &response.padded_phi)?;
        let t1 = Zeroizing::new(*t1 - *self.beta0 * *phi);
        let gamma2 = sum(&mul_base(&t2), &mul(&self.task.key, &(Scalar::ZERO - *t1))?)?;
        let m = open(Gamma::Two, &gamma2, &response.padded_m)?;
        let (x, overflow, odd) = x_coordinate(&r);
        let mut s = scalar_bytes(&(*m + *t1 * self.task.z + *t2 * x));
        // From here on everything is public.
        public(&mut s);
        let s = to_scalar(&s);
        let high = bool::from(s.is_high());
        let s = if high { -s } else { s };
        let signature = Signature {
            rs: *[scalar_bytes(&x), scalar_bytes(&s)].as_flattened().first_chunk().unwrap_or(&[0; 64]),
            recovery_id: u8::from(odd ^ high) | u8::from(overflow) << 1,
            public_key: point_bytes(&self.task.key),
        };
        // 5. The signature. An enclave that negates its inputs gets a valid signature with a wrong recovery id, so
        // verifying is not enough: the key must come back.
        if !gives_back_the_key(&signature, &self.task.digest) && enforced(Check::Signature) {
            return Err(failed(
                Code::SignatureInvalid,
                "the signature does not verify under the wallet's key",
            ));
        }
        Ok(signature)
    }

    /// The proof's commitment T = s D - e R, with D = k G multiplied through the generator's tables.
    fn commitment(&self, response: &Response<'_>, r: &AffinePoint) -> Result<AffinePoint> {
        sum(&mul_base(&(response.proof_response * *self.k)), &mul(r, &-response.proof_challenge)?)
            .map(public_point)
    }
}

/// libsecp256k1, another implementation than the one that made the signature, recovers the public key from it. That
/// holds exactly if the signature verifies under this key and the recovery id is right (SEC 1 §4.1.6).
pub(super) fn gives_back_the_key(signature: &Signature, digest: &[u8; 32]) -> bool {
    let recovered = RecoveryId::from_i32(i32::from(signature.recovery_id))
        .and_then(|id| RecoverableSignature::from_compact(&signature.rs, id))
        .and_then(|rs| LIBRARY.recover_ecdsa(&secp256k1::Message::from_digest(*digest), &rs));
    recovered.is_ok_and(|key| key.serialize() == signature.public_key)
}
