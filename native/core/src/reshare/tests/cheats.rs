//! Dishonest dealers, who do everything right but one thing; and that the check in their way is the one needed.

use frost_core::keys::{
    CoefficientCommitment, SigningShare, VerifiableSecretSharingCommitment, sum_commitments,
};
use frost_core::{Element, Field, Group, Scalar, compute_lagrange_coefficient};

use super::super::message::Run;
use super::super::pending::Key;
use super::*;
use crate::codec::element_to_bytes;
use crate::share::{PublicGroup, identifier};
use crate::testing::for_every_suite;

for_every_suite!(
    a_dealer_by_hand_is_an_honest_one,
    a_wrong_constant_term_would_move_the_key,
    a_sub_share_off_the_polynomial_would_not_sign,
    a_polynomial_of_another_degree_would_change_the_threshold,
    coefficients_that_cancel_would_give_everybody_the_key,
    a_share_of_zero_is_refused,
);

fn one<S: Suite>() -> Scalar<S> {
    <<S::Group as Group>::Field as Field>::one()
}

fn zero<S: Suite>() -> Scalar<S> {
    <<S::Group as Group>::Field as Field>::zero()
}

/// Dealer 2 of [`three`], written once more, with coefficients of its choice.
struct Dealer<S: Suite> {
    coefficients: Vec<Scalar<S>>,
}

impl<S: Suite> Dealer<S> {
    /// The part of `dealer` in the key, and another coefficient for each further one.
    fn honest(old: &BTreeMap<u16, KeyShare<S>>, dealer: u16, further: &[u64]) -> Self {
        let quorum = [1, 2].into_iter().map(|i| identifier::<S>(i).unwrap()).collect();
        let lambda = compute_lagrange_coefficient(&quorum, None, identifier::<S>(dealer).unwrap()).unwrap();
        let mut coefficients = vec![lambda * old[&dealer].key.signing_share().to_scalar()];
        coefficients.extend(further.iter().map(|k| number::<S>(*k)));
        Self { coefficients }
    }

    fn commitment(&self) -> VerifiableSecretSharingCommitment<S> {
        let points = self.coefficients.iter().map(|k| CoefficientCommitment::new(S::mul_base(k)));
        VerifiableSecretSharingCommitment::new(points.collect())
    }

    /// Message 1 in this dealer's name; only the points are its own.
    fn first(&self, honest: &[u8]) -> Vec<u8> {
        let points = self.commitment().serialize_whole().unwrap();
        [&honest[..41], &points].concat()
    }

    fn at(&self, receiver: u16) -> Zeroizing<SigningShare<S>> {
        let id = identifier::<S>(receiver).unwrap();
        Zeroizing::new(SigningShare::from_coefficients(&self.coefficients, id))
    }
}

fn number<S: Suite>(k: u64) -> Scalar<S> {
    (0..k).fold(zero::<S>(), |sum, _| sum + one::<S>())
}

/// Node 2, which only receives, before this first message of dealer 2; and what dealer 1 sends it.
fn meet<S: Suite>(first: &dyn Fn(&[u8]) -> Vec<u8>) -> (Result<(Round2<S>, Messages2)>, Play<S>) {
    let mut play = Play::begin(&three(), &dkg::<S>(2, 3, 1), &mut rng(5));
    let mut messages = play.first_for(2);
    messages.insert(2, first(&messages[&2]));
    (play.round1[2].take().unwrap().advance(&messages), play)
}

/// The second messages for receiver 3 after dealer 2 sent `first`: dealer 1 saw it, too.
fn second<S: Suite>(play: &mut Play<S>, first: Vec<u8>, sub_share: &SigningShare<S>) -> Messages2 {
    let (_, mut outgoing) = play.round1[0].take().unwrap().advance(&BTreeMap::from([(2, first)])).unwrap();
    let from_one = outgoing.remove(&(1, 3)).unwrap();
    let hash = from_one[7..39].try_into().unwrap();
    let from_two = Message2::encode(Kind::Reshare, 2, 3, &hash, sub_share);
    BTreeMap::from([((1, 3), from_one), ((2, 3), from_two)])
}

fn a_dealer_by_hand_is_an_honest_one<S: Suite>() {
    let dealer = Dealer::honest(&dkg::<S>(2, 3, 1), 2, &[77]);
    let (state, mut play) = meet::<S>(&|honest| dealer.first(honest));
    let first = dealer.first(&play.messages1[&2]);
    let messages = second(&mut play, first, &dealer.at(3));
    assert_eq!(state.unwrap().0.advance(&messages).unwrap().0.receivers(), [3]);
}

/// The sums as [`Round3::assemble`] makes them, for receiver 3.
fn assembled<S: Suite>(dealers: &[&Dealer<S>], public: Element<S>) -> Result<(Round3<S>, Confirmations)> {
    let run = Run { kind: Kind::Reshare, min_signers: 2, max_signers: 3, context_hash: [0; 32] };
    let commitments: Vec<_> = dealers.iter().map(|dealer| dealer.commitment()).collect();
    let key = Key { public: frost_core::VerifyingKey::new(public), chain_code: [0; 32], epoch: 2 };
    let parts = dealers.iter().map(|dealer| dealer.at(3)).collect();
    let commitments: Vec<_> = commitments.iter().collect();
    Round3::assemble(&run, &[0; 32], &key, &commitments, &BTreeMap::from([(3, parts)]))
}

