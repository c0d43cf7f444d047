//! Key shares of both signing suites, made once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use cosigner_core::SuiteId;
use cosigner_core::any::{AnyShare, dkg_start};
use cosigner_core::dkg::Params;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn generate(suite: SuiteId) -> [AnyShare; 2] {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut start = |identifier| {
        let params = Params { identifier, min_signers: 2, max_signers: 2, context: [7; 32] };
        dkg_start(suite, params, &mut rng).expect("valid parameters")
    };
    let ((one, message1), (two, message2)) = (start(1), start(2));
    let (one, mut to_two) = one.advance(&BTreeMap::from([(2, message2)])).expect("honest");
    let (two, mut to_one) = two.advance(&BTreeMap::from([(1, message1)])).expect("honest");
    let from_two = BTreeMap::from([(2, to_one.remove(&1).expect("for 1"))]);
    let from_one = BTreeMap::from([(1, to_two.remove(&2).expect("for 2"))]);
    let (one, confirmation1) = one.advance(&from_two).expect("honest");
    let (two, confirmation2) = two.advance(&from_one).expect("honest");
    [
        one.confirm(&BTreeMap::from([(2, confirmation2.to_vec())])).expect("honest"),
        two.confirm(&BTreeMap::from([(1, confirmation1.to_vec())])).expect("honest"),
    ]
}

/// Both participants' shares, per suite.
pub fn all() -> &'static [[AnyShare; 2]; 2] {
    static SHARES: OnceLock<[[AnyShare; 2]; 2]> = OnceLock::new();
    SHARES.get_or_init(|| [generate(SuiteId::FrostEd25519), generate(SuiteId::FrostSecp256k1Tr)])
}
