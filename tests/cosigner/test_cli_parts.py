"""The parts of the command: inputs, output, and how errors become exit codes. Nothing is started here."""

import asyncio
import base64
import getpass
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from cosigner.backups.files import seal_offline
from cosigner.cli import commands, delegations, describe, inputs
from cosigner.cli import main as run_main
from cosigner.cli.main import _parser
from cosigner.cli.output import Output
from cosigner.delegation import Limits
from cosigner.errors import CosignerError, StoreError
from cosigner.evm import unsigned_transaction
from cosigner.store import ShareStore
from policy import PolicyError
from protocol.envelope.errors import Culprit, Reaction
from tests.cosigner.ceremonies import ceremony
from tests.cosigner.payloads import psbt, solana_message
from threshold import PayloadError, ThresholdError
from threshold.payload import evm_transaction_inspect

MESSAGE = solana_message("9An8VkXwkSf6wbairDwYwRFcYyFSHp8ECni45AJandvu")
PSBT = psbt("bc1p6uedqg6eyt0l44y4l7ypl5phfzywm0yszy8mre339sw5fwp3wvnsan0ct2")


# --- inputs ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        MESSAGE,
        MESSAGE.hex().encode(),
        MESSAGE.hex().upper().encode() + b"\n",
        base64.b64encode(MESSAGE),
        base64.encodebytes(MESSAGE),
        b"\n  " + base64.b64encode(MESSAGE) + b"\r\n",
    ],
    ids=["binary", "hex", "HEX", "base64", "wrapped base64", "base64 with space"],
)
def test_a_solana_message_is_read_in_every_form(content: bytes) -> None:
    assert inputs.solana_message_from(content) == MESSAGE


@pytest.mark.parametrize("content", [PSBT, base64.b64encode(PSBT), base64.encodebytes(PSBT)])
def test_a_psbt_is_read_in_every_form(content: bytes) -> None:
    assert inputs.psbt_from(content) == PSBT


@pytest.mark.parametrize("content", [b"not base64!", b"====", b"abc", b"a b c d e"])
def test_text_that_is_neither_is_refused(content: bytes) -> None:
    for parser in (inputs.solana_message_from, inputs.psbt_from):
        with pytest.raises(CosignerError) as caught:
            parser(content)
        assert (caught.value.code, caught.value.culprit) == ("input_malformed", Culprit.CLIENT)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for parser in (inputs.solana_message_from, inputs.psbt_from):
        try:
            assert isinstance(parser(content), bytes)
        except CosignerError as error:
            code = error.code
        else:
            code = None
        assert code in {None, "input_malformed"}


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    assert len(inputs.read_file(path)) == 1 << 20
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(CosignerError) as caught:
        inputs.read_file(path)
    assert caught.value.code == "input_too_large"


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CosignerError, match=str(tmp_path)) as caught:
        inputs.read_file(tmp_path / name)
    assert caught.value.code == "input_unreadable"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """A person at a terminal; returns what they were asked."""
    asked: list[str] = []
    replies = iter(answers)

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return next(replies)

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", ask)
    return asked


def test_a_new_passphrase_is_asked_for_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(monkeypatch, "päss", "päss")
    assert inputs.passphrase_for(tmp_path, None, create=True) == "päss".encode()
    assert len(asked) == 2
    assert str(tmp_path) in asked[0]


def test_two_different_passphrases_make_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "one", "two")
    with pytest.raises(StoreError) as caught:
        inputs.passphrase_for(tmp_path, None, create=True)
    assert caught.value.code == "passphrase_mismatch"
    assert list(tmp_path.iterdir()) == []


def test_a_known_passphrase_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ShareStore.create(tmp_path, b"one")
    asked = typed(monkeypatch, "one")
    assert inputs.passphrase_for(tmp_path, None, create=False) == b"one"
    assert len(asked) == 1
    assert isinstance(inputs.open_store(tmp_path, b"one"), ShareStore)


def test_a_passphrase_file_may_end_with_a_line_break_and_is_otherwise_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    for content, passphrase in (
        (b"one\n", b"one"),
        (b"one\r\n", b"one"),
        (b" one \n", b" one "),
        (b"\xff\x00", b"\xff\x00"),
    ):
        file.write_bytes(content)
        assert inputs.passphrase_for(tmp_path, file, create=True) == passphrase


def test_where_there_is_no_store_and_none_is_to_be_made_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = typed(monkeypatch)
    with pytest.raises(StoreError) as caught:
        inputs.passphrase_for(tmp_path, None, create=False)
    assert caught.value.code == "store_missing"
    assert asked == []


# --- output ----------------------------------------------------------------------------------------------------------------------


