"""What somebody without the right evidence can do at the enclave's own door: nothing.

The host is left out. What is refused here is refused by the enclave, whatever stands in front of it.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import time
import typing

import jwt as pyjwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.authorization.requirements import REQUIREMENTS
from protocol import accounts as a
from protocol import messages as m
from protocol.actions import DeviceCode, KeySignature, RecoveryCode, TotpCode
from protocol.channel import ChannelKey
from protocol.envelope.errors import CosignerError, Reaction
from protocol.receipts import GetLogHead
from simulator.authenticator import Authenticator, Deviation
from tests.support.door import Door, Refused, SessionKey, User, login_request, now_ms
from tests.support.manifests import ISSUER_KEY, KID, ORIGIN, RP_ID, environment, token
from tests.support.refusals import refuses
from tests.support.requests import REQUESTS
from tests.support.spies import watch
from tests.support.world import MANIFEST, OTHER_ENVIRONMENT, Host, run, solana_message
from threshold.payload import solana_address


async def started(**changes: typing.Any) -> Host:
    """A host with an enclave whose environment ``sandbox`` is as ``changes`` say."""
    host = Host()
    if changes:
        first = environment("sandbox", **changes)
        host.manifest = msgspec.structs.replace(MANIFEST, environments=[first, MANIFEST.environments[1]])
    await host.start_enclave()
    return host


def payment(user: User, wallet_id: str, lamports: int = 1) -> m.SolanaPayload:
    return m.SolanaPayload(
        message=solana_message(solana_address(user.wallets[wallet_id].public_key), lamports)
    )


async def with_wallet(host: Host, **changes: typing.Any) -> tuple[User, str]:
    """A user with a passkey and a Solana wallet."""
    user = await User.log_in(host)
    await user.add_passkey()
    return user, (await user.create(**changes)).wallet_id


# --- nobody's sessions -------------------------------------------------------------------------------------------------------


def test_the_samples_are_of_every_request_there_is():
    assert {type(request) for request in REQUESTS} == set(typing.get_args(m.Request))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_before_a_login_nothing_is_served_but_what_the_table_says(request_):
    async def scenario():
        host = await started()
        door, spy = await Door.open(host), watch(host)
        if REQUIREMENTS[type(request_)].who == "user":
            await refuses("login_required", door.call(request_))
        elif isinstance(request_, a.BeginCredential | m.Close | GetLogHead):
            await door.call(request_)
        else:
            with pytest.raises(Refused):
                await door.call(request_)
        assert spy.untouched
        decided = [
            chain[1:] for chain in host.storage.log.values()
        ]  # whoever asks for the head has the log begun
        assert not any(decided)  # denials before a login are only counted

    run(scenario)


BAD_TOKENS: dict[str, tuple[str, typing.Any]] = {
    "expired": ("jwt_expired", lambda: token("eve", exp=int(time.time()) - 60)),
    "not yet valid": ("jwt_invalid", lambda: token("eve", nbf=int(time.time()) + 600)),
    "issued in the future": ("jwt_invalid", lambda: token("eve", iat=int(time.time()) + 600)),
    "for somebody else": ("jwt_invalid", lambda: token("eve", aud="https://other.example")),
    "of an issuer that nobody trusts": ("issuer_unknown", lambda: token("eve", iss="https://evil.example")),
    "without a subject": ("jwt_invalid", lambda: token("eve", sub=None)),
    "without an expiry": ("jwt_invalid", lambda: token("eve", exp=None)),
    "without the scope": ("jwt_invalid", lambda: token("eve", scope="openid")),
    "with a scope that asks for more authentication": (
        "jwt_invalid",
        lambda: token("eve", scope="user:basic requiresAdditionalAuth"),
    ),
    "signed by another key": (
        "jwt_invalid",
        lambda: pyjwt.encode(
            pyjwt.decode(token("eve"), options={"verify_signature": False}),
            Ed25519PrivateKey.generate(),
            algorithm="EdDSA",
            headers={"kid": KID},
        ),
    ),
    "signed by a key that the issuer does not have": (
        "jwt_invalid",
        lambda: pyjwt.encode(
            pyjwt.decode(token("eve"), options={"verify_signature": False}),
            ISSUER_KEY,
            algorithm="EdDSA",
            headers={"kid": "other"},
        ),
    ),
    "not signed at all": ("jwt_invalid", lambda: unsigned(token("eve"))),
    "altered": ("jwt_invalid", lambda: altered(token("eve"))),
}


def unsigned(good: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": KID}).encode()).rstrip(b"=").decode()
    return f"{header}.{good.split('.')[1]}.AA"


def altered(good: str) -> str:
    header, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    body = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "alice"}).encode()).rstrip(b"=").decode()
    return f"{header}.{body}.{signature}"


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_token_that_does_not_vouch_logs_nobody_in(name):
    async def scenario():
        code, make = BAD_TOKENS[name]
        host = await started()
        door = await Door.open(host)
        await refuses(code, door.call(login_request(door, SessionKey(), make())))
        await refuses("login_required", door.call(a.GetAccount()))
        assert not [key for key in host.storage.records if "/users/" in key]

    run(scenario)


def test_a_session_key_is_registered_by_whoever_has_it_and_in_this_session_alone():
    async def scenario():
        host = await started()
        door, other, key = await Door.open(host), await Door.open(host), SessionKey()
        elsewhere = login_request(other, key, token("eve"))
        await refuses("evidence_invalid", door.call(elsewhere))
        somebody_elses = login_request(door, SessionKey(), token("eve"), session_key=key.public)
        await refuses("evidence_invalid", door.call(somebody_elses))
        for half in ({"previous": key.public}, {"previous_proof": bytes(64)}):
            await refuses("evidence_invalid", door.call(login_request(door, key, token("eve"), **half)))

    run(scenario)


# --- session keys ------------------------------------------------------------------------------------------------------------


def test_a_hello_is_of_a_user_only_by_their_session_key():
    async def scenario():
        host = await started()
        alice, bob = await User.log_in(host), await User.log_in(host)
        attempts = {
            "a key that nobody registered": SessionKey().auth(alice.user_id),
            "another user's key": bob.session_key.auth(alice.user_id),
            "a user who never was": alice.session_key.auth("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
            "made ten minutes ago": alice.session_key.auth(alice.user_id, issued_at=now_ms() - 600_000),
            "made in ten minutes": alice.session_key.auth(alice.user_id, issued_at=now_ms() + 600_000),
            "another signature": lambda binding: msgspec.structs.replace(
                alice.session_key.auth(alice.user_id)(binding), signature=bytes(64)
            ),
            "another environment": lambda binding: alice.session_key.auth(alice.user_id)(
                dataclasses.replace(binding, environment=OTHER_ENVIRONMENT)
            ),
            "another channel key": lambda binding: alice.session_key.auth(alice.user_id)(
                dataclasses.replace(binding, key_hash=ChannelKey().hash)
            ),
            "copied from another hello": lambda binding: alice.session_key.auth(alice.user_id)(
                dataclasses.replace(binding, client_key=bytes(1216))
            ),
            "copied from a hello with other randomness": lambda binding: alice.session_key.auth(
                alice.user_id
            )(dataclasses.replace(binding, client_random=bytes(32))),
        }
        for what, authenticate in attempts.items():
            error = await refuses("session_key_rejected", Door.open(host, authenticate=authenticate))
            assert error.reaction is Reaction.ABORT, what
        assert (await alice.reopen()).channel

    run(scenario)


def test_users_of_one_environment_are_nobody_in_another():
    async def scenario():
        host = await started()
        alice = await User.log_in(host)
        await refuses("session_key_rejected", alice.reopen(environment=OTHER_ENVIRONMENT))

    run(scenario)


def test_a_revoked_session_key_opens_nothing_and_ends_what_it_opened_at_once():
    async def scenario():
        host = await started()
        alice = await User.log_in(host)
        thief = await Door.open(host, authenticate=alice.session_key.auth(alice.user_id))
        stolen = alice.session_key
        phone = await User.log_in(host, alice.subject)
        await phone.door.call(a.RevokeSessionKeys(session_keys=[stolen.public]), m.Done)
        for door in (thief, alice.door):
            await refuses("session_unknown", door.call(a.GetAccount()))
        await refuses("session_key_rejected", alice.reopen())
        assert await phone.door.call(a.GetAccount(), a.Account)

    run(scenario)


def test_a_session_that_revokes_its_own_key_is_answered_and_over():
    async def scenario():
        host = await started()
        alice = await User.log_in(host)
        await alice.door.call(a.RevokeSessionKeys(session_keys=[alice.session_key.public]), m.Done)
        await refuses("session_unknown", alice.door.call(a.GetAccount()))

    run(scenario)


def test_a_revoked_key_is_noticed_even_by_a_session_that_nobody_closed():
    """Sessions are closed as a courtesy; what counts is the user's record, looked at for every request."""

    async def scenario():
        host = await started()
        alice = await User.log_in(host)
        thief = await Door.open(host, authenticate=alice.session_key.auth(alice.user_id))
        host.enclave.sessions._groups.members = lambda group: []  # nobody finds them
        phone = await User.log_in(host, alice.subject)
        await phone.door.call(a.RevokeSessionKeys(session_keys=[alice.session_key.public]), m.Done)
        await refuses("session_key_rejected", thief.call(a.GetAccount()))

    run(scenario)


