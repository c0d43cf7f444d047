"""The abort rules of ECDSA (``signing.md`` §2): a failed check burns the session before any answer leaves, and nothing adds up."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from eth_account import Account

import cosigner.signing
from cosigner import EnclaveRefused, HostError
from enclave import burns as burns_room
from enclave.burns import Burns
from protocol.envelope.errors import Reaction
from protocol.messages import EcdsaSigned, EvmMessagePayload, SignEcdsa
from protocol.wallets import CLIENT_PARTY
from tests.attacks.test_rules import decisions
from tests.support.world import Host, client, run
from threshold import ecdsa_begin

MESSAGE = b"attack at dawn"
ENCLAVE = 2
# message 1 begins with version, kind and context (docs/spec/ecdsa.md); what follows are the columns of the extension and its check
COLUMNS = 3000


async def opened(tmp_path, name="user"):
    host = Host()
    await host.start_enclave()
    user = client(host, tmp_path / name)
    wallet = await user.create_wallet("ethereum")
    await user.open(ecdsa=True)
    return host, user, wallet


async def begin(user, wallet, message=MESSAGE):
    """The client's half of a request, as an honest client makes it."""
    from eth_account.messages import _hash_eip191_message, encode_defunct

    share, _ = user._store.load(wallet.wallet_id)
    session = await user._keeper.session(ecdsa=True)
    digest = bytes(_hash_eip191_message(encode_defunct(message)))
    pending, message1 = ecdsa_begin(share, session.ecdsa, digest, [], ENCLAVE)
    return session, pending, message1


def request(wallet, message1, message=MESSAGE):
    return SignEcdsa(
        wallet_id=wallet.wallet_id,
        epoch=1,
        payload=EvmMessagePayload(message, None),
        path=[],
        message1=message1,
    )


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def signer(signed, message=MESSAGE) -> str:
    from eth_account.messages import encode_defunct

    return Account.recover_message(encode_defunct(message), signature=signed.signature)


async def burn(host, user, wallet) -> None:
    """Send a request whose oblivious transfer message was altered by the client itself."""
    session, _, message1 = await begin(user, wallet)
    with pytest.raises(HostError) as gone:
        await session.call(request(wallet, flipped(message1, COLUMNS)), EcdsaSigned)
    assert gone.value.code == "session_unknown"
    user._keeper.forget()


