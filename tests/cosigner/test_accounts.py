"""What users do with their accounts through the SDK, against the enclave's own parts: logins, session keys, credentials, factors, recovery."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from cosigner import approvals, receipts
from cosigner.client import AsyncClient
from cosigner.errors import CosignerError, EnclaveRefused, HostError
from cosigner.evidence import Evidence
from cosigner.identity import MemoryKeyring
from cosigner.keys import SigningKey
from cosigner.receipts import Receipt
from cosigner.session_keys import RegisteredKey, SessionKey, now_ms
from cosigner.store import ShareStore
from enclave.manifest import RecoveryRules, parse
from protocol.accounts import NewServiceAccount, SetPolicy
from protocol.envelope.messages import Status, StatusReply
from protocol.messages import SolanaPayload
from protocol.receipts import CodeEvidence, KeyEvidence, PasskeyEvidence
from tests.cosigner.payloads import solana_message
from tests.cosigner.world import ENVIRONMENT, MANIFEST, Forward, World, open_store
from tests.support.manifests import ADMINISTRATORS, EVERYTHING, ORIGIN, RP_ID, layer, token
from tests.support.passkeys import VirtualPasskeys


def world_with(**changes: Any) -> World:
    """A world whose environment differs in these fields."""
    manifest = parse(MANIFEST)
    environments = [msgspec.structs.replace(manifest.environments[0], **changes)]
    return World(manifest=msgspec.structs.replace(manifest, environments=environments).encode())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store(tmp_path: Path) -> ShareStore:
    return open_store(tmp_path)


def phone() -> VirtualPasskeys:
    return VirtualPasskeys(ORIGIN, RP_ID)


def refused(error: pytest.ExceptionInfo[CosignerError]) -> str:
    return error.value.code


# --- session keys ----------------------------------------------------------------------------------------------------------------


def test_without_a_login_nothing_is_sent_and_the_error_says_what_to_do(world: World) -> None:
    options = {"keyring": MemoryKeyring()}
    with pytest.raises(CosignerError) as caught:
        world.run(lambda client: client.account(), options=options)
    assert refused(caught) == "login_required"
    assert "cosigner login" in caught.value.message
    assert world.seen.hellos == []


def test_a_token_provider_logs_in_by_itself_sync_or_async(world: World) -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return token("bob") + "\n"

    found = [
        world.run(
            lambda client: client.account(), options={"keyring": MemoryKeyring(), "token_provider": provider}
        )
        for provider in (lambda: token("bob"), later)
    ]
    assert found[0].user_id == found[1].user_id


def test_the_session_key_lies_sealed_in_the_store_and_opens_later_sessions_in_one_round_trip(
    world: World, store: ShareStore, tmp_path: Path
) -> None:
    options = {"keyring": None}
    logged_in = world.run(lambda client: client.login(token("carol")), store, options=options)
    (file,) = tmp_path.glob("*.session")
    assert file.name == f"{ENVIRONMENT}.{logged_in.user_id}.session"
    assert file.stat().st_mode & 0o777 == 0o600
    registered = store.session_key(ENVIRONMENT, None)
    assert registered is not None
    assert registered.key.scalar() not in file.read_bytes()
    world.seen.records.clear()
    world.seen.hellos.clear()
    account = world.run(lambda client: client.account(), open_store(tmp_path), options=options)
    assert account.user_id == logged_in.user_id
    assert (len(world.seen.hellos), len(world.seen.records)) == (1, 1)


def test_an_altered_session_file_is_refused(store: ShareStore, tmp_path: Path) -> None:
    user = "0f8fad5b-d9cb-469f-a165-70867728950e"
    key = RegisteredKey(user, SessionKey.generate(), now_ms(), now_ms() + 1000)
    store.save_session_key(ENVIRONMENT, key)
    (file,) = tmp_path.glob("*.session")
    honest = file.read_bytes()
    assert store.session_key(ENVIRONMENT, user).key.public == key.key.public
    file.write_bytes(honest.replace(b"gsandbox", b"gsandboy"))
    with pytest.raises(CosignerError) as caught:
        store.session_key(ENVIRONMENT, user)
    assert refused(caught) == "session_key_damaged"
    file.write_bytes(honest)
    with pytest.raises(CosignerError) as caught:
        open_store(tmp_path, b"x" * 32).session_key(ENVIRONMENT, user)
    assert refused(caught) == "session_key_damaged"
    store.discard_session_key(ENVIRONMENT, user)
    assert store.session_key(ENVIRONMENT, user) is None


def test_renewal_chains_the_new_key_to_the_old_one_and_the_old_one_is_gone(world: World) -> None:
    keyring = MemoryKeyring()
    provider: dict[str, Any] = {"keyring": keyring, "token_provider": lambda: token("dora")}
    world.run(lambda client: client.account(), options=provider)
    first = keyring.session_key(ENVIRONMENT, None)
    # Nearly at its end: a client that can log in by itself renews it before it opens a session.
    worn = RegisteredKey(first.user_id, first.key, now_ms() - 10_000_000, now_ms() + 600_000)
    keyring.save_session_key(ENVIRONMENT, worn)
    (only,) = world.run(lambda client: client.session_keys(), options=provider)
    second = keyring.session_key(ENVIRONMENT, None)
    assert only.session_key == second.key.public != first.key.public
    assert only.current
    # A client that cannot log in by itself goes on with it until it ends.
    keyring.save_session_key(ENVIRONMENT, worn)
    with pytest.raises(CosignerError) as caught:
        world.run(lambda client: client.session_keys(), options={"keyring": keyring})
    assert refused(caught) == "login_required"


def test_an_expired_key_is_not_tried(world: World) -> None:
    keyring = MemoryKeyring()
    gone = RegisteredKey("0f8fad5b-d9cb-469f-a165-70867728950e", SessionKey.generate(), 0, now_ms() - 1)
    keyring.save_session_key(ENVIRONMENT, gone)
    with pytest.raises(CosignerError) as caught:
        world.run(lambda client: client.account(), options={"keyring": keyring})
    assert refused(caught) == "login_required"
    assert "expired" in caught.value.message
    assert world.seen.hellos == []


def test_a_revoked_device_is_shut_out_at_once_even_in_an_open_session(world: World) -> None:
    phone_keys, thief_keys = MemoryKeyring(), MemoryKeyring()

    async def scenario() -> None:
        thief = world.client(options={"keyring": thief_keys})
        owner = world.client(options={"keyring": phone_keys})
        async with thief, owner:
            await thief.login(token("erin"))
            await owner.login(token("erin"))
            await thief.account()
            assert len(await owner.session_keys()) == 2
            await owner.revoke_session_keys()
            with pytest.raises(CosignerError) as caught:
                await thief.account()
            assert refused(caught) == "login_required"
            (left,) = await owner.session_keys()
            assert left.current

    asyncio.run(scenario())


def test_logout_revokes_the_key_and_removes_it_from_the_device(world: World) -> None:
    keyring = MemoryKeyring()

    async def scenario(client: AsyncClient) -> RegisteredKey:
        await client.login(token("fred"))
        before = keyring.session_key(ENVIRONMENT, None)
        await client.logout()
        await client.logout()  # nothing left to do
        return before

    before = world.run(scenario, options={"keyring": keyring})
    assert keyring.session_key(ENVIRONMENT, None) is None
    keyring.save_session_key(ENVIRONMENT, before)  # a copy of the file is worth nothing
    with pytest.raises(CosignerError) as caught:
        world.run(lambda client: client.account(), options={"keyring": keyring})
    assert refused(caught) == "login_required"


@pytest.mark.parametrize("text", ["", "nonsense", "a.b", "a.b.c.d", "a.b.c!", "a" * 9000 + ".b.c"])
def test_what_is_no_jwt_is_not_sent(world: World, text: str) -> None:
    with pytest.raises(CosignerError) as caught:
        world.run(lambda client: client.login(text), options={"keyring": MemoryKeyring()})
    assert refused(caught) == "jwt_invalid"
    assert world.seen.records == []


def test_an_expired_token_is_refused_by_the_enclave(world: World) -> None:
    now = int(time.time())
    with pytest.raises(EnclaveRefused) as caught:
        world.run(
            lambda client: client.login(token("gus", iat=now - 900, nbf=now - 900, exp=now - 600)),
            options={"keyring": MemoryKeyring()},
        )
    assert refused(caught) == "jwt_expired"


# --- credentials and step-up -----------------------------------------------------------------------------------------------------


def test_the_passkey_is_asked_when_the_enclave_asks_and_for_the_action_itself(store: ShareStore) -> None:
    world = world_with(step_up={"sign": ["passkey"]})
    device = phone()

    async def scenario(client: AsyncClient) -> None:
        await client.add_passkey("phone")
        wallet = await client.create_wallet("solana")
        assert device.asked == []
        message = solana_message(wallet.address)
        await client.sign_solana(wallet.wallet_id, message)
        (asked,) = device.asked
        assert (asked.action.operation, asked.action.subject) == ("sign", wallet.wallet_id)
        assert asked.request.payload == SolanaPayload(message)
        evidence = client.last_receipt.decision.evidence
        assert [type(one) for one in evidence] == [PasskeyEvidence]
        # From now on it is known beforehand, and one round trip less is made.
        world.seen.records.clear()
        await client.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert len(device.asked) == 2
        assert len(world.seen.records) == 2  # which passkeys there are, and the request

    world.run(scenario, store, options={"evidence": Evidence(passkeys=device)})


def test_evidence_can_be_collected_beforehand(store: ShareStore) -> None:
    world = world_with(step_up={"sign": ["signing_key"]})
    key = SigningKey.generate()

    async def scenario(client: AsyncClient) -> None:
        await client.add_key("laptop", key)
        wallet = await client.create_wallet("solana")
        world.seen.records.clear()
        await client.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert len(world.seen.records) == 1
        (evidence,) = client.last_receipt.decision.evidence
        assert isinstance(evidence, KeyEvidence)

    evidence = Evidence(signing_key=key, beforehand=frozenset({"sign"}))
    world.run(scenario, store, options={"evidence": evidence})


def test_who_has_nothing_to_offer_is_told_what_is_missing(store: ShareStore) -> None:
    world = world_with(step_up={"sign": ["passkey", "totp"]})

    async def scenario(client: AsyncClient) -> None:
        wallet = await client.create_wallet("solana")
        with pytest.raises(EnclaveRefused) as caught:
            await client.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert refused(caught) == "factor_required"
        assert "no passkey or signing key" not in caught.value.message.split(".")[0]
        assert "--key FILE" in caught.value.message
        assert client.last_receipt.decision.code == "factor_required"

    world.run(scenario, store)


def test_a_second_device_is_added_by_a_one_time_code(world: World) -> None:
    first, second = phone(), phone()

    async def scenario() -> None:
        here = world.client(options={"keyring": MemoryKeyring(), "evidence": Evidence(passkeys=first)})
        there = world.client(options={"keyring": MemoryKeyring(), "evidence": Evidence(passkeys=second)})
        async with here, there:
            await here.login(token("hana"))
            await there.login(token("hana"))
            await here.add_passkey("phone")
            with pytest.raises(Exception, match="no such credential"):
                await there.add_passkey("tablet")  # its device cannot vouch for itself
            code = (await here.make_device_code()).code
            await there.add_passkey("tablet", device_code=code.lower().replace("-", " "))
            assert sorted(one.name for one in await there.credentials()) == ["phone", "tablet"]
            with pytest.raises(EnclaveRefused) as caught:
                await there.add_passkey("again", passkeys=phone(), device_code=code)
            assert refused(caught) == "device_code_invalid"
            with pytest.raises(CosignerError) as malformed:
                await there.add_passkey("again", passkeys=phone(), device_code="nonsense")
            assert refused(malformed) == "code_malformed"

    asyncio.run(scenario())


def test_credentials_are_renamed_turned_off_and_on_and_the_last_one_stays(world: World) -> None:
    key = SigningKey.generate("p256")

    async def scenario(client: AsyncClient) -> None:
        await client.login(token("ivan"))
        added = await client.add_key("one", key)
        other = await client.add_key("two", SigningKey.generate("rsa"))
        assert (await client.rename_credential(added.credential_id, "uno")).name == "uno"
        assert not (await client.deactivate_credential(other.credential_id)).active
        with pytest.raises(EnclaveRefused) as caught:
            await client.deactivate_credential(added.credential_id)
        assert refused(caught) == "last_credential"
        assert (await client.activate_credential(other.credential_id)).active
        await client.remove_credential(other.credential_id)
        assert [one.name for one in await client.credentials()] == ["uno"]

    world.run(scenario, options={"keyring": MemoryKeyring(), "evidence": Evidence(signing_key=key)})


# --- second factors ----------------------------------------------------------------------------------------------------------------


def otp(secret: bytes, *, steps: int = 0) -> str:
    """A code by a library that had no part in making it, ``steps`` steps from now."""
    return TOTP(secret, 6, SHA1(), 30).generate(int(time.time()) + 30 * steps).decode()  # noqa: S303


def test_totp_is_asked_for_on_demand_and_recovery_codes_stand_in(store: ShareStore) -> None:
    world = world_with(step_up={"sign": ["totp"]})
    secrets: list[bytes] = []
    codes: list[str] = []

    def confirm(secret: bytes) -> str:
        secrets.append(secret)
        return otp(secret, steps=-1)

    async def scenario(client: AsyncClient) -> None:
        wallet = await client.create_wallet("solana")
        recovery = (await client.enable_totp(confirm)).codes
        codes.append(otp(secrets[0]))
        message = solana_message(wallet.address)
        await client.sign_solana(wallet.wallet_id, message)
        assert codes == []
        assert client.last_receipt.decision.evidence == [CodeEvidence("totp", accepted=True)]
        await client.sign_solana(wallet.wallet_id, message, mfa_token=recovery[0].lower())
        with pytest.raises(EnclaveRefused):
            await client.sign_solana(wallet.wallet_id, message, mfa_token=recovery[0])
        assert (await client.account()).recovery_codes_left == len(recovery) - 1
        assert len(await client.new_recovery_codes(mfa_token=recovery[1])) == len(recovery)

    evidence = Evidence(second_factor=codes.pop)
    world.run(scenario, store, options={"evidence": evidence})


# --- recovery --------------------------------------------------------------------------------------------------------------------------


def test_recovery_under_a_time_lock_waits_on_the_device_and_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_with(recovery=RecoveryRules(time_lock_s=3600, gate=None))
    offline, old, new = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
    keyring = MemoryKeyring()
    mine: dict[str, Any] = {"keyring": keyring, "evidence": Evidence(signing_key=old)}

    async def prepare(client: AsyncClient) -> str:
        user = (await client.login(token("jane"))).user_id
        await client.add_key("old", old)
        await client.set_recovery_key(offline)
        return user

    user = world.run(prepare, options=mine)
    fresh: dict[str, Any] = {"keyring": None}

    async def recover(client: AsyncClient) -> int | None:
        return (await client.recover(user, offline, "new", key=new)).not_before

    def told() -> tuple[int, int]:
        """What the operator sees: recoveries asked for, and those that took effect."""
        status = asyncio.run(world.ask(Status()))
        assert isinstance(status, StatusReply)
        return status.counters["recoveries_asked"], status.counters["recoveries"]

    assert told() == (0, 0)
    assert world.run(recover, open_store(tmp_path), options=fresh) is not None
    account = world.run(lambda client: client.account(), options=mine)
    assert account.recovery_not_before is not None
    assert told() == (1, 0)
    world.run(lambda client: client.cancel_recovery(), options=mine)

    not_before = world.run(recover, open_store(tmp_path), options=fresh)
    again = world.run(lambda client: client.complete_recovery(user), open_store(tmp_path), options=fresh)
    assert again.not_before == not_before
    monkeypatch.setattr("enclave.authn.clock.Clock.now_ms", lambda _: not_before + 1)
    done = world.run(lambda client: client.complete_recovery(user), open_store(tmp_path), options=fresh)
    assert done.not_before is None
    assert told() == (4, 1)
    assert not list(tmp_path.glob("*.recovery"))

    async def look(client: AsyncClient) -> list[str]:
        return [one.name for one in await client.credentials()]

    monkeypatch.setattr("cosigner.session_keys.time.time_ns", lambda: (not_before + 2) * 1_000_000)
    assert world.run(look, open_store(tmp_path), options=fresh) == ["new"]
    with pytest.raises(CosignerError) as caught:
        world.run(look, options=mine)
    assert refused(caught) == "login_required"


def test_another_key_recovers_nobody(world: World, store: ShareStore) -> None:
    async def scenario(client: AsyncClient) -> None:
        user = (await client.login(token("kim"))).user_id
        await client.set_recovery_key(SigningKey.generate())
        with pytest.raises(EnclaveRefused) as caught:
            await client.recover(user, SigningKey.generate(), "new", key=SigningKey.generate())
        assert refused(caught) == "recovery_refused"
        with pytest.raises(CosignerError) as missing:
            await client.complete_recovery(user)
        assert refused(missing) == "recovery_missing"

    world.run(scenario, store, options={"keyring": MemoryKeyring()})


# --- logins, ownership, rules, approvals -------------------------------------------------------------------------------------------------


def test_a_second_login_is_linked_and_logs_in_as_the_same_user(world: World) -> None:
    async def scenario(client: AsyncClient) -> None:
        user = (await client.login(token("lea"))).user_id
        account = await client.link_login(token("lea at another login"))
        assert len(account.logins) == 2
        assert (await client.login(token("lea at another login"))).user_id == user
        first = min(account.logins, key=lambda login: login.linked_at)
        left = await client.unlink_login(first.login)
        assert len(left.logins) == 1

    world.run(scenario, options={"keyring": MemoryKeyring()})


def administrators(request: Any) -> list[Any]:
    draft = approvals.draft(request, environment=ENVIRONMENT, subject=approvals_subject(request))
    keys = {name: SigningKey(key) for name, key in ADMINISTRATORS.items()}
    return [approvals.by_administrator(draft, name, keys[name]) for name in ("ada", "bea")]


def approvals_subject(request: Any) -> str:
    return "environment" if isinstance(request, SetPolicy) else ""


def test_a_service_accounts_wallet_is_handed_over_for_good(world: World, store: ShareStore) -> None:
    key, options = SigningKey.generate(), {"keyring": MemoryKeyring()}

    async def make(client: AsyncClient) -> tuple[str, str]:
        user = (await client.login(token("mia"))).user_id
        account = await client.new_service_account(
            "treasury", key, approvals=[service_approval(name, key) for name in ("ada", "bea")]
        )
        return user, account.user_id

    user, service = world.run(make, store, options=options)

    async def custody(client: AsyncClient) -> str:
        wallet = await client.create_wallet("solana")
        with pytest.raises(EnclaveRefused):
            await client.hand_over(wallet.wallet_id, "0f8fad5b-d9cb-469f-a165-70867728950e")
        await client.hand_over(wallet.wallet_id, user)
        with pytest.raises(EnclaveRefused) as caught:
            await client.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert refused(caught) == "not_owner"
        return wallet.wallet_id

    serving: dict[str, Any] = {
        "keyring": MemoryKeyring(),
        "user_id": service,
        "service_key": key,
        "evidence": Evidence(signing_key=key),
    }
    wallet_id = world.run(custody, store, options=serving)

    async def use(client: AsyncClient) -> None:
        wallet = await client.enclave_wallet(wallet_id)
        assert (await client.sign_solana(wallet_id, solana_message(wallet.address))).transaction

    world.run(use, store, options=options)


def service_approval(name: str, key: SigningKey) -> Any:
    request = NewServiceAccount("treasury", bytes(32), key.registration(bytes(32)))
    draft = approvals.draft(request, environment=ENVIRONMENT, subject="")
    return approvals.by_administrator(draft, name, SigningKey(ADMINISTRATORS[name]))


def test_the_environments_layer_is_replaced_with_the_administrators_approvals(world: World) -> None:
    wanted = layer(*EVERYTHING[:1]).encode()

    async def scenario(client: AsyncClient) -> None:
        before = await client.get_policy("environment")
        with pytest.raises(EnclaveRefused) as caught:
            await client.set_policy("environment", wanted)
        assert refused(caught) == "approval_required"
        request = SetPolicy("environment", "", before.hash, wanted)
        given = [approvals.decode(approvals.encode(one)) for one in administrators(request)]
        after = await client.set_policy("environment", wanted, approvals=given)
        assert (after.version, after.hash != before.hash) == (before.version + 1, True)
        with pytest.raises(EnclaveRefused) as conflict:
            await client.set_policy("environment", wanted, expected=before.hash, approvals=given)
        assert refused(conflict) in {"user_conflict", "action_replayed"}

    world.run(scenario)


def test_an_account_rule_of_ones_own_denies_and_the_receipt_says_why(world: World, store: ShareStore) -> None:
    kept: list[Receipt] = []

    async def scenario(client: AsyncClient) -> str:
        wallet = await client.create_wallet("solana")
        rule = {"name": "none", "ruleType": "deny", "chain": "SVM"}
        await client.set_policy(
            "wallet", layer(rule, *EVERYTHING, name="wallet").encode(), subject=wallet.wallet_id
        )
        with pytest.raises(EnclaveRefused) as caught:
            await client.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert refused(caught) == "policy_denied"
        kept.append(client.last_receipt)
        return wallet.wallet_id

    wallet_id = world.run(scenario, store)
    (receipt,) = kept
    assert not receipt.decision.allowed
    assert '"none"' in receipt.decision.reasons
    files = ShareStore.receipts(store._directory, wallet_id)
    assert [file.read_bytes() for file in files] == [receipt.encode()]


def test_a_receipt_about_something_else_is_refused(world: World, store: ShareStore) -> None:
    """An enclave, or a client's own mistake: what is not about this request does not count as its receipt."""

    async def scenario(client: AsyncClient) -> None:
        first = await client.create_wallet("solana")
        await client.sign_solana(first.wallet_id, solana_message(first.address))
        receipt = client.last_receipt
        for change in (
            {"receipt_key": bytes(32)},
            {"environment": "elsewhere"},
            {"user_id": "somebody", "request": SetPolicy("account", "", bytes(32), b"")},
        ):
            facts = {
                "receipt_key": receipt.chain,
                "request": SetPolicy("environment", "", bytes(32), b""),
                "environment": ENVIRONMENT,
                "user_id": "",
                "transcript": bytes(32),
                "action": None,
            }
            with pytest.raises(CosignerError) as caught:
                receipts.check(receipt.signed, **{**facts, **change})
            assert refused(caught) == "receipt_foreign"

    world.run(scenario, store)