def test_a_request_under_way_when_its_key_is_revoked_gets_no_answer():
    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        thief = await Door.open(host, authenticate=user.session_key.auth(user.user_id))
        _, request = user.sign_request(wallet, payment(user, wallet))
        reached, go_on, real = asyncio.Event(), asyncio.Event(), host.storage.append_log

        async def slow(*entries):
            reached.set()
            await go_on.wait()
            await real(*entries)

        host.storage.append_log = slow
        under_way = asyncio.create_task(thief.call(request))
        await reached.wait()
        host.enclave.sessions.end("sandbox", user.user_id, frozenset({user.session_key.public}))
        go_on.set()
        await refuses("session_unknown", under_way)

    run(scenario)


def test_an_expired_session_key_opens_nothing(monkeypatch):
    async def scenario():
        host = await started()
        alice = await User.log_in(host)
        real = time.time
        monkeypatch.setattr(host.enclave.clock, "now_ms", lambda: int(real() * 1000) + 3_601_000)
        later = alice.session_key.auth(alice.user_id, issued_at=now_ms() + 3_601_000)
        await refuses("session_key_expired", Door.open(host, authenticate=later))
        await refuses("session_key_expired", alice.door.call(a.GetAccount()))

    run(scenario)


def test_a_renewal_needs_the_old_key_and_the_new_token():
    async def scenario():
        host = await started()
        alice, bob, new = await User.log_in(host), await User.log_in(host), SessionKey()
        door = alice.door
        digest = login_digest(door, new)
        old = {"previous": alice.session_key.public, "previous_proof": alice.session_key.sign(digest)}
        forged = old | {"previous_proof": new.sign(digest)}
        await refuses("evidence_invalid", door.call(login_request(door, new, token(alice.subject), **forged)))
        await refuses("session_key_rejected", door.call(login_request(door, new, token(bob.subject), **old)))
        await refuses("session_taken", door.call(login_request(door, new, token(bob.subject))))
        await refuses("session_taken", door.call(login_request(door, new, token(alice.subject))))
        await door.call(login_request(door, new, token(alice.subject), **old), a.LoggedIn)
        assert (await door.call(a.GetAccount(), a.Account)).user_id == alice.user_id
        await refuses("session_key_rejected", alice.reopen())  # the old key is replaced
        keys = await door.call(a.ListSessionKeys(), a.SessionKeys)
        assert [(key.session_key, key.current) for key in keys.keys] == [(new.public, True)]

    run(scenario)


