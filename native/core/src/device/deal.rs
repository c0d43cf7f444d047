//! A whole key dealt out to the parties of a new wallet.

use rand_core::{CryptoRng, RngCore};

use super::SecretKey;
use crate::any::{AnyDealt, import_deal};
use crate::error::Result;
use crate::reshare::import::Shape;

impl SecretKey {
    /// Deals the key out; see [`crate::reshare::import::deal`]. `receivers` are those of this node, ascending.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn deal(
        &self,
        shape: &Shape,
        receivers: &[u16],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<AnyDealt> {
        import_deal(self.suite(), self.scalar(), self.chain_code(), shape, receivers, rng)
    }
}
