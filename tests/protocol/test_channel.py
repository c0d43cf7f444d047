"""The channel: what the host does to a handshake or a record is noticed, and changes nothing."""

import copy
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from protocol import channel
from protocol.binding import dkg_context
from protocol.channel import (
    CHANNEL_KEY_LENGTH,
    CONFIRMATION_LENGTH,
    KEY_ID_LENGTH,
    MAX_RECORDS,
    RECORD_OVERHEAD,
    Channel,
    ChannelKey,
    ClientHandshake,
    channel_key_hash,
)
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError, Reaction
from protocol.envelope.limits import MAX_HELLO, MAX_RECORD
from tests.protocol import recorded, reference
from tests.protocol.recorded import REPLIES, REQUESTS, Recorded

SESSION_ID = bytes(range(16))
KEY = ChannelKey()  # making one is cheap; sharing one shows that sessions do not depend on each other


def handshake(key: ChannelKey = KEY, session_id: bytes = SESSION_ID) -> tuple[Channel, Channel]:
    """Both ends of a fresh session: the client's, the enclave's."""
    client = ClientHandshake(key.public_bytes, "sandbox")
    enclave_end, answer = key.open_hello(client.hello).answer(session_id, 600)
    return client.finish(answer), enclave_end


def refused(action: Callable[[], object], code: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        action()
    assert caught.value.code == code
    return caught.value


# --- the handshake -------------------------------------------------------------------------------------------------------------


def test_both_ends_agree_and_records_go_both_ways() -> None:
    client, enclave = handshake()
    assert client.transcript == enclave.transcript
    assert client.session_id == enclave.session_id == SESSION_ID
    assert client.lifetime == enclave.lifetime == 600
    for number in range(5):
        assert enclave.open(client.seal(b"request %d" % number)) == b"request %d" % number
        assert client.open(enclave.seal(b"reply %d" % number)) == b"reply %d" % number


def test_the_directions_have_counters_of_their_own() -> None:
    client, enclave = handshake()
    requests = [client.seal(b"%d" % number) for number in range(3)]
    assert client.open(enclave.seal(b"unasked")) == b"unasked"
    assert [enclave.open(record) for record in requests] == [b"0", b"1", b"2"]


def test_the_enclave_learns_the_environment_and_nothing_shows_it_to_the_host() -> None:
    client = ClientHandshake(KEY.public_bytes, "a-very-particular-environment")
    assert KEY.open_hello(client.hello).environment == "a-very-particular-environment"
    assert b"particular" not in client.hello


def test_the_hello_begins_with_the_key_it_is_sealed_to() -> None:
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    assert client.hello[:KEY_ID_LENGTH] == KEY.key_id == channel_key_hash(KEY.public_bytes)[:KEY_ID_LENGTH]
    assert len(KEY.public_bytes) == CHANNEL_KEY_LENGTH


def every_region(length: int) -> list[int]:
    """Positions all over a message: each of the first and last 48 bytes, and every 16th between."""
    return sorted({*range(48), *range(0, length, 16), *range(length - 48, length)})


def altered(message: bytes, at: int) -> bytes:
    return message[:at] + bytes([message[at] ^ 0x01]) + message[at + 1 :]


def test_a_hello_altered_anywhere_is_refused() -> None:
    hello = ClientHandshake(KEY.public_bytes, "sandbox").hello
    for at in every_region(len(hello)):
        error = refused(lambda at=at: KEY.open_hello(altered(hello, at)), "hello_rejected")
        assert error.culprit is Culprit.CLIENT
        assert error.reaction is Reaction.RETRY


@given(st.data())
def test_a_hello_cut_or_lengthened_is_refused(data: st.DataObject) -> None:
    hello = ClientHandshake(KEY.public_bytes, "sandbox").hello
    cut = data.draw(st.integers(0, len(hello) - 1))
    refused(lambda: KEY.open_hello(hello[:cut]), "hello_rejected")
    refused(lambda: KEY.open_hello(hello + data.draw(st.binary(min_size=1, max_size=50))), "hello_rejected")


def test_a_hello_above_the_limit_is_refused() -> None:
    refused(lambda: KEY.open_hello(KEY.key_id + bytes(MAX_HELLO)), "hello_rejected")


def test_a_hello_for_another_channel_key_is_refused() -> None:
    other = ClientHandshake(ChannelKey().public_bytes, "sandbox").hello
    refused(lambda: KEY.open_hello(other), "hello_rejected")
    refused(lambda: KEY.open_hello(KEY.key_id + other[KEY_ID_LENGTH:]), "hello_rejected")


def answered() -> tuple[ClientHandshake, bytes]:
    """A client that waits, and the enclave's answer to it."""
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    return client, KEY.open_hello(client.hello).answer(SESSION_ID, 600)[1]


def test_an_answer_altered_anywhere_is_refused() -> None:
    for at in every_region(len(answered()[1])):
        client, answer = answered()
        broken = altered(answer, at)
        error = refused(lambda client=client, broken=broken: client.finish(broken), "hello_rejected")
        assert error.culprit is Culprit.HOST


def test_an_answer_with_another_confirmation_is_refused() -> None:
    for confirmation in (bytes(CONFIRMATION_LENGTH), os.urandom(CONFIRMATION_LENGTH)):
        client, answer = answered()
        broken = answer[:-CONFIRMATION_LENGTH] + confirmation
        refused(lambda client=client, broken=broken: client.finish(broken), "hello_rejected")


@pytest.mark.parametrize("answer", [b"", bytes(32), bytes(33), bytes(1120 + 16 + 32), bytes(MAX_HELLO + 1)])
def test_an_answer_of_another_form_is_refused(answer: bytes) -> None:
    refused(lambda: ClientHandshake(KEY.public_bytes, "sandbox").finish(answer), "hello_rejected")


def test_the_answer_to_another_hello_is_refused() -> None:
    ours, other = (ClientHandshake(KEY.public_bytes, "sandbox") for _ in range(2))
    _, answer = KEY.open_hello(other.hello).answer(SESSION_ID, 600)
    refused(lambda: ours.finish(answer), "hello_rejected")


def test_somebody_who_does_not_hold_the_channel_key_cannot_answer() -> None:
    """It would have to know the client's ephemeral public key, which is sealed to the channel key. Even then its answer fails."""
    impostor = ChannelKey()
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    refused(lambda: impostor.open_hello(impostor.key_id + client.hello[KEY_ID_LENGTH:]), "hello_rejected")
    known = KEY.open_hello(client.hello)._payload
    _, forged = channel.ReceivedHello(impostor.hash, client.hello, known).answer(SESSION_ID, 600)
    refused(lambda: client.finish(forged), "hello_rejected")


def test_an_answer_without_the_clients_random_is_refused() -> None:
    """Who sees the ephemeral public key but not the client's random bytes cannot make the confirmation."""
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    known = KEY.open_hello(client.hello)._payload
    guessed = channel.ClientHello(
        version=1, environment="sandbox", client_key=known.client_key, client_random=bytes(32)
    )
    _, forged = channel.ReceivedHello(KEY.hash, client.hello, guessed).answer(SESSION_ID, 600)
    refused(lambda: client.finish(forged), "hello_rejected")


def test_a_replayed_hello_gives_a_session_with_other_keys() -> None:
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    first_end, first_answer = KEY.open_hello(client.hello).answer(SESSION_ID, 600)
    second_end, second_answer = KEY.open_hello(client.hello).answer(SESSION_ID, 600)
    assert first_answer != second_answer
    assert first_end.transcript != second_end.transcript
    request = client.finish(first_answer).seal(b"pay")
    refused(lambda: second_end.open(request), "record_rejected")
    assert first_end.open(request) == b"pay"


def test_a_handshake_is_finished_once() -> None:
    client, answer = answered()
    client.finish(answer)
    with pytest.raises(RuntimeError, match="once"):
        client.finish(answer)


def test_a_handshake_that_failed_is_not_tried_again() -> None:
    client, answer = answered()
    refused(lambda: client.finish(bytes(len(answer))), "hello_rejected")
    with pytest.raises(RuntimeError, match="once"):
        client.finish(answer)


def seal_hello(plaintext: bytes, key: ChannelKey = KEY) -> bytes:
    """A hello with any content, as a hostile client may seal it."""
    sealed = channel._SUITE.encrypt(
        plaintext, channel._public_key(key.public_bytes), info=reference.hello_info(key.public_bytes)
    )
    return key.key_id + sealed


GOOD_HELLO = {
    "version": 1,
    "environment": "sandbox",
    "client_key": KEY.public_bytes,
    "client_random": bytes(32),
}


def test_the_forged_hellos_of_these_tests_would_pass_if_their_content_did() -> None:
    assert KEY.open_hello(seal_hello(cbor.encode(GOOD_HELLO))).environment == "sandbox"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": 2},
        {"version": True},
        {"environment": "Sandbox"},
        {"environment": ""},
        {"client_key": bytes(1215)},
        {"client_random": bytes(31)},
        {"ecdsa_setup": None},
        {"ecdsa_setup": b""},
        {"ecdsa_setup": bytes(16385)},
        {"ecdsa_answer": b"answer"},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_hello_of_another_version_or_form_is_refused(change: dict[str, object]) -> None:
    refused(lambda: KEY.open_hello(seal_hello(cbor.encode(GOOD_HELLO | change))), "message_malformed")


@pytest.mark.parametrize("content", [b"", b"\x00", cbor.encode([1]), cbor.encode(GOOD_HELLO) + b"\x00"])
def test_a_hello_that_is_no_hello_is_refused(content: bytes) -> None:
    refused(lambda: KEY.open_hello(seal_hello(content)), "message_malformed")


def answer_with(client: ClientHandshake, plaintext: bytes, enclave_random: bytes = bytes(32)) -> bytes:
    """An answer with any content, as a hostile enclave may seal it, with the right confirmation."""
    payload = KEY.open_hello(client.hello)._payload
    sealed = channel._SUITE.encrypt(
        plaintext, channel._public_key(payload.client_key), info=reference.answer_info(client.hello)
    )
    keys = reference.derive(
        channel_key=KEY.public_bytes,
        hello=client.hello,
        answer=sealed + bytes(32),
        client_random=payload.client_random,
        enclave_random=enclave_random,
    )
    return sealed + keys.confirmation


GOOD_ANSWER = {"version": 1, "session_id": SESSION_ID, "enclave_random": bytes(32), "lifetime": 60}


def test_the_forged_answers_of_these_tests_would_pass_if_their_content_did() -> None:
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    assert client.finish(answer_with(client, cbor.encode(GOOD_ANSWER))).session_id == SESSION_ID


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"session_id": bytes(15)},
        {"enclave_random": bytes(33)},
        {"lifetime": 0},
        {"lifetime": 86401},
        {"ecdsa_answer": None},
        {"ecdsa_answer": b""},
        {"ecdsa_answer": bytes(16385)},
        {"ecdsa_setup": b"setup"},
        {"extra": 1},
    ],
    ids=str,
)
def test_an_enclave_hello_of_another_version_or_form_is_refused(change: dict[str, object]) -> None:
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    answer = answer_with(client, cbor.encode(GOOD_ANSWER | change))
    assert refused(lambda: client.finish(answer), "message_malformed").culprit is Culprit.ENCLAVE


