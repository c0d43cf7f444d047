use super::*;
use crate::any::AnyShare;
use crate::seal::{Kind, OVERHEAD, SealingKey};
use crate::testing::{dkg, for_every_suite, rng};
use proptest::prelude::*;

for_every_suite!(
    an_encoded_share_is_canonical,
    an_inconsistent_share_is_refused,
    sealed_shares_open_as_they_were,
    nothing_printed_or_public_holds_the_scalar,
);

fn code<T>(result: Result<T>) -> Code {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => error.code,
    }
}

fn an_encoded_share_is_canonical<S: Suite>() {
    for (t, n) in [(2, 2), (3, 5)] {
        let share = &dkg::<S>(t, n, 1)[&2];
        let bytes = share.encode().unwrap();
        assert_eq!(bytes.len(), KeyShare::<S>::encoded_len(n));
        let again = KeyShare::<S>::decode(&bytes).unwrap();
        assert_eq!(*again.encode().unwrap(), *bytes);
        assert_eq!(again.fingerprint, share.fingerprint);
        for len in 0..bytes.len() {
            assert_eq!(code(KeyShare::<S>::decode(&bytes[..len])), Code::RecordMalformed);
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(code(KeyShare::<S>::decode(&longer)), Code::RecordMalformed);
    }
}

fn an_inconsistent_share_is_refused<S: Suite>() {
    let all = dkg::<S>(2, 3, 1);
    let bytes = all[&1].encode().unwrap();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.to_vec();
        change(&mut changed);
        code(KeyShare::<S>::decode(&changed))
    };
    let group_key = 44;
    let shares = group_key + S::ELEMENT_LEN;
    let scalar = bytes.len() - SCALAR_LEN;
    assert_eq!(refused(&|b| b[scalar + 16] ^= 1), Code::ShareInconsistent);
    assert_eq!(refused(&|b| b[scalar..].fill(0)), Code::ShareInconsistent);
    assert_eq!(refused(&|b| b[scalar..].fill(0xff)), Code::RecordMalformed);
    // Another identifier, another group key, swapped verifying shares.
    assert_eq!(refused(&|b| b[3] = 2), Code::ShareInconsistent);
    let other = dkg::<S>(2, 3, 2)[&1].encode().unwrap();
    assert_eq!(
        refused(&|b| b[group_key..shares].copy_from_slice(&other[group_key..shares])),
        Code::ShareInconsistent
    );
    let (second, third) = (shares + S::ELEMENT_LEN, shares + 2 * S::ELEMENT_LEN);
    assert_eq!(
        refused(&|b| {
            let copy = b[second..third].to_vec();
            b.copy_within(third..third + S::ELEMENT_LEN, second);
            b[third..third + S::ELEMENT_LEN].copy_from_slice(&copy);
        }),
        Code::ShareInconsistent
    );
    // Only the third verifying share, which the first two determine.
    assert_eq!(
        refused(&|b| b[third..third + S::ELEMENT_LEN].copy_from_slice(&other[third..third + S::ELEMENT_LEN])),
        Code::ShareInconsistent
    );
    // A lower threshold than the polynomial's.
    let three = dkg::<S>(3, 3, 1)[&1].encode().unwrap();
    let mut lower = three.to_vec();
    lower[5] = 2;
    assert_eq!(code(KeyShare::<S>::decode(&lower)), Code::ShareInconsistent);
    assert_eq!(refused(&|b| b[0] = 2), Code::RecordMalformed);
    assert_eq!(refused(&|b| b[1] ^= 3), Code::RecordMalformed);
    assert_eq!(refused(&|b| b[3] = 0), Code::RecordMalformed);
    assert_eq!(refused(&|b| b[3] = 4), Code::RecordMalformed);
    assert_eq!(refused(&|b| b[5] = 1), Code::RecordMalformed);
    assert_eq!(refused(&|b| b[7] = 2), Code::RecordMalformed);
    assert_eq!(refused(&|b| b[6] = 1), Code::RecordMalformed);
    assert_eq!(refused(&|b| b[8..12].fill(0)), Code::RecordMalformed);
}

fn sealed_shares_open_as_they_were<S: Suite>() {
    let key = SealingKey::from_data_key(&[1; 32]).unwrap();
    let share = &dkg::<S>(2, 2, 1)[&2];
    let plaintext = share.encode().unwrap();
    let record = key.seal(Kind::Share, &plaintext, b"aad", &mut rng(2)).unwrap();
    assert_eq!(record.len(), KeyShare::<S>::encoded_len(2) + OVERHEAD);
    assert!(!record.windows(8).any(|window| plaintext.windows(8).any(|secret| secret == window)));
    let opened = AnyShare::open(&key, &record, b"aad").unwrap();
    assert_eq!(format!("{opened:?}"), format!("{share:?}"));
    assert_eq!(opened.group_public_key().unwrap(), share.group_public_key().unwrap());
    assert_eq!(code(AnyShare::open(&key, &record, b"other")), Code::RecordNotAuthentic);
    let bytes = key.seal(Kind::Bytes, &plaintext, b"aad", &mut rng(2)).unwrap();
    assert_eq!(code(AnyShare::open(&key, &bytes, b"aad")), Code::RecordMalformed);
    let rubbish = key.seal(Kind::Share, b"rubbish", b"aad", &mut rng(2)).unwrap();
    assert_eq!(code(AnyShare::open(&key, &rubbish, b"aad")), Code::RecordMalformed);
}

fn nothing_printed_or_public_holds_the_scalar<S: Suite>() {
    let share = &dkg::<S>(2, 3, 1)[&2];
    let scalar = share.key.signing_share().serialize();
    let printed = format!("{share:?}");
    assert_eq!(printed, format!("<KeyShare {} 2-of-3 #2 epoch 1>", S::SUITE.name()));
    let public = [share.group_public_key().unwrap(), share.chain_code().to_vec()]
        .into_iter()
        .chain(share.verifying_shares().unwrap().into_values())
        .flatten()
        .collect::<Vec<u8>>();
    assert!(!public.windows(8).any(|window| scalar.windows(8).any(|secret| secret == window)));
}

#[test]
fn a_share_seals_itself() {
    type S = frost_ed25519::Ed25519Sha512;
    let key = SealingKey::from_data_key(&[1; 32]).unwrap();
    let share = AnyShare::Ed25519(dkg::<S>(2, 2, 1).remove(&1).unwrap());
    let record = share.seal(&key, b"aad", &mut rng(2)).unwrap();
    assert_eq!(AnyShare::open(&key, &record, b"aad").unwrap().identifier(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever decodes encodes to the same bytes.
    #[test]
    fn decoding_is_total_and_canonical(at in 0_usize..1000, value in any::<u8>()) {
        type S = frost_ed25519::Ed25519Sha512;
        let share = &dkg::<S>(2, 2, 1)[&1];
        let mut bytes = share.encode().unwrap().to_vec();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(decoded) = KeyShare::<S>::decode(&bytes) {
            prop_assert_eq!(decoded.encode().unwrap().to_vec(), bytes);
        }
    }

    #[test]
    fn rubbish_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(AnyShare::parse(&bytes).is_err());
    }
}
