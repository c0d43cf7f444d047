"""Delegated access from the user's approval to the developer's signature: real ceremonies, a real webhook's content, independent verifiers."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction

from cosigner import approvals
from cosigner.actions import Actions
from cosigner.client import AsyncClient
from cosigner.config import AdministratorKey, Administrators
from cosigner.delegate import (
    DelegatedWallet,
    create_delegated_evm_client,
    create_delegated_svm_client,
    delegated_sign_message,
    delegated_sign_transaction,
    delegated_sign_typed_data,
    revoke_delegation,
)
from cosigner.delegation import DelegatedShare, Limits
from cosigner.delegation.files import new_encryption_key, settings_from, settings_json
from cosigner.errors import EnclaveRefused, HostError
from cosigner.keys import SigningKey
from enclave.manifest import KmsEndpoint, Manifest
from protocol.delegation import (
    CommitDelegation,
    DelegationConfigured,
    DelegationSettings,
    DeveloperKey,
    SetDelegationSettings,
)
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import OutboxEvent
from protocol.hybrid import DecryptionKey, parse
from protocol.intents import subject_of
from tests.cosigner.payloads import solana_message
from tests.cosigner.world import ENVIRONMENT, KEY_ARN, World, open_store
from tests.support.manifests import ADMINISTRATORS, environment

DEVELOPER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEY = DeveloperKey(
    kid="first",
    public_key=DEVELOPER.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    state="active",
)
SETTINGS = DelegationSettings(
    enabled=True,
    prompt_users_on_sign_in=True,
    requires_delegation=False,
    app="Trading bot",
    endpoint="https://app.example.com/webhooks",
    keys=[KEY],
)
LIMITS = Limits(max_per_call="1", total="2", window="24h")
TYPED = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}],
        "Order": [{"name": "amount", "type": "uint256"}],
    },
    "primaryType": "Order",
    "domain": {"name": "Exchange"},
    "message": {"amount": 5},
}
EVERYTHING = json.dumps(
    {
        "version": 1,
        "layer": "signer",
        "rules": [
            {"name": "all", "ruleType": "allow", "payloads": ["transaction", "message", "typedData"]},
        ],
    }
).encode()


def world_of(settings: DelegationSettings | None) -> World:
    manifest = Manifest(
        version=1,
        environments=[environment(ENVIRONMENT, kms_key_arn=KEY_ARN, delegation=settings)],
        kms=KmsEndpoint(region="sim-region-1", host="kms.test", port=443, ca_pem=""),
    )
    return World(manifest=manifest.encode())


@pytest.fixture
def world() -> World:
    return world_of(SETTINGS)


async def configure(client: AsyncClient, settings: DelegationSettings = SETTINGS) -> DelegationConfigured:
    """What the administrators do once: the app's webhook gets its secret."""
    request = SetDelegationSettings(settings, version=0, new_secret=False)
    given = [
        approvals.by_administrator(
            approvals.draft(request, environment=ENVIRONMENT, subject=subject_of(request, "")),
            name,
            SigningKey(key),
        )
        for name, key in ADMINISTRATORS.items()
    ]
    return await client.configure_delegation(settings, approvals=given)


def events(world: World) -> list[OutboxEvent]:
    return [event for storage in (world.storage, world.storage.rest) for event in storage.events.values()]


def delivered(world: World) -> tuple[dict[str, Any], str]:
    """What the newest ``created`` webhook brings: the share's JSON, and the wallet's API key."""
    data = json.loads(
        [event for event in events(world) if event.name == "wallet.delegation.created"][-1].data
    )
    key = DecryptionKey(DEVELOPER)
    share = key.decrypt(parse(data["encryptedDelegatedShare"]))
    api_key = key.decrypt(parse(data["encryptedWalletApiKey"]))
    return json.loads(share), api_key.decode()


def transaction(wei: int) -> dict[str, Any]:
    return {
        "type": 2,
        "chainId": 1,
        "nonce": 0,
        "to": "0x000000000000000000000000000000000000dEaD",
        "value": wei,
        "gas": 21_000,
        "maxFeePerGas": 10**9,
        "maxPriorityFeePerGas": 10**8,
        "data": "0x",
    }


