"""New shares of the same key, at the enclave's own door."""

from __future__ import annotations

import pytest

from protocol import lifecycle as life
from protocol import messages as m
from tests.support.door import Refused, User
from tests.support.lives import by_passkey, handover, other_device, reshare, signs
from tests.support.world import Host, run


async def with_wallet(chain: str = "solana") -> tuple[Host, User, m.WalletInfo]:
    host = Host()
    await host.start_enclave()
    user = await User.log_in(host)
    return host, user, await user.create(chain)


async def refused(call) -> str:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.code


@pytest.mark.parametrize("chain", ["solana", "bitcoin", "ethereum"])
def test_a_refresh_leaves_the_key_and_makes_the_next_epoch(chain):
    async def scenario():
        _, user, wallet = await with_wallet(chain)
        before = user.shares[wallet.wallet_id]
        done = handover(user, wallet.wallet_id)
        reply = await done.run()
        assert (reply.wallet.epoch, reply.wallet.public_key) == (2, wallet.public_key)
        assert (reply.wallet.threshold, reply.wallet.parties) == (2, 2)
        after = user.shares[wallet.wallet_id]
        assert after.verifying_shares != before.verifying_shares
        assert after.chain_code == before.chain_code
        if chain == "solana":
            await signs(user, reply.wallet)

    run(scenario)


def test_from_2_of_2_to_2_of_3_and_back_and_each_of_the_clients_shares_signs_with_the_enclaves():
    async def scenario():
        _, user, wallet = await with_wallet()
        done = await reshare(user, wallet.wallet_id, 3)
        wallet = user.wallets[wallet.wallet_id]
        assert (wallet.epoch, wallet.threshold, wallet.parties) == (2, 2, 3)
        for party in (1, 3):
            await signs(other_device(user, done.shares[party], wallet), wallet)
        back = await reshare(user, wallet.wallet_id, 2)
        assert (back.stored.wallet.epoch, back.stored.wallet.parties) == (3, 2)
        await signs(user, user.wallets[wallet.wallet_id])

    run(scenario)
