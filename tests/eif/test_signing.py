"""Ceremonies with the enclave in the machine, and what survives its end."""

from __future__ import annotations

import asyncio

import pytest

from cosigner import ShareStore
from tests.eif.signing import create_one_of_each, sign_with_each
from tests.eif.world import PASSPHRASE


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    return ShareStore.create(tmp_path_factory.mktemp("user") / "shares", PASSPHRASE)


def test_wallets_of_every_suite_are_made_and_sign(enclave, shares):
    async def scenario():
        async with enclave.client(shares) as client:
            await sign_with_each(client, await create_one_of_each(client))

    asyncio.run(scenario())


def test_an_enclave_that_was_killed_and_booted_again_has_its_wallets(enclave, shares):
    async def before():
        async with enclave.client(shares) as client:
            return await create_one_of_each(client)

    async def after(wallets):
        async with enclave.client(shares) as client:
            for wallet in wallets.values():
                assert await client.enclave_wallet(wallet.wallet_id) == wallet
            await sign_with_each(client, wallets)

    wallets = asyncio.run(before())
    enclave.machine.kill()
    enclave.boot()
    asyncio.run(after(wallets))


def test_a_client_that_lived_through_the_end_signs_with_the_next_enclave(enclave, shares):
    """It attests the new enclave before it says anything to it: the old channel key is gone with the old memory."""

    async def scenario():
        async with enclave.client(shares) as client:
            wallets = await create_one_of_each(client)
            await sign_with_each(client, wallets)
            await asyncio.to_thread(enclave.machine.kill)
            await asyncio.to_thread(enclave.boot)
            seen = len(enclave.profile.seen)
            await sign_with_each(client, wallets)
            assert len(enclave.profile.seen) > seen

    asyncio.run(scenario())
