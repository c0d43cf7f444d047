"""Every order of everything that can happen to a user, against what must always hold."""

from __future__ import annotations

import contextlib
import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enclave.accounts import credentials, factors, logins, recovery, session_keys
from enclave.accounts.user import Evidence, RecoveryKey, UserRecord
from enclave.authn import codes
from protocol.accounts import MAX_CREDENTIALS, MAX_LOGINS, MAX_SESSION_KEYS
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from tests.enclave.accounts.users import (
    DAY,
    HERE,
    LONGEST,
    MINUTE,
    NOW,
    SECRET,
    add,
    code_at,
    credential,
    key,
    login,
    refused,
    ten,
    user,
    wrong_code,
)

NUMBERS = st.integers(0, 3)
EVIDENCE = st.tuples(
    st.sampled_from(["nothing", "device code", "an active credential", "any credential"]),
    NUMBERS,
    st.booleans(),
)


class Life(RuleBasedStateMachine):
    """One user. Beside the record: what was ever revoked, used or replaced, as the test saw it happen."""

    def __init__(self):
        super().__init__()
        self.record: UserRecord = user()
        self.now = NOW
        self.fresh = 100  # numbers of session keys not used yet
        self.revoked: set[bytes] = set()
        self.ever_active = False
        self.generation = 0
        self.lineage: tuple[bytes, ...] = ()
        self.used_steps: set[int] = set()
        self.used_codes: set[str] = set()
        self.codes: list[str] = []
        self.device_codes: list[str] = []

    def change(self, transition) -> bool:
        """Apply a transition; whether it was allowed. What it took away is revoked from now on."""
        before = self.record
        try:
            after = transition(before)
        except CosignerError:
            return False
        assert cbor.decode(cbor.encode(after), UserRecord, culprit=Culprit.STORAGE) == after
        self.revoked |= {k for k in session_keys.lost(before, after) if self.is_good(before, k)}
        self.record = after
        return True

    def is_good(self, record: UserRecord, session_key: bytes) -> bool:
        with contextlib.suppress(CosignerError):
            session_keys.find(record, session_key, longest_ms=LONGEST, now_ms=self.now)
            return True
        return False

    def shown(self, drawn) -> Evidence:
        """What a request brings along: nothing, too little, somebody else's, or what it takes."""
        what, number, second = drawn
        held = self.record.active_credentials
        if what == "an active credential" and held:
            return Evidence(credential=held[number % len(held)].credential_id, second_factor=second)
        if what == "any credential":
            return Evidence(credential=credential(number).credential_id, second_factor=second)
        return Evidence(device_code=what == "device code", second_factor=second)

    @initialize(held=st.integers(0, 3), recoverable=st.booleans(), factor=st.booleans())
    def begin(self, held, recoverable, factor):
        for number in range(held):
            self.add(number, ("an active credential", 0, False))
        if factor:
            self.enrol(("an active credential", 0, False), confirm=True)
        if recoverable:
            self.set_recovery_key(("an active credential", 0, factor), taken_away=False)
            self.begin_recovery(3, DAY)

    # --- time, logins, session keys

    @rule(ms=st.sampled_from([1, 20_000, MINUTE, 16 * MINUTE, DAY, 8 * DAY]))
    def wait(self, ms):
        self.now += ms

    @rule(number=NUMBERS, evidence=EVIDENCE)
    def link(self, number, evidence):
        evidence = self.shown(evidence)
        self.change(lambda r: logins.link(r, login(number), evidence))

    @rule(number=NUMBERS, evidence=EVIDENCE)
    def unlink(self, number, evidence):
        evidence = self.shown(evidence)
        self.change(lambda r: logins.unlink(r, login(number).login_id, evidence))

    @rule(
        again=st.one_of(st.none(), st.integers(100, 120)),
        previous=st.one_of(st.none(), st.integers(100, 120)),
        lifetime=st.integers(1, 90 * DAY),
    )
    def register(self, again, previous, lifetime):
        number = self.fresh if again is None else again
        allowed = self.change(
            lambda r: session_keys.register(
                r,
                key(number),
                login=r.logins[0].login_id,
                lifetime_ms=lifetime,
                longest_ms=LONGEST,
                now_ms=self.now,
                previous=None if previous is None else key(previous),
            )
        )
        if allowed:
            assert key(number) not in self.revoked
            assert self.record.session_keys[-1].expires_at <= self.now + LONGEST
            self.fresh = max(self.fresh, number) + 1

    @rule(numbers=st.lists(st.integers(100, 120), max_size=3))
    def revoke(self, numbers):
        wanted = [key(number) for number in numbers]
        if self.change(lambda r: session_keys.revoke(r, wanted, current=key(100), now_ms=self.now)):
            kept = {one.session_key for one in self.record.session_keys}
            assert not kept & set(wanted) if wanted else kept <= {key(100)}

    # --- credentials

    @rule(number=NUMBERS, evidence=EVIDENCE)
    def add(self, number, evidence):
        evidence = self.shown(evidence)
        active = self.record.active_credentials
        if self.change(lambda r: add(r, credential(number), evidence)) and active:
            vouched = evidence.credential in {one.credential_id for one in active}
            assert vouched or evidence.device_code

    @rule(number=NUMBERS, active=st.sampled_from([None, True, False]), evidence=EVIDENCE)
    def alter(self, number, active, evidence):
        evidence = self.shown(evidence)
        self.change(
            lambda r: credentials.change(
                r, credential(number).credential_id, name="x", active=active, evidence=evidence
            )
        )

    @rule(number=NUMBERS, evidence=EVIDENCE)
    def remove(self, number, evidence):
        evidence = self.shown(evidence)
        self.change(lambda r: credentials.remove(r, credential(number).credential_id, evidence))

    @rule(number=NUMBERS, count=st.integers(0, 20))
    def use(self, number, count):
        one = credential(number).credential_id
        stored = {c.credential_id: c.sign_count for c in self.record.credentials if c.active}
        if self.change(lambda r: credentials.used(r, one, count)):
            assert count > stored[one] or count == stored[one] == 0

    @rule(evidence=EVIDENCE)
    def make_code(self, evidence):
        evidence = self.shown(evidence)
        text, kept = codes.make()
        if self.change(lambda r: credentials.make_device_code(r, kept, evidence, now_ms=self.now)):
            self.device_codes.append(text)

    @precondition(lambda self: self.device_codes)
    @rule(place=st.integers(0, 50))
    def take_code(self, place):
        text = self.device_codes[-1 - place % min(2, len(self.device_codes))]
        if self.change(lambda r: credentials.take_device_code(r, text, now_ms=self.now)):
            assert text not in self.used_codes
            assert text == self.device_codes[-1]
            self.used_codes.add(text)

    # --- second factors

    @rule(evidence=EVIDENCE, confirm=st.booleans())
    def enrol(self, evidence, confirm):
        evidence = self.shown(evidence)
        had = self.record.totp is not None
        if self.change(lambda r: factors.begin_totp(r, SECRET, evidence, session=HERE, now_ms=self.now)):
            assert evidence.second_factor or not had
            if confirm:
                texts, kept = ten()
                assert self.change(
                    lambda r: factors.confirm_totp(r, code_at(self.now), kept, session=HERE, now_ms=self.now)
                )
                # The test's secret is always the same; a real one is new, and so are its steps.
                self.codes, self.used_steps = texts, {self.record.totp.last_step}

    @rule(evidence=EVIDENCE)
    def remove_totp(self, evidence):
        evidence = self.shown(evidence)
        had = self.record.totp is not None
        if self.change(lambda r: factors.remove_totp(r, evidence)):
            assert evidence.second_factor or not had

    @rule(drift=st.sampled_from([-2, -1, 0, 1, 2]), wrong=st.booleans())
    def spend_totp(self, drift, wrong):
        locked = self.record.lockout.until > self.now
        if not self.change(lambda r: factors.count_attempt(r, now_ms=self.now, cold=False)):
            return
        assert not locked
        code = wrong_code(self.now) if wrong else code_at(self.now, drift=drift)
        if self.change(lambda r: factors.use_totp(r, code, now_ms=self.now)):
            step = self.record.totp.last_step
            assert not wrong
            assert step not in self.used_steps
            self.used_steps.add(step)

    @precondition(lambda self: self.codes)
    @rule(place=st.integers(0, 9))
    def spend_recovery_code(self, place):
        if not self.change(lambda r: factors.count_attempt(r, now_ms=self.now, cold=False)):
            return
        text = self.codes[place]
        if self.change(lambda r: factors.use_recovery_code(r, text)):
            assert text not in self.used_codes
            self.used_codes.add(text)

    # --- recovery

    @rule(evidence=EVIDENCE, taken_away=st.booleans())
    def set_recovery_key(self, evidence, taken_away):
        evidence = self.shown(evidence)
        new = None if taken_away else RecoveryKey(algorithm="ed25519", public_key=bytes(44))
        self.change(lambda r: recovery.set_key(r, new, evidence))

    @precondition(lambda self: self.record.recovery_key is not None)
    @rule(number=NUMBERS, lock=st.sampled_from([0, DAY]))
    def begin_recovery(self, number, lock):
        begun = self.change(
            lambda r: recovery.begin(
                r,
                digest=bytes([number]) * 32,
                session=bytes(32),
                credential=credential(number),
                session_key=key(self.fresh),
                time_lock_ms=lock,
                now_ms=self.now,
            )
        )
        self.fresh += begun

    @precondition(lambda self: self.record.pending_recovery is not None)
    @rule(evidence=EVIDENCE)
    def cancel_recovery(self, evidence):
        evidence = self.shown(evidence)
        self.change(lambda r: recovery.cancel(r, evidence))

    @rule(another=st.booleans())
    def complete_recovery(self, another):
        before, pending = self.record, self.record.pending_recovery
        digest = bytes([77]) * 32 if another or pending is None else pending.digest
        if self.change(
            lambda r: recovery.complete(
                r, digest=digest, link=os.urandom(32), lifetime_ms=LONGEST, now_ms=self.now
            )
        ):
            assert not another
            assert pending.not_before <= self.now < pending.not_after
            assert self.record.credentials == (pending.credential,)
            assert [one.session_key for one in self.record.session_keys] == [pending.session_key]
            self.generation += 1
            self.revoked |= {one.session_key for one in before.session_keys}
            self.codes = []

    # --- what always holds

    @invariant()
    def once_there_was_an_active_credential_there_always_is(self):
        self.ever_active = self.ever_active or bool(self.record.active_credentials)
        assert self.ever_active == bool(self.record.active_credentials)

    @invariant()
    def no_revoked_key_is_good(self):
        assert not {one for one in self.revoked if self.is_good(self.record, one)}

    @invariant()
    def the_lineage_only_grows(self):
        assert bool(self.record.lineage) == bool(self.record.active_credentials)
        assert self.record.lineage[: len(self.lineage)] == self.lineage
        self.lineage = self.record.lineage

    @invariant()
    def the_generation_counts_recoveries(self):
        assert self.record.generation == self.generation

    @invariant()
    def no_recovery_code_or_device_code_that_was_used_is_kept(self):
        kept = list(self.record.recovery_codes)
        if self.record.device_code is not None:
            kept.append(self.record.device_code.hash)
        assert not any(codes.matches(text, one) for text in self.used_codes for one in kept)

    @invariant()
    def there_is_a_login_and_nothing_is_there_twice_or_without_bound(self):
        record = self.record
        for things, most in (
            ([one.login_id for one in record.logins], MAX_LOGINS),
            ([one.credential_id for one in record.credentials], MAX_CREDENTIALS),
            ([one.session_key for one in record.session_keys], MAX_SESSION_KEYS),
        ):
            assert len(set(things)) == len(things) <= most
        assert record.logins

    @invariant()
    def recovery_codes_stand_beside_totp_only(self):
        assert self.record.totp is not None or not self.record.recovery_codes

    @invariant()
    def a_lock_ends(self):
        assert self.record.lockout.until <= self.now + factors.LONGEST_LOCK_MS


def test_a_code_that_was_revoked_is_seen_as_such():
    """The machine's own eyes: it would notice a revoked key that is good."""
    life = Life()
    life.register(None, None, DAY)
    assert life.is_good(life.record, key(100))
    life.revoke([100])
    assert life.revoked == {key(100)}
    with refused("session_key_rejected"):
        session_keys.find(life.record, key(100), longest_ms=LONGEST, now_ms=life.now)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