fn a_wrong_constant_term_would_move_the_key<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let key = old[&1].group().public().verifying_key().to_element();
    let mut dealer = Dealer::honest(&old, 2, &[77]);
    dealer.coefficients[0] = dealer.coefficients[0] + one::<S>();
    let (state, _) = meet::<S>(&|honest| dealer.first(honest));
    assert_blames(state, Code::WrongConstantTerm, 2);
    // Without the check: shares that fit each other, of another key. Only comparing with the old key would tell, and
    // it could not say whose fault it is.
    let other = Dealer::honest(&old, 1, &[5]);
    let moved = key + S::mul_base(&one::<S>());
    let (state, _) = assembled(&[&other, &dealer], moved).unwrap();
    assert_eq!(state.group().public_key().unwrap(), element_to_bytes::<S>(&moved).unwrap());
    let refused = error(assembled(&[&other, &dealer], key));
    assert_eq!((refused.code, refused.culprit), (Code::DegenerateKey, None));
}

fn a_sub_share_off_the_polynomial_would_not_sign<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let dealer = Dealer::honest(&old, 2, &[77]);
    let (state, mut play) = meet::<S>(&|honest| dealer.first(honest));
    let off = SigningShare::new(dealer.at(3).to_scalar() + one::<S>());
    let first = dealer.first(&play.messages1[&2]);
    let messages = second(&mut play, first, &off);
    assert_blames(state.unwrap().0.advance(&messages), Code::InvalidSubShare, 2);
    // Without the check the sum does not fit its verifying share, and nobody can say whose fault it is.
    let group = reshare(&three(), &old, 2)[&1].group();
    let refused = error(KeyShare::of_group(&group, 3, &off));
    assert_eq!((refused.code, refused.culprit), (Code::ShareInconsistent, None));
}

fn a_polynomial_of_another_degree_would_change_the_threshold<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    for further in [&[][..], &[77, 78], &[1; 62]] {
        let dealer = Dealer::honest(&old, 2, further);
        let (state, _) = meet::<S>(&|honest| dealer.first(honest));
        assert_blames(state, Code::WrongCommitmentCount, 2);
    }
    // With a coefficient more, two shares do not give the key any more.
    let (one, two) = (Dealer::honest(&old, 1, &[5, 6]), Dealer::honest(&old, 2, &[77, 78]));
    let quorum = [1, 2].into_iter().map(|i| identifier::<S>(i).unwrap()).collect();
    let mut secret = zero::<S>();
    for i in [1, 2] {
        let lambda = compute_lagrange_coefficient(&quorum, None, identifier::<S>(i).unwrap()).unwrap();
        secret = secret + lambda * (one.at(i).to_scalar() + two.at(i).to_scalar());
    }
    assert!(S::mul_base(&secret) != old[&1].group().public().verifying_key().to_element());
}

/// All dealers together choose coefficients whose sum is zero: every new share would be the key itself. (Together they
/// know the key anyway. A receiver notices all the same.)
fn coefficients_that_cancel_would_give_everybody_the_key<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let key = *old[&1].group().public().verifying_key();
    let one = Dealer::honest(&old, 1, &[77]);
    let mut two = Dealer::honest(&old, 2, &[0]);
    two.coefficients[1] = zero::<S>() - number::<S>(77);
    let refused = error(assembled(&[&one, &two], key.to_element()));
    assert_eq!((refused.code, refused.culprit), (Code::DegenerateKey, None));
    // Without the check: a group that fits, of the right key.
    let commitments = [one.commitment(), two.commitment()];
    let sum = sum_commitments(&[&commitments[0], &commitments[1]]).unwrap();
    let everybody = (1..=3).map(|i| identifier::<S>(i).unwrap()).collect();
    let public = frost_core::keys::PublicKeyPackage::from_commitment(&everybody, &sum).unwrap();
    let group = PublicGroup::new(2, 3, 2, [0; 32], public).unwrap();
    assert!(group.verifying_share(3).unwrap() == key.to_element());
}

fn a_share_of_zero_is_refused<S: Suite>() {
    let old = dkg::<S>(2, 3, 1);
    let key = old[&1].group().public().verifying_key().to_element();
    let one = Dealer::honest(&old, 1, &[5]);
    // f_1(3) + f_2(3) = 0.
    let mut two = Dealer::honest(&old, 2, &[0]);
    let third = <<S::Group as Group>::Field as Field>::invert(&number::<S>(3)).unwrap();
    two.coefficients[1] = (zero::<S>() - one.at(3).to_scalar() - two.coefficients[0]) * third;
    let refused = error(assembled(&[&one, &two], key));
    assert_eq!((refused.code, refused.culprit), (Code::DegenerateKey, None));
}
