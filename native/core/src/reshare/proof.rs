//! Proof that a share is held: a Schnorr signature by the suite's library under the own verifying share.

use frost_core::{SigningKey, VerifyingKey};
use rand_core::{CryptoRng, RngCore};

use crate::codec::signature_from_bytes;
use crate::error::{Code, Error, Result};
use crate::hash::tagged;
use crate::share::KeyShare;
use crate::suite::Suite;

/// Length of what a proof is made for, in bytes.
pub const PROOF_CONTEXT_LEN: usize = 32;

impl<S: Suite> KeyShare<S> {
    /// Proves that this share is held, for a context.
    ///
    /// # Errors
    /// `internal`, which a share that was checked does not raise.
    pub fn prove(
        &self,
        context: &[u8; PROOF_CONTEXT_LEN],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>> {
        let internal = |_| Error::abort(Code::Internal, "the proof could not be made");
        let key = SigningKey::<S>::from_scalar(self.key.signing_share().to_scalar()).map_err(internal)?;
        key.sign(rng, &self.statement(self.identifier(), context)?).serialize().map_err(internal)
    }

    /// Checks the proof of another member of the same group at the same epoch.
    ///
    /// # Errors
    /// `invalid_proof` (culprit: that member); `invalid_parameter`: no other member's identifier.
    pub fn verify_proof(
        &self,
        identifier: u16,
        context: &[u8; PROOF_CONTEXT_LEN],
        proof: &[u8],
    ) -> Result<()> {
        if identifier == self.identifier() || !(1..=self.max_signers()).contains(&identifier) {
            return Err(Error::caller(Code::InvalidParameter, "not another member of the group"));
        }
        let invalid = || Error::peer(Code::InvalidProof, identifier, "the proof of a share does not verify");
        let key = VerifyingKey::<S>::new(self.verifying_share(identifier)?);
        let statement = self.statement(identifier, context)?;
        let signature = signature_from_bytes::<S>(proof).ok_or_else(invalid)?;
        if S::holds(&signature, proof, &key, &statement) { Ok(()) } else { Err(invalid()) }
    }

    fn statement(&self, identifier: u16, context: &[u8; PROOF_CONTEXT_LEN]) -> Result<[u8; 32]> {
        let group = self.group().fingerprint()?;
        Ok(tagged("cosigner/share/v1/proof", &[&group, &identifier.to_be_bytes(), context]))
    }
}