def test_an_altered_ot_message_burns_the_session_before_any_answer_leaves(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        session, _, message1 = await begin(user, wallet)
        (enclave_session,) = (entry for entry in host.enclave.sessions._sessions.values() if entry.ecdsa)
        answers = len(host.seen)
        with pytest.raises(HostError) as gone:
            await session.call(request(wallet, flipped(message1, COLUMNS)), EcdsaSigned)
        assert (gone.value.code, gone.value.reaction) == ("session_unknown", Reaction.RETRY)
        assert len(host.seen) == answers  # no record came back, sealed or not
        assert not enclave_session.ecdsa.alive
        assert enclave_session.closed
        assert host.enclave.server._burns.total == 1
        # The session is gone for everything, not for ECDSA alone.
        with pytest.raises(HostError):
            await host.record(session._channel.session_id, session._channel.seal(b"anything"))

    run(scenario)


def test_a_burnt_session_is_retried_once_in_a_new_session(tmp_path, monkeypatch):
    async def scenario():
        _, user, wallet = await opened(tmp_path)
        real, calls = cosigner.signing.ecdsa_begin, itertools.count()

        def spoilt_once(*args):
            pending, message1 = real(*args)
            return pending, flipped(message1, COLUMNS) if next(calls) == 0 else message1

        monkeypatch.setattr(cosigner.signing, "ecdsa_begin", spoilt_once)
        signed = await user.sign_evm_message(wallet.wallet_id, MESSAGE)
        assert signer(signed) == wallet.address
        assert next(calls) == 2

    run(scenario)


def test_a_session_that_is_burnt_twice_is_not_tried_a_third_time(tmp_path, monkeypatch):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        real, calls = cosigner.signing.ecdsa_begin, itertools.count()

        def spoilt(*args):
            next(calls)
            pending, message1 = real(*args)
            return pending, flipped(message1, COLUMNS)

        monkeypatch.setattr(cosigner.signing, "ecdsa_begin", spoilt)
        with pytest.raises(HostError) as gone:
            await user.sign_evm_message(wallet.wallet_id, MESSAGE)
        assert gone.value.code == "session_unknown"
        assert next(calls) == 2
        assert host.enclave.server._burns.total == 2

    run(scenario)


def test_repeated_burns_meet_a_growing_delay_which_ends(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        now = 1000.0
        host.enclave.server._burns._clock = lambda: now
        delays = []
        for _ in range(5):
            await burn(host, user, wallet)
            start = now
            while True:
                try:
                    signed = await user.sign_evm_message(wallet.wallet_id, MESSAGE)
                except EnclaveRefused as refused:
                    assert refused.code == "burn_delay"  # noqa: PT017
                    assert decisions(host)[-1].code == "burn_delay"  # nothing was charged for it
                    now += 0.5
                else:
                    break
            assert signer(signed) == wallet.address
            delays.append(now - start)
        assert delays == [0.0, 1.0, 2.0, 4.0, 8.0]
        now += burns_room.FORGET
        await burn(host, user, wallet)
        await user.sign_evm_message(wallet.wallet_id, MESSAGE)

    run(scenario)


def test_a_replayed_message_takes_no_index_twice_and_burns_nothing(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        session, pending, message1 = await begin(user, wallet)
        first = await session.call(request(wallet, message1), EcdsaSigned)
        for _ in range(3):
            with pytest.raises(EnclaveRefused) as refused:
                await session.call(request(wallet, message1), EcdsaSigned)
            assert refused.value.code == "index_reused"
        signature, _, _ = pending.finish(first.message2)
        assert len(signature) == 64
        assert host.enclave.server._burns.total == 0
        assert signer(await user.sign_evm_message(wallet.wallet_id, MESSAGE)) == wallet.address
        assert await user._keeper.session() is session

    run(scenario)


def test_a_message_made_in_another_session_is_refused_before_any_check_and_burns_nothing(tmp_path):
    """A relay must not be able to make honest parties burn each other: the context is compared first."""

    async def scenario():
        host, alice, wallet = await opened(tmp_path, "alice")
        _, _, foreign = await begin(alice, wallet)
        alice._keeper.forget()
        session = await alice._keeper.session(ecdsa=True)
        with pytest.raises(EnclaveRefused) as refused:
            await session.call(request(wallet, foreign), EcdsaSigned)
        assert refused.value.code == "wrong_context"
        assert host.enclave.server._burns.total == 0
        assert session.ecdsa.alive

    run(scenario)


def test_a_message_made_for_another_payload_is_refused_and_burns_nothing(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        session, _, message1 = await begin(user, wallet)
        with pytest.raises(EnclaveRefused) as refused:
            await session.call(request(wallet, message1, b"something else"), EcdsaSigned)
        assert refused.value.code == "wrong_context"
        assert host.enclave.server._burns.total == 0

    run(scenario)


def test_a_session_without_transfers_cannot_sign(tmp_path):
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = client(host, tmp_path)
        wallet = await user.create_wallet("ethereum")
        plain = await user._keeper.session()
        assert plain.ecdsa is None
        with pytest.raises(EnclaveRefused) as refused:
            await plain.call(request(wallet, b"message"), EcdsaSigned)
        assert refused.value.code == "ecdsa_not_set_up"
        # The client opens the right kind of session by itself.
        assert signer(await user.sign_evm_message(wallet.wallet_id, MESSAGE)) == wallet.address

    run(scenario)


def test_an_enclave_restart_between_requests_costs_one_attempt_and_leaves_nothing_behind(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        await user.sign_evm_message(wallet.wallet_id, MESSAGE)
        stored = dict(host.storage.records)
        await host.start_enclave()
        assert signer(await user.sign_evm_message(wallet.wallet_id, MESSAGE)) == wallet.address
        assert host.storage.records == stored  # no transfer state is ever stored

    run(scenario)


def test_a_request_that_dies_midway_costs_nothing_but_that_attempt(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        session, _, _ = await begin(user, wallet)  # begun, and never sent
        real = host.record

        async def lose(session_id, record):
            await real(session_id, record)
            raise HostError("host_unreachable", "lost")

        host.record = lose
        with pytest.raises(HostError):
            await user.sign_evm_message(wallet.wallet_id, MESSAGE)
        host.record = real
        assert signer(await user.sign_evm_message(wallet.wallet_id, MESSAGE)) == wallet.address
        assert not session.usable
        assert host.enclave.server._burns.total == 0

    run(scenario)


def test_many_signatures_at_once_on_one_session_and_one_wallet(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        messages = [f"message {index}".encode() for index in range(24)]
        signed = await asyncio.gather(
            *(user.sign_evm_message(wallet.wallet_id, message) for message in messages)
        )
        for message, done in zip(messages, signed, strict=True):
            assert signer(done, message) == wallet.address
        assert sum(entry.ecdsa is not None for entry in host.enclave.sessions._sessions.values()) == 1
        assert len({done.signature[:32] for done in signed}) == len(signed)  # no nonce twice

    run(scenario)


def test_two_clients_at_once_sign_with_one_wallet(tmp_path):
    async def scenario():
        import shutil

        host, phone, wallet = await opened(tmp_path, "phone")
        shutil.copytree(tmp_path / "phone", tmp_path / "tablet")
        tablet = client(host, tmp_path / "tablet")
        signed = await asyncio.gather(
            *(device.sign_evm_message(wallet.wallet_id, MESSAGE) for device in (phone, tablet) * 6)
        )
        assert {signer(done) for done in signed} == {wallet.address}

    run(scenario)


def test_the_share_of_another_wallet_makes_no_signature(tmp_path):
    """A client that holds the share of wallet A cannot have wallet B sign."""

    async def scenario():
        host, mallory, own = await opened(tmp_path, "mallory")
        victim = await client(host, tmp_path / "victim").create_wallet("ethereum")
        session, pending, message1 = await begin(mallory, own)
        with pytest.raises(EnclaveRefused) as refused:
            await session.call(request(victim, message1), EcdsaSigned)
        assert refused.value.code == "wrong_context"
        assert pending
        assert CLIENT_PARTY == 1

    run(scenario)


def test_a_first_signature_does_not_disturb_a_key_generation_under_way(tmp_path):
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = client(host, tmp_path)
        wallet = await user.create_wallet("ethereum")
        user._keeper.forget()
        created = await asyncio.gather(
            user.create_wallet("solana"),
            user.create_wallet("bitcoin"),
            user.sign_evm_message(wallet.wallet_id, MESSAGE),
        )
        assert signer(created[2]) == wallet.address
        assert not any(stored.pending for stored in user._store.wallets(tmp_path))

    run(scenario)


def test_a_session_that_ends_under_way_is_not_counted_as_burnt(tmp_path):
    async def scenario():
        host, user, wallet = await opened(tmp_path)
        for _ in range(4):
            session, _, message1 = await begin(user, wallet)
            for entry in host.enclave.sessions._sessions.values():
                if entry.ecdsa is not None:
                    entry.ecdsa.burn()  # as eviction does
            with pytest.raises(HostError):
                await session.call(request(wallet, message1), EcdsaSigned)
            user._keeper.forget()
        assert host.enclave.server._burns.total == 0
        assert signer(await user.sign_evm_message(wallet.wallet_id, MESSAGE)) == wallet.address

    run(scenario)


def test_bad_requests_at_once_in_many_sessions_pass_the_delay_at_most_once_for_each_worker(tmp_path):
    async def scenario():
        from enclave.work import WORKERS

        host, user, wallet = await opened(tmp_path)
        host.enclave.server._burns = Burns(lambda: 1000.0)
        requests = []
        for _ in range(12):
            user._keeper.forget()
            session, _, message1 = await begin(user, wallet)
            requests.append(session.call(request(wallet, flipped(message1, COLUMNS)), EcdsaSigned))
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert all(isinstance(result, (HostError, EnclaveRefused)) for result in results)
        assert host.enclave.server._burns.total <= burns_room.FREE + WORKERS
        assert (
            sum(getattr(result, "code", "") == "burn_delay" for result in results)
            >= 12 - burns_room.FREE - WORKERS
        )

    run(scenario)


def test_signatures_of_a_session_that_another_signature_burnt_are_made_in_a_new_one(tmp_path):
    async def scenario():
        _, user, wallet = await opened(tmp_path)
        session = await user._keeper.session(ecdsa=True)
        tasks = [asyncio.create_task(user.sign_evm_message(wallet.wallet_id, MESSAGE)) for _ in range(6)]
        await asyncio.sleep(0)
        session.ecdsa.burn()
        assert {signer(done) for done in await asyncio.gather(*tasks)} == {wallet.address}

    run(scenario)