async def delegate(world: World, content: dict[str, Any], api_key: str) -> DelegatedWallet:
    return DelegatedWallet(
        world.config(), DelegatedShare.parse(content), api_key, transport=world.transport()
    )


def approve(world: World, tmp_path: Path, chain: str, limits: Limits | bytes = LIMITS) -> tuple[Any, Any]:
    """A wallet, and a delegation of it."""

    async def scenario(client: AsyncClient) -> tuple[Any, Any]:
        await configure(client)
        wallet = await client.create_wallet(chain)
        return wallet, await client.approve_delegation(wallet.wallet_id, limits)

    return world.run(scenario, open_store(tmp_path))


def test_an_app_signs_for_its_user_and_the_user_goes_on_signing(world: World, tmp_path: Path):
    wallet, made = approve(world, tmp_path, "ethereum")
    assert (made.terms.app, made.revoked_at) == ("Trading bot", None)
    content, api_key = delivered(world)

    async def scenario(client: AsyncClient) -> None:
        async with await delegate(world, content, api_key) as bot:
            assert (await bot.wallet()).address == wallet.address
            from cosigner.evm import unsigned_transaction

            signed = await bot.sign_evm_transaction(
                wallet.wallet_id, unsigned_transaction(transaction(10**18 // 2))
            )
            assert Account.recover_transaction(signed.transaction) == wallet.address
            assert (await bot.delegation()).terms == made.terms
        own = await client.sign_evm_message(wallet.wallet_id, b"gm")
        assert Account.recover_message(encode_defunct(b"gm"), signature=own.signature) == wallet.address

    world.run(scenario, open_store(tmp_path))


def test_by_the_names_of_dynamics_sdk(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wallet, _ = approve(world, tmp_path, "ethereum", EVERYTHING)
    content, api_key = delivered(world)
    monkeypatch.setattr("cosigner.delegate.client.Transport", lambda _: world.transport())

    async def scenario(_: AsyncClient) -> None:
        async with await create_delegated_evm_client(
            ENVIRONMENT, "dyn_server_key", config=world.config()
        ) as client:
            given: dict[str, Any] = {
                "wallet_id": wallet.wallet_id,
                "wallet_api_key": api_key,
                "key_share": content,
            }
            message = await delegated_sign_message(client, **given, message="gm", chain_name="EVM")
            assert Account.recover_message(encode_defunct(b"gm"), signature=message) == wallet.address
            formatted = await delegated_sign_message(
                client, **given, message="0x" + b"gm".hex(), chain_name="EVM", is_formatted=True
            )
            assert Account.recover_message(encode_defunct(b"gm"), signature=formatted) == wallet.address
            raw = await delegated_sign_transaction(client, **given, transaction=transaction(1))
            assert Account.recover_transaction(raw) == wallet.address
            typed = await delegated_sign_typed_data(client, **given, typed_data=TYPED)
            signable = encode_typed_data(full_message=TYPED)
            assert Account.recover_message(signable, signature=typed) == wallet.address
            with pytest.raises(CosignerError, match="chain_unsupported"):
                await delegated_sign_message(client, **given, message="gm", chain_name="SVM")
            await revoke_delegation(client, **given)
            with pytest.raises(CosignerError) as caught:
                await delegated_sign_transaction(client, **given, transaction=transaction(1))
            assert caught.value.code == "delegation_refused"

    world.run(scenario, open_store(tmp_path))
    names = [event.name for event in events(world)]
    assert names.count("wallet.delegation.created") == names.count("wallet.delegation.revoked") == 1


def test_solana(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wallet, _ = approve(world, tmp_path, "solana", EVERYTHING)
    content, api_key = delivered(world)
    monkeypatch.setattr("cosigner.delegate.client.Transport", lambda _: world.transport())

    async def scenario(_: AsyncClient) -> None:
        async with await create_delegated_svm_client(ENVIRONMENT, config=world.config()) as client:
            given: dict[str, Any] = {
                "wallet_id": wallet.wallet_id,
                "wallet_api_key": api_key,
                "key_share": json.dumps(content),
            }
            message = solana_message(wallet.address)
            signed = await delegated_sign_transaction(client, **given, transaction=message)
            Transaction.from_bytes(base64.b64decode(signed)).verify()
            text = await delegated_sign_message(client, **given, message="Sign in", chain_name="SVM")
            signature = Signature(bytes.fromhex(text.removeprefix("0x")))
            assert signature.verify(Pubkey.from_string(wallet.address), b"Sign in")

    world.run(scenario, open_store(tmp_path))


def test_limits_hold_for_the_app_and_not_for_the_user(world: World, tmp_path: Path):
    wallet, made = approve(world, tmp_path, "ethereum")
    content, api_key = delivered(world)

    async def scenario(client: AsyncClient) -> None:
        from cosigner.evm import unsigned_transaction

        async with await delegate(world, content, api_key) as bot:
            with pytest.raises(EnclaveRefused) as caught:
                await bot.sign_evm_transaction(
                    wallet.wallet_id, unsigned_transaction(transaction(2 * 10**18))
                )
            assert caught.value.code == "policy_denied"
            with pytest.raises(EnclaveRefused) as caught:
                await bot.sign_evm_message(wallet.wallet_id, b"not approved")
            assert caught.value.code == "policy_denied"
            tighter = Limits(max_per_call="0.1", total="0.1").rules("ethereum")
            await bot.tighten(tighter, expires_at=made.expires_at)
            with pytest.raises(EnclaveRefused) as caught:
                await bot.sign_evm_transaction(
                    wallet.wallet_id, unsigned_transaction(transaction(10**18 // 2))
                )
            assert caught.value.code == "policy_denied"
        await client.sign_evm_transaction(wallet.wallet_id, unsigned_transaction(transaction(5 * 10**18)))

    world.run(scenario, open_store(tmp_path))


def test_the_app_signs_no_more_often_than_was_approved(world: World, tmp_path: Path):
    from cosigner.evm import unsigned_transaction

    limits = Limits(max_per_call="1.1", total="1000", max_signatures=2, signatures_window="1h")
    wallet, made = approve(world, tmp_path, "ethereum", limits)
    (rule,) = json.loads(made.terms.rules)["rules"]
    assert rule["rateLimit"] == {"count": 2, "window": "3600s"}
    content, api_key = delivered(world)

    async def scenario(client: AsyncClient) -> None:
        async with await delegate(world, content, api_key) as bot:
            raw = unsigned_transaction(transaction(10**18))
            for _ in range(2):
                await bot.sign_evm_transaction(wallet.wallet_id, raw)
            with pytest.raises(EnclaveRefused) as caught:
                await bot.sign_evm_transaction(wallet.wallet_id, raw)
            assert caught.value.code == "policy_denied"
            assert "rate_limit_exceeded" in caught.value.message

    world.run(scenario, open_store(tmp_path))


def test_limits_without_a_number_of_signatures_are_the_rules_that_they_were():
    (rule,) = json.loads(LIMITS.rules("ethereum"))["rules"]
    assert set(rule) == {"name", "ruleType", "chain", "valueLimits"}


def test_limits_hold_at_every_path_together(world: World, tmp_path: Path):
    """A delegate has no other wallet's worth of limits below each derived address."""
    from cosigner.evm import unsigned_transaction

    wallet, _ = approve(world, tmp_path, "ethereum", Limits(max_per_call="1.1", total="2.5"))
    content, api_key = delivered(world)

    async def scenario(client: AsyncClient) -> None:
        async with await delegate(world, content, api_key) as bot:
            raw = unsigned_transaction(transaction(10**18))
            one = await bot.sign_evm_transaction(wallet.wallet_id, raw)
            two = await bot.sign_evm_transaction(wallet.wallet_id, raw, path=[44, 60, 7])
            senders = {Account.recover_transaction(signed.transaction) for signed in (one, two)}
            assert wallet.address in senders
            assert len(senders) == 2
            with pytest.raises(EnclaveRefused) as caught:
                await bot.sign_evm_transaction(wallet.wallet_id, raw, path=[44, 60, 8])
            assert caught.value.code == "policy_denied"

    world.run(scenario, open_store(tmp_path))


def test_the_users_old_share_is_worthless_and_a_revoked_delegate_stays_revoked(world: World, tmp_path: Path):
    wallet, made = approve(world, tmp_path, "ethereum")
    content, api_key = delivered(world)

    async def revoke(client: AsyncClient) -> None:
        assert (await client.enclave_wallet(wallet.wallet_id)).epoch == 2
        await client.revoke_delegation(wallet.wallet_id, made.terms.share_set_id)
        (found,) = await client.delegations(wallet.wallet_id)
        assert found.revoked_by == "user"

    async def refused(_: AsyncClient) -> None:
        async with await delegate(world, content, api_key) as bot:
            with pytest.raises(EnclaveRefused) as caught:
                await bot.wallet()
            assert caught.value.code == "delegation_refused"

    world.run(revoke, open_store(tmp_path))
    world.run(refused, open_store(tmp_path))
    world.restart()
    world.run(refused, open_store(tmp_path))


@pytest.mark.parametrize("lost", [False, True])
def test_a_delegation_that_was_not_committed_is_not_said_to_be_in_force(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
):
    """The last request is refused, or does not arrive: the user's new shares come to count all the same, and the delegation does not."""
    real = Actions.act

    async def act(self: Actions, request: Any, kind: Any, **more: Any) -> Any:
        if isinstance(request, CommitDelegation):
            if lost:
                raise HostError("host_unreachable", "down")
            raise EnclaveRefused(
                "developer_key_refused", "rotated", culprit=Culprit.CLIENT, reaction=Reaction.ABORT
            )
        return await real(self, request, kind, **more)

    monkeypatch.setattr(Actions, "act", act)

    async def scenario(client: AsyncClient) -> None:
        await configure(client)
        wallet = await client.create_wallet("ethereum")
        with pytest.raises(CosignerError) as caught:
            await client.approve_delegation(wallet.wallet_id, LIMITS)
        assert caught.value.code == "delegation_not_in_force"
        assert await client.delegations(wallet.wallet_id) == []
        signed = await client.sign_evm_message(wallet.wallet_id, b"gm")
        assert Account.recover_message(encode_defunct(b"gm"), signature=signed.signature) == wallet.address

    world.run(scenario, open_store(tmp_path))
    assert "wallet.delegation.created" not in {event.name for event in events(world)}


@pytest.mark.parametrize("settings", [None, dataclasses.replace])
def test_nothing_is_delegated_where_it_is_not_enabled(settings: Any, tmp_path: Path):
    import msgspec

    world = world_of(None if settings is None else msgspec.structs.replace(SETTINGS, enabled=False))

    async def scenario(client: AsyncClient) -> None:
        wallet = await client.create_wallet("ethereum")
        with pytest.raises(CosignerError) as caught:
            await client.approve_delegation(wallet.wallet_id, LIMITS)
        assert caught.value.code == "delegation_disabled"
        assert (await client.enclave_wallet(wallet.wallet_id)).epoch == 1

    world.run(scenario, open_store(tmp_path))
    assert not events(world)


@pytest.mark.parametrize(
    ("prompt", "required", "denied", "asked"),
    [
        (False, False, False, False),
        (True, False, False, True),
        (True, False, True, False),
        (False, True, False, True),
        (True, True, True, True),
    ],
)
def test_users_are_asked_on_sign_in_as_the_settings_say(
    prompt: bool, required: bool, denied: bool, asked: bool, tmp_path: Path
):
    import msgspec

    settings = msgspec.structs.replace(SETTINGS, prompt_users_on_sign_in=prompt, requires_delegation=required)
    world = world_of(settings)

    async def scenario(client: AsyncClient) -> None:
        await configure(client, settings)
        assert await client.delegation_prompt() is None  # no wallets yet
        wallets = [await client.create_wallet(chain) for chain in ("ethereum", "solana", "bitcoin")]
        await client.deny_delegation(denied=denied)
        ids = [wallet.wallet_id for wallet in wallets]
        found = await client.delegation_prompt()
        assert (found is not None) == asked
        if found is None:
            return
        assert (found.app, found.required, set(found.wallets)) == ("Trading bot", required, set(ids[:2]))
        made = await client.approve_delegation(ids[0], LIMITS)
        left = await client.delegation_prompt()
        assert left is not None
        assert left.wallets == (ids[1],)
        await client.delete_wallet(ids[1])
        assert await client.delegation_prompt() is None
        await client.revoke_delegation(ids[0], made.terms.share_set_id)
        again = await client.delegation_prompt()
        assert again is not None
        assert again.wallets == (ids[0],)

    world.run(scenario, open_store(tmp_path))


def test_the_app_that_the_user_was_asked_about_is_the_one_that_is_approved(world: World, tmp_path: Path):
    """Administrators rename it between the question and the answer."""

    async def scenario(client: AsyncClient) -> None:
        await configure(client)
        wallet = await client.create_wallet("ethereum")
        with pytest.raises(CosignerError) as caught:
            await client.approve_delegation(wallet.wallet_id, LIMITS, app="Your bank")
        assert caught.value.code == "terms_refused"
        assert await client.delegations(wallet.wallet_id) == []
        made = await client.approve_delegation(wallet.wallet_id, LIMITS, app="Trading bot")
        assert made.terms.app == "Trading bot"

    world.run(scenario, open_store(tmp_path))


def test_a_commit_that_is_refused_is_told_as_that_and_leaves_a_wallet_that_signs(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An administrator switches delegated access off between the ceremony and its commit."""
    import msgspec

    async def scenario(client: AsyncClient) -> None:
        await configure(client)
        wallet = await client.create_wallet("ethereum")
        preparing = client._preparing

        def interrupted(*arguments: Any) -> Any:
            prepare = preparing(*arguments)

            async def prepared(new: Any) -> None:
                await prepare(new)
                await configure(client, msgspec.structs.replace(SETTINGS, enabled=False))

            return prepared

        monkeypatch.setattr(client, "_preparing", interrupted)
        with pytest.raises(CosignerError, match="does not allow delegated access") as caught:
            await client.approve_delegation(wallet.wallet_id, LIMITS)
        assert caught.value.code == "delegation_not_in_force"
        assert await client.delegations(wallet.wallet_id) == []
        await client.sign_evm_message(wallet.wallet_id, b"still mine")

    world.run(scenario, open_store(tmp_path))
    assert not [event for event in events(world) if event.name == "wallet.delegation.created"]


def test_a_client_that_knows_the_administrators_wants_their_signatures(world: World, tmp_path: Path):
    """Settings of the manifest are measured; others carry approvals, and a client that pins the administrators looks at them."""
    from cosigner.delegation import settings
    from protocol.delegation import DelegationSettingsReply

    pem = DEVELOPER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    pinned = Administrators(quorum=1, keys=[AdministratorKey(name="ann", algorithm="rsa", public_key=pem)])
    settings.check(DelegationSettingsReply(SETTINGS, 0, [], denied=False), ENVIRONMENT, pinned)
    with pytest.raises(CosignerError) as caught:
        settings.check(DelegationSettingsReply(SETTINGS, 1, [], denied=False), ENVIRONMENT, pinned)
    assert caught.value.code == "settings_unapproved"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"secretShare": "AAAA"},
        {"pubkey": "00" * 33},
        {"walletId": "nobody"},
        {"secretShare": None},
    ],
)
def test_a_share_that_was_changed_is_refused(world: World, tmp_path: Path, change: dict[str, Any]):
    approve(world, tmp_path, "ethereum")
    content, _ = delivered(world)
    assert repr(DelegatedShare.parse(content)) == f"<DelegatedShare of wallet {content['walletId']}>"
    with pytest.raises(CosignerError) as caught:
        DelegatedShare.parse(content | change)
    assert caught.value.code == "delegated_share_malformed"


def test_settings_as_operators_write_them():
    _, key = new_encryption_key()
    wanted = DelegationSettings(
        enabled=True,
        prompt_users_on_sign_in=False,
        requires_delegation=False,
        app="Bot",
        endpoint="https://bot.example.com/",
        keys=[key],
    )
    assert settings_from(json.dumps(settings_json(wanted)).encode()) == wanted
    with pytest.raises(CosignerError) as caught:
        settings_from(b'{"enabled": true}')
    assert caught.value.code == "settings_malformed"


def test_limits_need_numbers_and_last_as_long_as_they_say(world: World, tmp_path: Path):
    async def scenario(client: AsyncClient) -> None:
        assert (await configure(client)).webhook_secret.startswith("whsec_")
        assert (await configure(client)).webhook_secret == ""
        wallet = await client.create_wallet("ethereum")
        made = await client.approve_delegation(wallet.wallet_id, LIMITS, lifetime=timedelta(hours=1))
        assert 0 < made.expires_at - made.created_at <= 3_600_000

    world.run(scenario, open_store(tmp_path))
