"""Every request of a user, cut short at every write: it happened or it did not, and what was promised holds."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from enclave.accounts import recovery
from enclave.accounts.user import NO_EVIDENCE, Evidence
from enclave.authn import totp
from protocol.accounts import (
    ChangeCredential,
    ConfirmTotp,
    LinkLogin,
    RemoveCredential,
    RevokeSessionKeys,
    SetRecoveryKey,
    UnlinkLogin,
)
from protocol.envelope.errors import CosignerError, Culprit
from tests.enclave.accounts.devices import Phone, Signing, World, asking_here, session, with_recovery_key
from tests.enclave.accounts.hostile import Died, unavailable
from tests.enclave.accounts.users import DAY, MINUTE, NOW, credential, key


class Life(World):
    """A user with two devices, two passkeys, two logins, TOTP, a recovery key, and a recovery under way."""

    async def begin(self):
        self.phone = Phone()
        self.laptop = Phone(self.phone.subject)
        self.actor = await self.phone.enter(self)
        await self.accounts.link_login(self.actor, LinkLogin(self.token("second")), NO_EVIDENCE)
        one = await self.phone.add_passkey(self, self.actor, NO_EVIDENCE)
        self.one = Evidence(credential=one.credential_id, second_factor=True)
        two = await self.laptop.add_passkey(self, await self.laptop.enter(self), self.one)
        self.two = two.credential_id
        secret = (await self.accounts.begin_totp(asking_here(), self.actor, self.one)).secret
        await self.accounts.confirm_totp(
            asking_here(), self.actor, ConfirmTotp(totp.code_of(secret, NOW // totp.STEP_MS))
        )
        self.clock.now += MINUTE
        self.pending = (await self.accounts.begin_totp(asking_here(), self.actor, self.one)).secret
        await with_recovery_key(self, self.actor, self.one)
        self.logins = (await self.accounts.get_account(self.actor)).logins
        await self.directory.change(
            self.actor.user_id,
            lambda record: recovery.begin(
                record,
                digest=bytes(32),
                session=bytes(32),
                credential=credential(1),
                session_key=key(1),
                time_lock_ms=DAY,
                now_ms=self.clock.now,
            ),
        )
        return self

    async def record(self):
        return await self.directory.require(self.actor.user_id)

    async def login(self, **but):
        phone, asking = Phone(self.phone.subject), session()
        return await self.entry.login(asking, phone.login(self, asking, **but))

    async def renew(self):
        phone, asking = Phone(self.phone.subject), session()
        return await self.entry.login(asking, phone.login(self, asking, previous=self.laptop))


CHANGES = {
    "login": lambda w: w.login(),
    "renewal": lambda w: w.renew(),
    "revoke": lambda w: w.accounts.revoke_session_keys(w.actor, RevokeSessionKeys([w.laptop.session_key])),
    "revoke all": lambda w: w.accounts.revoke_session_keys(w.actor, RevokeSessionKeys([])),
    "link": lambda w: w.accounts.link_login(w.actor, LinkLogin(w.token("third")), w.one),
    "unlink": lambda w: w.accounts.unlink_login(w.actor, UnlinkLogin(w.logins[0].login), w.one),
    "add": lambda w: Phone().add_passkey(w, w.actor, w.one),
    "rename": lambda w: w.accounts.change_credential(w.actor, ChangeCredential(w.two, "new", None), w.one),
    "deactivate": lambda w: w.accounts.change_credential(
        w.actor, ChangeCredential(w.two, None, False), w.one
    ),
    "remove": lambda w: w.accounts.remove_credential(w.actor, RemoveCredential(w.two), w.one),
    "device code": lambda w: w.accounts.make_device_code(w.actor, w.one),
    "begin totp": lambda w: w.accounts.begin_totp(asking_here(), w.actor, w.one),
    "confirm totp": lambda w: w.accounts.confirm_totp(
        asking_here(), w.actor, ConfirmTotp(totp.code_of(w.pending, w.clock.now // totp.STEP_MS))
    ),
    "recovery codes": lambda w: w.accounts.new_recovery_codes(w.actor, w.one),
    "remove totp": lambda w: w.accounts.remove_totp(w.actor, w.one),
    "recovery key": lambda w: w.accounts.set_recovery_key(
        w.actor, SetRecoveryKey(algorithm="ed25519", public_key=Signing().public_key), w.one
    ),
    "cancel": lambda w: w.accounts.cancel_recovery(w.actor, w.one),
}
REVOKES = {"renewal", "revoke", "revoke all", "unlink"}
TWO_WRITES = {"link", "unlink", "confirm totp"}
ENDS = {"dies": Died, "storage fails": unavailable()}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_takes_as_many_writes_as_are_cut_here(name):
    async def scenario():
        world = await Life().begin()
        puts, before = world.storage.puts, await world.record()
        await CHANGES[name](world)
        assert world.storage.puts - puts == (2 if name in TWO_WRITES else 1)
        assert await world.record() != before
        assert bool(world.ended) == (name in REVOKES)

    asyncio.run(scenario())


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        (name, write)
        for name, write in itertools.product(CHANGES, range(2))
        if write == 0 or name in TWO_WRITES
    ],
)
def test_a_change_that_is_cut_short_has_happened_or_has_not(name, write, moment, end):
    async def scenario():
        world = await Life().begin()
        before = await world.record()
        world.storage.faults = [None] * write + [(moment, ENDS[end])]
        error = None
        try:
            await CHANGES[name](world)
        except (Died, CosignerError) as caught:
            error = caught
        if isinstance(error, CosignerError):
            assert (error.code, error.culprit) == ("storage_unavailable", Culprit.STORAGE)
        last = (name, write) == ("unlink", 1)  # only tidies up; its failure is nobody's business
        assert (error is None) == (last and end == "storage fails")
        if error is not None:
            assert world.ended == []
        world.restart()
        after = await world.record()
        record_written = {
            "link": write == 1 and moment == "after",
            "unlink": write == 1 or moment == "after",
            "confirm totp": write == 1 or moment == "after",  # the attempt is counted first
        }
        assert (after != before) == record_written.get(name, moment == "after")
        for login in before.logins:
            owner = await world.directory.by_login(login.login_id)
            assert (owner is not None) == (login in after.logins)
        gone = {one.session_key for one in before.session_keys} - {
            one.session_key for one in after.session_keys
        }
        assert bool(gone) == (name in REVOKES and after != before)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - {"login", "renewal", "revoke all"}))
def test_a_change_that_was_under_way_when_its_session_key_was_revoked_changes_nothing(name):
    """The gate has let it pass; then the user shuts this session out; then it goes on."""

    async def scenario():
        world = await Life().begin()
        thief, owner = world.actor, await Phone(world.phone.subject).enter(world)
        change = CHANGES[name]
        await world.accounts.revoke_session_keys(owner, RevokeSessionKeys([thief.session_key]))
        before = await world.record()
        with pytest.raises(CosignerError) as caught:
            await change(world)
        assert caught.value.code == "session_key_rejected"
        assert await world.record() == before

    asyncio.run(scenario())
