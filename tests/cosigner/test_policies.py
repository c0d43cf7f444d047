"""``cosigner policy``: decisions and policies as a person and a program see them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from eth_utils import to_checksum_address

from cosigner.cli import main as run_main
from cosigner.cli import policies
from policy import Usage, parse, policy_bytes, policy_hash
from policy.phrases import _CONDITIONS
from tests.cosigner.ceremonies import ceremony
from tests.cosigner.payloads import psbt, solana_message
from tests.cosigner.world import open_store
from tests.policy.builders import ALICE, BOB, MALLORY, USDC, calldata, document, rule
from threshold.payload import bitcoin_address

AT = ["--at", "2026-11-25T12:00:00Z"]
LIMITED = document(
    rule("small", valueLimit={"asset": "ETH", "maxPerCall": "2", "totalLimit": "3", "window": "24h"}),
    rule("large", valueLimit={"asset": "ETH", "maxPerCall": "9"}, requires={"factors": ["passkey"]}),
    rule("sanctions", "deny", payloads=["transaction"], addresses=[MALLORY]),
    rule("login", payloads=["message"], requires={"approvals": {"count": 1, "of": ["ann", "ben"]}}),
    rule("solana", chain="SVM"),
    rule("bitcoin", chain="BTC", valueLimit={"asset": "BTC", "maxPerCall": "0.01"}),
)


class Cli:
    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._path, self._capsys = tmp_path, capsys

    def file(self, name: str, content: Any) -> str:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (self._path / name).write_bytes(raw)
        return str(self._path / name)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        status = run_main(["policy", *arguments])
        shown = self._capsys.readouterr()
        return status, shown.out, shown.err

    def check(
        self, against: Any, *options: str, tree: Any = LIMITED, chain: str = "ethereum"
    ) -> tuple[int, str, str]:
        where = self.file("policy.json", tree)
        return self.run(
            "check", where, "--chain", chain, "--against", self.file("tx", against), *AT, *options
        )


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path, capsys)


def payment(to: str = ALICE, ether: int = 1, **members: Any) -> dict[str, Any]:
    return {
        "chainId": 1, "nonce": 0, "gas": 21_000, "gasPrice": 0, "to": to_checksum_address(to), "value": ether * 10**18,
        "data": "0x",
    } | members  # fmt: skip


def test_a_payment_that_is_allowed(cli):
    status, out, err = cli.check(payment())
    assert (status, err) == (0, "")
    assert out.startswith("ALLOW\n")
    assert "  + allow 'small' allows it\n" in out
    assert f"policy {policy_hash(parse(json.dumps(LIMITED).encode())).hex()}\n" in out
    assert out.endswith("at     2026-11-25T12:00:00Z\n")


def test_a_payment_that_is_denied_says_why(cli):
    status, out, _ = cli.check(payment(MALLORY))
    assert status == 1
    assert out.startswith(
        "DENY  A deny rule applies. [denied_by_rule]\n"
        "layer  environment\n"
        "rule   sanctions\n"
        "field  addresses: an address is listed [address_denied]\n"
        f"limit  {MALLORY}\n"
        f"asked  {MALLORY}\n"
    )


def test_the_closest_rule_is_named(cli):
    _, out, _ = cli.check(payment(ether=50))
    assert "rule   large (the closest)\n" in out
    assert "limit  9 ETH\nasked  50 ETH\n" in out


def test_what_is_missing_is_named_and_given(cli):
    status, out, _ = cli.check(payment(ether=5))
    assert (status, "needs  factor passkey\n" in out) == (1, True)
    assert cli.check(payment(ether=5), "--factor", "passkey")[0] == 0
    status, out, _ = cli.check(b"hello", "--kind", "message")
    assert (status, "needs  1 of ann, ben\n" in out) == (1, True)
    assert cli.check(b"hello", "--kind", "message", "--approved-by", "ben")[0] == 0


def test_a_rate_is_checked_against_what_was_used(cli, tmp_path):
    tree = document(rule("often", payloads=["message"], rateLimit={"count": 2, "window": "1h"}))
    usage = tmp_path / "usage.json"
    usage.write_bytes(Usage().encode())
    options = ("--kind", "message", "--usage", str(usage), "--save-usage", str(usage))
    assert [cli.check(b"hello", *options, tree=tree)[0] for _ in range(2)] == [0, 0]
    status, out, _ = cli.check(b"hello", *options, tree=tree)
    assert status == 1
    assert "[rate_limit_exceeded]\nlimit  2 times in 1 h\nasked  once more, with 2 used\n" in out


def test_usage_is_read_and_written(cli, tmp_path):
    usage = tmp_path / "usage.json"
    assert cli.check(payment(ether=2), "--save-usage", str(usage))[0] == 0
    status, out, _ = cli.check(
        payment(ether=2), "--usage", str(usage), "--save-usage", str(tmp_path / "none")
    )
    assert status == 1
    assert "valueLimit.totalLimit" in out
    assert "asked 2 ETH, with 2 ETH used" in out
    assert not (tmp_path / "none").exists()
    assert cli.check(payment(ether=1), "--usage", str(usage))[0] == 0
    late = ["--at", "2026-11-26T14:00:00Z"]
    assert cli.check(payment(ether=2), "--usage", str(usage), *late)[0] == 0
    assert Usage.decode(usage.read_bytes().strip()).counters


def test_the_tree_as_json(cli):
    status, out, _ = cli.check(payment(MALLORY), "--json")
    tree = json.loads(out)
    assert (status, tree["decision"], tree["code"]) == (1, "deny", "denied_by_rule")
    assert (tree["layer"], tree["rule"]) == ("environment", "sanctions")
    assert tree["finding"] == {
        "field": "addresses", "verdict": "yes", "code": "address_denied", "message": "an address is listed",
        "limit": MALLORY, "asked": MALLORY,
    }  # fmt: skip
    assert [layer["layer"] for layer in tree["layers"]] == ["environment", "account", "wallet", "signer"]
    assert len(tree["layers"][0]["rules"]) == 6
    _, out, _ = cli.check(payment(), "--json")
    assert json.loads(out)["charges"] == [
        {"layer": "environment", "rule": "small", "asset": "ETH", "window": 86400, "amount": str(10**18)}
    ]


def test_every_form_of_a_payload(cli):
    typed = {
        "types": {"Permit": [{"name": "spender", "type": "address"}]},
        "primaryType": "Permit",
        "domain": {"chainId": 1},
        "message": {"spender": ALICE},
    }
    tree = document(rule(typedData=[{"primaryType": "Permit"}]))
    assert cli.check(typed, "--kind", "typed-data", tree=tree)[0] == 0
    address = "9An8VkXwkSf6wbairDwYwRFcYyFSHp8ECni45AJandvu"
    status, out, _ = cli.check(solana_message(address), chain="solana")
    assert (status, out.endswith("note   the fee payer was taken for the wallet\n")) == (0, True)
    key = "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    spend = psbt(bitcoin_address(bytes.fromhex(key), "mainnet"))
    assert cli.check(spend, "--public-key", key, chain="bitcoin")[0] == 0
    assert "public_key_missing" in cli.check(spend, chain="bitcoin")[2]


def test_a_wallet_of_this_device_gives_key_and_network(cli, tmp_path):
    """The header of its share file is enough: no passphrase."""
    made = ceremony("bitcoin")
    (tmp_path / "shares").mkdir()
    store = open_store(tmp_path / "shares")
    store.save_pending("sandbox", made.state, made.wallet)
    store.activate(made.wallet.wallet_id, made.confirmations)
    wallet = ["--wallet", made.wallet.wallet_id, "--store", str(tmp_path / "shares")]
    address = bitcoin_address(made.wallet.public_key, made.wallet.network)
    tree = document(
        rule(chain="BTC", networks=[made.wallet.network], valueLimit={"asset": "BTC", "maxPerCall": "0.0006"})
    )
    assert cli.check(psbt(address), *wallet, chain="bitcoin", tree=tree)[0] == 0
    assert cli.check(psbt(address, inputs=2), *wallet, chain="bitcoin", tree=tree)[0] == 1
    other = cli.check(payment(), *wallet)
    assert (other[0], "This is a wallet for bitcoin." in other[2]) == (2, True)


def test_another_operation_needs_no_payload(cli):
    where = cli.file(
        "policy.json", document(rule(operations=["export"], operationRestrictions={"blockExport": True}))
    )
    status, out, _ = cli.run("check", where, "--chain", "ethereum", "--operation", "export")
    assert status == 1
    assert "[operation_blocked]" in out


@pytest.mark.parametrize(
    ("against", "options", "tree", "code"),
    [
        (payment(), (), {"version": 2}, "policy_value"),
        (payment(), (), b"{", "policy_malformed"),
        (b"no payload", (), LIMITED, "input_malformed"),
        (b"\xff\xff", (), LIMITED, "input_malformed"),
        (b"0x00", (), LIMITED, "evm_type_unsupported"),
        (payment(), ("--usage", "/dev/null"), LIMITED, "usage_malformed"),
        (payment(), ("--operation", "export"), LIMITED, "usage"),
        (payment(), ("--save-usage", "/no/such/place"), LIMITED, "output_unwritable"),
        (payment(), ("--wallet", "00000000-0000-4000-8000-000000000000", "--store", "/nonexistent"), LIMITED, "wallet_missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_no_denial(cli, against, options, tree, code):
    status, out, err = cli.check(against, *options, tree=tree)
    assert (status, out) == (2, "")
    assert f"code {code}," in err
    status, out, _ = cli.check(against, *options, "--json", tree=tree)
    assert status == 2
    assert json.loads(out)["error"]["code"] == code


def test_signing_needs_a_payload_and_a_chain_that_signs_it(cli):
    where = cli.file("policy.json", LIMITED)
    assert cli.run("check", where, "--chain", "ethereum")[0] == 2
    assert cli.check(b"x", "--kind", "message", chain="solana")[0] == 2
    for arguments in (
        ["check", where],
        ["check", where, "--chain", "dogecoin"],
        ["check", where, "--chain", "solana", "--at", "noon"],
    ):
        with pytest.raises(SystemExit) as caught:
            cli.run(*arguments)
        assert caught.value.code == 2


def test_a_policy_in_words(cli):
    tree = document(
        rule("pay", "allow", ruleId="p-1", chainIds=[1], addresses=[ALICE, BOB], hours=[{"days": ["mon", "fri"], "from": "09:00", "until": "17:00"}],
             valueLimits=[{"asset": "USDC", "maxPerCall": "1000", "totalLimit": "2500", "window": "7d"}],
             notBefore="2026-01-01T00:00:00Z", notAfter="2027-01-01T00:00:00Z"),
        wallet=[rule("stop", "deny", cautious=False, blind=["evm.call"], operationRestrictions={"blockExport": True})],
    )  # fmt: skip
    where = cli.file("policy.json", tree)
    status, out, _ = cli.run("show", where)
    assert status == 0
    for line in (
        "  layers that may be absent: account, signer",
        "  ALLOW pay (p-1)",
        "        chain: EVM, chain ids 1",
        f"        addresses: only to {ALICE}, {BOB}",
        "        at most 1000 USDC in one call",
        "        at most 2500 USDC in 7 d",
        "        no other asset may move; fees count",
        "        hours: mon fri 09:00-17:00 UTC",
        "        from 2026-01-01T00:00:00Z",
        "        until 2027-01-01T00:00:00Z",
        "  No rule allows anything, so this layer denies everything.",
        "  DENY  stop",
        "        if it has any of: evm.call",
        "        blocks export",
        "        does not apply to what cannot be seen",
    ):
        assert line + "\n" in out
    canonical = policy_bytes(parse(json.dumps(tree).encode())).decode()
    assert cli.run("show", where, "--canonical")[1] == canonical + "\n"
    shown = json.loads(cli.run("show", where, "--json")[1])
    assert shown["canonical"] == canonical
    assert shown["policy"] == policy_hash(parse(canonical.encode())).hex()
    assert set(shown["layers"]) == {"environment", "wallet"}


def test_every_code_of_a_condition_has_words():
    from policy import conditions, evaluation

    found = set()
    for module in (conditions, evaluation):
        source = Path(module.__file__).read_text()
        found |= {code for code in _CONDITIONS if f'"{code}"' in source}
    assert found == set(_CONDITIONS)


def test_moments():
    assert policies.moment("2026-11-25T12:00:00Z") == 1_795_608_000
    assert policies.moment("1795608000") == 1_795_608_000
    for text in ("", "noon", "-5", "2026-11-25", "1" * 12):
        with pytest.raises(ValueError):
            policies.moment(text)


def test_calls_are_decoded_as_the_enclave_would(cli):
    data = calldata("transfer(address,uint256)", MALLORY, 5)
    status, out, _ = cli.check(payment(USDC, 0, data="0x" + data.hex()))
    assert (status, f"asked  {MALLORY}\n" in out) == (1, True)


def test_the_readmes_policy_allows_the_readmes_payment(cli):
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (tree,) = re.findall(r"^```json policy\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (transaction,) = re.findall(r"^```json\n(\{\n  \"type\": 2.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert cli.check(transaction.encode(), tree=json.loads(tree))[0] == 0
    larger = json.loads(transaction) | {"value": 10**16}
    assert cli.check(larger, tree=json.loads(tree))[0] == 1