def test_a_step_is_shown_only_when_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output(as_json=True)
    with output.step("Quick"):
        pass
    monkeypatch.setattr("cosigner.cli.output._SILENCE", 0.001)
    with output.step("Slow"):
        time.sleep(0.05)
    shown = capsys.readouterr()
    assert shown.out == ""  # standard output is for the JSON object alone
    assert "Slow" in shown.err
    assert "Quick" not in shown.err


def test_a_step_that_fails_lets_its_error_through() -> None:
    with pytest.raises(ZeroDivisionError), Output(as_json=False).step("Failing"):
        raise ZeroDivisionError


def test_bytes_in_summaries_become_hexadecimal_all_the_way_down() -> None:
    value = {"a": b"\x01", "b": [b"\x02", {"c": (b"\x03", None, 4, "text")}]}
    assert describe.jsonable(value) == {"a": "01", "b": ["02", {"c": ["03", None, 4, "text"]}]}


# --- errors and exit codes ---------------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, failure: BaseException | None, *flags: str) -> int:
    async def command(*_: object) -> None:
        if failure is not None:
            raise failure

    monkeypatch.setattr(commands, "attest", command)
    return run_main(["attest", *flags])


ERRORS: list[tuple[Exception, dict[str, Any]]] = [
    (
        CosignerError("wallet_pending", "Wait.", culprit=Culprit.HOST, reaction=Reaction.RETRY),
        {"code": "wallet_pending", "culprit": "host", "reaction": "retry"},
    ),
    (
        PayloadError("psbt_malformed", "No.", "inputs[0]"),
        {"code": "psbt_malformed", "culprit": "client", "reaction": "abort"},
    ),
    (
        PolicyError("policy_value", "No.", "rules[0].rateLimit.window"),
        {"code": "policy_value", "culprit": "client", "reaction": "abort"},
    ),
    (
        ThresholdError("invalid_signature_share", 2, "abort", "No."),
        {"code": "invalid_signature_share", "culprit": "enclave", "reaction": "abort"},
    ),
]


@pytest.mark.parametrize(("failure", "expected"), ERRORS, ids=lambda value: getattr(value, "code", ""))
def test_every_kind_of_error_exits_with_one_and_says_its_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: Exception,
    expected: dict[str, Any],
) -> None:
    assert run(monkeypatch, failure) == 1
    spoken = capsys.readouterr()
    assert spoken.out == ""
    assert expected["code"] in spoken.err
    assert expected["culprit"] in spoken.err
    assert run(monkeypatch, failure, "--json") == 1
    printed = capsys.readouterr()
    assert printed.err == ""
    error = json.loads(printed.out)["error"]
    assert {name: error[name] for name in expected} == expected


def test_done_exits_with_zero_and_interrupted_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, None) == 0
    assert run(monkeypatch, KeyboardInterrupt()) == 130
    assert "interrupted" in capsys.readouterr().err


def test_what_nobody_foresaw_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, ZeroDivisionError())


def test_commands_are_coroutines_that_take_options_and_output() -> None:
    assert all(
        asyncio.iscoroutinefunction(getattr(commands, name))
        for name in (
            "attest",
            "audit_rebuild",
            "wallet_create",
            "wallet_list",
            "wallet_show",
            "wallet_address",
            "sign_solana",
            "sign_bitcoin",
            "sign_evm_transaction",
            "sign_evm_message",
            "sign_evm_typed_data",
            "demo",
        )
    )


def test_options_are_not_abbreviated_so_that_no_passphrase_is_taken_from_the_arguments() -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["wallet", "create", "--chain", "solana", "--passphrase", "hunter2"])


def test_a_number_of_signatures_is_one_of_a_delegations_limits() -> None:
    spending = ["delegate", "approve", "w", "--max-per-call", "1", "--total", "2"]
    given = _parser().parse_args([*spending, "--max-signatures", "10", "--signatures-window", "1h"])
    limits = delegations._limits(given)
    assert limits == Limits("1", "2", "24h", [], [], 10, "1h")
    assert isinstance(limits, Limits)
    (rule,) = json.loads(limits.rules("ethereum"))["rules"]
    assert rule["rateLimit"] == {"count": 10, "window": "3600s"}
    assert delegations._limits(_parser().parse_args(spending)) == Limits("1", "2", "24h", [], [])
    both = ["delegate", "approve", "w", "--rules", "FILE", "--max-signatures", "10"]
    with pytest.raises(CosignerError) as caught:
        delegations._limits(_parser().parse_args(both))
    assert caught.value.code == "usage"


