"""The rendered policy is what the enclave accepts, and what it would refuse is not rendered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest

from attestation import measurements
from deploy import render
from deploy.render import EXIT_OK, EXIT_REFUSED, RefusedError, Release
from enclave import key_policy as judge
from enclave.kms_errors import KmsError
from enclave.manifest import Environment

KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = KEY[:-1] + "c"
ROLE = "arn:aws:iam::111122223333:role/cosigner-parent"
ADMIN = "arn:aws:iam::111122223333:role/admin"
IMAGE = {0: b"\xab" * 48, 1: b"\xcd" * 48, 2: b"\xef" * 48}
NEXT_IMAGE = {0: b"\x01" * 48, 1: b"\xcd" * 48, 2: b"\x02" * 48}


def manifest_of(key_policy: str = "pinned", key: str = KEY) -> bytes:
    environment = Environment(id="sandbox", kms_key_arn=key, key_policy=key_policy)  # type: ignore[arg-type]
    return render.manifest([environment], region="us-east-1", ca_pem="")


def release(pcrs: dict[int, bytes] = IMAGE, key_policy: str = "pinned") -> Release:
    return Release(pcrs, manifest_of(key_policy))


def measured(one: Release) -> judge.Measurement:
    inner = hashlib.sha384(one.manifest).digest()
    return judge.Measurement(image=one.pcrs[0], manifest=hashlib.sha384(bytes(48) + inner).digest())


def test_a_manifest_is_the_documents_example() -> None:
    assert cbor2.loads(manifest_of()) == {
        "kms": {"host": "kms.us-east-1.amazonaws.com", "port": 443, "ca_pem": "", "region": "us-east-1"},
        "version": 1,
        "environments": [{"id": "sandbox", "key_policy": "pinned", "kms_key_arn": KEY}],
    }


def test_the_enclave_calls_the_policy_of_one_release_pinned() -> None:
    one = release()
    text = render.policy(KEY, [one], role=ROLE)
    verdict = judge.judge_policy(text, ours=measured(one), accept_editable=False)
    assert verdict is judge.Verdict.PINNED
    for other in (release(NEXT_IMAGE), Release(IMAGE, manifest_of(key=OTHER_KEY))):
        with pytest.raises(KmsError):
            judge.judge_policy(text, ours=measured(other), accept_editable=False)


def test_every_release_of_an_editable_environment_accepts_the_policy_of_all() -> None:
    releases = [release(key_policy="editable"), release(NEXT_IMAGE, "editable")]
    text = render.policy(KEY, releases, role=ROLE, editors=[ADMIN])
    for one in releases:
        verdict = judge.judge_policy(text, ours=measured(one), accept_editable=True)
        assert verdict is judge.Verdict.EDITABLE
        with pytest.raises(KmsError):
            judge.judge_policy(text, ours=measured(one), accept_editable=False)


def test_attack_one_statement_must_not_mix_two_releases() -> None:
    text = render.policy(
        KEY, [release(key_policy="editable"), release(NEXT_IMAGE, "editable")], role=ROLE, editors=[ADMIN]
    )
    releasing = [
        statement["Condition"]["StringEqualsIgnoreCase"]
        for statement in json.loads(text)["Statement"]
        if "kms:Decrypt" in statement["Action"]
    ]
    images = [one["kms:RecipientAttestation:ImageSha384"] for one in releasing]
    assert images == [IMAGE[0].hex(), NEXT_IMAGE[0].hex()]
    assert all(isinstance(value, str) for one in releasing for value in one.values())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"releases": [release(), release(NEXT_IMAGE)]}, "another release"),
        ({"editors": [ADMIN]}, "change the key policy"),
        ({"releases": []}, "nobody"),
        ({"releases": [release(), release()]}, "twice"),
        ({"releases": [Release({**IMAGE, 0: bytes(48)}, manifest_of())]}, "all zero"),
        ({"releases": [Release(IMAGE, manifest_of(key=OTHER_KEY))]}, "no environment with the key"),
        ({"releases": [Release(IMAGE, b"not a manifest")]}, "refused by the enclave"),
        ({"key_arn": "alias/cosigner"}, "no environment with the key"),
        ({"role": "cosigner-parent"}, "full ARN"),
        ({"role": ROLE.replace("1111", "9999")}, "not of account"),
        ({"role": "arn:aws:iam::111122223333:root"}, "full ARN"),
    ],
)
def test_what_the_enclave_would_refuse_is_not_rendered(arguments: dict[str, Any], reason: str) -> None:
    given: dict[str, Any] = {"key_arn": KEY, "releases": [release()], "role": ROLE, **arguments}
    with pytest.raises(RefusedError, match=reason):
        render.policy(given.pop("key_arn"), given.pop("releases"), **given)


@pytest.mark.parametrize(
    ("environments", "region"),
    [
        ([], "us-east-1"),
        ([Environment("sandbox", KEY, "pinned")] * 2, "us-east-1"),
        ([Environment("sandbox", KEY, "pinned")], "eu-west-1"),
        ([Environment("Sandbox", KEY, "pinned")], "us-east-1"),
        ([Environment("sandbox", "alias/cosigner", "pinned")], "us-east-1"),
    ],
)
def test_a_manifest_that_the_enclave_would_refuse_is_not_written(
    environments: list[Environment], region: str
) -> None:
    with pytest.raises(RefusedError):
        render.manifest(environments, region=region, ca_pem="")


def test_the_endpoint_of_kms_is_the_regions() -> None:
    china = Environment("s", "arn:aws-cn:kms:cn-north-1:111122223333:key/1234", "pinned")
    raw = render.manifest([china], region="cn-north-1", ca_pem="")
    assert cbor2.loads(raw)["kms"]["host"] == "kms.cn-north-1.amazonaws.com.cn"


# --- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "measurements.json").write_text(measurements.dump(IMAGE))
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return {name: str(tmp_path / name) for name in ("measurements.json", "manifest.cbor", "ca.pem")}


def test_from_measurements_to_policy_and_template(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment = f"sandbox={KEY}=pinned"
    common = ["--region", "us-east-1", "--environment", environment, "--output", files["manifest.cbor"]]
    assert render.main(["manifest", *common, "--ca", files["ca.pem"]]) == EXIT_OK
    pcr16 = capsys.readouterr().out.strip()
    raw = Path(files["manifest.cbor"]).read_bytes()
    assert pcr16 == hashlib.sha384(bytes(48) + hashlib.sha384(raw).digest()).hexdigest()
    assert cbor2.loads(raw)["kms"]["ca_pem"].startswith("-----BEGIN")

    options = ["--key", KEY, "--role", ROLE, "--release", files["measurements.json"], files["manifest.cbor"]]
    assert render.main(["policy", *options]) == EXIT_OK
    policy = json.loads(capsys.readouterr().out)
    assert render.main(["template", *options]) == EXIT_OK
    template = json.loads(capsys.readouterr().out)
    key = template["Resources"]["Key"]
    assert key["Properties"]["KeyPolicy"] == policy
    assert key["Properties"]["BypassPolicyLockoutSafetyCheck"] is True
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert template["Parameters"]["RoleName"]["Default"] == "cosigner-parent"
    assert "FounderArn" not in json.dumps(template)
    assert pcr16 in json.dumps(template)


def test_a_refusal_prints_no_policy_and_says_why(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files["manifest.cbor"]).write_bytes(manifest_of())
    options = ["--key", KEY, "--role", ROLE, "--release", files["measurements.json"], files["manifest.cbor"]]
    assert render.main(["policy", *options, "--editor", ADMIN]) == EXIT_REFUSED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "kms_policy_editable" in captured.err
    assert render.main(["template", *options[:-1], "/nonexistent"]) == EXIT_REFUSED
    assert "/nonexistent" in capsys.readouterr().err
    Path(files["measurements.json"]).write_text("{}")
    assert render.main(["policy", *options]) == EXIT_REFUSED


@pytest.mark.parametrize(
    "environment", ["sandbox", f"sandbox={KEY}", f"sandbox={KEY}=open", f"={KEY}=pinned", "==pinned"]
)
def test_an_environment_of_another_form_is_bad_usage(files: dict[str, str], environment: str) -> None:
    with pytest.raises(SystemExit) as caught:
        render.main(
            [
                "manifest",
                "--region",
                "us-east-1",
                "--output",
                files["manifest.cbor"],
                "--environment",
                environment,
            ]
        )
    assert caught.value.code == 2
    assert not Path(files["manifest.cbor"]).exists()


def test_a_role_with_a_path_is_none_that_the_template_makes() -> None:
    with pytest.raises(RefusedError):
        render.template("{}", role="arn:aws:iam::111122223333:role/team/cosigner")