# --- lost replies ------------------------------------------------------------------------------------------------------------------------


def losing(world: World, times: int) -> Callable[[httpx.Request, Forward], Awaitable[httpx.Response]]:
    """A network that carries every request and loses the first answers to records."""
    lost = 0

    async def rule(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal lost
        response = await forward(request)
        if request.url.path.endswith("/records") and lost < times:
            lost += 1
            raise httpx.ReadTimeout("")
        return response

    return rule


def test_a_lost_reply_is_asked_for_again_and_the_change_happens_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosigner.actions._PAUSES", (0.0, 0.0))

    async def scenario(client: AsyncClient) -> tuple[int, list[str]]:
        key = SigningKey.generate()
        with world.misbehaving(losing(world, 1)):
            await client.set_recovery_key(key)
        return len(world.seen.sessions), [client.last_receipt.decision.action.operation]

    sessions, operations = world.run(scenario)
    assert sessions == 2
    assert operations == ["recovery_key_set"]


def test_a_network_that_loses_everything_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosigner.actions._PAUSES", (0.0, 0.0))
    with world.misbehaving(losing(world, 99)), pytest.raises(HostError) as caught:
        world.run(lambda client: client.set_recovery_key(SigningKey.generate()))
    assert refused(caught) == "host_unreachable"
    assert len(world.seen.records) == 3
