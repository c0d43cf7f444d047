"""Attested sessions: what the host does to attestation or channel is noticed, and nothing is sent to whom nobody vouches for."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cosigner.client import AsyncClient
from cosigner.errors import AttestationRefused, CosignerError, EnclaveRefused, HostError, ProtocolError
from cosigner.identity import Identity
from cosigner.session import Session, SessionKeeper, attest
from enclave.accounts.ownership import Wallets
from enclave.environments import Environments
from protocol.binding import AttestedKeys
from protocol.channel import ChannelKey
from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.messages import Attest, Attested, Done, Status, StatusReply
from protocol.messages import Close, GetWallet, WalletReply
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki
from tests.cosigner.world import (
    MEASUREMENTS,
    Forward,
    Rule,
    World,
    attestation_body,
    problem,
    record_number,
)

UNKNOWN = "0f8fad5b-d9cb-469f-a165-70867728950e"


async def ask_for_a_wallet(client: AsyncClient) -> str:
    """A call that a healthy enclave refuses with ``wallet_unknown``: it shows that the channel works."""
    with pytest.raises(EnclaveRefused) as caught:
        await client.enclave_wallet(UNKNOWN)
    return caught.value.code


def failing(world: World, rule: Rule, **changes: Any) -> CosignerError:
    with world.misbehaving(rule), pytest.raises(CosignerError) as caught:
        world.run(lambda client: client.enclave_wallet(UNKNOWN), **changes)
    return caught.value


def attested_by(world: World, change: Callable[[Attested], tuple[bytes, bytes]]) -> Rule:
    """A host that hands out something else than what the enclave answered."""

    async def rule(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.url.path != "/attestation":
            return await forward(request)
        reply = await world.ask(Attest(bytes.fromhex(request.url.params["nonce"])))
        assert isinstance(reply, Attested)
        return attestation_body(*change(reply))

    return rule


def unchanged(reply: Attested) -> tuple[bytes, bytes]:
    return reply.document, reply.channel_key


def refused(
    world: World, change: Callable[[Attested], tuple[bytes, bytes]] = unchanged, **policy: Any
) -> AttestationRefused:
    rule = attested_by(world, change)
    error = failing(world, rule, **policy)
    assert isinstance(error, AttestationRefused)
    # Only an enclave that is not far enough yet may become acceptable by waiting.
    waiting = error.code == "attestation_key_policy_unjudged"
    assert (error.culprit, error.reaction) == (
        Culprit.ENCLAVE,
        Reaction.RETRY if waiting else Reaction.ABORT,
    )
    assert world.seen.hellos == [], "nothing may be sent to an enclave that is not attested"
    return error


# --- attestation -----------------------------------------------------------------------------------------------------------------


def test_an_honest_host_leads_to_a_verified_enclave() -> None:
    world = World()
    verified = world.run(lambda client: client.attest())
    assert verified.root_sha256 == world.pki.root_sha256
    assert verified.pcrs[0] == MEASUREMENTS[0]
    assert world.run(ask_for_a_wallet) == "wallet_unknown"


def test_a_document_over_another_nonce_is_refused() -> None:
    world = World()
    stale = asyncio.run(world.ask(Attest(bytes(32))))
    assert isinstance(stale, Attested)
    error = refused(world, lambda reply: (stale.document, reply.channel_key))
    assert error.code == "attestation_nonce_mismatch"
    assert error.step == "10: nonce"


def test_an_old_document_is_refused() -> None:
    long_ago = datetime.now(UTC) - timedelta(minutes=6)
    world = World(clock=lambda: long_ago)
    assert refused(world).code == "attestation_too_old"


def test_a_document_from_the_future_is_refused() -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=1)
    world = World(clock=lambda: ahead)
    code = refused(world).code
    assert code in {"attestation_from_future", "attestation_certificate_not_yet_valid"}


@pytest.mark.parametrize("index", [0, 1, 2])
def test_another_image_is_refused(index: int) -> None:
    world = World(measurements={**MEASUREMENTS, index: b"\x09" * 48})
    error = refused(world)
    assert error.code == "attestation_pcr_mismatch"
    assert f"PCR{index}" in error.message


def test_another_manifest_is_refused() -> None:
    world = World()
    pcrs = {**world.config().policy.pcrs, 16: frozenset({b"\x0a" * 48})}
    error = refused(world, pcrs=pcrs)
    assert error.code == "attestation_pcr_mismatch"


def test_an_enclave_in_debug_mode_is_refused_even_if_its_pcrs_are_pinned() -> None:
    world = World(measurements=dict.fromkeys(MEASUREMENTS, bytes(48)))
    pcrs = {**world.config().policy.pcrs, **{index: frozenset({bytes(48)}) for index in MEASUREMENTS}}
    error = refused(world, pcrs=pcrs)
    assert error.code == "attestation_debug_mode"


def test_another_root_is_refused() -> None:
    world = World()
    roots = frozenset({NitroPki.ephemeral().root_sha256})
    error = refused(world, roots=roots)
    assert error.code == "attestation_root_not_trusted"


def test_a_document_with_a_broken_signature_is_refused() -> None:
    world = World()
    error = refused(
        world, lambda reply: (reply.document[:-1] + bytes([reply.document[-1] ^ 1]), reply.channel_key)
    )
    assert error.code == "attestation_signature_invalid"


@pytest.mark.parametrize("document", [b"", b"\x00", b"\xff" * 100, bytes(20_000)])
def test_garbage_in_place_of_a_document_is_refused(document: bytes) -> None:
    assert refused(World(), lambda reply: (document, reply.channel_key)).code.startswith("attestation_")


def test_a_channel_key_that_the_host_swapped_is_refused() -> None:
    own = ChannelKey()
    error = refused(World(), lambda reply: (reply.document, own.public_bytes))
    assert error.code == "attestation_channel_key_mismatch"
    assert "host" in error.message


@pytest.mark.parametrize("key", [b"x", bytes(1216)])
def test_a_channel_key_of_another_form_is_refused(key: bytes) -> None:
    error = refused(World(), lambda reply: (reply.document, key))
    assert error.code == "attestation_channel_key_mismatch"


@pytest.mark.parametrize(
    "user_data",
    [
        None,
        b"",
        bytes(32),
        AttestedKeys(version=1, channel_key=bytes(32), key_policy="pinned", receipt_key=bytes(32)).encode()
        + b"\x00",
    ],
    ids=["none", "empty", "raw hash", "trailing"],
)
def test_user_data_of_another_form_is_refused(
    user_data: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An enclave with the right measurements whose ``user_data`` is of another protocol version."""
    real = FakeNsm.attest
    monkeypatch.setattr(FakeNsm, "attest", lambda self, _, nonce, key: real(self, user_data, nonce, key))
    error = refused(World())
    assert error.code == "attestation_keys_malformed"


