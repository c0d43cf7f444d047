"""`python -m attestation`: exit statuses, output for people and programs, bad usage."""

import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from attestation.cli import main
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki
from tests.attestation.minting import NONCE, NOW, PCR0, PCR1, PUBLIC_KEY, USER_DATA, document, root_sha256

AT = ["--at", NOW.isoformat().replace("+00:00", "Z")]
HOUSE = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "document.cbor"
    path.write_bytes(document())
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        status = main(["verify", *map(str, arguments), "--root-sha256", root_sha256()])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_document_that_verifies_is_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, file, *AT)
    assert status == 0
    assert out.startswith("VERIFIED\n")
    assert PCR0.hex() in out
    assert NONCE.hex() in out
    assert "not all pinned" in err


def test_every_expectation_can_be_given(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key.der"
    key.write_bytes(PUBLIC_KEY)
    status, out, _ = run(
        capsys, file, *AT, "--json", "--pcr", f"0={PCR0.hex()}", "--pcr", f"1={PCR1.hex().upper()}",
        "--nonce", NONCE.hex(), "--user-data", USER_DATA.hex(), "--public-key", key, "--max-age", 10,
    )  # fmt: skip
    assert status == 0
    shown = json.loads(out)
    assert shown["verified"] is True
    assert shown["module_id"] == "i-0123456789abcdef0-enc0123456789abcdef"
    assert shown["timestamp"] == "2031-05-06T07:08:09.123Z"
    assert shown["pcrs"]["0"] == PCR0.hex()
    assert len(shown["pcrs"]) == 17
    assert shown["pinned_pcrs"] == [0, 1]
    assert (shown["nonce"], shown["user_data"], shown["public_key"]) == (
        NONCE.hex(), USER_DATA.hex(), PUBLIC_KEY.hex(),
    )  # fmt: skip
    assert shown["root_sha256"] == root_sha256()
    assert shown["age_s"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "step"),
    [
        (["--pcr", f"0={PCR1.hex()}"], "pcr_mismatch", 9),
        (["--pcr", f"17={PCR1.hex()}"], "pcr_missing", 9),
        (["--nonce", "00"], "nonce_mismatch", 10),
        (["--user-data", "00"], "user_data_mismatch", 11),
        (["--at", "2031-05-06T09:08:10+02:00", "--max-age", "0"], "too_old", 7),
        (["--at", "2031-05-06T07:08:09Z", "--pcr", f"2={PCR1.hex()}", "--max-age", "0"], "pcr_mismatch", 9),
        (["--at", "2031-05-06T07:20:00Z"], "too_old", 7),
        (["--at", "now"], "certificate_not_yet_valid", 5),
    ],
)
def test_a_refusal_names_code_and_step(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str, step: int
) -> None:
    at = [] if "--at" in arguments else AT
    status, out, _ = run(capsys, file, *at, *arguments, "--json")
    assert status == 1
    refusal = json.loads(out)
    assert refusal.pop("message")
    assert refusal == {"verified": False, "code": code, "step": step}
    status, out, _ = run(capsys, file, *at, *arguments)
    assert status == 1
    assert out.startswith("NOT VERIFIED\n")
    assert code in out
    assert f"step     {step} (" in out


def test_either_of_two_values_for_one_pcr_will_do(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    either = ["--pcr", f"0={PCR1.hex()}", "--pcr", f"0={PCR0.hex()}"]
    assert run(capsys, file, *AT, *either)[0] == 0


def test_another_root_replaces_the_one_of_aws(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(file), *AT, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["code"] == "root_not_trusted"


@pytest.mark.parametrize("size", [16 * 1024 + 1, 10_000_000])
def test_a_long_file_is_refused_without_reading_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(size))
    status, out, _ = run(capsys, path, "--json")
    assert status == 1
    assert json.loads(out)["code"] == "too_large"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--pcr", "0"],
        ["--pcr", "0=ab"],
        ["--pcr", f"32={PCR0.hex()}"],
        ["--pcr", f"-1={PCR0.hex()}"],
        ["--pcr", f"0={PCR0.hex()}0"],
        ["--pcr", f"0={PCR0.hex()[:-1]}g"],
        ["--nonce", "abc"],
        ["--nonce", "zz"],
        ["--nonce", ""],
        ["--nonce", "ab cd"],
        ["--user-data", "0x00"],
        ["--public-key", "/nowhere/key"],
        ["--at", "yesterday"],
        ["--at", "2031-05-06"],
        ["--at", "2031-05-06T07:08:09"],
        ["--at", "2031-02-30T07:08:09Z"],
        ["--at", "0001-01-01T00:00:00+23:00"],
        ["--max-age", "-1"],
        ["--max-age", "1.5"],
        ["--max-age", "soon"],
        ["--root-sha256", "ab"],
        ["--unknown"],
        ["another-file"],
    ],
)
def test_bad_usage_is_status_2(file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, err = run(capsys, file, *arguments)
    assert status == 2
    assert out == ""
    assert "error:" in err


@pytest.mark.parametrize(
    "arguments", [[], ["verify"], ["frobnicate"], ["verify", "/nowhere/at/all"], ["verify", "/"]]
)
def test_bad_commands_are_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_standard_input_is_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(document())))
    assert run(capsys, "-", *AT)[0] == 0


def test_the_module_runs_by_itself_on_a_live_document(tmp_path: Path) -> None:
    pki = NitroPki.ephemeral()
    nsm = FakeNsm(pki, measurements={0: PCR0, 1: PCR1, 2: PCR0})
    (tmp_path / "live.cbor").write_bytes(nsm.attest(None, b"nonce", None))
    command = [
        sys.executable, "-m", "attestation", "verify", str(tmp_path / "live.cbor"), "--json",
        "--nonce", b"nonce".hex(), "--root-sha256", pki.root_sha256.upper(),
    ]  # fmt: skip
    process = subprocess.run(command, cwd=HOUSE, capture_output=True, check=False)
    assert process.returncode == 0, process.stderr
    shown = json.loads(process.stdout)
    assert abs(shown["age_s"]) < 60
    assert abs(datetime.fromisoformat(shown["checked_at"]) - datetime.now(UTC)).total_seconds() < 60
