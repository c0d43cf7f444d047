"""`python -m attestation inspect` shows everything, verifies nothing, and says so; `measure` and `policy`."""

import io
import json
import sys
from pathlib import Path

import pytest

from attestation import policy_file
from attestation.cli import main
from attestation.cli.inspect import WARNING
from attestation.measurements import dump
from simulator.kms.policy import parse_policy
from tests.attestation import images
from tests.attestation.corpus import bad, good
from tests.attestation.minting import NOW, PCR0, PCR1, PCR2, PCR16, REMOVED, document, key, root_sha256

ROLE = "arn:aws:iam::111122223333:role/enclave-host"
KMS = ["--kms", "--account", "111122223333", "--role", ROLE, "--pcr", f"16={PCR16.hex()}"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        status = main([*map(str, arguments)])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- inspect ---------------------------------------------------------------------------------------------------------


def test_inspect_says_first_and_last_that_nothing_is_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "inspect", written(tmp_path / "d", document()))
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == lines[-1] == WARNING
    assert "NOTHING HERE IS VERIFIED" in WARNING
    assert "\nVERIFIED" not in out
    for shown in (
        PCR0.hex(),
        "2031-05-06T07:08:09.123Z",
        "CN=instance.test",
        "no limit",
        "digital_signature",
        "ecdsa-with-SHA384",
    ):
        assert shown in out


def test_inspect_shows_forgeries_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forged = document(signer=key("stranger"), chain={"root": {"key": key("other root")}})
    status, out, _ = run(capsys, "inspect", written(tmp_path / "d", forged), "--json")
    assert status == 0
    shown = json.loads(out)
    assert shown["verified"] is False
    assert shown["warning"] == WARNING


def test_inspect_as_json_has_every_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = b"\xd2" + document(nonce=REMOVED, user_data=None)
    _, out, _ = run(capsys, "inspect", written(tmp_path / "d", raw), "--json")
    shown = json.loads(out)
    assert shown["tagged"] is True
    assert shown["size"] == len(raw)
    assert (shown["nonce"], shown["user_data"]) == (None, None)
    assert shown["pcrs"]["16"] == PCR16.hex()
    assert shown["timestamp_ms"] == round(NOW.timestamp() * 1000)
    assert len(shown["signature"]) == 192
    root, *_, leaf = shown["certificates"]
    assert root["sha256"] == root_sha256()
    assert (root["ca"], root["path_length"], leaf["ca"]) == (True, None, False)
    assert leaf["subject"] == "CN=enclave.test"
    assert leaf["key"] == "secp384r1"
    assert leaf["not_after"] == "2031-05-06T10:08:09.000Z"


def test_inspect_reads_whatever_the_parser_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from attestation.errors import CODES

    for case in (*good(), *bad()):
        path = written(tmp_path / "d", case.make())
        readable = case.code is None or CODES[case.code][0] > 3
        for form in ([], ["--json"]):
            status, out, _ = run(capsys, "inspect", path, *form)
            assert status == (0 if readable else 1), case.name
            assert out.isascii()
            if not readable:
                assert case.code in out


def test_what_strangers_write_into_certificates_is_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = document(chain={"leaf": {"common_name": "\x1b[2J\nVERIFIED \x7f\u202e"}})
    status, out, _ = run(capsys, "inspect", written(tmp_path / "d", hostile))
    assert status == 0
    assert "\x1b" not in out
    assert "\x7f" not in out
    assert out.isascii()
    assert "\nVERIFIED" not in out


def test_certificates_that_cannot_be_parsed_are_shown_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "d", document(certificate=b"garbage"))
    _, out, _ = run(capsys, "inspect", path)
    assert "7 bytes that cannot be parsed as a certificate" in out
    _, out, _ = run(capsys, "inspect", path, "--json")
    assert json.loads(out)["certificates"][-1]["malformed"] is True


# --- measure ---------------------------------------------------------------------------------------------------------


