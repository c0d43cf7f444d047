"""Layers and approvals by command, over real sockets."""

from __future__ import annotations

import json

import pytest

from cosigner.evm import unsigned_transaction
from simulator import stack
from simulator.sandbox import ADMINISTRATOR, ADMINISTRATOR_KEY, RULES
from tests.e2e.test_walkthroughs import Device

ETHER = 10**18


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stack")
    with (
        (directory / "log").open("ab") as log,
        stack.running(directory / "state", log=log.fileno()) as started,
    ):
        yield started


def transaction(wei: int) -> bytes:
    fields = {
        "type": 2,
        "chainId": 1,
        "nonce": 0,
        "to": "0x000000000000000000000000000000000000dEaD",
        "value": wei,
        "gas": 21_000,
        "maxFeePerGas": 10**9,
        "maxPriorityFeePerGas": 1,
        "data": "0x",
    }
    return unsigned_transaction(fields).hex().encode()


def test_a_wallets_own_rules_narrow_what_it_signs_and_say_why(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    laptop("login", "--as", "careful")
    wallet = laptop("wallet", "create", "--chain", "ethereum")["wallet_id"]
    here = ["--layer", "wallet", "--subject", wallet]
    assert laptop("policy", "get", *here)["version"] == 0
    spoken = laptop._shell.unlocked("policy", "get", *here)
    assert "no layer is in force" in spoken.out
    rules = [
        {
            "name": "pennies",
            "ruleType": "allow",
            "chain": "EVM",
            "valueLimit": {"asset": "ETH", "maxPerCall": "0.001"},
        }
    ]
    operations = {"name": "rules", "ruleType": "allow", "operations": ["policy"]}
    layer = {"version": 1, "layer": "wallet", "rules": [*rules, operations]}
    assert laptop("policy", "set", *here, laptop.file("layer.json", json.dumps(layer)))["version"] == 1
    pay = ["sign", "evm", "tx", "--wallet", wallet]
    assert laptop(*pay, laptop.file("little", transaction(ETHER // 10_000)))
    ran = laptop.run(*pay, laptop.file("more", transaction(ETHER // 100)))
    assert ran.error["code"] == "policy_denied"
    assert "pennies" in ran.error["message"]
    assert "pennies" in laptop._shell.unlocked("policy", "get", *here).out
    assert laptop("policy", "set", *here, "--remove")["hash"] == "00" * 32
    assert laptop(*pay, laptop.file("more", transaction(ETHER // 100)))
    assert laptop.refused("policy", "set", *here, laptop.file("bad", "{}")).startswith("policy_")


def test_a_registered_key_is_asked_for_larger_payments(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    laptop("login", "--as", "rich")
    laptop("credential", "add", "--name", "laptop", *laptop.new_key("key"))
    wallet = laptop("wallet", "create", "--chain", "ethereum")["wallet_id"]
    pay = ["sign", "evm", "tx", "--wallet", wallet, laptop.file("payment", transaction(ETHER))]
    ran = laptop.run(*pay)
    assert ran.error["code"] == "factor_required"
    assert "--key FILE" in ran.error["message"]
    assert laptop(*pay, *laptop.key("key"))["transaction"]
    wrong = ["--key", laptop.key("key")[1], "--key-passphrase-file", laptop.file("wrong", "wrong")]
    assert laptop.refused(*pay, *wrong) == "key_passphrase_wrong"


def test_an_approved_payment_is_signed_once(running, tmp_path):
    asker, approver = Device(running, tmp_path / "asker"), Device(running, tmp_path / "approver")
    asker("login", "--as", "asker")
    boss = approver("login", "--as", "approver")["user_id"]
    approver("credential", "add", "--name", "key", *approver.new_key("key"))
    wallet = asker("wallet", "create", "--chain", "ethereum")["wallet_id"]
    requires = {"approvals": {"count": 1, "of": [f"user:{boss}"]}}
    rules = [
        {"name": "with approval", "ruleType": "allow", "chain": "EVM", "requires": requires},
        {"name": "rules", "ruleType": "allow", "operations": ["policy"]},
    ]
    layer = {"version": 1, "layer": "wallet", "rules": rules}
    asker("policy", "set", "--layer", "wallet", "--subject", wallet, asker.file("layer", json.dumps(layer)))
    payment = transaction(ETHER // 1000)
    pay = ["sign", "evm", "tx", "--wallet", wallet, asker.file("payment", payment)]
    assert asker.refused(*pay) == "approval_required"
    out = tmp_path / "approval"
    approved = approver(
        "approve",
        "signing",
        approver.file("payment", payment),
        "--wallet",
        wallet,
        "--chain",
        "ethereum",
        "--out",
        str(out),
        *approver.key("key"),
    )
    assert approved["approver"] == f"user:{boss}"
    assert asker(*pay, "--approval", str(out))["transaction"]
    assert asker.refused(*pay, "--approval", str(out)) == "action_replayed"
    assert asker.refused(*pay, "--approval", asker.file("junk", b"junk")) == "approval_malformed"


def test_administrators_replace_the_environments_rules(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    laptop("login", "--as", "somebody")
    before = laptop("policy", "get", "--layer", "environment")
    rules = [
        *RULES,
        {"name": "never there", "ruleType": "deny", "chain": "EVM", "addresses": ["0x" + "66" * 20]},
    ]
    layer = {
        "version": 1,
        "layer": "environment",
        "optionalLayers": ["account", "wallet", "signer"],
        "rules": rules,
    }
    file = laptop.file("environment.json", json.dumps(layer))
    replace = ["policy", "set", "--layer", "environment", file]
    assert laptop.refused(*replace) == "approval_required"
    out = tmp_path / "approval"
    laptop(
        "approve",
        "policy",
        file,
        "--layer",
        "environment",
        "--replaces",
        before["hash"],
        "--out",
        str(out),
        "--administrator",
        ADMINISTRATOR,
        "--key",
        str(running.state / ADMINISTRATOR_KEY),
    )
    after = laptop(*replace, "--approval", str(out))
    assert after["version"] == before["version"] + 1
    assert "never there" in after["content"]


def test_a_wallet_is_not_handed_over_by_accident_or_by_its_user(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    user = laptop("login", "--as", "generous")["user_id"]
    wallet = laptop("wallet", "create", "--chain", "solana")["wallet_id"]
    assert laptop.refused("wallet", "hand-over", wallet, "--to", user) == "confirmation_missing"
    assert laptop.refused("wallet", "hand-over", wallet, "--to", user, "--yes") == "hand_over_final"


def test_what_is_printed_for_a_person(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    shell = laptop._shell
    first = shell.unlocked("login", "--as", "reader")
    assert first.out.startswith("Logged in for the first time")
    laptop("credential", "add", "--name", "laptop", *laptop.new_key("key"))
    laptop("credential", "rename", "laptop", "--name", "old laptop", *laptop.key("key"))
    for command, words in (
        (["whoami"], ["user ", "old laptop", "second factor", "recovery key"]),
        (["session", "list"], ["session key", "this device"]),
        (["credential", "list"], ["key", "active", "old laptop"]),
    ):
        ran = shell.unlocked(*command)
        assert (ran.code, ran.err) == (0, "")
        assert all(word in ran.out for word in words), ran.out
    assert "Logged out" in shell.unlocked("logout").out
    ran = shell.unlocked("whoami")
    assert ran.code == 1
    assert "cosigner login" in ran.err
    expired = laptop.file("token", "not a token")
    assert laptop.refused("login", "--token", expired) == "jwt_invalid"
