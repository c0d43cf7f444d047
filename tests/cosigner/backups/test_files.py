"""Backup files: those of version 1 open for ever, and nothing opens that is not exactly what was written."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosigner.backups import files
from cosigner.backups.errors import BackupError
from cosigner.backups.files import BackupFile, BackupHeader
from cosigner.offline import fitting
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from protocol.wallets import PasscodeSetup
from tests.cosigner.test_offline import three
from threshold import SealingKey
from threshold.device import Passcode

DATA = Path(__file__).parents[1] / "data" / "backups-v1"
FACTS = json.loads((DATA / "facts.json").read_text())
PASSPHRASE, PASSCODE = FACTS["passphrase"].encode(), FACTS["passcode"].encode()
KEY = bytes.fromhex(FACTS["backup_key"])
CHEAP = PasscodeSetup(salt=bytes(range(16)), memory_kib=19 << 10, iterations=1, parallelism=1)
CHAINS = ["solana", "bitcoin", "ethereum"]


def read(name: str) -> bytes:
    return (DATA / name).read_bytes()


def refused(code: str, caught: pytest.ExceptionInfo[BackupError]) -> bool:
    return caught.value.code == code


# --- version 1 ---------------------------------------------------------------------------------------------------------------------


def test_the_fixtures_are_all_there() -> None:
    assert len(FACTS["files"]) == 12
    assert {path.name for path in DATA.glob("*.backup")} == set(FACTS["files"])


@pytest.mark.parametrize("chain", CHAINS)
def test_offline_backups_of_version_1_open_and_give_the_key(chain: str) -> None:
    opened = [files.open_offline(read(f"{chain}-offline-{party}.backup"), PASSPHRASE) for party in (1, 3)]
    shares = [share for _, share in opened]
    info = opened[0][0].wallet(shares[0].group_public_key)
    assert info.public_key.hex() == FACTS["files"][f"{chain}-offline-1.backup"]["public_key"]
    assert [header.party for header, _ in opened] == [1, 3]
    key = asyncio.run(fitting(info, shares).key())
    assert key.public_key == info.public_key


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("kind", ["plain", "passcode"])
def test_service_backups_of_version_1_open(chain: str, kind: str) -> None:
    name = f"{chain}-service-{kind}.backup"
    parsed = BackupFile.decode(read(name))
    setup = parsed.header.passcode
    assert (setup is not None) == (kind == "passcode")
    passcode = (
        None
        if setup is None
        else Passcode(PASSCODE, setup.salt, setup.memory_kib, setup.iterations, setup.parallelism)
    )
    share = parsed.open_with(files.service_key(parsed.header, KEY, passcode))
    assert share.group_public_key.hex() == FACTS["files"][name]["public_key"]


def test_what_is_written_today_is_what_was_written_then() -> None:
    """The bytes of a header, and so what every seal is bound to, do not change unnoticed."""
    for name in FACTS["files"]:
        blob = read(name)
        assert cbor.encode(BackupFile.decode(blob)) == blob
        assert set(cbor2.loads(blob)["header"]) == {
            field.name for field in msgspec.structs.fields(BackupHeader)
        }


# --- strict ------------------------------------------------------------------------------------------------------------------------


def made() -> tuple[bytes, SealingKey]:
    info, shares = three("solana")
    header = files.header_of(
        shares[3],
        info,
        environment="sandbox",
        kind="offline",
        backup_id="5a0c8d4e-7d1f-4b57-9d5c-0d9a3f6f2b11",
        passcode=CHEAP,
    )
    key = files.offline_key(CHEAP, PASSPHRASE)
    return files.seal(shares[3], header, key), key


def test_a_file_altered_at_any_byte_does_not_open() -> None:
    blob, key = made()
    assert BackupFile.decode(blob).open_with(key).identifier == 3
    for position in range(len(blob)):
        damaged = bytearray(blob)
        damaged[position] ^= 1
        with pytest.raises(BackupError) as caught:
            BackupFile.decode(bytes(damaged)).open_with(key)
        assert caught.value.code in {"backup_malformed", "backup_not_opened"}
        assert caught.value.culprit is Culprit.STORAGE


@pytest.mark.parametrize(
    "change",
    [
        {"environment": "production"},
        {"wallet_id": "1f8fad5b-d9cb-469f-a165-70867728950e"},
        {"share_set_id": "1f8fad5b-d9cb-469f-a165-70867728950e"},
        {"chain": "bitcoin"},
        {"network": "testnet"},
        {"suite": "ecdsa-secp256k1"},
        {"epoch": 2},
        {"party": 1},
        {"threshold": 3},
        {"parties": 2},
        {"kind": "service"},
        {"backup_id": "1f8fad5b-d9cb-469f-a165-70867728950e"},
        {"passcode": msgspec.structs.replace(CHEAP, iterations=2)},
    ],
    ids=str,
)
def test_a_seal_under_another_header_is_refused(change: dict[str, Any]) -> None:
    blob, key = made()
    parsed = BackupFile.decode(blob)
    forged = BackupFile(header=msgspec.structs.replace(parsed.header, **change), sealed=parsed.sealed)
    with pytest.raises(BackupError) as caught:
        BackupFile.decode(cbor.encode(forged)).open_with(key)
    assert refused("backup_not_opened", caught)


def test_a_share_that_contradicts_its_header_is_refused_though_it_is_sealed_under_it() -> None:
    """Whoever has the passphrase could write such a file; it is not taken for what it says."""
    info, shares = three("solana")
    key = files.offline_key(CHEAP, PASSPHRASE)
    for wrong in ({"party": 1}, {"epoch": 2}, {"parties": 2}, {"suite": "frost-secp256k1-tr"}):
        header = files.header_of(
            shares[3],
            info,
            environment="sandbox",
            kind="offline",
            backup_id="5a0c8d4e-7d1f-4b57-9d5c-0d9a3f6f2b11",
            passcode=CHEAP,
        )
        blob = files.seal(shares[3], msgspec.structs.replace(header, **wrong), key)
        with pytest.raises(BackupError) as caught:
            BackupFile.decode(blob).open_with(key)
        assert refused("backup_not_opened", caught)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": 0},
        {"kind": "other"},
        {"epoch": 0},
        {"party": 0},
        {"passcode": None},  # offline, and no passphrase
        {"passcode": {"salt": bytes(16), "memory_kib": 1, "iterations": 1, "parallelism": 1}},
        {"passcode": {"salt": bytes(15), "memory_kib": 19 << 10, "iterations": 1, "parallelism": 1}},
        {"passcode": {"salt": bytes(16), "memory_kib": (1 << 20) + 1, "iterations": 1, "parallelism": 1}},
        {"more": 1},
        {"network": "Mainnet"},
        {"wallet_id": "../../etc/passwd"},
    ],
    ids=str,
)
def test_headers_out_of_bounds_are_refused_before_they_cost_anything(change: dict[str, Any]) -> None:
    blob, _ = made()
    tree = cbor2.loads(blob)
    tree["header"] |= change
    with pytest.raises(BackupError) as caught:
        BackupFile.decode(cbor2.dumps(tree, canonical=True))
    assert refused("backup_malformed", caught)


def test_one_backup_has_one_encoding() -> None:
    blob, _ = made()
    tree = cbor2.loads(blob)
    for other in (cbor2.dumps(tree), blob + b"\x00", blob[:-1], b"", cbor2.dumps([tree], canonical=True)):
        if other == blob:
            continue
        with pytest.raises(BackupError) as caught:
            BackupFile.decode(other)
        assert refused("backup_malformed", caught)
    with pytest.raises(BackupError):
        BackupFile.decode(bytes((64 << 10) + 1))


@given(st.binary(max_size=600))
@settings(max_examples=200, deadline=None)
def test_any_bytes_end_in_the_parsers_own_error_or_in_a_file(raw: bytes) -> None:
    try:
        parsed = BackupFile.decode(raw)
    except BackupError:
        return
    assert cbor.encode(parsed) == raw


# --- what opens it -----------------------------------------------------------------------------------------------------------------


def test_another_passphrase_does_not_open_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "new_setup", lambda: CHEAP)
    info, shares = three("solana")
    blob = files.seal_offline(shares[3], info, environment="sandbox", passphrase=PASSPHRASE)
    assert files.open_offline(blob, PASSPHRASE)[1].identifier == 3
    for wrong in (PASSPHRASE + b" ", PASSPHRASE.upper(), b"x"):
        with pytest.raises(BackupError) as caught:
            files.open_offline(blob, wrong)
        assert refused("backup_not_opened", caught)
    for absurd in (b"", b"x" * 1025):
        with pytest.raises(BackupError) as caught:
            files.open_offline(blob, absurd)
        assert refused("passphrase_length", caught)


def test_a_service_backup_does_not_open_offline() -> None:
    for kind in ("plain", "passcode"):
        with pytest.raises(BackupError) as caught:
            files.open_offline(read(f"solana-service-{kind}.backup"), PASSCODE)
        assert refused("backup_kind", caught)


def test_the_parameters_are_those_of_rfc_9106() -> None:
    setup = files.new_setup()
    assert (setup.memory_kib, setup.iterations, setup.parallelism) == (65536, 3, 4)
    assert len(setup.salt) == 16
    assert setup.salt != files.new_setup().salt


def test_keys_of_different_backups_differ() -> None:
    """The enclave's key and the passcode are the same; the backup, its epoch or its party is another."""
    info, shares = three("solana")
    passcode = Passcode(PASSCODE, CHEAP.salt, CHEAP.memory_kib, CHEAP.iterations, CHEAP.parallelism)
    header = files.header_of(
        shares[1],
        info,
        environment="sandbox",
        kind="service",
        backup_id="5a0c8d4e-7d1f-4b57-9d5c-0d9a3f6f2b11",
        passcode=CHEAP,
    )
    headers = [
        header,
        msgspec.structs.replace(header, backup_id="1f8fad5b-d9cb-469f-a165-70867728950e"),
        msgspec.structs.replace(header, epoch=2),
        msgspec.structs.replace(header, party=3),
        msgspec.structs.replace(header, environment="production"),
    ]
    keys = [files.service_key(one, KEY, passcode) for one in headers]
    for (i, sealer), (j, opener) in itertools.product(enumerate(keys), repeat=2):
        record = sealer.seal_bytes(b"x", b"")
        if i == j:
            assert opener.open_bytes(record, b"") == b"x"
        else:
            with pytest.raises(Exception, match="authentic|verify"):
                opener.open_bytes(record, b"")