def test_token_transfers_are_described() -> None:
    entry = {
        "program": "Token",
        "accounts": ["a"],
        "data": b"x",
        "kind": "spl-token.transferChecked",
        "source": "SOURCE",
        "destination": "DESTINATION",
        "amount": 5,
        "mint": "MINT",
    }
    assert (
        describe._instruction(entry)
        == "spl-token.transferChecked: 5 base units of MINT from SOURCE to DESTINATION"
    )


# --- EVM ---------------------------------------------------------------------------------------------------------------------------

TRANSACTION = {"chainId": 1, "nonce": 0, "gas": 21000, "gasPrice": "0x7", "to": "0x" + "35" * 20}
UNSIGNED = unsigned_transaction(TRANSACTION)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(TRANSACTION),
        json.dumps(TRANSACTION, indent=4) + "\n",
        UNSIGNED.hex(),
        "0x" + UNSIGNED.hex(),
        f"\n 0x{UNSIGNED.hex().upper()} \r\n",
    ],
    ids=["JSON", "indented", "hexadecimal", "0x", "0X with space"],
)
def test_an_evm_transaction_is_read_in_every_form(content: str) -> None:
    assert inputs.evm_transaction_from(content.encode()) == UNSIGNED


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"0xabc",
        b"0x0x",
        b"null",
        b"5.0",
        b"[]",
        b'"0x00"',
        b'{"nonce": 1',
        b'{"nonce": 1, "nonce": 1}',
        b'{"accessList": [{"address": 1, "address": 2}]}',
        b'{"nonce": ' + b"9" * 5000 + b"}",
        b"\xff\xfe",
        b"[" * (1 << 20),
        b'{"a":' * 100_000,
        b'[{"a":' * 100_000,
    ],
    ids=lambda content: content[:12].decode("latin-1"),
)
def test_what_is_no_transaction_is_malformed(content: bytes) -> None:
    with pytest.raises(CosignerError) as caught:
        inputs.evm_transaction_from(content)
    assert (caught.value.code, caught.value.culprit) == ("input_malformed", Culprit.CLIENT)


def test_the_greatest_access_list_is_read() -> None:
    """More brackets than any other transaction has."""
    access = [{"address": "0x" + "35" * 20, "storageKeys": []}] * 5_400
    unsigned = inputs.evm_transaction_from(json.dumps({**TRANSACTION, "accessList": access}).encode())
    assert 120_000 < len(unsigned) <= 128 << 10
    assert len(evm_transaction_inspect(unsigned)["access_list"]) == 5_400


@pytest.mark.parametrize("content", [b'{"nonce": NaN}', b'{"nonce": Infinity}', b'{"\\ud800": 1}', b"{}"])
def test_a_transaction_with_a_wrong_field_is_refused_by_the_field(content: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        inputs.evm_transaction_from(content)
    assert (caught.value.code, caught.value.field is None) == ("evm_transaction_field", False)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0", (0,)),
        ("m/0/5", (0, 5)),
        ("0/5", (0, 5)),
        ("2147483647", (2**31 - 1,)),
        ("1/" * 20 + "1", (1,) * 21),
    ],
)
def test_a_path_is_read_with_or_without_its_root(text: str, path: tuple[int, ...]) -> None:
    assert inputs.derivation_path(text) == path


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_none(text: str) -> None:
    try:
        path = inputs.derivation_path(text)
    except ValueError:
        return
    assert path
    assert all(0 <= index < 1 << 31 for index in path)
    assert inputs.derivation_path("/".join(map(str, path))) == path


# --- what cannot be undone --------------------------------------------------------------------------------------------------------


def test_a_key_is_put_together_after_plain_warnings_also_where_nobody_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ShareStore.create(tmp_path / "store", b"passphrase")
    made = ceremony("ethereum")
    store.save_pending("sandbox", made.state, made.wallet)
    store.activate(made.wallet.wallet_id, made.confirmations)
    share, passphrase = tmp_path / "share", tmp_path / "passphrase"
    share.write_bytes(
        seal_offline(made.enclave_share, made.wallet, environment="sandbox", passphrase=b"passphrase")
    )
    passphrase.write_bytes(b"passphrase")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    command = [
        *("recover-offline", "--store", str(tmp_path / "store"), "--passphrase-file", str(passphrase)),
        *("--wallet", made.wallet.wallet_id, "--share-file", str(share)),
        *("--share-passphrase-file", str(passphrase), "--out", "-"),
    ]
    assert run_main(command) != 0
    told = capsys.readouterr()
    assert "whole private key into one place" in told.err
    assert run_main([*command, "--yes-i-understand", "--json"]) == 0
    told = capsys.readouterr()
    assert "whole private key into one place" in told.err
    assert Account.from_key(json.loads(told.out)["key"]).address == json.loads(told.out)["address"]
