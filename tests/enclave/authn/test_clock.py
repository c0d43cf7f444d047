"""The enclave's clock: two that must agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import cbor2
import pytest

from enclave.authn.clock import ASK_EVERY_S, TOLERANCE_MS, Clock
from enclave.nsm import NsmError
from protocol.envelope.errors import CosignerError, Reaction
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki

START = datetime(2031, 5, 6, 7, 8, 9, 250_000, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


class World:
    """Three clocks that can be set. ``asked``: how often the NSM was."""

    def __init__(self, *, indefinite: bool = True) -> None:
        self.nsm_s = self.system_s = self.monotonic_s = 0.0
        self.asked = 0
        self._fake = FakeNsm(
            NitroPki.ephemeral(START),
            measurements={0: bytes(48)},
            clock=lambda: START + timedelta(seconds=self.nsm_s),
            indefinite=indefinite,
        )
        self.clock = Clock(
            self, system=lambda: START.timestamp() + self.system_s, monotonic=lambda: self.monotonic_s
        )

    def attest(self, *fields):
        self.asked += 1
        return self._fake.attest(*fields)

    def pass_time(self, seconds: float) -> None:
        self.nsm_s += seconds
        self.system_s += seconds
        self.monotonic_s += seconds


def disagrees(world):
    with pytest.raises(CosignerError) as caught:
        world.clock.now_ms()
    assert caught.value.code == "clock_disagrees"
    assert caught.value.reaction is Reaction.RETRY


@pytest.mark.parametrize("indefinite", [True, False])
def test_the_time_is_the_systems_where_both_agree(indefinite):
    world = World(indefinite=indefinite)
    world.system_s = 3.5
    assert world.clock.now_ms() == START_MS + 3500


@pytest.mark.parametrize("seconds", [-10.5, 10.5, 3600, -86400 * 365])
def test_clocks_that_disagree_tell_no_time(seconds):
    world = World()
    world.system_s = seconds
    disagrees(world)


@pytest.mark.parametrize("milliseconds, accepted", [(TOLERANCE_MS, True), (TOLERANCE_MS + 1, False)])
def test_the_tolerance_is_ten_seconds(milliseconds, accepted):
    for sign in (1, -1):
        world = World()
        world.system_s = sign * milliseconds / 1000
        if accepted:
            assert world.clock.now_ms() == START_MS + sign * milliseconds
        else:
            disagrees(world)


def test_the_nsm_is_asked_once_a_minute():
    world = World()
    for _ in range(599):
        world.clock.now_ms()
        world.pass_time(0.1)
    assert world.asked == 1
    world.pass_time(ASK_EVERY_S)
    world.clock.now_ms()
    assert world.asked == 2


def test_a_system_clock_that_jumps_is_noticed_at_once():
    world = World()
    world.clock.now_ms()
    world.pass_time(5)
    world.system_s += 3600
    disagrees(world)
    world.system_s -= 7200
    disagrees(world)
    assert world.asked == 1
    world.system_s += 3600
    assert world.clock.now_ms() == START_MS + 5000


def test_a_pause_of_the_machine_is_noticed_within_a_minute():
    world = World()
    world.clock.now_ms()
    world.nsm_s += 3600  # an hour during which nothing here ran
    world.pass_time(59)
    world.clock.now_ms()
    world.pass_time(1)
    disagrees(world)


def test_drift_is_noticed_when_it_exceeds_the_tolerance():
    world = World()
    for _ in range(9):
        world.pass_time(60)
        world.system_s += 1
        world.clock.now_ms()
    world.pass_time(60)
    world.system_s += 2
    disagrees(world)


def test_time_never_goes_back():
    world = World()
    world.system_s = 4
    assert world.clock.now_ms() == START_MS + 4000
    world.system_s = -4
    assert world.clock.now_ms() == START_MS + 4000


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\x84",
        cbor2.dumps([b"", {}, cbor2.dumps({}), b""]),
        cbor2.dumps([b"", {}, cbor2.dumps({"timestamp": "now"}), b""]),
        cbor2.dumps([b"", {}, cbor2.dumps({"timestamp": 0}), b""]),
        cbor2.dumps([b"", {}, cbor2.dumps({"timestamp": True}), b""]),
        cbor2.dumps([b"", {}, 5, b""]),
        cbor2.dumps([1]),
        cbor2.dumps(7),
    ],
)
def test_an_nsm_that_tells_no_time_is_an_error(document):
    world = World()
    world.attest = lambda *_: document
    with pytest.raises(NsmError):
        world.clock.now_ms()


def test_an_unsigned_document_of_qemu_tells_the_time():
    payload = {"module_id": "i-1-enc1", "timestamp": START_MS, "digest": "SHA384", "pcrs": {0: bytes(48)}}
    world = World()
    world.attest = lambda *_: cbor2.dumps([b"\xa1\x01\x20", {}, cbor2.dumps(payload), bytes(64)])
    assert world.clock.now_ms() == START_MS


def test_an_nsm_that_fails_is_not_trusted_to_have_answered():
    world = World()

    def fail(*_):
        raise NsmError("InternalError", "no")

    world.attest = fail
    for _ in range(2):
        with pytest.raises(NsmError):
            world.clock.now_ms()