def saying(key_policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The enclave's documents say this of its keys' policies."""
    monkeypatch.setattr(Environments, "key_policy", lambda _: key_policy)


def test_an_enclave_that_has_judged_no_key_is_to_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    saying("unjudged", monkeypatch)
    error = refused(World())
    assert (error.code, error.reaction) == ("attestation_key_policy_unjudged", Reaction.RETRY)
    assert error.step == "14: key policy"


def test_an_enclave_whose_keys_somebody_may_open_is_refused_unless_the_configuration_accepts_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saying("editable", monkeypatch)
    world = World()
    error = refused(world)
    assert (error.code, error.reaction) == ("attestation_key_policy_editable", Reaction.ABORT)
    assert "accept_editable_key_policy" in error.message
    world.accept_editable_key_policy = True
    assert world.run(lambda client: client.attest()).user_data


def test_accepting_an_editable_policy_does_not_accept_an_unjudged_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saying("unjudged", monkeypatch)
    world = World()
    world.accept_editable_key_policy = True
    assert refused(world).code == "attestation_key_policy_unjudged"


def test_every_refusal_names_its_step() -> None:
    world = World()
    own = ChannelKey()
    error = refused(world, lambda reply: (reply.document, own.public_bytes))
    assert error.step == "13: channel key"


def test_the_nonce_is_fresh_each_time() -> None:
    nonces = []

    async def rule(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonces.append(request.url.params["nonce"])
        return await forward(request)

    world = World()
    with world.misbehaving(rule):
        for _ in range(2):
            world.run(lambda client: client.attest())
    assert len(set(nonces)) == 2
    assert {len(nonce) for nonce in nonces} == {64}


# --- handshake -------------------------------------------------------------------------------------------------------------------


def handshake_answer(change: Callable[[bytes], bytes]) -> Rule:
    async def rule(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if request.url.path == "/v1/sessions":
            return httpx.Response(200, content=change(response.content))
        return response

    return rule


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda a: a[:-1],
        lambda a: a + b"\x00",
        lambda a: a[:-1] + bytes([a[-1] ^ 1]),
        lambda a: bytes(len(a)),
    ],
    ids=["empty", "cut", "longer", "altered", "zeros"],
)
def test_an_altered_handshake_is_tried_once_more_and_then_given_up(change: Callable[[bytes], bytes]) -> None:
    world = World()
    error = failing(world, handshake_answer(change))
    assert isinstance(error, ProtocolError)
    assert error.code == "hello_rejected"
    assert len(world.seen.hellos) == 2
    assert world.seen.records == []


def test_an_environment_that_the_enclave_does_not_have_is_said() -> None:
    world = World()

    async def scenario() -> None:
        async with world.transport() as transport:
            await Session.open(transport, await attest(transport, world.config().policy), "elsewhere")

    with pytest.raises(HostError) as caught:
        asyncio.run(scenario())
    assert caught.value.code == "environment_unknown"


def test_a_channel_key_that_is_gone_by_the_time_of_the_hello_is_attested_anew() -> None:
    world = World()

    async def scenario(client: AsyncClient) -> str:
        await client.attest()
        world.restart()  # the attested channel key is gone before the first hello
        return await ask_for_a_wallet(client)

    assert world.run(scenario) == "wallet_unknown"
    assert world.seen.attestations == 2


# --- records ---------------------------------------------------------------------------------------------------------------------


def record_answer(change: Callable[[bytes], bytes]) -> Rule:
    async def rule(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) is not None:
            return httpx.Response(200, content=change(response.content))
        return response

    return rule


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda a: a[:-1],
        lambda a: a + b"\x00",
        lambda a: a[:-1] + bytes([a[-1] ^ 1]),
        lambda a: bytes(len(a)),
    ],
    ids=["empty", "cut", "longer", "altered", "zeros"],
)
def test_an_altered_answer_is_refused_and_each_try_has_a_session_of_its_own(
    change: Callable[[bytes], bytes],
) -> None:
    world = World()
    error = failing(world, record_answer(change))
    assert error.code == "record_rejected"
    assert len(world.seen.records) == len(world.seen.sessions) == 2


def test_a_host_that_reflects_the_clients_record_is_refused() -> None:
    async def reflect(request: httpx.Request, forward: Forward) -> httpx.Response:
        if record_number(request) is not None:
            return httpx.Response(200, content=request.content)
        return await forward(request)

    assert failing(World(), reflect).code == "record_rejected"


def test_an_answer_replayed_from_before_is_refused() -> None:
    answers: list[bytes] = []

    async def replay(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) is None:
            return response
        answers.append(response.content)
        return httpx.Response(200, content=answers[0])

    world = World()

    async def scenario(client: AsyncClient) -> None:
        await ask_for_a_wallet(client)
        await client.enclave_wallet(UNKNOWN)

    with world.misbehaving(replay), pytest.raises(CosignerError) as caught:
        world.run(scenario)
    assert caught.value.code == "record_rejected"


def test_a_lost_session_is_replaced_and_the_call_repeated_once() -> None:
    world = World()

    async def scenario(client: AsyncClient) -> str:
        await ask_for_a_wallet(client)
        world.restart()
        return await ask_for_a_wallet(client)

    assert world.run(scenario) == "wallet_unknown"
    assert len(world.seen.sessions) == 2
    assert world.seen.attestations == 2  # the new enclave is attested before it is trusted


def test_a_host_that_always_denies_the_session_is_asked_twice_and_not_three_times() -> None:
    async def deny(request: httpx.Request, forward: Forward) -> httpx.Response:
        if record_number(request) is None:
            return await forward(request)
        world.seen.records.append((request.url.path, request.content))
        return problem(404, "session_unknown", detail="No such session.", reaction="retry")

    world = World()
    error = failing(world, deny)
    assert isinstance(error, HostError)
    assert error.code == "session_unknown"
    assert len(world.seen.records) == 2
    assert len(world.seen.hellos) == 2


def test_other_failures_of_the_host_are_not_repeated() -> None:
    async def fail(request: httpx.Request, forward: Forward) -> httpx.Response:
        if record_number(request) is None:
            return await forward(request)
        world.seen.records.append((request.url.path, request.content))
        return problem(503, "enclave_unavailable")

    world = World()
    assert failing(world, fail).code == "enclave_unavailable"
    assert len(world.seen.records) == 1


def test_a_refusal_of_the_enclave_is_not_repeated_whatever_its_code() -> None:
    """Sealed by the enclave, so it is an answer, not a lost session."""
    world = World()

    async def refuse(*_: object) -> None:
        raise CosignerError(
            "session_unknown", "From inside.", culprit=Culprit.CLIENT, reaction=Reaction.RETRY
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wallets, "require_owner", refuse)
        with pytest.raises(EnclaveRefused) as caught:
            world.run(lambda client: client.enclave_wallet(UNKNOWN))
    assert (caught.value.code, caught.value.reaction) == ("session_unknown", Reaction.RETRY)
    assert len(world.seen.records) == 1


def test_a_session_whose_answer_was_lost_is_never_used_again() -> None:
    world = World()

    async def lose_the_second(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) == 1 and len(world.seen.sessions) == 1:
            raise httpx.ReadTimeout("")
        return response

    async def scenario(client: AsyncClient) -> str:
        await ask_for_a_wallet(client)
        with pytest.raises(HostError) as caught:
            await client.enclave_wallet(UNKNOWN)
        assert caught.value.code == "host_unreachable"
        return await ask_for_a_wallet(client)

    with world.misbehaving(lose_the_second):
        assert world.run(scenario) == "wallet_unknown"
    first, second = world.seen.sessions
    assert [session for session, _ in world.seen.records] == [first, first, second]


def test_a_session_with_an_unfinished_call_refuses_the_next() -> None:
    world = World()

    async def scenario() -> None:
        async with world.transport() as transport:
            session = await Session.open(transport, await attest(transport, world.config().policy), "sandbox")

            async def cancel(request: httpx.Request, forward: Forward) -> httpx.Response:
                await forward(request)
                raise asyncio.CancelledError

            with world.misbehaving(cancel), pytest.raises(asyncio.CancelledError):
                await session.call(GetWallet(UNKNOWN), WalletReply)
            assert not session.usable
            with pytest.raises(HostError) as caught:
                await session.call(GetWallet(UNKNOWN), WalletReply)
            assert caught.value.code == "session_unknown"

    asyncio.run(scenario())
    assert len(world.seen.records) == 1


def test_calls_of_one_client_at_once_go_one_after_another_in_one_session() -> None:
    world = World()

    async def scenario(client: AsyncClient) -> list[str]:
        return await asyncio.gather(*(ask_for_a_wallet(client) for _ in range(8)))

    assert world.run(scenario) == ["wallet_unknown"] * 8
    assert len(world.seen.sessions) == 1
    numbers = [int.from_bytes(record[:8], "big") for _, record in world.seen.records]
    assert numbers == list(range(8))


def test_a_reply_of_another_kind_is_refused() -> None:
    world = World()

    async def scenario() -> None:
        async with world.transport() as transport:
            session = await Session.open(transport, await attest(transport, world.config().policy), "sandbox")
            with pytest.raises(ProtocolError) as caught:
                await session.call(Close(), WalletReply)
            assert caught.value.code == "reply_unexpected"

    asyncio.run(scenario())


def test_a_closed_session_is_gone() -> None:
    world = World()

    async def scenario() -> None:
        async with world.transport() as transport:
            session = await Session.open(transport, await attest(transport, world.config().policy), "sandbox")
            assert await session.call(Close(), Done) == Done()
            with pytest.raises(HostError) as caught:
                await session.call(GetWallet(UNKNOWN), WalletReply)
            assert caught.value.code == "session_unknown"

    asyncio.run(scenario())


def test_a_client_closes_its_session_when_it_leaves() -> None:
    world = World()
    world.run(ask_for_a_wallet)
    ((session, farewell),) = world.seen.farewells
    assert session == world.seen.sessions[0]
    assert int.from_bytes(farewell[:8], "big") == 1
    status = asyncio.run(world.ask(Status()))
    assert isinstance(status, StatusReply)
    assert status.sessions == 0


def test_a_host_that_swallows_the_farewell_does_no_harm() -> None:
    async def swallow(request: httpx.Request, forward: Forward) -> httpx.Response:
        if record_number(request) == 1:
            raise httpx.ReadTimeout("")
        return await forward(request)

    world = World()
    with world.misbehaving(swallow):
        assert world.run(ask_for_a_wallet) == "wallet_unknown"


def test_a_session_is_left_before_the_enclave_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr("enclave.sessions.LIFETIME", 31)

    async def scenario(client: AsyncClient) -> None:
        await ask_for_a_wallet(client)
        await ask_for_a_wallet(client)

    world.run(scenario)
    assert len(world.seen.sessions) == 1
    monkeypatch.setattr("enclave.sessions.LIFETIME", 29)
    world = World()
    world.run(scenario)
    assert len(world.seen.sessions) == 2


def test_a_verification_is_reused_for_a_while_and_attest_is_always_fresh() -> None:
    world = World()

    async def scenario() -> None:
        async with world.transport() as transport:
            keeper = SessionKeeper(
                transport, world.config().policy, "sandbox", Identity("sandbox"), reuse=60.0
            )
            first = await keeper.enclave()
            assert await keeper.enclave() is first
            assert await keeper.enclave(fresh=True) is not first
            hasty = SessionKeeper(
                transport, world.config().policy, "sandbox", Identity("sandbox"), reuse=-1.0
            )
            assert await hasty.enclave() is not await hasty.enclave()

    asyncio.run(scenario())
    assert world.seen.attestations == 4


def test_the_host_learns_nothing_of_what_is_asked() -> None:
    world = World()
    world.run(ask_for_a_wallet)
    ((_, record),) = world.seen.records
    assert UNKNOWN.encode() not in record
    assert b"wallet" not in record
    assert b"sandbox" not in world.seen.hellos[0]
