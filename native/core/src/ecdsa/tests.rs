//! Whole signatures.

use std::sync::Arc;

use super::*;
use crate::testing::{dkg, rng};

#[test]
fn signs() {
    let shares = dkg::<Curve>(2, 3, 1);
    let mut rng = rng(5);
    let (setup, message) = ClientSetup::begin(&mut rng);
    let (enclave, answer) = EnclaveSetup::respond(&message, &mut rng).unwrap();
    let client = Arc::new(setup.finish(&answer, &[3; 32]).unwrap());
    let enclave = enclave.bind(&[3; 32]);
    for (path, c, e) in [(&[][..], 1, 2), (&[0, 5], 3, 2), (&[7], 2, 1)] {
        let (pending, m1) = begin(&shares[&c], &client, &[9; 32], path, e, &mut rng).unwrap();
        assert_eq!(m1.len(), wire::MESSAGE1_LEN);
        let m2 = respond(&shares[&e], &enclave, &m1, &[9; 32], path, c, &mut rng).unwrap();
        assert_eq!(m2.len(), wire::MESSAGE2_LEN);
        pending.finish(&m2).unwrap();
    }
}