# --- the base oblivious transfers that travel along ----------------------------------------------------------------------------


def test_transfers_travel_in_the_handshake_and_back() -> None:
    setup, response = os.urandom(4098), os.urandom(8194)
    client = ClientHandshake(KEY.public_bytes, "sandbox", setup)
    received = KEY.open_hello(client.hello)
    assert received.ecdsa_setup == setup
    enclave_end, answer = received.answer(SESSION_ID, 600, response)
    assert client.ecdsa_answer is None
    client_end = client.finish(answer)
    assert client.ecdsa_answer == response
    assert client_end.transcript == enclave_end.transcript
    assert setup[:64] not in client.hello
    assert response[:64] not in answer
    assert enclave_end.open(client_end.seal(b"request")) == b"request"


def test_a_handshake_without_transfers_says_nothing_of_them() -> None:
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    received = KEY.open_hello(client.hello)
    assert received.ecdsa_setup is None
    client.finish(received.answer(SESSION_ID, 600)[1])
    assert client.ecdsa_answer is None
    with_transfers = ClientHandshake(KEY.public_bytes, "sandbox", bytes(4098))
    # a key of a map, and a byte string with a length of two bytes: a client without the field sends what it always sent
    assert len(with_transfers.hello) - len(client.hello) == 1 + len("ecdsa_setup") + 3 + 4098