def login_digest(door: Door, key: SessionKey) -> bytes:
    import hashlib

    return hashlib.sha256(a.SESSION_KEY_LABEL + door.transcript + key.public).digest()


def test_attack_a_thief_with_the_session_key_confirms_or_spoils_no_totp_secret_of_another_session():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        secret = (await user.door.call(a.BeginTotp(), a.TotpSecret)).secret
        thief = await Door.open(host, authenticate=user.session_key.auth(user.user_id))
        for guess in (totp(secret), *("000000",) * 6):
            await refuses("factor_required", thief.call(a.ConfirmTotp(code=guess)))
        await user.door.call(a.ConfirmTotp(code=totp(secret)), a.RecoveryCodes)

    run(scenario)


# --- actions -----------------------------------------------------------------------------------------------------------------


def test_an_action_is_good_for_one_request_of_one_session_once():
    """Reuse, another body, another wallet, another session, another environment or request, an old or a far expiry: all refused."""

    async def scenario():
        host = await started(step_up={"sign": ["passkey"]})
        user, wallet = await with_wallet(host)
        second = (await user.create()).wallet_id
        _, request = user.sign_request(wallet, payment(user, wallet))
        _, other_body = user.sign_request(wallet, payment(user, wallet, 2))
        _, other_wallet = user.sign_request(second, payment(user, second))
        spy = watch(host)
        door = user.door

        good = user.authorize(request)
        for what, changed in {
            "another body": other_body,
            "another wallet": other_wallet,
            "other commitments": user.sign_request(wallet, payment(user, wallet))[1],
        }.items():
            fresh = user.authorize(request)
            await refuses("evidence_invalid", door.call(changed, authorization=fresh))
            assert spy.untouched, what
        for what, change in {
            "another session": {"session": os.urandom(32)},
            "another environment": {"environment": OTHER_ENVIRONMENT},
            "another nonce than was signed": {"nonce": os.urandom(16)},
        }.items():
            forged = user.authorize(request, **change)
            if "nonce" in change:
                forged = msgspec.structs.replace(forged, nonce=os.urandom(16))
            await refuses("evidence_invalid", door.call(request, authorization=forged))
            assert spy.untouched, what
        for what, expires_at in {
            "expired": now_ms() - 1,
            "good for more than five minutes": now_ms() + 310_000,
        }.items():
            stale = user.authorize(request, expires_at=expires_at)
            await refuses("action_expired", door.call(request, authorization=stale))
            assert spy.untouched, what
        later = msgspec.structs.replace(user.authorize(request), expires_at=now_ms() + 200_000)
        await refuses("evidence_invalid", door.call(request, authorization=later))
        assert spy.untouched

        await door.call(request, m.Signed, authorization=good)
        assert spy.released == 1
        await refuses("action_replayed", door.call(request, authorization=good))
        old_session = user.authorize(request)
        await user.reopen()
        await refuses("evidence_invalid", user.door.call(request, authorization=old_session))
        assert spy.released == 1

    run(scenario)


