"""The documents and the code agree: formats followed by another implementation, tables compared with the source."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.threshold.ceremonies import CONTEXT, SUITES, Run, sign
from tests.threshold.reference import GROUPS, multiply, onlooker, open_record
from threshold import SealingKey, Suite

ROOT = Path(__file__).parents[2]
KEY = bytes(range(1, 33))


def unsealed(record: bytes, associated_data: bytes = b"") -> bytes:
    key, nonce, header, ciphertext = open_record(record, KEY)
    return AESGCM(key).decrypt(nonce, ciphertext, header + associated_data)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("t", "n"), [(2, 2), (2, 3), (3, 4)])
def test_key_generation_is_the_documented_one(suite: Suite, t: int, n: int) -> None:
    run = Run(suite, t, n)
    shares = run.shares()
    expected = onlooker(suite, t, CONTEXT, run.messages1, run.outgoing)
    assert run.confirmations == expected.confirmations
    group = GROUPS[suite]
    for i, share in shares.items():
        assert share.group_public_key == expected.public
        assert share.verifying_shares == expected.verifying
        assert share.chain_code == expected.chain_code
        plaintext = unsealed(SealingKey.from_data_key(KEY).seal_share(share, b""))
        header = bytes([1, group.tag]) + b"".join(value.to_bytes(2, "big") for value in (i, t, n))
        points = share.group_public_key + b"".join(share.verifying_shares.values())
        assert plaintext[:-32] == header + b"\0\0\0\1" + share.chain_code + points
        # The scalar is a sum of sub-shares, of which this participant's own is known only to itself.
        scalar = group.scalar(plaintext[-32:])
        assert group.encode(multiply(group, scalar, group.generator)) == share.verifying_shares[i]


@pytest.mark.parametrize("suite", SUITES)
def test_sub_shares_add_up_as_documented(suite: Suite) -> None:
    """In a run of two, participant 1's share less the sub-share from 2 is on participant 1's own polynomial."""
    run = Run(suite)
    shares = run.shares()
    result = onlooker(suite, 2, CONTEXT, run.messages1, run.outgoing)
    group = GROUPS[suite]
    scalar = group.scalar(unsealed(SealingKey.from_data_key(KEY).seal_share(shares[1], b""))[-32:])
    received = group.scalar(run.outgoing[2][1][39:71])
    own = result.sign * (scalar - result.tweak) - received
    points = [run.messages1[1][41 + k * group.point_length :][: group.point_length] for k in range(2)]
    committed = group.add(*(group.decode(point) for point in points))
    assert multiply(group, own, group.generator) == committed


@pytest.mark.parametrize("suite", SUITES)
def test_a_share_made_by_hand_opens(suite: Suite) -> None:
    """A record written from the documents alone is a share that works."""
    shares = Run(suite).shares()
    header = b"COSHARE\x01" + bytes(range(44))
    key, nonce, *_ = open_record(header, KEY)
    sealing = SealingKey.from_data_key(KEY)
    plaintext = unsealed(sealing.seal_share(shares[1], b""))
    record = header + AESGCM(key).encrypt(nonce, plaintext, header + b"aad")
    opened = sealing.open_share(record, b"aad")
    if suite.is_frost:
        assert len(sign({1: opened, 2: shares[2]}, [bytes(32)])[0]) == 64
    assert opened.group_public_key == shares[1].group_public_key


def test_the_example_of_the_seal_document() -> None:
    text = (ROOT / "docs/spec/seal.md").read_text()
    found = re.findall(r"^```hex (\w+)\n([0-9a-f\n]+)^```$", text, re.MULTILINE)
    assert [name for name, _ in found] == ["record"]
    record = bytes.fromhex(found[0][1])
    assert SealingKey.from_data_key(KEY).open_bytes(record, b"context") == b"payload"
    assert unsealed(record, b"context") == b"payload"
    for kind in (b"COSHARE\x01", b"COUNCNF\x01", b"CORESHR\x01", b"COBYTES\x01"):
        assert f"`{kind.hex()}`" in text


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table after a line."""
    after = text[text.index(heading) :].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    rows = ["|" + after.splitlines()[0], *after.splitlines()[1:]]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def codes(source: str) -> list[str]:
    text = (ROOT / source).read_text()
    declared = text.split("\ncodes! {", 1)[1].split("\n}\n", 1)[0]
    return re.findall(r'=> "([a-z0-9_]+)",', declared)


@pytest.mark.parametrize(
    ("source", "heading"),
    [
        ("native/core/src/error.rs", "Every error has a code"),
        ("native/payload/src/error.rs", "Payloads; with the part"),
    ],
)
def test_the_tables_of_codes_are_complete(source: str, heading: str) -> None:
    rows = table((ROOT / "docs/spec/threshold.md").read_text(), heading)
    in_python = re.findall(r'PayloadError\(\s*"([a-z_]+)"', (ROOT / "threshold/tasks.py").read_text())
    expected = {*codes(source), *(in_python if "payload" in source else [])}
    assert sorted(row[0].strip("`") for row in rows) == sorted(expected)
    assert len(rows) > 20


def test_the_stub_names_only_codes_that_exist() -> None:
    stub = (ROOT / "threshold/_native.pyi").read_text()
    known = {*codes("native/core/src/error.rs"), *codes("native/payload/src/error.rs")}
    raised = re.findall(r":raises \w+: (.*?)(?=\n\s*(?::|\"\"\"))", stub, re.DOTALL)
    named = {code for text in raised for code in re.findall(r"``([a-z0-9_]+)``", text)}
    assert named <= known
    assert len(named) > 40


def test_the_stub_describes_the_native_module() -> None:
    """mypy's own comparison of a stub with the module that it types."""
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "threshold._native"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
