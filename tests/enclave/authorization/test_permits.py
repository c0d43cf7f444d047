"""A permit is good for one use of one wallet's share, and only the gate makes any."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
from pathlib import Path

import msgspec
import pytest

import enclave
from enclave import signing, wallets
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
    [Vault.create, OpenedWallet.release, signing.sign, signing.sign_ecdsa, wallets.begin_dkg],
    ids=lambda function: function.__qualname__,
)
def test_whatever_uses_a_share_takes_a_permit(function):
    parameter = inspect.signature(function).parameters["permit"]
    assert parameter.default is inspect.Parameter.empty
    assert parameter.annotation == "Permit"


def test_the_vault_hands_a_share_out_in_one_place():
    """``OpenedWallet`` keeps the share under a name that no other module of the enclave uses."""
    users = {
        path.name
        for path in Path(enclave.__file__).parent.rglob("*.py")
        if any(
            isinstance(node, ast.Attribute) and node.attr in {"_share", "open_share"}
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert users == {"vault.py"}


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
        other = msgspec.structs.replace(wallet, wallet_id=OTHER, share_set_id=OTHER)
        for bad in (good, permit()):
            with pytest.raises(PermitError):
                await vault.create(
                    bad, user.shares[wallet.wallet_id], other, creator=opened.creator, confirmation=bytes(32)
                )
        assert host.storage.records == before

    run(scenario)
