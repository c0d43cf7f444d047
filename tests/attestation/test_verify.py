"""The types, the policy, the time of judgement, and properties over all inputs."""

import copy
import dataclasses
import pickle
from datetime import UTC, datetime, timedelta, timezone

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation import AWS_NITRO_ROOT_G1, AttestationDocument, TrustPolicy, VerifiedAttestation
from attestation.document import parse
from attestation.errors import CODES, STEPS, AttestationError
from attestation.verify import ISSUED, verify
from tests.attestation.minting import (
    NONCE,
    NOW,
    PCR0,
    PCR1,
    POSITIONS,
    PUBLIC_KEY,
    USER_DATA,
    document,
    fields,
    normal_chain,
    policy,
)

GOOD = document()


def code_of(raw: bytes, **arguments: object) -> str:
    with pytest.raises(AttestationError) as caught:
        verify(raw, **{"policy": policy(), "at": NOW, **arguments})
    return caught.value.code


def test_a_verified_attestation_shows_the_document() -> None:
    verified = verify(GOOD, policy=policy(), at=NOW + timedelta(seconds=2), nonce=NONCE)
    assert isinstance(verified.document, AttestationDocument)
    assert (verified.nonce, verified.user_data, verified.public_key) == (NONCE, USER_DATA, PUBLIC_KEY)
    assert verified.issued_at == NOW
    assert verified.age_s == 2.0
    assert verified.pcrs[0] == PCR0
    assert verified.root_sha256 in policy().roots


def test_parsed_and_verified_are_different_types() -> None:
    assert not isinstance(parse(GOOD), VerifiedAttestation)
    assert not issubclass(VerifiedAttestation, AttestationDocument)


def test_nothing_but_verify_makes_a_verified_attestation() -> None:
    parsed, verified = parse(GOOD), verify(GOOD, policy=policy(), at=NOW)
    with pytest.raises(TypeError):
        VerifiedAttestation(document=parsed, root_sha256="", checked_at=NOW)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        VerifiedAttestation(document=parsed, root_sha256="", checked_at=NOW, proof=object())
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(verified, document=parsed)
    for forge in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            forge(verified)


def test_documents_and_results_cannot_be_changed() -> None:
    verified = verify(GOOD, policy=policy(), at=NOW)
    with pytest.raises(dataclasses.FrozenInstanceError):
        verified.document.nonce = b""  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        verified.root_sha256 = ""  # type: ignore[misc]
    with pytest.raises(TypeError):
        verified.pcrs[0] = PCR1  # type: ignore[index]


def test_archived_documents_are_judged_at_their_own_time() -> None:
    verified = verify(GOOD, policy=policy(), at=ISSUED)
    assert verified.checked_at == NOW
    assert verified.age_s == 0


def test_an_old_document_is_too_old_now_and_later_its_leaf_has_expired() -> None:
    assert code_of(GOOD, at=NOW + timedelta(minutes=6)) == "too_old"
    assert code_of(GOOD, at=NOW + timedelta(hours=4)) == "certificate_expired"
    assert code_of(GOOD, at=NOW - timedelta(minutes=6)) == "certificate_not_yet_valid"


def test_an_expired_root_is_refused_even_when_it_is_pinned() -> None:
    after_the_root = normal_chain()["root"].certificate.not_valid_after_utc + timedelta(seconds=1)
    assert code_of(GOOD, at=after_the_root) == "certificate_expired"
    late = document(timestamp=round(after_the_root.timestamp() * 1000))
    assert code_of(late, at=ISSUED) == "certificate_expired"


def test_any_time_zone_means_the_same_moment_and_none_is_an_error() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-7)))
    assert verify(GOOD, policy=policy(), at=elsewhere).checked_at == NOW
    with pytest.raises(ValueError, match="time zone"):
        verify(GOOD, policy=policy(), at=NOW.replace(tzinfo=None))


def test_age_and_skew_are_policy() -> None:
    patient = policy(max_age=timedelta(hours=1), max_skew=timedelta(minutes=1))
    old, early = document(timestamp=_ms(600)), document(timestamp=_ms(-30))
    assert verify(old, policy=patient, at=NOW + timedelta(seconds=1000)).age_s == 400
    assert verify(early, policy=patient, at=NOW - timedelta(seconds=2)).age_s == 28
    assert code_of(GOOD, policy=policy(max_age=timedelta(0)), at=NOW + timedelta(milliseconds=1)) == "too_old"


