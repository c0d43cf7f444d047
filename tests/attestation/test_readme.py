"""README.md says what the code does: its tables are the code's, and its examples are run."""

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from attestation import AWS_NITRO_ROOT_G1, Release, TrustPolicy, policy_file
from attestation.cli import main
from attestation.eif_errors import EIF_CODES
from attestation.errors import CODES, STEPS
from attestation.measurements import dump
from attestation.strict_json import CODES as FILE_CODES
from attestation.verify import VerifiedAttestation
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki
from tests.attestation import images

README = (Path(__file__).parents[2] / "attestation" / "README.md").read_text()
PCR16 = b"\x10" * 48
NONCE = b"nonce"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table(heading: str) -> dict[str, str]:
    rows = re.search(rf"^\| {heading} \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert rows is not None
    return dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", rows[1], re.MULTILINE))


def test_the_table_of_codes_is_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", README, re.MULTILINE)
    assert {code: (int(step), meaning) for code, step, meaning in rows} == CODES


def test_the_tables_of_files_and_images_are_their_codes() -> None:
    assert table("code of a file") == FILE_CODES
    assert table("code of an image") == EIF_CODES


def test_the_check_list_has_every_step() -> None:
    for number, title in STEPS.items():
        assert re.search(rf"\b{number}\. \*\*{title}\b", README, re.IGNORECASE), title


def test_the_root_of_aws_is_named() -> None:
    assert AWS_NITRO_ROOT_G1 in README


def test_the_example_of_a_policy_is_one() -> None:
    (text,) = blocks("json")
    policy = policy_file.load(text.encode())
    assert [release.name for release in policy.releases] == ["1.0"]
    assert json.loads(policy_file.dump(policy)) == json.loads(text)
    fields = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    assert json.loads(text).keys() <= fields


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files that the commands name, in an empty folder, and the variables of the shell."""
    monkeypatch.chdir(tmp_path)
    pki = NitroPki.ephemeral()
    pcrs = {0: images.PCR0, 1: images.PCR1, 2: images.PCR2}
    nsm = FakeNsm(pki, measurements=pcrs)
    (tmp_path / "document.cbor").write_bytes(nsm.attest(None, NONCE, None))
    (tmp_path / "image.eif").write_bytes(images.signed_image())
    (tmp_path / "measurements.json").write_text(dump(pcrs))
    trust = TrustPolicy(roots=frozenset({pki.root_sha256}), releases=(Release(name="1.0", pcrs=pcrs),))
    (tmp_path / "trust.json").write_text(policy_file.dump(trust))
    variables = {f"PCR{index}": value.hex() for index, value in {**pcrs, 16: PCR16}.items()}
    return {**variables, "NONCE": NONCE.hex(), "ROOT": pki.root_sha256}


def test_every_command_of_the_readme_runs(live: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = blocks("sh")
    commands = text.splitlines()
    assert len(commands) == 9
    seen = set()
    for line in commands:
        program, flag, package, *arguments = shlex.split(
            re.sub(r"\$(\w+)", lambda found: live[found[1]], line)
        )
        assert (program, flag, package) == ("python", "-m", "attestation")
        assert main(arguments) == 0, line
        assert capsys.readouterr().out
        seen.add(arguments[0])
    assert seen == {"verify", "inspect", "measure", "policy"}


def test_the_library_example_runs(live: dict[str, str]) -> None:
    (text,) = blocks("python")
    names = {
        "raw": Path("document.cbor").read_bytes(),
        "trust_json": Path("trust.json").read_bytes(),
        "nonce": NONCE,
        "pcr0": images.PCR0,
        "pcr1": images.PCR1,
        "pcr2": images.PCR2,
        "pcr16": PCR16,
        "newer": {0: PCR16, 1: PCR16, 2: PCR16},
    }
    exec(compile(text, "README.md", "exec"), names)  # noqa: S102
    verified, archived = names["verified"], names["archived"]
    assert isinstance(verified, VerifiedAttestation)
    assert isinstance(archived, VerifiedAttestation)
    assert verified.release is not None
    assert abs(verified.checked_at - datetime.now(UTC)).total_seconds() < 600
    assert archived.checked_at == archived.issued_at


def test_the_json_fields_named_for_verify_are_those_it_prints(
    live: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    described = re.search(r'With `--json`: `\{"verified": true,(.*?)\}`, or', README, re.DOTALL)
    assert described is not None
    assert main(["verify", "document.cbor", "--policy", "trust.json", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    named = set(re.findall(r'"(\w+)"', described[1])) - {"0"}
    assert named == printed.keys() - {"verified"}


def test_the_limits_of_a_policy_are_the_codes() -> None:
    limits = dict(re.findall(r"^\| `(max_\w+)` \| .* \| 0 to (\d+) \|$", README, re.MULTILINE))
    assert limits == {"max_age_s": str(policy_file.MAX_AGE_S), "max_skew_s": str(policy_file.MAX_SKEW_S)}
