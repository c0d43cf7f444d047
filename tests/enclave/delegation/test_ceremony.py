"""A delegation from the user's approval to the delegate's signature, at the enclave's own door."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from protocol import delegation as d
from protocol import messages as m
from tests.support.delegating import (
    CREATED,
    Approval,
    configure,
    data_of,
    delegated,
    developer_key,
    events,
    payment,
    started,
    user_with_wallet,
)
from tests.support.world import run, verify_solana
from threshold.payload import evm_address, solana_address
from protocol import hybrid


def test_a_delegate_signs_for_solana():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        payload = payment(delegate.wallet)
        signature = await delegate.sign(payload)
        verify_solana(payload.message, signature, solana_address(delegate.wallet.public_key))

    run(scenario)