def test_several_releases_may_be_valid_at_once() -> None:
    both = policy(pcrs={0: frozenset({PCR0, PCR1})})
    other = document(pcrs={**fields()["pcrs"], 0: PCR1})
    assert verify(GOOD, policy=both, at=NOW).pcrs[0] == PCR0
    assert verify(other, policy=both, at=NOW).pcrs[0] == PCR1


def test_without_expectations_the_fields_are_left_to_the_caller() -> None:
    assert verify(document(nonce=None), policy=policy(), at=NOW).nonce is None
    assert verify(document(nonce=b"anything"), policy=policy(), at=NOW).nonce == b"anything"


def test_the_default_policy_trusts_the_aws_root_alone() -> None:
    assert TrustPolicy().roots == {AWS_NITRO_ROOT_G1}
    assert TrustPolicy().max_age == timedelta(seconds=300)
    assert code_of(GOOD, policy=TrustPolicy()) == "root_not_trusted"


@pytest.mark.parametrize(
    "nonsense",
    [
        {"roots": frozenset()},
        {"roots": frozenset({"ab"})},
        {"roots": frozenset({AWS_NITRO_ROOT_G1.upper()})},
        {"pcrs": {32: frozenset({PCR0})}},
        {"pcrs": {-1: frozenset({PCR0})}},
        {"pcrs": {0: frozenset()}},
        {"pcrs": {0: frozenset({PCR0[:32]})}},
        {"max_age": timedelta(seconds=-1)},
        {"max_skew": timedelta(seconds=-1)},
    ],
)
def test_policies_without_sense_are_refused(nonsense: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="."):
        TrustPolicy(**nonsense)  # type: ignore[arg-type]


def test_a_policy_keeps_its_own_copy_of_the_pcrs() -> None:
    mine = {0: frozenset({PCR0})}
    kept = TrustPolicy(pcrs=mine)
    mine.clear()
    assert kept.pcrs == {0: {PCR0}}
    with pytest.raises(TypeError):
        kept.pcrs[0] = frozenset({PCR1})  # type: ignore[index]


def test_errors_name_step_and_code() -> None:
    error = AttestationError("too_old", "301 s")
    assert str(error) == "step 7 (time), too_old: 301 s"
    assert {step for step, _ in CODES.values()} == STEPS.keys()
    assert list(STEPS) == list(range(1, 13))


@given(st.integers(0, len(GOOD) * 8 - 1))
@settings(max_examples=400, deadline=None)
def test_no_single_bit_can_change(bit: int) -> None:
    changed = bytearray(GOOD)
    changed[bit // 8] ^= 1 << bit % 8
    code_of(bytes(changed), at=NOW)


@given(st.binary(max_size=400))
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_an_attestation_error(raw: bytes) -> None:
    code_of(raw)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_spliced_document_gives_an_attestation_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 40)))
    inserted = data.draw(st.binary(max_size=40).filter(lambda piece: piece != GOOD[start:end]))
    code_of(GOOD[:start] + inserted + GOOD[end:])


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers() | st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(sorted(fields())), _VALUES)
@settings(max_examples=300, deadline=None)
def test_a_signed_document_with_any_value_in_any_field_verifies_as_written_or_fails(
    name: str, value: object
) -> None:
    raw = document(**{name: value})
    try:
        verified = verify(raw, policy=policy(), at=NOW)
    except AttestationError:
        return
    assert cbor2.loads(cbor2.loads(raw)[2])[name] == getattr(verified.document, name)


@given(st.sampled_from(POSITIONS[1:]), st.integers(0), st.integers(0, 255))
@settings(max_examples=600, deadline=None)
def test_no_byte_of_a_certificate_can_change_even_when_the_document_is_signed_again(
    position: str, index: int, byte: int
) -> None:
    der = bytearray(normal_chain()[position].der)
    index %= len(der)
    if der[index] == byte:
        byte ^= 1
    der[index] = byte
    bundle = fields()["cabundle"]
    if position == "leaf":
        raw = document(certificate=bytes(der))
    else:
        number = POSITIONS.index(position)
        raw = document(cabundle=[*bundle[:number], bytes(der), *bundle[number + 1 :]])
    code_of(raw)


def _ms(seconds: float) -> int:
    return round((NOW.timestamp() + seconds) * 1000)


def test_the_clock_of_the_tests_is_not_the_machines() -> None:
    assert abs(NOW - datetime.now(UTC)) > timedelta(days=1)
