"""No sequence of unauthorized messages reaches a share: random sequences, with a spy on the vault.

A thief has everything that the host sees, sessions without a login, a session of their own, and a session opened with a stolen session key.
They have the victim's requests, with evidence that was good once, for something else, or in another session. They have no credential of
the victim, and the environment asks for one. Whatever they send in whatever order: no share leaves the vault, none goes in for the victim, and
the victim goes on signing.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol import accounts as a
from protocol import delegation as d
from protocol import lifecycle as life
from protocol import messages as m
from protocol.actions import Authorization, DeviceCode, KeySignature, RecoveryCode, TotpCode
from protocol.envelope.errors import CosignerError
from tests.attacks.test_authorization import payment, started, with_wallet
from tests.support.door import Door, User, login_request, now_ms
from tests.support.lives import handover
from tests.support.manifests import token
from tests.support.requests import REQUESTS
from tests.support.spies import watch
from tests.support.world import Host

STEP_UP = {
    "sign": ["passkey"],
    "sign_ecdsa": ["passkey"],
    "dkg_begin": ["passkey"],
    "credential_add": ["passkey"],
    "reshare_begin": ["passkey"],
    "delegation_commit": ["passkey"],
}
SAMPLES = {type(request): request for request in REQUESTS}

DOORS = ("nobody's", "eve's", "stolen")
ABOUT_THE_VICTIM = (
    "sign",
    "sign what was signed",
    "create",
    "finish",
    "hand over",
    "rules",
    "add a credential",
    "recover",
    "login",
    "approve",
    "refresh",
    "recover the shares",
    "finish new shares",
    "commit new shares",
    "abort new shares",
    "export",
    "delete",
    "back up",
    "open a backup",
    "delegate",
    "import",
)
EVIDENCE = (
    "none",
    "used",
    "of another session",
    "of another request",
    "eve's",
    "made up",
    "code",
    "device code",
)

step = st.tuples(
    st.sampled_from(DOORS),
    st.one_of(st.sampled_from(ABOUT_THE_VICTIM), st.sampled_from(sorted(k.__name__ for k in SAMPLES))),
    st.sampled_from(EVIDENCE),
    st.booleans(),  # again, at once, under an idempotency key
)


class Thief:
    """What the thief has, and what they make of it."""

    def __init__(
        self, host: Host, victim: User, wallet: str, eve: User, used: tuple[Any, Authorization]
    ) -> None:
        self.host, self.victim, self.wallet, self.eve = host, victim, wallet, eve
        self.used = used
        self.doors: dict[str, Door] = {}

    async def door(self, name: str) -> Door:
        """An open session of this kind; a new one if the old one is gone."""
        if name not in self.doors:
            user = {"eve's": self.eve, "stolen": self.victim}.get(name)
            evidence = None if user is None else user.session_key.auth(user.user_id)
            self.doors[name] = await Door.open(self.host, authenticate=evidence)
        return self.doors[name]

    def request(self, what: str, door: Door) -> Any:
        victim = self.victim
        match what:
            case "sign":
                return victim.sign_request(self.wallet, payment(victim, self.wallet))[1]
            case "sign what was signed":
                return self.used[0]
            case "create":
                return msgspec.structs.replace(SAMPLES[m.BeginDkg], wallet_id=self.wallet)
            case "finish":
                return msgspec.structs.replace(SAMPLES[m.FinishDkg], wallet_id=self.wallet)
            case "hand over":
                return a.HandOver(wallet_id=self.wallet, user_id=self.eve.user_id)
            case "rules":
                return a.SetPolicy(layer="wallet", subject=self.wallet, expected=bytes(32), content=b"")
            case "add a credential":
                return msgspec.structs.replace(SAMPLES[a.AddCredential], credential=a.NewKey(**_NEW_KEY))
            case "recover":
                return msgspec.structs.replace(SAMPLES[a.Recover], user_id=victim.user_id)
            case "login":
                return login_request(
                    door, self.eve.session_key, token("eve"), previous=victim.session_key.public
                )
            case "refresh" | "recover the shares":
                purpose = "refresh" if what == "refresh" else "recover"
                return handover(victim, self.wallet, purpose).begin_request()
            case "delegate":
                return msgspec.structs.replace(SAMPLES[d.BeginDelegation], wallet_id=self.wallet)
            case _ if what in _LIFECYCLE:
                return msgspec.structs.replace(SAMPLES[_LIFECYCLE[what]], wallet_id=self.wallet)
            case "approve":
                return msgspec.structs.replace(SAMPLES[a.NewServiceAccount], name="mine")
            case _:
                return next(sample for kind, sample in SAMPLES.items() if kind.__name__ == what)

    def evidence(self, what: str, request: Any, door: Door) -> Authorization | None:
        eve = self.eve
        mine = {"session": door.transcript, "user_id": self.victim.user_id}
        match what:
            case "none":
                return None
            case "used":
                return self.used[1]
            case "of another session":
                return msgspec.structs.replace(self.used[1], nonce=os.urandom(16))
            case "of another request":
                return msgspec.structs.replace(self.used[1], expires_at=now_ms() + 100_000)
            case "eve's":
                return eve.authorize(request, **mine)
            case "made up":
                first: Any = KeySignature(credential_id=self.victim.passkey_id, signature=bytes(64))
            case "code":
                return eve.authorize(request, by=None, second=TotpCode(code="000000"), **mine)
            case _:
                first = DeviceCode(code="0000-0000-0000-0000")
        return Authorization(
            nonce=os.urandom(16),
            expires_at=now_ms() + 60_000,
            first=first,
            second=RecoveryCode(code="0000-0000-0000-0000"),
            approvals=[eve.approve(request, asker=self.victim.user_id)],
        )

    async def send(self, where: str, what: str, how: str, *, twice: bool) -> None:
        try:
            door = await self.door(where)
            request = self.request(what, door)
            if isinstance(request, a.RevokeSessionKeys | a.Login | a.KeyLogin) and where == "stolen":
                return  # a thief who shuts themselves out gains nothing
            evidence = self.evidence(how, request, door)
            for _ in range(1 + twice):
                await door.call(request, authorization=evidence, key=self.used[1].nonce if twice else None)
        except CosignerError as error:
            if error.code == "session_unknown":
                self.doors.pop(where, None)
        if what in {"Close", "close"}:
            self.doors.pop(where, None)


_LIFECYCLE: dict[str, Any] = {
    "finish new shares": life.FinishReshare,
    "commit new shares": life.CommitReshare,
    "abort new shares": life.AbortReshare,
    "export": life.ExportShare,
    "delete": life.DeleteWallet,
    "back up": life.BeginBackup,
    "open a backup": life.OpenBackup,
    "import": life.ImportWallet,
}
_NEW_KEY = {"algorithm": "ed25519", "public_key": bytes(44), "proof": bytes(64)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(step, min_size=1, max_size=25))
def test_no_sequence_of_unauthorized_messages_reaches_a_share(steps):
    async def scenario():
        host = await started(step_up=STEP_UP)
        victim = await User.log_in(host)
        await victim.add_passkey()
        wallet = (await victim.create(authorize=victim.authorize)).wallet_id
        eve = await User.log_in(host)
        await eve.add_passkey()
        _, request = victim.sign_request(wallet, payment(victim, wallet))
        evidence = victim.authorize(request)
        await victim.door.call(request, m.Signed, authorization=evidence)

        thief, spy = Thief(host, victim, wallet, eve, (request, evidence)), watch(host)
        for where, what, how, twice in steps:
            await thief.send(where, what, how, twice=twice)
        assert (spy.released, spy.created, spy.changed) == (0, [], [])

        await victim.reopen()
        account = await victim.door.call(a.GetAccount(), a.Account)
        assert [one.credential_id for one in account.credentials] == [victim.passkey_id]
        await victim.sign(wallet, payment(victim, wallet), authorize=victim.authorize)
        assert spy.released == 1

    asyncio.run(scenario())


def test_the_spy_sees_what_it_should():
    """Without this the property above would hold of a spy that is blind."""

    async def scenario():
        host = await started()
        victim, wallet = await with_wallet(host)
        spy = watch(host)
        await victim.sign(wallet, payment(victim, wallet))
        other = (await victim.create()).wallet_id
        assert (spy.opened, spy.released, spy.created, spy.changed) == ([wallet], 1, [other], [])
        await handover(victim, wallet).run()
        assert (spy.released, spy.changed) == (2, [wallet, wallet])

    asyncio.run(scenario())
