//! The enclave's step (DKLs19's Alice): message 1 in, message 2 out.

use k256::Scalar;
use rand_core::{CryptoRng, RngCore};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::check::{Check, enforced};
use super::context::{Gamma, Parties, Task, challenge, nonce_offset, pad, transcript, x_coordinate};
use super::ct::{some, verdict};
use super::curve::{mul, mul_base, point_bytes, public_point, random_scalar, scalar_bytes, sum};
use super::extension;
use super::multiply::{self, Batch};
use super::pads::Pads;
use super::proof;
use super::session::EnclaveOt;
use super::wire::{Kind, MESSAGE2_LEN, Request, start};
use super::{Share, XI};
use crate::error::{Code, Error, Result};

/// Answers message 1 of participant `client` for `digest` under the key at `path`.
///
/// # Errors
/// Nothing was computed, the session lives: `malformed_message`, `wrong_kind`, `wrong_context`, `index_reused` (culprit:
/// the client), `wrong_signer_count`, `unexpected_sender`, `invalid_path`. The session is burnt: `ot_check_failed`
/// (culprit: the client). It was burnt before: `session_burned`.
pub fn respond(
    share: &Share,
    ot: &EnclaveOt,
    message1: &[u8],
    digest: &[u8; 32],
    path: &[u32],
    client: u16,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>> {
    let seeds = ot.seeds()?;
    let task = Task::new(share, Parties { client, enclave: share.identifier() }, digest, path)?;
    // 1. The bytes.
    let request = Request::parse(message1).map_err(|error| error.blame(client))?;
    // 2. Session, key, path and digest are what the client means, before anything that depends on a secret.
    let context = task.context(&seeds.binding, request.index);
    if !verdict(context.ct_eq(&request.context)) && enforced(Check::Context) {
        return Err(Error::peer(
            Code::WrongContext,
            client,
            "the request is for another session, key, path or digest",
        ));
    }
    // 3. The index, gone from now on.
    ot.take(request.index, client)?;
    // 4. The extension.
    let Some(rows) = extension::send(&seeds, &context, &request) else {
        ot.burn();
        return Err(Error::burn(Code::OtCheckFailed, client, "the request's transfers are not consistent"));
    };

    let transcript = transcript(&context, message1);
    let d = &request.d;
    // R' = k' D, k = k' + H(R'), R = k D.
    let k_prime = Zeroizing::new(random_scalar(rng));
    let r_prime = public_point(mul(d, &k_prime)?);
    let k = Zeroizing::new(*k_prime + nonce_offset(&transcript, &r_prime));
    let r = public_point(mul(d, &k)?);
    let inverse = some(k.invert(), Scalar::ZERO);
    let inverse = Zeroizing::new(inverse.ok_or_else(|| Error::abort(Code::Internal, "the nonce is zero"))?);
    let proof = proof::prove(&transcript, d, &r, &k, rng)?;
    let phi = Zeroizing::new(random_scalar(rng));
    // The tweak of the derived key is the enclave's to add.
    let secret = Zeroizing::new(*task.weighted(share)? + task.tweak);
    let inputs0 = Zeroizing::new([*inverse + *phi, *secret * *inverse, random_scalar(rng)]);
    let inputs1 = Zeroizing::new([*inverse, random_scalar(rng)]);

    let mut out = start(Kind::Response, MESSAGE2_LEN);
    out.extend_from_slice(&transcript);
    out.extend_from_slice(&point_bytes(&r_prime));
    out.extend_from_slice(&scalar_bytes(&proof.0));
    out.extend_from_slice(&scalar_bytes(&proof.1));
    let pads = Pads::new(&transcript);
    let delta = *seeds.delta;
    let u0 = multiply::send(Batch::First, &pads, &rows, delta, &inputs0, &mut out);
    let u1 = multiply::send(Batch::Second, &pads, &rows, delta, &inputs1, &mut out);

    let challenge = challenge(&transcript, &out);
    let theta0 = Batch::First.theta::<2>(&challenge);
    let theta1 = Batch::Second.theta::<1>(&challenge);
    out.extend_from_slice(&scalar_bytes(&multiply::combine(&theta0, inputs0.as_ref())));
    out.extend_from_slice(&scalar_bytes(&multiply::combine(&theta1, inputs1.as_ref())));
    let mut checked = Zeroizing::new(Vec::with_capacity(2 * XI * 32));
    multiply::sent_rows(&theta0, &u0, &mut checked);
    multiply::sent_rows(&theta1, &u1, &mut checked);
    out.extend_from_slice(&multiply::rows_hash(&challenge, &checked));

    // Shares of (1/k + phi) * beta0, of (t_A/k) * beta0, and of (1/k) * beta1 moved to (1/k) * t_B * beta0.
    let [product0, product1] = *Zeroizing::new(multiply::fold(&Batch::First.gadget(&context), &u0));
    let [product2] = *Zeroizing::new(multiply::fold(&Batch::Second.gadget(&context), &u1));
    let t1 = Zeroizing::new(Scalar::ZERO - product0);
    let t2 = Zeroizing::new(request.delta * *inverse - product1 - product2);

    let gamma1 = sum(&mul_base(&(*k * *phi + Scalar::ONE)), &mul(&r, &product0)?)?;
    out.extend_from_slice(pad(Gamma::One, &transcript, &gamma1, &scalar_bytes(&phi)).as_ref());
    let (x, _, _) = x_coordinate(&r);
    let m = Zeroizing::new(*t1 * task.z + *t2 * x);
    let gamma2 = sum(&mul_base(&(Scalar::ZERO - *t2)), &mul(&task.key, &t1)?)?;
    out.extend_from_slice(pad(Gamma::Two, &transcript, &gamma2, &scalar_bytes(&m)).as_ref());
    ot.release(out)
}
