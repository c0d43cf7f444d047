"""Idempotency: the same request again gets the same reply, another one under the same key is refused, and memory is bounded."""

from __future__ import annotations

import asyncio

import pytest

from enclave.authorization import replies
from enclave.authorization.replies import Replies
from protocol.envelope.errors import CosignerError

KEY, BODY = b"k" * 16, b"b" * 32


async def ask(
    kept: Replies, reply: bytes, *, user: str = "alice", key: bytes = KEY, body: bytes = BODY
) -> bytes:
    async with kept.slot(user, key, body) as slot:
        if slot.reply is None:
            slot.keep(reply)
            return reply
        return slot.reply


def test_the_same_request_gets_the_same_reply():
    async def scenario():
        kept = Replies()
        assert await ask(kept, b"first") == b"first"
        assert await ask(kept, b"second") == b"first"

    asyncio.run(scenario())


def test_another_request_under_the_same_key_is_a_conflict():
    async def scenario():
        kept = Replies()
        await ask(kept, b"first")
        with pytest.raises(CosignerError) as refused:
            await ask(kept, b"second", body=b"c" * 32)
        assert refused.value.code == "idempotency_conflict"

    asyncio.run(scenario())


def test_keys_are_each_users_own():
    async def scenario():
        kept = Replies()
        await ask(kept, b"of alice")
        assert await ask(kept, b"of bob", user="bob") == b"of bob"

    asyncio.run(scenario())


def test_a_request_that_failed_is_not_kept():
    async def scenario():
        kept = Replies()
        with pytest.raises(ValueError, match="failed"):
            async with kept.slot("alice", KEY, BODY):
                raise ValueError("failed")
        assert await ask(kept, b"now") == b"now"
        assert not kept._under_way

    asyncio.run(scenario())


def test_two_at_once_happen_once():
    async def scenario():
        kept, made = Replies(), []

        async def slow(number: int) -> bytes:
            async with kept.slot("alice", KEY, BODY) as slot:
                if slot.reply is not None:
                    return slot.reply
                made.append(number)
                await asyncio.sleep(0)
                slot.keep(b"%d" % number)
                return b"%d" % number

        assert set(await asyncio.gather(*map(slow, range(5)))) == {b"0"}
        assert made == [0]
        assert not kept._under_way

    asyncio.run(scenario())


def test_one_user_has_bounded_room_and_takes_none_of_anothers():
    async def scenario():
        kept = Replies()
        await ask(kept, b"of bob", user="bob")
        for number in range(3 * replies.MAX_OF_USER):
            await ask(kept, bytes(100_000), key=number.to_bytes(16, "big"))
        mine = kept._users["alice"]
        assert len(mine.replies) <= replies.MAX_OF_USER
        assert mine.size <= replies.MAX_BYTES_OF_USER
        assert kept._size == mine.size + kept._users["bob"].size
        assert await ask(kept, b"other", user="bob") == b"of bob"

    asyncio.run(scenario())


def test_all_users_together_have_bounded_room():
    async def scenario():
        kept = Replies()
        big = bytes(replies.MAX_BYTES_OF_USER)
        for number in range(20):
            await ask(kept, big, user=f"user {number}")
        assert kept._size <= replies.MAX_BYTES
        assert kept._size == sum(user.size for user in kept._users.values())
        assert await ask(kept, b"again", user="user 0") == b"again"  # idle longest, so forgotten
        assert await ask(kept, b"again", user="user 19") == big

    asyncio.run(scenario())


def test_a_reply_too_large_to_keep_is_given_and_forgotten():
    async def scenario():
        kept = Replies()
        huge = bytes(replies.MAX_BYTES_OF_USER + 1)
        assert await ask(kept, huge) == huge
        assert kept._size == 0
        assert await ask(kept, b"again") == b"again"

    asyncio.run(scenario())