def test_a_nonce_is_used_up_by_a_refusal_too():
    async def scenario():
        host = await started(step_up={"sign": ["passkey"]})
        user, wallet = await with_wallet(host)
        _, request = user.sign_request(wallet, payment(user, wallet))
        nonce = os.urandom(16)
        bad = user.authorize(request, nonce=nonce, session=os.urandom(32))
        await refuses("evidence_invalid", user.door.call(request, authorization=bad))
        good = user.authorize(request, nonce=nonce)
        await refuses("action_replayed", user.door.call(request, authorization=good))

    run(scenario)


# --- credentials -------------------------------------------------------------------------------------------------------------


DEVIATIONS = {
    "a page of another origin": {"origin": "https://evil.example"},
    "another relying party": {"but": Deviation(rp_id="evil.example")},
    "a user who was not verified": {"but": Deviation(flags=0x04)},
    "a user who was not there": {"but": Deviation(flags=0x01)},
    "a registration in place of an assertion": {"but": Deviation(members={"type": "webauthn.create"})},
    "a page inside another site's": {"but": Deviation(members={"crossOrigin": True})},
    "a counter that went back": {"but": Deviation(sign_count=0)},
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_an_assertion_that_is_not_as_webauthn_says_authorizes_nothing(name):
    async def scenario():
        host = await started(step_up={"sign": ["passkey"]})
        user, wallet = await with_wallet(host)
        await user.sign(wallet, payment(user, wallet), authorize=user.authorize)
        _, request = user.sign_request(wallet, payment(user, wallet))
        spy, changes = watch(host), dict(DEVIATIONS[name])
        user.passkeys.origin = changes.pop("origin", ORIGIN)
        real = user.assertion
        user.assertion = lambda digest: real(digest, **changes)
        await refuses("evidence_invalid", user.door.call(request, authorization=user.authorize(request)))
        assert spy.untouched

    run(scenario)


def test_a_credential_of_somebody_else_authorizes_nothing():
    async def scenario():
        host = await started(step_up={"sign": ["passkey", "signing_key"]})
        user, wallet = await with_wallet(host)
        eve, _ = await with_wallet(host)
        await eve.add_key()
        _, request = user.sign_request(wallet, payment(user, wallet))
        spy = watch(host)
        for by in ("passkey", "key"):
            forged = eve.authorize(request, by=by, session=user.door.transcript, user_id=user.user_id)
            await refuses("credential_unknown", user.door.call(request, authorization=forged))
        # the user's own credential id over the thief's signature
        stolen = eve.assertion(bytes(32))
        renamed = msgspec.structs.replace(
            user.authorize(request), first=msgspec.structs.replace(stolen, credential_id=user.passkey_id)
        )
        await refuses("evidence_invalid", user.door.call(request, authorization=renamed))
        as_key = msgspec.structs.replace(
            user.authorize(request),
            first=KeySignature(credential_id=user.passkey_id, signature=bytes(64)),
        )
        await refuses("evidence_invalid", user.door.call(request, authorization=as_key))
        assert spy.untouched

    run(scenario)


def test_a_deactivated_or_removed_credential_authorizes_nothing():
    async def scenario():
        host = await started(step_up={"sign": ["passkey", "signing_key"]})
        user, wallet = await with_wallet(host)
        key_id = await user.add_key()
        await user.sign(wallet, payment(user, wallet), authorize=lambda r: user.authorize(r, by="key"))
        off = a.ChangeCredential(credential_id=key_id, name=None, active=False)
        await user.door.call(off, authorization=user.authorize(off))
        _, request = user.sign_request(wallet, payment(user, wallet))
        await refuses(
            "credential_inactive",
            user.door.call(request, authorization=user.authorize(request, by="key")),
        )
        gone = a.RemoveCredential(credential_id=key_id)
        await user.door.call(gone, authorization=user.authorize(gone))
        await refuses(
            "credential_unknown", user.door.call(request, authorization=user.authorize(request, by="key"))
        )

    run(scenario)


def test_a_session_without_the_credential_cannot_change_who_the_user_is():
    """A stolen session key: it may do what rules let a session key do, and nothing that would outlive its revocation."""

    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        key_id = await user.add_key()
        challenge = await user.door.call(a.BeginCredential(), a.CredentialChallenge)
        mallory = Authenticator(ORIGIN).create(
            challenge.challenge, rp_id=RP_ID, user_handle=challenge.user_handle
        )
        before = dict(host.storage.records)
        for request in (
            a.AddCredential(name="mine", challenge=challenge.challenge, credential=mallory),
            a.ChangeCredential(credential_id=key_id, name=None, active=False),
            a.RemoveCredential(credential_id=key_id),
            a.MakeDeviceCode(),
            a.BeginTotp(),
            a.NewRecoveryCodes(),
            a.RemoveTotp(),
            a.SetRecoveryKey(algorithm="ed25519", public_key=bytes(44)),
            a.LinkLogin(jwt=token("mallory")),
            a.UnlinkLogin(login="ab" * 32),
            a.CancelRecovery(),
            a.HandOver(wallet_id=wallet, user_id=user.user_id),
            a.SetPolicy(layer="wallet", subject=wallet, expected=bytes(32), content=b""),
        ):
            await refuses("factor_required", user.door.call(request))
        assert host.storage.records == before

    run(scenario)


def test_the_last_credential_stays():
    async def scenario():
        host = await started()
        user, _ = await with_wallet(host)
        for request in (
            a.RemoveCredential(credential_id=user.passkey_id),
            a.ChangeCredential(credential_id=user.passkey_id, name=None, active=False),
        ):
            await refuses("last_credential", user.door.call(request, authorization=user.authorize(request)))

    run(scenario)


def test_a_registration_answers_a_challenge_of_this_session_once():
    async def scenario():
        host = await started()
        user, _ = await with_wallet(host)
        other = await Door.open(host, authenticate=user.session_key.auth(user.user_id))
        foreign = await other.call(a.BeginCredential(), a.CredentialChallenge)
        for challenge in (os.urandom(32), foreign.challenge):
            new = user.passkeys.create(challenge, rp_id=RP_ID, user_handle=foreign.user_handle)
            request = a.AddCredential(name="x", challenge=challenge, credential=new)
            await refuses("evidence_invalid", user.door.call(request, authorization=user.authorize(request)))
        own = await user.door.call(a.BeginCredential(), a.CredentialChallenge)
        for code in (None, "evidence_invalid"):
            new = user.passkeys.create(own.challenge, rp_id=RP_ID, user_handle=own.user_handle)
            request = a.AddCredential(name="x", challenge=own.challenge, credential=new)
            call = user.door.call(request, authorization=user.authorize(request))
            await (call if code is None else refuses(code, call))

    run(scenario)


def test_a_device_code_registers_one_credential_and_nothing_else():
    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        ask = a.MakeDeviceCode()
        made = await user.door.call(ask, a.DeviceCodeMade, authorization=user.authorize(ask))
        tablet = await User.log_in(host, user.subject)
        code = DeviceCode(code=made.code)
        for request in (
            a.SetRecoveryKey(algorithm="ed25519", public_key=bytes(44)),
            a.MakeDeviceCode(),
            a.GetAccount(),
        ):
            evidence = tablet.authorize(request, by=code)
            if REQUIREMENTS[type(request)].action:
                await refuses("evidence_invalid", tablet.door.call(request, authorization=evidence))
        wrong = DeviceCode(code="0000-0000-0000-0000")
        challenge = await tablet.door.call(a.BeginCredential(), a.CredentialChallenge)
        new = tablet.passkeys.create(challenge.challenge, rp_id=RP_ID, user_handle=challenge.user_handle)
        add = a.AddCredential(name="tablet", challenge=challenge.challenge, credential=new)
        await refuses(
            "device_code_invalid", tablet.door.call(add, authorization=tablet.authorize(add, by=wrong))
        )
        info = await tablet.door.call(add, a.CredentialInfo, authorization=tablet.authorize(add, by=code))
        tablet.passkey_id = info.credential_id
        again = await tablet.door.call(a.BeginCredential(), a.CredentialChallenge)
        new = tablet.passkeys.create(again.challenge, rp_id=RP_ID, user_handle=again.user_handle)
        add = a.AddCredential(name="another", challenge=again.challenge, credential=new)
        await refuses(
            "device_code_invalid", tablet.door.call(add, authorization=tablet.authorize(add, by=code))
        )

    run(scenario)


# --- second factors ----------------------------------------------------------------------------------------------------------


async def with_totp(host: Host) -> tuple[User, str, bytes, list[str]]:
    user, wallet = await with_wallet(host, authorize=None)
    begin = a.BeginTotp()
    secret = (await user.door.call(begin, a.TotpSecret, authorization=user.authorize(begin))).secret
    codes = await user.door.call(a.ConfirmTotp(code=totp(secret)), a.RecoveryCodes)
    return user, wallet, secret, codes.codes


def totp(secret: bytes, step: int = 0) -> str:
    import pyotp

    return pyotp.TOTP(base64.b32encode(secret).decode()).at(int(time.time()) + 30 * step)


def test_where_a_code_is_asked_for_nothing_is_signed_without_one_and_a_code_works_once():
    async def scenario():
        host = await started(step_up={"sign": ["passkey", "totp"]})
        user, wallet, secret, recovery = await with_totp(host)
        _, request = user.sign_request(wallet, payment(user, wallet))
        spy = watch(host)
        await refuses("factor_required", user.door.call(request))
        await refuses("factor_required", user.door.call(request, authorization=user.authorize(request)))
        only_code = user.authorize(request, by=None, second=TotpCode(code=totp(secret, 1)))
        await refuses("factor_required", user.door.call(request, authorization=only_code))
        assert spy.released == 0
        code = TotpCode(code=totp(secret, 1))
        await user.door.call(request, m.Signed, authorization=user.authorize(request, second=code))
        await refuses(
            "evidence_invalid", user.door.call(request, authorization=user.authorize(request, second=code))
        )
        spare = RecoveryCode(code=recovery[0])
        await user.door.call(request, m.Signed, authorization=user.authorize(request, second=spare))
        await refuses(
            "evidence_invalid", user.door.call(request, authorization=user.authorize(request, second=spare))
        )
        assert spy.released == 2

    run(scenario)


def test_wrong_codes_lock_and_the_right_one_does_not_help_then():
    async def scenario():
        host = await started(step_up={"sign": ["passkey", "totp"]})
        user, wallet, secret, _ = await with_totp(host)
        _, request = user.sign_request(wallet, payment(user, wallet))
        spy = watch(host)
        wrong = f"{(int(totp(secret)) + 500_000) % 1_000_000:06}"
        codes = []
        for _ in range(6):
            with pytest.raises(CosignerError) as refused:
                evidence = user.authorize(request, second=TotpCode(code=wrong))
                await user.door.call(request, authorization=evidence)
            codes.append(refused.value.code)
        assert codes[0] == "evidence_invalid"
        assert codes[-1] == "factor_locked"
        right = user.authorize(request, second=TotpCode(code=totp(secret, 1)))
        await refuses("factor_locked", user.door.call(request, authorization=right))
        await host.start_enclave()  # a restart forgets nothing of it
        await user.reopen()
        right = user.authorize(request, second=TotpCode(code=totp(secret, 1)))
        await refuses("factor_locked", user.door.call(request, authorization=right))
        assert spy.released == 0

    run(scenario)


def test_a_host_that_loses_the_count_of_attempts_gives_no_free_guess():
    """The attempt is counted, and acknowledged, before the code is looked at: no count, no answer about the code."""

    async def scenario():
        host = await started(step_up={"sign": ["passkey", "totp"]})
        user, wallet, secret, _ = await with_totp(host)
        _, request = user.sign_request(wallet, payment(user, wallet))
        spy = watch(host)

        def lose(key: str) -> None:
            if "/users/" in key:
                raise CosignerError("storage_unavailable", "lost", culprit="storage", reaction=Reaction.RETRY)

        host.storage.before_put = lose
        for code in (totp(secret), "000000"):
            evidence = user.authorize(request, second=TotpCode(code=code))
            await refuses("storage_unavailable", user.door.call(request, authorization=evidence))
        assert spy.released == 0

    run(scenario)


# --- owners ------------------------------------------------------------------------------------------------------------------


def test_another_users_wallet_is_not_to_be_had():
    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        eve, _ = await with_wallet(host)
        spy = watch(host)
        _, request = user.sign_request(wallet, payment(user, wallet))
        await refuses("not_owner", eve.door.call(request, authorization=eve.authorize(request)))
        hand_over = a.HandOver(wallet_id=wallet, user_id=eve.user_id)
        await refuses("not_owner", eve.door.call(hand_over, authorization=eve.authorize(hand_over)))
        change = a.SetPolicy(layer="wallet", subject=wallet, expected=bytes(32), content=b"")
        await refuses("not_owner", eve.door.call(change, authorization=eve.authorize(change)))
        await refuses("wallet_unknown", eve.door.call(m.GetWallet(wallet_id=wallet)))
        for layer, subject in (
            ("wallet", wallet),
            ("signer", f"{wallet}:{eve.user_id}"),
            ("account", user.user_id),
            ("environment", user.user_id),
            ("wallet", ""),
            ("signer", f"{wallet}:"),
            ("signer", f"{wallet}:A.B"),
        ):
            await refuses("not_owner", eve.door.call(a.GetPolicy(layer=layer, subject=subject)))
        assert spy.untouched
        for nobody in (f"{wallet}:", f"{wallet}:A.B", f"{wallet}:{wallet}:{wallet}"):
            await refuses("not_owner", user.door.call(a.GetPolicy(layer="signer", subject=nobody)))
        assert await user.door.call(m.GetWallet(wallet_id=wallet), m.WalletReply)

    run(scenario)


def test_a_wallet_id_that_somebody_has_is_not_taken_from_them():
    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        eve, _ = await with_wallet(host)
        await refuses("wallet_exists", eve.create(wallet_id=wallet))
        assert await user.sign(wallet, payment(user, wallet))

    run(scenario)


def test_a_ceremony_is_finished_by_whoever_began_it_where_they_began():
    async def scenario():
        host = await started()
        user, eve = await User.log_in(host), await User.log_in(host)
        finish = m.FinishDkg(
            wallet_id="0f8fad5b-d9cb-469f-a165-70867728950e", message2=b"m", confirmation=bytes(32)
        )
        await refuses("ceremony_unknown", eve.door.call(finish))
        await user.create()
        await refuses("ceremony_unknown", user.door.call(finish))

    run(scenario)
