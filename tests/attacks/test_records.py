"""What a host can do to records on their way: nothing but delay and loss."""

from __future__ import annotations

import pytest

from cosigner import CosignerError, EnclaveRefused, HostError, ProtocolError
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from protocol.envelope.messages import OpenSession, Record, SessionOpened
from protocol.messages import Call, GetWallet
from tests.support.world import Host, client, run, solana_message, verify_solana


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


async def opened(tmp_path):
    host = Host()
    await host.start_enclave()
    user = client(host, tmp_path)
    wallet = await user.create_wallet("solana")
    return host, user, wallet


def test_a_host_that_alters_any_byte_of_a_record_is_refused_and_changes_nothing(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        session = await user._keeper.session()
        record = session._channel.seal(cbor.encode(Call(GetWallet(wallet.wallet_id))))
        for position in range(len(record)):
            with pytest.raises(HostError) as refused:
                await host.record(session._channel.session_id, flip(record, position))
            assert refused.value.code == "record_rejected"
        # The unaltered record is still the next one: nothing above moved the session.
        reply = await host.record(session._channel.session_id, record)
        assert wallet.wallet_id.encode() in session._channel.open(reply)

    run(scenario)


def test_a_host_that_alters_a_reply_gets_nothing_signed_into_the_clients_hands(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        attempts = 0

        def altered(reply: bytes) -> bytes:
            nonlocal attempts
            attempts += 1
            return flip(reply, len(reply) // 2)

        host.on_reply = altered
        with pytest.raises(ProtocolError) as refused:
            await user.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert refused.value.code == "record_rejected"
        assert attempts == 6  # a few times, each once more in a new session; never for ever
        host.on_reply = lambda reply: reply
        message = solana_message(wallet.address)
        signed = await user.sign_solana(wallet.wallet_id, message)
        verify_solana(message, signed.signature, wallet.address)

    run(scenario)


def test_a_replayed_record_is_refused(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        await user.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        before = host.enclave.server._counters["signed"]
        for session_id, record, _ in list(host.seen):
            with pytest.raises(HostError) as refused:
                await host.record(session_id, record)
            assert refused.value.code == "record_rejected"
        assert host.enclave.server._counters["signed"] == before
        await user.sign_solana(wallet.wallet_id, solana_message(wallet.address))

    run(scenario)


def test_a_duplicated_record_is_carried_out_once(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        session = await user._keeper.session()
        record = session._channel.seal(cbor.encode(Call(GetWallet(wallet.wallet_id))))
        await host.record(session._channel.session_id, record)
        with pytest.raises(HostError) as refused:
            await host.record(session._channel.session_id, record)
        assert refused.value.code == "record_rejected"

    run(scenario)


def test_reordered_records_are_refused_until_they_are_in_order(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        session = await user._keeper.session()
        first, second = (
            session._channel.seal(cbor.encode(Call(GetWallet(wallet.wallet_id)))) for _ in range(2)
        )
        with pytest.raises(HostError) as refused:
            await host.record(session._channel.session_id, second)
        assert refused.value.code == "record_rejected"
        for record in (first, second):
            session._channel.open(await host.record(session._channel.session_id, record))

    run(scenario)


def test_a_dropped_record_is_a_lost_session_and_not_a_lost_wallet(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        real, dropped = host.record, []

        async def drop(session_id: bytes, record: bytes) -> bytes:
            dropped.append(record)
            raise HostError("host_unreachable", "dropped", culprit=Culprit.NETWORK)

        host.record = drop
        with pytest.raises(HostError):
            await user.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        host.record = real
        assert len(dropped) == 3  # a lost reply is asked for again, and not for ever
        message = solana_message(wallet.address)
        verify_solana(message, (await user.sign_solana(wallet.wallet_id, message)).signature, wallet.address)

    run(scenario)


def test_a_reply_to_another_request_is_refused(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        old_reply = host.seen[-1][2]
        host.on_reply = lambda reply: old_reply
        with pytest.raises(ProtocolError) as refused:
            await user.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert refused.value.code == "record_rejected"

    run(scenario)


def test_a_clients_own_record_reflected_to_it_is_refused(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        sent = []
        host.on_record = lambda record: sent.append(record) or record
        host.on_reply = lambda reply: sent[-1]
        with pytest.raises(ProtocolError) as refused:
            await user.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert refused.value.code == "record_rejected"

    run(scenario)


def test_the_session_id_of_another_client_opens_nothing(tmp_path):
    async def scenario():
        host, alice, wallet = await opened(tmp_path / "alice")
        mallory = client(host, tmp_path / "mallory")
        await mallory.open()
        theirs, ours = await alice._keeper.session(), await mallory._keeper.session()
        record = ours._channel.seal(cbor.encode(Call(GetWallet(wallet.wallet_id))))
        with pytest.raises(HostError) as refused:
            await host.record(theirs._channel.session_id, record)
        assert refused.value.code == "record_rejected"
        message = solana_message(wallet.address)  # alice's session is as it was
        verify_solana(message, (await alice.sign_solana(wallet.wallet_id, message)).signature, wallet.address)
        assert await alice._keeper.session() is theirs

    run(scenario)


def test_an_unknown_session_id_is_refused(tmp_path):
    async def scenario():
        host, _, _ = await opened(tmp_path)
        with pytest.raises(HostError) as refused:
            await host.ask(Record(session_id=bytes(16), record=bytes(64)))
        assert refused.value.code == "session_unknown"

    run(scenario)


def test_a_replayed_hello_opens_a_session_that_the_host_cannot_use(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        hellos = []
        host.on_hello = lambda hello: hellos.append(hello) or hello
        user._keeper.forget()
        await user.open()
        replay = await host.ask(OpenSession(hello=hellos[0]))
        assert isinstance(replay, SessionOpened)
        session = await user._keeper.session()
        assert replay.session_id != session._channel.session_id
        # Records of the real session mean nothing in the replayed one: the enclave's half of the secrets is another.
        record = session._channel.seal(cbor.encode(Call(GetWallet(wallet.wallet_id))))
        with pytest.raises(HostError) as refused:
            await host.record(replay.session_id, record)
        assert refused.value.code == "record_rejected"

    run(scenario)


def test_a_host_that_answers_a_hello_itself_is_refused(tmp_path):
    async def scenario():
        host, user, _ = await opened(tmp_path)
        answers = []
        host.on_answer = lambda answer: answers.append(answer) or answer
        user._keeper.forget()
        await user.open()
        for forged in (answers[0], bytes(len(answers[0])), flip(answers[0], 5), answers[0][:-1], b"\x00"):
            host.on_answer = lambda answer, forged=forged: forged
            user._keeper.forget()
            with pytest.raises(ProtocolError) as refused:
                await user.open()
            assert refused.value.code == "hello_rejected"

    run(scenario)


def test_an_altered_hello_is_refused_by_the_enclave(tmp_path):
    async def scenario():
        host, user, _ = await opened(tmp_path)
        user._keeper.forget()
        for position in (8, 100, 1100, -1):
            host.on_hello = lambda hello, position=position: flip(hello, position % len(hello))
            with pytest.raises(HostError) as refused:
                await user.open()
            assert refused.value.code == "hello_rejected"
        assert len(host.enclave.sessions) == 1

    run(scenario)


def test_a_sealed_request_of_another_form_gets_a_sealed_refusal_and_leaves_the_session_usable(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        session = await user._keeper.session()
        for plaintext in (b"\x00", b"", b"\xa1gkind", cbor.encode({"request": {"kind": "export_share"}})):
            record = session._channel.seal(plaintext)
            reply = session._channel.open(await host.record(session._channel.session_id, record))
            assert b"message_malformed" in reply
        assert (await user.enclave_wallet(wallet.wallet_id)).address == wallet.address

    run(scenario)


def test_an_environment_that_the_manifest_does_not_name_is_refused(tmp_path):
    async def scenario():
        host, _, _ = await opened(tmp_path)
        stranger = client(host, tmp_path / "stranger", environment="unheard-of")
        with pytest.raises(CosignerError) as refused:
            await stranger.open()
        assert refused.value.code == "environment_unknown"

    run(scenario)


def test_a_wallet_of_one_environment_does_not_exist_in_another(tmp_path):
    async def scenario():
        host, _, wallet = await opened(tmp_path)
        elsewhere = client(host, tmp_path / "elsewhere", environment="live")
        with pytest.raises(EnclaveRefused) as refused:
            await elsewhere.enclave_wallet(wallet.wallet_id)
        assert refused.value.code == "wallet_unknown"

    run(scenario)
