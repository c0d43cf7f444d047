"""The channel key: rotated, named by its hash, answered for a while after rotation."""

from __future__ import annotations

import pytest

from enclave.identity import GRACE, ROTATION, Identity
from protocol.binding import AttestedKeys
from protocol.channel import ClientHandshake, channel_key_hash
from protocol.envelope.errors import CosignerError, Reaction
from simulator.nsm import FakeNsm
from tests.support.world import MEASUREMENTS, PKI, run

RECEIPT_KEY = bytes(range(32))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def identity(clock):
    return Identity(FakeNsm(PKI, measurements=MEASUREMENTS), lambda: "editable", RECEIPT_KEY, clock)


async def key(identity) -> bytes:
    return (await identity.attest(bytes(32))).channel_key


def test_the_document_names_the_channel_key_and_the_nonce(identity):
    async def scenario():
        from attestation.document import parse

        attested = await identity.attest(b"n" * 32)
        document = parse(attested.document)
        assert document.nonce == b"n" * 32
        assert AttestedKeys.decode(document.user_data) == AttestedKeys(
            version=1,
            channel_key=channel_key_hash(attested.channel_key),
            key_policy="editable",
            receipt_key=RECEIPT_KEY,
        )
        assert len(document.user_data) <= 512

    run(scenario)


def test_the_key_is_rotated_and_the_one_before_answers_for_a_while(identity, clock):
    async def scenario():
        first = await key(identity)
        hello = ClientHandshake(first, "sandbox").hello
        clock.now += ROTATION - 1
        assert await key(identity) == first
        clock.now += 1
        second = await key(identity)
        assert second != first
        identity.key_for(hello).open_hello(hello)
        clock.now += GRACE - 1
        identity.key_for(hello).open_hello(hello)
        clock.now += 1
        with pytest.raises(CosignerError) as refused:
            identity.key_for(hello)
        assert (refused.value.code, refused.value.reaction) == ("channel_key_unknown", Reaction.RETRY)
        assert await key(identity) == second

    run(scenario)


def test_a_key_that_nobody_asked_about_for_long_is_forgotten_at_once(identity, clock):
    async def scenario():
        hello = ClientHandshake(await key(identity), "sandbox").hello
        clock.now += ROTATION + GRACE
        with pytest.raises(CosignerError) as refused:
            identity.key_for(hello)
        assert refused.value.code == "channel_key_unknown"

    run(scenario)


@pytest.mark.parametrize("hello", [b"", b"\x00" * 8, b"\x00" * 2000])
def test_a_hello_to_no_key_is_refused(identity, hello):
    with pytest.raises(CosignerError) as refused:
        identity.key_for(hello)
    assert refused.value.code == "channel_key_unknown"