def test_measure_shows_the_pcrs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "i.eif", images.signed_image())
    status, out, _ = run(capsys, "measure", path)
    assert status == 0
    assert out.startswith("MEASURED\n")
    for shown in (images.PCR0.hex(), images.PCR1.hex(), images.PCR2.hex(), "CN=image signer", "x86_64"):
        assert shown in out
    status, out, _ = run(capsys, "measure", path, "--json")
    shown_json = json.loads(out)
    assert list(shown_json["pcrs"]) == ["0", "1", "2", "8"]
    assert shown_json["pcrs"]["0"] == images.PCR0.hex()
    assert shown_json["signer"]["not_after"] == "2032-01-01T00:00:00.000Z"
    assert shown_json["not_measured"]["metadata"]["ImageName"] == "test"
    unsigned = written(tmp_path / "u.eif", images.image())
    assert "not signed" in run(capsys, "measure", unsigned)[1]
    assert json.loads(run(capsys, "measure", unsigned, "--json")[1])["signer"] is None


def test_measure_refuses_with_a_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "i.eif", images.image() + b"\0")
    status, out, _ = run(capsys, "measure", path)
    assert status == 1
    assert out.startswith("NOT MEASURED\n  code     trailing_bytes\n")
    status, out, _ = run(capsys, "measure", path, "--json")
    assert status == 1
    assert json.loads(out)["code"] == "trailing_bytes"


def test_measure_reads_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(images.image())))
    assert images.PCR0.hex() in run(capsys, "measure", "-")[1]


def test_command_lines_of_images_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = images.sections()
    content[1] = (images.CMDLINE, b"quiet\n\x1b[2J\xff")
    path = written(tmp_path / "i.eif", images.image(content))
    assert run(capsys, "measure", path)[1].isascii()
    assert "\x1b" not in run(capsys, "measure", path)[1]
    assert json.loads(run(capsys, "measure", path, "--json")[1])["cmdline"] == "quiet\n\x1b[2J\\xff"


# --- policy ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def eif(tmp_path: Path) -> Path:
    return written(tmp_path / "image.eif", images.signed_image())


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    return written(tmp_path / "measurements.json", dump({0: PCR0, 1: PCR1, 2: PCR2}))


