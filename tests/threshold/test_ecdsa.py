"""Two-party ECDSA through the Python face: signatures checked by unrelated libraries, every refusal by its code.

The attacks, the mutation of every field and the algebra are tested in the core (``native/core/src/ecdsa/tests``); what
is here goes through the interface that client and enclave use. ``ECDSA_SIGNATURES`` sets how many random keys and
messages are tried (20 by default, 1000 in the long run), ``ECDSA_SESSION_SIGNATURES`` how many one session makes.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from coincurve import PublicKey
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from embit import bip32
from embit.ec import PublicKey as EmbitPublicKey
from hypothesis import given
from hypothesis import strategies as st

from tests.threshold.ceremonies import generate
from threshold import (
    EcdsaClientOt,
    EcdsaEnclaveOt,
    KeyShare,
    Suite,
    ThresholdError,
    derive_public_key,
    ecdsa_begin,
    ecdsa_respond,
    ecdsa_setup_begin,
    ecdsa_setup_respond,
)
from threshold.ecdsa import MESSAGE1_LEN, MESSAGE2_LEN, SETUP_ANSWER_LEN, SETUP_LEN

ECDSA = Suite.ECDSA_SECP256K1
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SESSION = bytes(range(32))
DIGEST = b"\x09" * 32
KEYS = int(os.environ.get("ECDSA_SIGNATURES", "20"))
REPEATS = int(os.environ.get("ECDSA_SESSION_SIGNATURES", "150"))


class Session:
    """An established session, both sides."""

    def __init__(self, client_context: bytes = SESSION, enclave_context: bytes = SESSION) -> None:
        setup, message = ecdsa_setup_begin()
        answering, answer = ecdsa_setup_respond(message)
        assert (len(message), len(answer)) == (SETUP_LEN, SETUP_ANSWER_LEN)
        self.enclave: EcdsaEnclaveOt = answering.bind(enclave_context)
        self.client: EcdsaClientOt = setup.finish(answer, client_context)

    def sign(
        self,
        shares: dict[int, KeyShare],
        digest: bytes = DIGEST,
        path: list[int] | None = None,
        signers: tuple[int, int] = (1, 2),
    ) -> tuple[bytes, int, bytes]:
        client, enclave = signers
        pending, message1 = ecdsa_begin(shares[client], self.client, digest, path or [], enclave)
        message2 = ecdsa_respond(shares[enclave], self.enclave, message1, digest, path or [], client)
        assert (len(message1), len(message2)) == (MESSAGE1_LEN, MESSAGE2_LEN)
        return pending.finish(message2)

    @property
    def alive(self) -> tuple[bool, bool]:
        return self.client.alive, self.enclave.alive


@pytest.fixture(scope="module")
def shares() -> dict[int, KeyShare]:
    return generate(ECDSA, 2, 3)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session()


def check(signature: tuple[bytes, int, bytes], digest: bytes) -> None:
    """By libsecp256k1 (recovery, so the id too) and by OpenSSL; low s."""
    raw, recovery_id, public_key = signature
    assert len(raw) == 64
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    assert 0 < r < ORDER
    assert 0 < s <= ORDER // 2
    assert recovery_id in range(4)
    recovered = PublicKey.from_signature_and_message(raw + bytes([recovery_id]), digest, hasher=None)
    assert recovered.format() == public_key
    der = encode_dss_signature(r, s)
    assert PublicKey(public_key).verify(der, digest, hasher=None)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    key.verify(der, digest, ec.ECDSA(Prehashed(SHA256())))
    with pytest.raises(InvalidSignature):
        key.verify(der, bytes([digest[0] ^ 1]) + digest[1:], ec.ECDSA(Prehashed(SHA256())))


def refused(caught: pytest.ExceptionInfo[ThresholdError]) -> tuple[str, int | str | None, str]:
    return caught.value.code, caught.value.culprit, caught.value.reaction


def test_signatures_of_random_keys_satisfy_two_libraries(session: Session) -> None:
    for _ in range(KEYS):
        shares = generate(ECDSA)
        digest = os.urandom(32)
        signature = session.sign(shares, digest)
        assert signature[2] == shares[1].group_public_key
        check(signature, digest)


def test_one_session_signs_many_times(shares: dict[int, KeyShare], session: Session) -> None:
    ids = set()
    for number in range(REPEATS):
        digest = number.to_bytes(32)
        signature = session.sign(shares, digest)
        check(signature, digest)
        ids.add(signature[1])
    assert {0, 1} <= ids
    assert session.alive == (True, True)


@pytest.mark.parametrize("signers", [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, ORDER.to_bytes(32)])
def test_every_pair_of_three_signs(
    shares: dict[int, KeyShare], session: Session, signers: tuple[int, int], digest: bytes
) -> None:
    signature = session.sign(shares, digest, [0, 5], signers)
    check(signature, digest)


def test_many_threads_share_a_session(shares: dict[int, KeyShare]) -> None:
    session = Session()

    def run(number: int) -> None:
        digest = number.to_bytes(32)
        check(session.sign(shares, digest), digest)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(64)))
    assert session.alive == (True, True)


def embit_child(key: bytes, chain_code: bytes, path: list[int]) -> bytes:
    parent = bip32.HDKey(EmbitPublicKey.parse(key), chain_code)
    child = parent.derive(path).key.sec()
    assert isinstance(child, bytes)
    return child


@pytest.mark.parametrize("suite", [ECDSA, Suite.FROST_SECP256K1_TR])
@pytest.mark.parametrize("path", [[], [0], [0, 5], [2**31 - 1], [44, 60, 0, 0, 7], list(range(16))])
def test_derived_keys_are_those_of_embit(suite: Suite, path: list[int]) -> None:
    share = generate(suite)[1]
    derived = derive_public_key(share.group_public_key, share.chain_code, path)
    assert derived == embit_child(share.group_public_key, share.chain_code, path)


def test_signatures_below_the_root_verify_under_embits_key(
    shares: dict[int, KeyShare], session: Session
) -> None:
    for path in ([0], [0, 5], [44, 60, 0, 0, 7]):
        signature = session.sign(shares, DIGEST, path)
        check(signature, DIGEST)
        assert signature[2] == embit_child(shares[1].group_public_key, shares[1].chain_code, path)


@pytest.mark.parametrize("path", [[2**31], [2**32], [-1], list(range(17)), [0] * 10_000])
def test_paths_that_cannot_be_derived_are_refused(
    shares: dict[int, KeyShare], session: Session, path: list[int]
) -> None:
    for call in (
        lambda: derive_public_key(shares[1].group_public_key, shares[1].chain_code, path),
        lambda: ecdsa_begin(shares[1], session.client, DIGEST, path, 2),
        lambda: ecdsa_respond(shares[2], session.enclave, bytes(MESSAGE1_LEN), DIGEST, path, 1),
    ):
        with pytest.raises(ThresholdError) as caught:
            call()
        assert refused(caught) == ("invalid_path", "caller", "retry")


def test_handles_are_used_once(shares: dict[int, KeyShare]) -> None:
    setup, message = ecdsa_setup_begin()
    answering, answer = ecdsa_setup_respond(message)
    client, enclave = setup.finish(answer, SESSION), answering.bind(SESSION)
    pending, message1 = ecdsa_begin(shares[1], client, DIGEST, [], 2)
    message2 = ecdsa_respond(shares[2], enclave, message1, DIGEST, [], 1)
    pending.finish(message2)
    assert [repr(handle) for handle in (setup, answering, client, enclave, pending)] == [
        "<EcdsaClientSetup (consumed)>",
        "<EcdsaEnclaveSetup (consumed)>",
        "<EcdsaClientOt>",
        "<EcdsaEnclaveOt>",
        "<EcdsaPending (consumed)>",
    ]
    for again in (
        lambda: setup.finish(answer, SESSION),
        lambda: answering.bind(SESSION),
        lambda: pending.finish(message2),
    ):
        with pytest.raises(ThresholdError) as caught:
            again()
        assert refused(caught) == ("state_consumed", "caller", "retry")


def test_a_failed_call_consumes_its_handle(shares: dict[int, KeyShare]) -> None:
    setup, message = ecdsa_setup_begin()
    answering, answer = ecdsa_setup_respond(message)
    for call in (
        lambda: setup.finish(answer, SESSION[1:]),
        lambda: answering.bind(SESSION + b"\0"),
    ):
        with pytest.raises(ThresholdError, match="session_context must have 32 bytes"):
            call()
        with pytest.raises(ThresholdError) as caught:
            call()
        assert refused(caught) == ("state_consumed", "caller", "retry")
    pending, _ = ecdsa_begin(shares[1], Session().client, DIGEST, [], 2)
    for code in ("malformed_message", "state_consumed"):
        with pytest.raises(ThresholdError) as caught:
            pending.finish(b"")
        assert caught.value.code == code


def test_a_request_is_answered_once(shares: dict[int, KeyShare]) -> None:
    session = Session()
    pending, message1 = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    message2 = ecdsa_respond(shares[2], session.enclave, message1, DIGEST, [], 1)
    for _ in range(2):
        with pytest.raises(ThresholdError) as caught:
            ecdsa_respond(shares[2], session.enclave, message1, DIGEST, [], 1)
        assert refused(caught) == ("index_reused", 1, "abort")
    assert session.alive == (True, True)
    check(pending.finish(message2), DIGEST)


def test_a_request_answered_in_many_threads_is_answered_once(shares: dict[int, KeyShare]) -> None:
    session = Session()
    _, message1 = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)

    def respond(_: int) -> str:
        try:
            ecdsa_respond(shares[2], session.enclave, message1, DIGEST, [], 1)
        except ThresholdError as error:
            return error.code
        return "answered"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(respond, range(16)))
    assert sorted(outcomes) == ["answered"] + ["index_reused"] * 15


def test_another_context_is_refused_before_any_transfer_is_checked(shares: dict[int, KeyShare]) -> None:
    session = Session(enclave_context=bytes(32))
    _, message1 = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    with pytest.raises(ThresholdError) as caught:
        ecdsa_respond(shares[2], session.enclave, message1, DIGEST, [], 1)
    assert refused(caught) == ("wrong_context", 1, "abort")
    assert session.alive == (True, True)


def test_another_digest_path_peer_or_key_is_refused(shares: dict[int, KeyShare]) -> None:
    session, stranger = Session(), generate(ECDSA, 2, 3)
    _, message1 = ecdsa_begin(shares[1], session.client, DIGEST, [0], 2)
    for share, digest, path, peer in (
        (shares[2], bytes(32), [0], 1),
        (shares[2], DIGEST, [1], 1),
        (shares[2], DIGEST, [], 1),
        (shares[2], DIGEST, [0], 3),
        (shares[3], DIGEST, [0], 1),
        (stranger[2], DIGEST, [0], 1),
    ):
        with pytest.raises(ThresholdError) as caught:
            ecdsa_respond(share, session.enclave, message1, digest, path, peer)
        assert refused(caught) == ("wrong_context", peer, "abort")
    ecdsa_respond(shares[2], session.enclave, message1, DIGEST, [0], 1)


def test_an_inconsistent_request_burns_the_enclaves_side(shares: dict[int, KeyShare]) -> None:
    session = Session()
    _, message1 = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    _, honest = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    changed = bytearray(message1)
    changed[5_000] ^= 1
    with pytest.raises(ThresholdError) as caught:
        ecdsa_respond(shares[2], session.enclave, bytes(changed), DIGEST, [], 1)
    assert refused(caught) == ("ot_check_failed", 1, "burn")
    assert session.alive == (True, False)
    assert repr(session.enclave) == "<EcdsaEnclaveOt (burnt)>"
    with pytest.raises(ThresholdError) as caught:
        ecdsa_respond(shares[2], session.enclave, honest, DIGEST, [], 1)
    assert refused(caught) == ("session_burned", None, "burn")


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (140, "multiplication_check_failed"),
        (66_760, "multiplication_check_failed"),
        (66_800, "signature_invalid"),
    ],
)
def test_an_inconsistent_answer_burns_the_clients_side(
    shares: dict[int, KeyShare], offset: int, code: str
) -> None:
    session = Session()
    pending, message1 = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    other, other1 = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    message2 = bytearray(ecdsa_respond(shares[2], session.enclave, message1, DIGEST, [], 1))
    other2 = ecdsa_respond(shares[2], session.enclave, other1, DIGEST, [], 1)
    message2[offset] ^= 1
    with pytest.raises(ThresholdError) as caught:
        pending.finish(bytes(message2))
    assert refused(caught) == (code, 2, "burn")
    assert session.alive == (False, True)
    for call in (
        lambda: other.finish(other2),
        lambda: ecdsa_begin(shares[1], session.client, DIGEST, [], 2),
    ):
        with pytest.raises(ThresholdError) as caught:
            call()
        assert refused(caught) == ("session_burned", None, "burn")


def test_the_answer_to_another_request_does_not_burn(shares: dict[int, KeyShare]) -> None:
    session = Session()
    first, _ = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    second, message1 = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    message2 = ecdsa_respond(shares[2], session.enclave, message1, DIGEST, [], 1)
    with pytest.raises(ThresholdError) as caught:
        first.finish(message2)
    assert refused(caught) == ("transcript_mismatch", 2, "abort")
    check(second.finish(message2), DIGEST)


def test_a_side_can_be_burnt_by_hand(shares: dict[int, KeyShare]) -> None:
    session = Session()
    session.client.burn()
    session.enclave.burn()
    assert session.alive == (False, False)
    with pytest.raises(ThresholdError) as caught:
        session.sign(shares)
    assert refused(caught) == ("session_burned", None, "burn")


def test_arguments_are_checked(shares: dict[int, KeyShare], session: Session) -> None:
    three = generate(ECDSA, 3, 3)
    other = generate(Suite.FROST_SECP256K1_TR)
    client = session.client
    for call, code in (
        (lambda: ecdsa_begin(shares[1], client, DIGEST[1:], [], 2), "invalid_parameter"),
        (lambda: ecdsa_begin(shares[1], client, DIGEST, [], 70_000), "invalid_parameter"),
        (lambda: ecdsa_begin(shares[1], client, DIGEST, [], 1), "unexpected_sender"),
        (lambda: ecdsa_begin(shares[1], client, DIGEST, [], 0), "unexpected_sender"),
        (lambda: ecdsa_begin(shares[1], client, DIGEST, [], 4), "unexpected_sender"),
        (lambda: ecdsa_begin(three[1], client, DIGEST, [], 2), "wrong_signer_count"),
        (lambda: ecdsa_begin(other[1], client, DIGEST, [], 2), "wrong_suite"),
        (lambda: ecdsa_respond(other[2], session.enclave, b"", DIGEST, [], 1), "wrong_suite"),
        (lambda: derive_public_key(bytes(33), bytes(32), []), "invalid_public_key"),
        (lambda: derive_public_key(shares[1].group_public_key, bytes(31), []), "invalid_parameter"),
    ):
        with pytest.raises(ThresholdError) as caught:
            call()
        assert refused(caught) == (code, "caller", "retry")
    for wrong in (
        lambda: ecdsa_begin(shares[1], client, DIGEST, ["0"], 2),  # type: ignore[list-item]
        lambda: ecdsa_begin(shares[1], client, DIGEST, (0,), 2),  # type: ignore[arg-type]
        lambda: ecdsa_begin(shares[1], session.enclave, DIGEST, [], 2),  # type: ignore[arg-type]
        lambda: ecdsa_begin(shares[1], client, "digest", [], 2),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            wrong()


def test_nothing_doubles_or_reveals_the_handles(shares: dict[int, KeyShare]) -> None:
    import copy
    import pickle

    setup, message = ecdsa_setup_begin()
    answering, _ = ecdsa_setup_respond(message)
    session = Session()
    pending, _ = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    for handle in (setup, answering, session.client, session.enclave, pending):
        for operation in (copy.copy, copy.deepcopy, pickle.dumps, hash, vars, bytes, lambda h: h == h):  # noqa: PLR0124
            with pytest.raises(TypeError):
                operation(handle)


@given(
    message=st.one_of(
        st.binary(max_size=200),
        # of full length, from a seed: hypothesis does not want to draw that many bytes itself
        st.integers(0, 2**64).map(lambda seed: random.Random(seed).randbytes(MESSAGE1_LEN)),
    )
)
def test_rubbish_is_refused_everywhere(shares: dict[int, KeyShare], session: Session, message: bytes) -> None:
    setup, _ = ecdsa_setup_begin()
    pending, _ = ecdsa_begin(shares[1], session.client, DIGEST, [], 2)
    for call in (
        lambda: ecdsa_setup_respond(message),
        lambda: setup.finish(message, SESSION),
        lambda: ecdsa_respond(shares[2], session.enclave, message, DIGEST, [], 1),
        lambda: pending.finish(message),
    ):
        with pytest.raises(ThresholdError) as caught:
            call()
        assert caught.value.code in {"malformed_message", "wrong_kind"}
    assert session.alive == (True, True)