@pytest.mark.parametrize(("setup", "response"), [(None, b"answer"), (b"setup", None)])
def test_transfers_that_were_not_asked_for_or_not_answered_are_refused(
    setup: bytes | None, response: bytes | None
) -> None:
    client = ClientHandshake(KEY.public_bytes, "sandbox", setup)
    _, answer = KEY.open_hello(client.hello).answer(SESSION_ID, 600, response)
    assert refused(lambda: client.finish(answer), "hello_rejected").culprit is Culprit.ENCLAVE
    assert client.ecdsa_answer is None


def test_transfers_altered_on_the_way_are_refused() -> None:
    client = ClientHandshake(KEY.public_bytes, "sandbox", os.urandom(4098))
    for at in (-5, -2000, len(client.hello) // 2):
        at %= len(client.hello)
        refused(lambda at=at: KEY.open_hello(altered(client.hello, at)), "hello_rejected")
    _, answer = KEY.open_hello(client.hello).answer(SESSION_ID, 600, os.urandom(8194))
    refused(lambda: client.finish(altered(answer, len(answer) // 2)), "hello_rejected")


def test_both_hellos_with_transfers_fit_their_limit() -> None:
    client = ClientHandshake(KEY.public_bytes, "a" * 63, bytes(4098))
    _, answer = KEY.open_hello(client.hello).answer(SESSION_ID, 86400, bytes(8194))
    assert max(len(client.hello), len(answer)) <= MAX_HELLO


# Points of order 1, 2, 4 and 8 on Curve25519 and its twist (RFC 7748 §6.1; https://cr.yp.to/ecdh.html), and p + 0, p + 1.
LOW_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_points_are_refused_on_both_sides(point: str) -> None:
    low = KEY.public_bytes[:-32] + bytes.fromhex(point)
    assert refused(lambda: ClientHandshake(low, "sandbox"), "hello_rejected").culprit is Culprit.ENCLAVE
    received = KEY.open_hello(seal_hello(cbor.encode(GOOD_HELLO | {"client_key": low})))
    assert refused(lambda: received.answer(SESSION_ID, 60), "hello_rejected").culprit is Culprit.CLIENT


@pytest.mark.parametrize("at", [0, 600, 1150])
def test_mlkem_keys_with_coefficients_out_of_range_are_refused_on_both_sides(at: int) -> None:
    """FIPS 203 §7.2: the modulus check of an encapsulation key; 0xfff is above q = 3329."""
    bad = KEY.public_bytes[:at] + b"\xff\xff" + KEY.public_bytes[at + 2 :]
    refused(lambda: ClientHandshake(bad, "sandbox"), "hello_rejected")
    received = KEY.open_hello(seal_hello(cbor.encode(GOOD_HELLO | {"client_key": bad})))
    refused(lambda: received.answer(SESSION_ID, 60), "hello_rejected")


@pytest.mark.parametrize("length", [0, 32, 1184, 1215, 1217])
def test_a_channel_key_of_another_length_is_refused(length: int) -> None:
    refused(lambda: ClientHandshake(bytes(length), "sandbox"), "hello_rejected")


# --- the format, checked by a second implementation ----------------------------------------------------------------------------


def test_a_second_implementation_understands_a_fresh_session() -> None:
    """Written from the specification; knows both private keys."""
    channel_seeds, client_seeds, client_random = os.urandom(96), os.urandom(96), os.urandom(32)
    key = recorded.channel_key(channel_seeds)
    client = recorded.client(key.public_bytes, "sandbox", client_seeds, client_random)
    enclave_end, answer = key.open_hello(client.hello).answer(SESSION_ID, 600)
    client_end = client.finish(answer)
    check_by_reference(
        channel_seeds=channel_seeds,
        client_seeds=client_seeds,
        hello=client.hello,
        answer=answer,
        transcript=client_end.transcript,
        requests=[client_end.seal(text) for text in REQUESTS],
        replies=[enclave_end.seal(text) for text in REPLIES],
    )


def test_a_second_implementation_understands_the_recorded_session() -> None:
    session = Recorded.load()
    check_by_reference(
        channel_seeds=session.channel_key_seeds,
        client_seeds=session.client_key_seeds,
        hello=session.hello,
        answer=session.answer,
        transcript=session.transcript,
        requests=session.requests,
        replies=session.replies,
    )


def check_by_reference(
    *,
    channel_seeds: bytes,
    client_seeds: bytes,
    hello: bytes,
    answer: bytes,
    transcript: bytes,
    requests: list[bytes],
    replies: list[bytes],
) -> None:
    channel_key, client_key = recorded.private_key(channel_seeds), recorded.private_key(client_seeds)
    assert hello[:8] == channel_key_hash(channel_key.public_bytes)[:8]
    client_hello = cbor.decode(
        reference.hpke_open(hello[8:], channel_key, reference.hello_info(channel_key.public_bytes)),
        channel.ClientHello,
        culprit=Culprit.CLIENT,
    )
    assert client_hello.client_key == client_key.public_bytes
    assert client_hello.environment == "sandbox"
    enclave_hello = cbor.decode(
        reference.hpke_open(answer[:-32], client_key, reference.answer_info(hello)),
        channel.EnclaveHello,
        culprit=Culprit.ENCLAVE,
    )
    keys = reference.derive(
        channel_key=channel_key.public_bytes,
        hello=hello,
        answer=answer,
        client_random=client_hello.client_random,
        enclave_random=enclave_hello.enclave_random,
    )
    assert keys.transcript == transcript
    assert keys.confirmation == answer[-32:]
    for client, texts, records in ((True, REQUESTS, requests), (False, REPLIES, replies)):
        expected = [
            keys.seal(text, session_id=enclave_hello.session_id, client=client, counter=number)
            for number, text in enumerate(texts)
        ]
        assert records == expected


def test_the_recorded_session_still_opens() -> None:
    """A change of the format shows here, also one that both ends make together."""
    session = Recorded.load()
    key = recorded.channel_key(session.channel_key_seeds)
    received = key.open_hello(session.hello)
    assert received.environment == session.environment
    assert received._payload.client_random == session.client_random
    client = recorded.client(
        key.public_bytes, session.environment, session.client_key_seeds, session.client_random
    )
    client.hello = session.hello  # type: ignore[misc]
    end = client.finish(session.answer)
    assert (end.session_id, end.lifetime, end.transcript) == (
        session.session_id,
        session.lifetime,
        session.transcript,
    )
    assert [end.seal(text) for text in REQUESTS] == session.requests
    assert [end.open(record) for record in session.replies] == REPLIES


def test_a_leaked_channel_key_does_not_open_recorded_sessions() -> None:
    """Forward secrecy: the enclave's half went to the client's ephemeral key, which is gone."""
    session = Recorded.load()
    leaked = recorded.private_key(session.channel_key_seeds)
    opened = reference.hpke_open(session.hello[8:], leaked, reference.hello_info(leaked.public_bytes))
    assert session.client_random in opened  # the leak is real: the client's half is known
    for info in (reference.answer_info(session.hello), reference.hello_info(leaked.public_bytes), b""):
        with pytest.raises(InvalidTag):
            reference.hpke_open(session.answer[:-32], leaked, info)
    for guess in (bytes(32), session.client_random, session.session_id * 2):
        keys = reference.derive(
            channel_key=leaked.public_bytes,
            hello=session.hello,
            answer=session.answer,
            client_random=session.client_random,
            enclave_random=guess,
        )
        assert keys.confirmation != session.answer[-32:]
        record = keys.seal(REQUESTS[0], session_id=session.session_id, client=True, counter=0)
        assert record != session.requests[0]


# --- records -------------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=2000))
def test_any_plaintext_comes_back_and_is_24_bytes_longer_under_way(plaintext: bytes) -> None:
    client, enclave = handshake()
    record = client.seal(plaintext)
    assert len(record) == len(plaintext) + RECORD_OVERHEAD == len(plaintext) + 24
    assert enclave.open(record) == plaintext


def test_a_record_altered_in_any_byte_is_refused_and_changes_nothing() -> None:
    client, enclave = handshake()
    record = client.seal(b"sign this transaction")
    for at in range(len(record)):
        for bit in (0x01, 0x80):
            broken = record[:at] + bytes([record[at] ^ bit]) + record[at + 1 :]
            error = refused(lambda broken=broken: enclave.open(broken), "record_rejected")
            assert error.culprit is Culprit.HOST
    assert enclave.open(record) == b"sign this transaction"


def test_a_record_cut_anywhere_is_refused_and_changes_nothing() -> None:
    client, enclave = handshake()
    record = client.seal(b"sign this transaction")
    for length in range(len(record)):
        refused(lambda length=length: enclave.open(record[:length]), "record_rejected")
    refused(lambda: enclave.open(record + b"\x00"), "record_rejected")
    assert enclave.open(record) == b"sign this transaction"


def test_a_replayed_record_is_refused_and_the_next_one_passes() -> None:
    client, enclave = handshake()
    first = client.seal(b"first")
    assert enclave.open(first) == b"first"
    refused(lambda: enclave.open(first), "record_rejected")
    assert enclave.open(client.seal(b"second")) == b"second"
    refused(lambda: enclave.open(first), "record_rejected")


def test_reordered_records_are_refused_until_they_come_in_order() -> None:
    client, enclave = handshake()
    first, second, third = (client.seal(text) for text in (b"first", b"second", b"third"))
    refused(lambda: enclave.open(second), "record_rejected")
    assert enclave.open(first) == b"first"
    refused(lambda: enclave.open(third), "record_rejected")
    assert enclave.open(second) == b"second"
    assert enclave.open(third) == b"third"


def test_after_a_dropped_record_nothing_passes_any_more() -> None:
    client, enclave = handshake()
    client.seal(b"dropped")
    for number in range(3):
        refused(lambda number=number: enclave.open(client.seal(b"%d" % number)), "record_rejected")


def test_a_record_with_another_counter_is_refused() -> None:
    client, enclave = handshake()
    record = client.seal(b"first")
    for counter in (1, 2, 1 << 32, (1 << 64) - 1):
        refused(
            lambda counter=counter: enclave.open(counter.to_bytes(8, "big") + record[8:]), "record_rejected"
        )
    assert enclave.open(record) == b"first"


def test_a_record_is_not_accepted_by_its_own_sender() -> None:
    client, enclave = handshake()
    request, reply = client.seal(b"request"), enclave.seal(b"reply")
    refused(lambda: client.open(request), "record_rejected")
    refused(lambda: enclave.open(reply), "record_rejected")
    assert enclave.open(request) == b"request"
    assert client.open(reply) == b"reply"


def test_a_record_of_another_session_is_refused() -> None:
    ours, enclave = handshake()
    for session_id in (SESSION_ID, bytes(16)):
        theirs, _ = handshake(session_id=session_id)
        record = theirs.seal(b"theirs")
        refused(lambda record=record: enclave.open(record), "record_rejected")
    assert enclave.open(ours.seal(b"ours")) == b"ours"


def test_records_are_bound_to_the_session_id_beyond_their_keys() -> None:
    session = Recorded.load()
    keys = reference.derive(
        channel_key=recorded.private_key(session.channel_key_seeds).public_bytes,
        hello=session.hello,
        answer=session.answer,
        client_random=session.client_random,
        enclave_random=session.enclave_random,
    )
    elsewhere = keys.seal(REQUESTS[0], session_id=bytes(16), client=True, counter=0)
    assert (
        elsewhere[: -RECORD_OVERHEAD + 8] == session.requests[0][: -RECORD_OVERHEAD + 8]
    )  # same key and nonce
    assert elsewhere != session.requests[0]  # another tag


def test_equal_plaintexts_give_unlike_records() -> None:
    client, _ = handshake()
    bodies = {client.seal(b"same")[8:] for _ in range(20)}
    assert len(bodies) == 20


def test_the_largest_record_fits_and_one_byte_more_is_refused_before_anything_is_sealed() -> None:
    client, enclave = handshake()
    most = MAX_RECORD - RECORD_OVERHEAD
    refused(lambda: client.seal(bytes(most + 1)), "message_too_large")
    record = client.seal(bytes(most))
    assert len(record) == MAX_RECORD
    assert enclave.open(record) == bytes(most)


def test_a_session_ends_after_its_last_counter() -> None:
    client, enclave = handshake()
    client._outgoing.counter = enclave._incoming.counter = MAX_RECORDS - 1
    last = client.seal(b"last")
    assert last[:8] == (MAX_RECORDS - 1).to_bytes(8, "big")
    assert enclave.open(last) == b"last"
    for _ in range(2):
        error = refused(lambda: client.seal(b"one too many"), "channel_exhausted")
        assert error.reaction is Reaction.BURN
    assert client._outgoing.counter == MAX_RECORDS
    assert client.open(enclave.seal(b"the other direction goes on")) == b"the other direction goes on"


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_record(record: bytes) -> None:
    _, enclave = handshake()
    refused(lambda: enclave.open(record), "record_rejected")


@given(st.binary(max_size=3000))
def test_any_bytes_are_refused_as_a_hello_and_as_an_answer(raw: bytes) -> None:
    refused(lambda: KEY.open_hello(KEY.key_id + raw), "hello_rejected")
    refused(lambda: ClientHandshake(KEY.public_bytes, "sandbox").finish(raw), "hello_rejected")


# --- secrets stay inside -------------------------------------------------------------------------------------------------------


def parts() -> dict[str, object]:
    client = ClientHandshake(KEY.public_bytes, "sandbox")
    received = KEY.open_hello(client.hello)
    end, _ = received.answer(SESSION_ID, 60)
    return {
        "channel key": ChannelKey(),
        "handshake": client,
        "received hello": received,
        "its payload": received._payload,
        "channel": end,
        "direction": end._outgoing,
    }


@pytest.mark.parametrize("name", parts())
def test_printing_reveals_no_key_and_no_random_bytes(name: str) -> None:
    thing = parts()[name]
    for text in (repr(thing), str(thing), f"{thing}"):
        assert len(text) < 120
        assert "random" not in text
        assert "client_key" not in text


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda each: each.__name__
)
def test_a_channel_cannot_be_copied_or_pickled(duplicate: Callable[[object], object]) -> None:
    """Two copies of one end would seal two plaintexts with the same nonce."""
    client, enclave = handshake()
    for end in (client, enclave):
        with pytest.raises(TypeError, match="cannot be copied"):
            duplicate(end)


@pytest.mark.parametrize("name", ["channel key", "direction"])
def test_keys_cannot_be_pickled(name: str) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(parts()[name])


# --- the numbers in the documentation ------------------------------------------------------------------------------------------


def documented() -> dict[str, bytes]:
    """The vectors of ``docs/spec/channel.md`` §8, by name."""
    text = (Path(__file__).parents[2] / "docs/spec/channel.md").read_text()
    found = re.findall(r"^```hex (\w+)\n([0-9a-f\n]+)^```$", text, re.MULTILINE)
    return {name: bytes.fromhex(value) for name, value in found}


def test_both_implementations_agree_with_the_vectors_of_the_documentation() -> None:
    vectors = documented()
    secrets = channel._Secrets(
        key_hash=b"\x01" * 32,
        hello=b"client hello",
        sealed_answer=b"sealed answer",
        client_random=b"\x02" * 32,
        enclave_random=b"\x03" * 32,
    )
    with mock.patch.object(reference, "hash_of_key", return_value=b"\x01" * 32):
        keys = reference.derive(
            channel_key=b"",
            hello=b"client hello",
            answer=b"sealed answer" + bytes(32),
            client_random=b"\x02" * 32,
            enclave_random=b"\x03" * 32,
        )
    session_id = b"\x04" * 16
    end = secrets.channel(session_id, 60, client=True)
    by_product = {
        "transcript": secrets.transcript,
        "to_enclave_key": secrets._to_enclave[0],
        "to_enclave_base_nonce": secrets._to_enclave[1],
        "to_client_key": secrets._to_client[0],
        "to_client_base_nonce": secrets._to_client[1],
        "confirmation": secrets.confirmation,
        "record_0": end.seal(b"hello"),
        "record_1": end.seal(b"hello"),
    }
    by_reference = {
        "transcript": keys.transcript,
        "to_enclave_key": keys.to_enclave[0],
        "to_enclave_base_nonce": keys.to_enclave[1],
        "to_client_key": keys.to_client[0],
        "to_client_base_nonce": keys.to_client[1],
        "confirmation": keys.confirmation,
        "record_0": keys.seal(b"hello", session_id=session_id, client=True, counter=0),
        "record_1": keys.seal(b"hello", session_id=session_id, client=True, counter=1),
    }
    context = dkg_context(
        transcript=secrets.transcript,
        environment="sandbox",
        wallet_id="eaf4d7cc-6aaa-4712-a268-c3e51feaf7f9",
        suite="frost-ed25519",
        chain="solana",
        network="",
    )
    assert by_product == by_reference
    assert by_product | {"dkg_context": context} == vectors


@pytest.mark.parametrize("double", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__)
def test_what_holds_session_secrets_cannot_be_doubled(double) -> None:
    """A copy of a handshake would give two channels with the same keys and counters."""
    key = ChannelKey()
    handshake = ClientHandshake(key.public_bytes, "sandbox")
    received = key.open_hello(handshake.hello)
    channel, answer = received.answer(bytes(16), 60)
    for secret in (key, handshake, received, channel, handshake.finish(answer), handshake):
        with pytest.raises(TypeError, match="cannot be copied"):
            double(secret)
