"""Approvals are used once, whatever a host does to the time that a request takes."""

from __future__ import annotations

import asyncio
import os

import msgspec
import pytest

from enclave.authorization.approvals import KEPT_LONGER, Approvals
from protocol.actions import KeySignature, SignedApproval
from protocol.envelope.errors import CosignerError
from tests.enclave.accounts.hostile import HostileStorage, records
from tests.support.manifests import environment

START = 1_800_000_000_000


class Hands:
    def __init__(self) -> None:
        self.now = START

    def now_ms(self) -> int:
        return self.now


def approval(expires_at: int) -> SignedApproval:
    evidence = KeySignature(credential_id=bytes(16), signature=bytes(64))
    return SignedApproval(
        approver="administrator:ada", nonce=os.urandom(16), expires_at=expires_at, evidence=evidence
    )


async def use(rooms: Approvals, *approvals: SignedApproval) -> str:
    try:
        async with rooms.unspent(list(approvals)):
            return ""
    except CosignerError as refused:
        return refused.code


def test_an_approval_is_used_once():
    async def scenario():
        rooms = Approvals(environment(), None, records(HostileStorage()), Hands())
        one = approval(START + 1000)
        assert [await use(rooms, one), await use(rooms, one)] == ["", "action_replayed"]

    asyncio.run(scenario())


def test_administrators_whose_names_share_a_record_approve_together():
    async def scenario():
        rooms = Approvals(environment(), None, records(HostileStorage()), Hands())
        both = [
            msgspec.structs.replace(approval(START + 1000), approver=f"administrator:{name}")
            for name in ("a.b", "a_b")
        ]
        assert await use(rooms, *both) == ""
        assert [await use(rooms, one) for one in both] == ["action_replayed"] * 2
        twice = approval(START + 1000)
        assert await use(rooms, twice, twice) == "action_replayed"

    asyncio.run(scenario())


@pytest.mark.parametrize("late", [1001, KEPT_LONGER])
def test_attack_a_request_is_held_up_until_its_used_approval_is_forgotten(late):
    async def scenario():
        clock = Hands()
        rooms = Approvals(environment(), None, records(HostileStorage()), clock)
        one = approval(START + 1000)
        assert await use(rooms, one) == ""
        clock.now += late
        assert await use(rooms, approval(clock.now + 1000)) == ""  # drops what has expired
        assert await use(rooms, one) == "action_expired"
        clock.now = START  # another enclave, whose clock is behind
        assert await use(rooms, one) == "action_replayed"

    asyncio.run(scenario())
