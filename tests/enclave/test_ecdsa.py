"""ECDSA at the enclave's own door: what it refuses, and what becomes of a session's oblivious transfers."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from cosigner import EnclaveRefused, HostError
from cosigner.session import Session
from enclave import sessions as rooms
from enclave.sessions import Sessions
from protocol.channel import ChannelKey, ClientHandshake
from protocol.envelope.errors import CosignerError, ProtocolError
from protocol.messages import (
    EcdsaSigned,
    EvmMessagePayload,
    EvmTransactionPayload,
    EvmTypedDataPayload,
    PsbtPayload,
    Sign,
    SignEcdsa,
    Signed,
)
from tests.support.world import ENVIRONMENT, Host, client, run
from threshold import (
    ThresholdError,
    ecdsa_begin,
    ecdsa_setup_begin,
    ecdsa_setup_respond,
    frost_begin,
)
from threshold.ecdsa import MESSAGE1_LEN, MESSAGE2_LEN
from threshold.payload import evm_message_digest

MESSAGE = b"attack at dawn"
ENCLAVE = 2
PAYLOAD = EvmMessagePayload(MESSAGE, None)


async def opened(tmp_path, *chains):
    host = Host()
    await host.start_enclave()
    user = client(host, tmp_path)
    return host, user, *[await user.create_wallet(chain) for chain in ("ethereum", *chains)]


def request(wallet, message1=b"m", payload=PAYLOAD, path=(), epoch=1):
    return SignEcdsa(
        wallet_id=wallet.wallet_id, epoch=epoch, payload=payload, path=list(path), message1=message1
    )


async def begin(user, wallet, path=(), message=MESSAGE):
    share, _ = user._store.load(wallet.wallet_id)
    session = await user._keeper.session(ecdsa=True)
    digest = evm_message_digest(message)["digest"]
    return session, *ecdsa_begin(share, session.ecdsa, digest, list(path), ENCLAVE)


async def refused_with(code, session, asked, kind=EcdsaSigned):
    with pytest.raises(EnclaveRefused) as refused:
        await session.call(asked, kind)
    assert refused.value.code == code


async def still_signs(user, wallet, session):
    """In the very same session."""
    signed = await user.sign_evm_message(wallet.wallet_id, MESSAGE)
    assert Account.recover_message(encode_defunct(MESSAGE), signature=signed.signature) == wallet.address
    assert await user._keeper.session(ecdsa=True) is session


# --- requests ----------------------------------------------------------------------------------------------------------------------


def test_a_session_without_transfers_is_told_to_open_one_with_them(tmp_path):
    async def scenario():
        _, user, wallet = await opened(tmp_path)
        session = await user._keeper.session()
        assert session.ecdsa is None
        await refused_with("ecdsa_not_set_up", session, request(wallet))
        await user.enclave_wallet(wallet.wallet_id)  # the session goes on

    run(scenario)


def test_the_answer_says_what_was_understood(tmp_path):
    async def scenario():
        _, user, wallet = await opened(tmp_path)
        session, pending, message1 = await begin(user, wallet, (0, 5))
        answer = await session.call(request(wallet, message1, path=(0, 5)), EcdsaSigned)
        assert (len(message1), len(answer.message2)) == (MESSAGE1_LEN, MESSAGE2_LEN)
        assert answer.digest == evm_message_digest(MESSAGE)["digest"]
        assert answer.summary["from"] == await user.derived_address(wallet.wallet_id, (0, 5))
        assert answer.summary["text"] == MESSAGE.decode()
        assert len(pending.finish(answer.message2)[0]) == 64

    run(scenario)


def test_a_payload_of_another_chain_is_refused_and_the_session_lives(tmp_path):
    async def scenario():
        _, user, wallet, bitcoin, solana = await opened(tmp_path, "bitcoin", "solana")
        session, _, message1 = await begin(user, wallet)
        for payload in (PAYLOAD, EvmTransactionPayload(b"\xc0"), EvmTypedDataPayload(b"{}")):
            await refused_with("payload_wrong_chain", session, request(bitcoin, message1, payload))
        # Said before a derivation that Ed25519 keys do not know.
        await refused_with("payload_wrong_chain", session, request(solana, message1))
        share, _ = user._store.load(wallet.wallet_id)
        with pytest.raises(ThresholdError):
            frost_begin(share, 1)
        frost = Sign(
            wallet_id=wallet.wallet_id,
            epoch=1,
            payload=PsbtPayload(b"psbt\xff"),
            path=[],
            commitments=[bytes(66)],
        )
        await refused_with("payload_wrong_chain", session, frost, Signed)
        await still_signs(user, wallet, session)

    run(scenario)


def test_payloads_that_are_not_well_formed_are_refused_and_the_session_lives(tmp_path):
    async def scenario():
        _, user, wallet = await opened(tmp_path)
        session, _, message1 = await begin(user, wallet)
        for payload, code in (
            (EvmTransactionPayload(b"\xc0"), "evm_malformed"),
            (EvmTransactionPayload(b"\x05\xc0"), "evm_type_unsupported"),
            (EvmTypedDataPayload(b"{"), "typed_data_malformed"),
        ):
            await refused_with(code, session, request(wallet, message1, payload))
        await still_signs(user, wallet, session)

    run(scenario)


def test_another_digest_path_or_epoch_than_the_clients_is_refused_and_the_session_lives(tmp_path):
    async def scenario():
        _, user, wallet = await opened(tmp_path)
        session, _, message1 = await begin(user, wallet, (0, 5))
        other = EvmMessagePayload(b"attack at dusk", None)
        validated = EvmMessagePayload(MESSAGE, bytes(20))
        for asked, code in (
            (request(wallet, message1, other, (0, 5)), "wrong_context"),
            (request(wallet, message1, validated, (0, 5)), "wrong_context"),
            (request(wallet, message1), "wrong_context"),
            (request(wallet, message1, path=(0, 6)), "wrong_context"),
            (request(wallet, message1, path=(0, 5), epoch=2), "epoch_stale"),
            (request(wallet, message1[:-1], path=(0, 5)), "malformed_message"),
            (request(wallet, b"\xff" + message1[1:], path=(0, 5)), "wrong_kind"),
        ):
            await refused_with(code, session, asked)
        await still_signs(user, wallet, session)

    run(scenario)


def test_a_request_is_answered_once(tmp_path):
    async def scenario():
        _, user, wallet = await opened(tmp_path)
        session, _, message1 = await begin(user, wallet)
        await session.call(request(wallet, message1), EcdsaSigned)
        await refused_with("index_reused", session, request(wallet, message1))
        await still_signs(user, wallet, session)

    run(scenario)


def test_a_request_of_another_session_is_refused_and_burns_nothing(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        _, _, message1 = await begin(user, wallet)
        user._keeper.forget()
        session = await user._keeper.session(ecdsa=True)
        await refused_with("wrong_context", session, request(wallet, message1))
        await still_signs(user, wallet, session)
        assert host.enclave.server._burns.total == 0

    run(scenario)


def test_a_setup_that_is_no_setup_opens_no_session(tmp_path):
    async def scenario():
        host, user, _ = await opened(tmp_path)
        enclave = await user._keeper.enclave()
        before = len(host.enclave.sessions)
        for setup, code in (
            (b"x", "malformed_message"),
            (bytes(4098), "wrong_kind"),
            (b"\x01\x11" + b"\xff" * 4096, "malformed_message"),
            (b"\x01\x11" + bytes(4096), "malformed_message"),  # the identity
        ):
            handshake = ClientHandshake(enclave.channel_key, ENVIRONMENT, setup)
            with pytest.raises(HostError) as refused:
                await user._transport.open_session(handshake.hello)
            assert refused.value.code == code
        assert len(host.enclave.sessions) == before
        assert await Session.open(user._transport, enclave, ENVIRONMENT, ecdsa=True)

    run(scenario)


# --- the transfers of a session end with it ----------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions(clock)


def session_with_transfers(sessions: Sessions):
    key = ChannelKey()
    setup, offer = ecdsa_setup_begin()
    handshake = ClientHandshake(key.public_bytes, "sandbox", offer)
    received = key.open_hello(handshake.hello)
    session, answer = sessions.open(received, ecdsa_setup_respond(received.ecdsa_setup))
    channel = handshake.finish(answer)
    assert setup.finish(handshake.ecdsa_answer, channel.transcript).alive
    assert session.ecdsa.alive
    return session


def unknown(sessions: Sessions, session) -> bool:
    with pytest.raises(CosignerError) as refused:
        sessions.get(session.channel.session_id)
    return refused.value.code == "session_unknown"


def test_a_session_has_transfers_only_if_they_were_asked_for(sessions):
    key = ChannelKey()
    session, _ = sessions.open(key.open_hello(ClientHandshake(key.public_bytes, "sandbox").hello))
    assert session.ecdsa is None
    sessions.close(session)


def test_closing_a_session_burns_its_transfers(sessions):
    session = session_with_transfers(sessions)
    sessions.close(session)
    assert not session.ecdsa.alive
    assert unknown(sessions, session)
    sessions.close(session)  # twice does no harm


def test_a_session_that_expired_is_found_without_its_transfers(sessions, clock):
    session = session_with_transfers(sessions)
    clock.now = rooms.LIFETIME - 1
    assert sessions.get(session.channel.session_id).ecdsa.alive
    clock.now = rooms.LIFETIME
    assert unknown(sessions, session)
    assert not session.ecdsa.alive


def test_opening_another_session_burns_those_that_expired(sessions, clock):
    old = [session_with_transfers(sessions) for _ in range(3)]
    clock.now = rooms.LIFETIME + 1
    new = session_with_transfers(sessions)
    assert [session.ecdsa.alive for session in (*old, new)] == [False, False, False, True]


def test_the_session_that_makes_room_loses_its_transfers(sessions, monkeypatch):
    monkeypatch.setattr(rooms, "MAX_SESSIONS", 2)
    first, second = (session_with_transfers(sessions) for _ in range(2))
    sessions.get(first.channel.session_id)
    third = session_with_transfers(sessions)
    assert [session.ecdsa.alive for session in (first, second, third)] == [True, False, True]


def test_a_hello_that_cannot_be_answered_leaves_no_transfers(sessions):
    """The client's ephemeral key is not valid: the setup was answered, but is bound to no session."""
    key = ChannelKey()
    _, offer = ecdsa_setup_begin()
    received = key.open_hello(ClientHandshake(key.public_bytes, "sandbox", offer).hello)
    received._payload = type(received._payload)(
        version=1, environment="sandbox", client_key=bytes(1216), client_random=bytes(32), ecdsa_setup=offer
    )
    with pytest.raises(ProtocolError):
        sessions.open(received, ecdsa_setup_respond(offer))
    assert len(sessions) == 0


def test_a_client_that_closes_its_session_leaves_no_transfers_behind(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        await user.sign_evm_message(wallet.wallet_id, MESSAGE)
        ends = [session for session in host.enclave.sessions._sessions.values() if session.ecdsa]
        assert [session.ecdsa.alive for session in ends] == [True]
        await user._keeper.close()
        assert [session.ecdsa.alive for session in ends] == [False]

    run(scenario)