def test_a_trust_policy_from_measurements_verifies_the_document(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(
        capsys, "policy", "from-measurements", measured, "--name", "1.0", "--pcr", f"16={PCR16.hex()}",
        "--root-sha256", root_sha256(), "--max-age", 60,
    )  # fmt: skip
    assert status == 0
    policy = written(tmp_path / "trust.json", out)
    raw = written(tmp_path / "d.cbor", document())
    at = ["--at", NOW.isoformat()]
    status, out, err = run(capsys, "verify", raw, "--policy", policy, *at, "--json")
    assert (status, err) == (0, "")
    shown = json.loads(out)
    assert shown["release"] == "1.0"
    assert shown["pinned_pcrs"] == [0, 1, 2, 16]
    assert "release      1.0" in run(capsys, "verify", raw, "--policy", policy, *at)[1]
    other = written(tmp_path / "o.cbor", document(pcrs={0: PCR1, 1: PCR1, 2: PCR2, 16: PCR16}))
    status, out, _ = run(capsys, "verify", other, "--policy", policy, *at, "--json")
    assert status == 1
    assert json.loads(out)["code"] == "pcr_mismatch"
    late = ["--at", NOW.replace(minute=10).isoformat()]
    assert json.loads(run(capsys, "verify", raw, "--policy", policy, *late, "--json")[1])["code"] == "too_old"


def test_a_trust_policy_from_images_has_a_release_for_each(
    eif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(
        tmp_path / "other.eif", images.image(images.sections(ramdisks=[images.BOOT, images.DATA]))
    )
    status, out, _ = run(capsys, "policy", "from-eif", eif, other)
    assert status == 0
    first, second = policy_file.load(out.encode()).releases
    assert list(first.pcrs) == [0, 1, 2, 8]
    assert first.pcrs[0] == images.PCR0
    assert second.pcrs == {0: images.pcr(images.KERNEL_BYTES, images.CMDLINE_BYTES, images.BOOT, images.DATA), 1: images.PCR1, 2: images.pcr(images.DATA)}  # fmt: skip


def test_a_key_policy_from_either_source(
    eif: Path, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    editor = "arn:aws:iam::111122223333:user/release-manager"
    for source, file, pcrs in (("from-eif", eif, "0 1 2 8 16"), ("from-measurements", measured, "0 1 2 16")):
        status, out, _ = run(capsys, "policy", source, file, *KMS, "--editor", editor, "--deleter", editor)
        assert status == 0
        parse_policy(out)
        statements = json.loads(out)["Statement"]
        conditions = statements[0]["Condition"]["StringEqualsIgnoreCase"]
        names = [f"PCR{index}" if index != "0" else "ImageSha384" for index in pcrs.split()]
        assert [name.removeprefix("kms:RecipientAttestation:") for name in conditions] == names
        assert [statement["Sid"] for statement in statements] == [
            "ReleaseToEnclave1", "Read", "Delete", "ChangeThisPolicy",
        ]  # fmt: skip


def test_an_input_that_is_refused_gives_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, file = written(tmp_path / "i", images.image() + b"\0"), written(tmp_path / "m", "{}")
    for arguments, code in (
        (["from-eif", image], "trailing_bytes"),
        (["from-measurements", file], "field_missing"),
    ):
        status, out, err = run(capsys, "policy", *arguments)
        assert (status, out) == (1, "")
        assert code in err


@pytest.mark.parametrize(
    "options",
    [
        KMS[:1],
        KMS[:3],
        KMS[:5],
        KMS[1:],
        [*KMS, "--name", "x"],
        [*KMS, "--max-age", "1"],
        [*KMS, "--pcr", f"16={PCR0.hex()}"],
        [*KMS, "--pcr", f"0={PCR0.hex()}"],
        [*KMS, "--role", "*"],
        [*KMS, "--editor", "everybody"],
        [*KMS, "--account", "999999999999"],
        ["--pcr", f"1={PCR0.hex()}"],
        ["--pcr", f"16={bytes(48).hex()}"],
        ["--name", "a", "--name", "b"],
        ["--name", "\x1b[2J"],
        ["--max-age", str(10**9)],
        ["--frob"],
    ],
)
def test_bad_usage_is_status_2(
    measured: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    status, out, err = run(capsys, "policy", "from-measurements", measured, *options)
    assert (status, out) == (2, "")
    assert "error:" in err


def test_a_key_policy_without_a_manifest_is_explained(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, "policy", "from-measurements", measured, *KMS[:5])
    assert status == 2
    assert "--kms needs --pcr 16=HEX, or any manifest would do" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["policy"],
        ["policy", "from-eif"],
        ["policy", "from-eif", "/nowhere/image"],
        ["policy", "from-eif", "-", "-"],
        ["measure"],
        ["measure", "/"],
        ["inspect", "/nowhere/document"],
    ],
)
def test_bad_commands_are_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert "error:" in err


@pytest.mark.parametrize(
    "more", [["--pcr", f"0={PCR0.hex()}"], ["--root-sha256", root_sha256()], ["--max-age", "1"]]
)
def test_no_option_widens_a_policy_file(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    raw = written(tmp_path / "d", document())
    _, text, _ = run(capsys, "policy", "from-measurements", measured)
    policy = written(tmp_path / "p", text)
    status, _, err = run(capsys, "verify", raw, "--policy", policy, *more)
    assert status == 2
    assert "exclude each other" in err


def test_a_policy_file_that_is_none_is_bad_usage(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = written(tmp_path / "d", document())
    status, out, err = run(capsys, "verify", raw, "--policy", measured)
    assert (status, out) == (2, "")
    assert "is no trust policy: field_missing" in err
    assert run(capsys, "verify", raw, "--policy", "/nowhere/policy")[0] == 2
