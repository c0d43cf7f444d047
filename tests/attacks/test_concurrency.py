"""Two clients at once on one wallet, many requests at once in one session: each gets its own right answer."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from cosigner import CosignerError
from tests.support.world import (
    Host,
    bitcoin_psbt,
    client,
    run,
    solana_message,
    verify_bitcoin,
    verify_solana,
)


def test_two_clients_at_once_on_one_wallet_both_sign(tmp_path):
    async def scenario():
        host = Host()
        await host.start_enclave()
        phone = client(host, tmp_path / "phone")
        wallet = await phone.create_wallet("solana")
        shutil.copytree(tmp_path / "phone", tmp_path / "tablet")
        tablet = client(host, tmp_path / "tablet")
        messages = [solana_message(wallet.address, lamports) for lamports in range(1, 21)]
        signed = await asyncio.gather(
            *(
                device.sign_solana(wallet.wallet_id, message)
                for message in messages
                for device in (phone, tablet)
            )
        )
        for message, done in zip([m for m in messages for _ in (0, 1)], signed, strict=True):
            verify_solana(message, done.signature, wallet.address)
        assert len({done.signature for done in signed}) == len(signed)  # fresh nonces every time

    run(scenario)


def test_many_requests_at_once_in_one_session_keep_its_order(tmp_path):
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = client(host, tmp_path)
        solana, bitcoin = await user.create_wallet("solana"), await user.create_wallet("bitcoin")
        message, psbt = solana_message(solana.address), bitcoin_psbt(bitcoin.address, 2)
        results = await asyncio.gather(
            *(user.sign_solana(solana.wallet_id, message) for _ in range(10)),
            *(user.sign_bitcoin(bitcoin.wallet_id, psbt) for _ in range(10)),
        )
        for done in results[:10]:
            verify_solana(message, done.signature, solana.address)
        for done in results[10:]:
            verify_bitcoin(psbt, done.transaction, bitcoin.address)
        assert len(host.enclave.sessions) == 1

    run(scenario)


def test_two_creations_of_one_wallet_id_leave_one_wallet(tmp_path, monkeypatch):
    """Ids are drawn by clients; one that draws another's id cannot overwrite that wallet."""

    async def scenario():
        host = Host()
        await host.start_enclave()
        fixed = "8f14e45f-ceea-4675-8a3e-2f0c1d9b7a61"
        monkeypatch.setattr("cosigner.keygen.uuid.uuid4", lambda: fixed)
        honest, other = client(host, tmp_path / "honest"), client(host, tmp_path / "other")
        wallet = await honest.create_wallet("solana")
        with pytest.raises(CosignerError) as refused:
            await other.create_wallet("solana")
        assert refused.value.code == "wallet_exists"
        message = solana_message(wallet.address)
        verify_solana(
            message, (await honest.sign_solana(wallet.wallet_id, message)).signature, wallet.address
        )

    run(scenario)
