"""A wallet is never lost to a crash at any point of its creation: either both shares are there, or no wallet was ever announced."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from cosigner import CosignerError, HostError, ShareStore
from protocol.envelope.errors import Culprit, Reaction
from tests.support.world import (
    Host,
    bitcoin_psbt,
    client,
    run,
    solana_message,
    verify_bitcoin,
    verify_solana,
)


class Crash(BaseException):  # noqa: N818
    """The process dies here. Not an Exception, so that nothing handles it."""


def wallet_records(host: Host) -> list[str]:
    return [key for key in host.storage.records if "/wallets/" in key]


async def settle_and_check(host: Host, directory: Path) -> int:
    """What a user does after a crash: start again, settle what is pending, use every active wallet. Returns their number."""
    user = client(host, directory)
    for stored in ShareStore.wallets(directory):
        if stored.pending:
            await user.resume_wallet(stored.info.wallet_id)
    wallets = [stored for stored in ShareStore.wallets(directory) if not stored.pending]
    for stored in wallets:
        wallet = await user.enclave_wallet(stored.info.wallet_id)
        message = solana_message(wallet.address)
        verify_solana(message, (await user.sign_solana(wallet.wallet_id, message)).signature, wallet.address)
    # Every record that the enclave stored belongs to a wallet that this device can use.
    assert len(wallet_records(host)) == len(wallets)
    return len(wallets)


def test_a_client_that_dies_at_any_file_operation_of_creation_loses_no_wallet(tmp_path, monkeypatch):
    """Every open, fsync, rename and unlink of the store is one crash point; they are all tried, until creation needs no more."""
    real = {name: getattr(os, name) for name in ("open", "fsync")}
    real_path = {name: getattr(Path, name) for name in ("rename", "unlink")}
    outcomes = []
    for crash_at in itertools.count():
        directory = tmp_path / str(crash_at)
        host, steps = Host(), itertools.count()

        def step(crash_at=crash_at, steps=steps):
            if next(steps) == crash_at:
                raise Crash

        def dying(function, step=step):
            def call(*args, **kwargs):
                step()
                return function(*args, **kwargs)

            return call

        async def scenario(host=host, directory=directory, dying=dying):
            await host.start_enclave()
            user = client(host, directory)
            crashed = False
            with monkeypatch.context() as patch:
                for name, function in real.items():
                    patch.setattr(os, name, dying(function))
                for name, function in real_path.items():
                    patch.setattr(Path, name, dying(function))
                try:
                    await user.create_wallet("solana")
                except Crash:
                    crashed = True
            outcomes.append((crashed, await settle_and_check(host, directory)))

        run(scenario)
        if not outcomes[-1][0]:
            break
    assert len(outcomes) > 8  # the crash points were really there
    assert outcomes[-1] == (False, 1)
    assert {count for crashed, count in outcomes if crashed} == {0, 1}


@pytest.mark.parametrize("when", ["before", "after"])
def test_storage_that_fails_while_the_enclave_stores_its_share_loses_no_wallet(tmp_path, when):
    """An answer of storage that is lost after the write leaves the outcome open; the client keeps its share and asks."""

    async def scenario():
        host = Host()
        await host.start_enclave()

        def fail(key: str) -> None:
            if key.split("/")[2] == "wallets":
                raise CosignerError(
                    "storage_unavailable", "lost", culprit=Culprit.STORAGE, reaction=Reaction.RETRY
                )

        setattr(host.storage, f"{when}_put", fail)
        user = client(host, tmp_path)
        if when == "after":
            await user.create_wallet("solana")  # the enclave has it, so asking settles it at once
        else:
            with pytest.raises(CosignerError) as failed:
                await user.create_wallet("solana")
            assert (failed.value.code, failed.value.reaction) == ("wallet_pending", Reaction.RETRY)
        setattr(host.storage, f"{when}_put", lambda key: None)
        assert await settle_and_check(host, tmp_path) == (1 if when == "after" else 0)

    run(scenario)


@pytest.mark.parametrize("message", [0, 1])
@pytest.mark.parametrize("when", ["before the enclave sees it", "after the enclave answered"])
def test_an_enclave_that_restarts_during_creation_loses_no_wallet(tmp_path, message, when):
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = client(host, tmp_path)
        await user.open()
        real, sent = host.record, itertools.count()

        async def record(session_id: bytes, data: bytes) -> bytes:
            crash = next(sent) == message
            if crash and when.startswith("before"):
                await host.start_enclave()
            answer = None if crash and when.startswith("before") else await real(session_id, data)
            if crash:
                await host.start_enclave()
                raise HostError("session_unknown", "the enclave restarted", reaction=Reaction.RETRY)
            return answer

        host.record = record
        created = True
        try:
            await user.create_wallet("solana")
        except CosignerError as error:
            assert error.code == "wallet_pending"  # noqa: PT017
            created = False
        host.record = real
        assert await settle_and_check(host, tmp_path) == int(created)

    run(scenario)


def test_a_lost_last_answer_is_settled_without_the_user_noticing(tmp_path):
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = client(host, tmp_path)
        await user.open()
        real, sent = host.record, itertools.count()

        async def lose_the_second_answer(session_id: bytes, data: bytes) -> bytes:
            answer = await real(session_id, data)
            if next(sent) == 1:
                raise HostError("host_unreachable", "lost", culprit=Culprit.NETWORK)
            return answer

        host.record = lose_the_second_answer
        wallet = await user.create_wallet("solana")
        host.record = real
        message = solana_message(wallet.address)
        verify_solana(message, (await user.sign_solana(wallet.wallet_id, message)).signature, wallet.address)
        assert len(wallet_records(host)) == 1

    run(scenario)


@pytest.mark.parametrize("chain", ["solana", "bitcoin"])
def test_an_enclave_restarted_between_key_generation_and_signing_still_signs(tmp_path, chain):
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = client(host, tmp_path)
        wallet = await user.create_wallet(chain)
        await host.start_enclave()
        if chain == "solana":
            message = solana_message(wallet.address)
            verify_solana(
                message, (await user.sign_solana(wallet.wallet_id, message)).signature, wallet.address
            )
        else:
            psbt = bitcoin_psbt(wallet.address, inputs=3)
            signed = await user.sign_bitcoin(wallet.wallet_id, psbt)
            verify_bitcoin(psbt, signed.transaction, wallet.address)

    run(scenario)


def test_an_enclave_restarted_during_signing_costs_one_attempt(tmp_path):
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = client(host, tmp_path)
        wallet = await user.create_wallet("solana")
        real, sent = host.record, itertools.count()

        async def restart_once(session_id: bytes, data: bytes) -> bytes:
            if next(sent) == 0:
                await host.start_enclave()
            return await real(session_id, data)

        host.record = restart_once
        message = solana_message(wallet.address)
        verify_solana(message, (await user.sign_solana(wallet.wallet_id, message)).signature, wallet.address)

    run(scenario)
