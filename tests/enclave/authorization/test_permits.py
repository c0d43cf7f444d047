"""A permit is good for what one request does with one wallet's shares, and only the gate makes any."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
from functools import partial
from pathlib import Path

import msgspec
import pytest

import enclave
from enclave import exports, reshares, signing, wallets
from enclave.authorization import permits
from enclave.authorization.permits import Permit, PermitError, grant
from enclave.vault import OpenedWallet, Vault
from tests.support.door import User
from tests.support.world import Host, run

WALLET = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER = "1f8fad5b-d9cb-469f-a165-70867728950e"


def permit() -> Permit:
    return grant(environment="sandbox", operation="sign", wallet_id=WALLET)


def test_a_permit_is_good_once():
    one = permit()
    one.spend(environment="sandbox", wallet_id=WALLET)
    with pytest.raises(PermitError, match="used before"):
        one.spend(environment="sandbox", wallet_id=WALLET)


def test_a_permit_of_several_uses_is_good_for_that_many_and_a_wrong_one_takes_them_all():
    one = grant(environment="sandbox", operation="reshare_begin", wallet_id=WALLET, uses=2)
    for _ in range(2):
        one.spend(environment="sandbox", wallet_id=WALLET)
    with pytest.raises(PermitError, match="used before"):
        one.spend(environment="sandbox", wallet_id=WALLET)
    other = grant(environment="sandbox", operation="reshare_begin", wallet_id=WALLET, uses=2)
    with pytest.raises(PermitError, match="another wallet"):
        other.spend(environment="sandbox", wallet_id=OTHER)
    with pytest.raises(PermitError, match="used before"):
        other.spend(environment="sandbox", wallet_id=WALLET)


@pytest.mark.parametrize(("environment", "wallet_id"), [("live", WALLET), ("sandbox", OTHER)])
def test_a_permit_is_good_for_its_wallet_alone_and_a_wrong_use_spends_it(environment, wallet_id):
    one = permit()
    with pytest.raises(PermitError, match="another wallet"):
        one.spend(environment=environment, wallet_id=wallet_id)
    with pytest.raises(PermitError, match="used before"):
        one.spend(environment="sandbox", wallet_id=WALLET)


def test_nobody_else_makes_a_permit():
    with pytest.raises(PermitError):
        Permit(object(), environment="sandbox", operation="sign", wallet_id=WALLET)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_permit_cannot_be_copied(duplicate):
    with pytest.raises(PermitError):
        duplicate(permit())


def test_only_the_gate_imports_what_makes_permits():
    """Everything else of the enclave knows permits as a type at most."""
    makers = {"grant", "_MADE_HERE"}
    found = set()
    for path in sorted(Path(enclave.__file__).parent.rglob("*.py")):
        if path == Path(permits.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
            if (
                isinstance(node, ast.ImportFrom)
                and (node.module or "").endswith("permits")
                and names & makers
            ):
                found.add(path.name)
            if isinstance(node, ast.Attribute) and node.attr in makers:
                found.add(path.name)
    assert found == {"gate.py"}


@pytest.mark.parametrize(
    "function",
    [
        Vault.create,
        Vault.keep_pending,
        Vault.commit,
        Vault.abort,
        Vault.retire,
        OpenedWallet.release,
        signing.sign,
        signing.sign_ecdsa,
        wallets.begin_dkg,
        reshares.begin_reshare,
        exports.export_share,
    ],
    ids=lambda function: function.__qualname__,
)
def test_whatever_uses_a_share_takes_a_permit(function):
    parameter = inspect.signature(function).parameters["permit"]
    assert parameter.default is inspect.Parameter.empty
    assert parameter.annotation == "Permit"


@pytest.mark.parametrize(
    ("names", "users"),
    [
        ({"_share", "_pending_share"}, {"vault/opened.py"}),
        ({"both_shares"}, {"vault/vault.py"}),
        ({"open_share", "open_reshare"}, {"vault/forms.py", "vault/version1.py"}),
    ],
)
def test_the_vault_hands_a_share_out_in_one_place(names, users):
    """``OpenedWallet`` keeps shares under names that nothing outside the vault uses."""
    root = Path(enclave.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if any(
            isinstance(node, ast.Attribute) and node.attr in names
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert found == users


def test_the_vault_takes_each_permit_once_and_for_its_own_wallet_alone():
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = await User.log_in(host)
        wallet = await user.create()
        vault = host.enclave.environments.in_service("sandbox")._rooms.vault
        opened = await vault.open(wallet.wallet_id)
        good = grant(environment="sandbox", operation="sign", wallet_id=wallet.wallet_id)
        assert opened.release(good).group_public_key == wallet.public_key
        elsewhere = grant(environment="live", operation="sign", wallet_id=wallet.wallet_id)
        for bad in (good, permit(), elsewhere):
            with pytest.raises(PermitError):
                opened.release(bad)
        before = dict(host.storage.records)
        for change in (vault.commit, partial(vault.abort, now_ms=0), partial(vault.retire, now_ms=0)):
            for bad in (good, permit(), elsewhere):
                with pytest.raises(PermitError):
                    await change(bad, opened)
        other = msgspec.structs.replace(wallet, wallet_id=OTHER, share_set_id=OTHER)
        for bad in (good, permit()):
            with pytest.raises(PermitError):
                await vault.create(
                    bad,
                    user.shares[wallet.wallet_id],
                    other,
                    creator=opened.creator,
                    confirmation=bytes(32),
                    made_at=0,
                )
        assert host.storage.records == before

    run(scenario)
