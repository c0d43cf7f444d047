"""Random orders of everything that can happen to a handover, with an enclave that dies at any write: the wallet always signs."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.enclave.lifecycle.devices import Device, Died, device, unavailable
from tests.support.door import Refused

REFUSALS = {"reshare_pending", "reshare_unknown", "reshare_committed", "ceremony_unknown", "epoch_superseded"}
PURPOSES = st.sampled_from([("refresh", None, 1), ("reshare", 2, 1), ("reshare", 3, 1), ("recover", 2, 3)])


class Interleavings(RuleBasedStateMachine):
    """One device, one wallet, and an enclave that may die."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.one: Device

    def do(self, call) -> None:
        self.loop.run_until_complete(call)

    async def attempt(self, call) -> None:
        """A step that may be out of order: then it is refused by one of these codes, and nothing has happened."""
        try:
            await self.one.survive(call)
        except Refused as refused:
            assert refused.code in REFUSALS, refused  # noqa: PT017

    @initialize(parties=st.sampled_from([2, 3]))
    def start(self, parties):
        async def begin() -> None:
            self.one = await device(parties, passkey=True)

        self.do(begin())

    @rule(how=PURPOSES)
    def begin(self, how):
        purpose, parties, dealer = how
        shares = self.one.epochs[self.one.epoch]
        if dealer in shares and self.one.epoch + 1 not in self.one.kept:
            self.do(self.attempt(self.one.begin(purpose, parties or shares[1].max_signers, dealer)))

    @rule()
    def finish(self):
        self.do(self.attempt(self.one.finish()))

    @rule()
    def commit(self):
        self.do(self.attempt(self.one.commit()))

    @rule()
    def abort(self):
        self.do(self.attempt(self.one.abort()))

    @rule()
    def settle(self):
        self.do(self.attempt(self.one.settle()))

    @rule()
    def restart_the_enclave(self):
        self.do(self.one.restart_enclave())

    @rule()
    def open_another_session(self):
        self.do(self.one.user.reopen())

    @rule()
    def restart_the_device(self):
        self.one.lose_memory()

    @rule(
        write=st.integers(0, 5),
        when=st.sampled_from(["before", "after"]),
        fails=st.sampled_from(["dies", "fails"]),
    )
    def something_will_break(self, write, when, fails):
        self.one.die_at(write, when, Died if fails == "dies" else unavailable())

    @precondition(lambda self: hasattr(self, "one"))
    @invariant()
    def the_wallet_signs(self):
        faults = self.one.host.storage
        armed = (faults.before_put, faults.after_put, faults.before_append, faults.after_append)
        self.one.let_live()
        self.do(self.one.signs())
        faults.before_put, faults.after_put, faults.before_append, faults.after_append = armed

    def teardown(self) -> None:
        """However it went: everything can be settled, and the next refresh goes through."""
        if hasattr(self, "one"):
            self.one.let_live()
            self.do(self.one.user.reopen())
            self.do(self.one.settle())
            for step in (self.one.begin("refresh", self.one.epochs[self.one.epoch][1].max_signers),):
                self.do(step)
            self.do(self.one.finish())
            self.do(self.one.commit())
            self.do(self.one.signs())
        self.loop.close()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
