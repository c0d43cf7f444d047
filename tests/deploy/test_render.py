"""The rendered policy is what the enclave accepts, and what it would refuse is not rendered."""

from __future__ import annotations

import base64
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
from tests.deploy.environments import EXAMPLE, environment

KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = KEY[:-1] + "c"
ROLE = "arn:aws:iam::111122223333:role/cosigner-parent"
ADMIN = "arn:aws:iam::111122223333:role/admin"
IMAGE = {0: b"\xab" * 48, 1: b"\xcd" * 48, 2: b"\xef" * 48}
NEXT_IMAGE = {0: b"\x01" * 48, 1: b"\xcd" * 48, 2: b"\x02" * 48}


def manifest_of(key_policy: str = "pinned", key: str = KEY) -> bytes:
    return render.manifest([environment("sandbox", key, key_policy)], region="us-east-1", ca_pem="")


def release(pcrs: dict[int, bytes] = IMAGE, key_policy: str = "pinned") -> Release:
    return Release(pcrs, manifest_of(key_policy))


def measured(one: Release) -> judge.Measurement:
    inner = hashlib.sha384(one.manifest).digest()
    return judge.Measurement(image=one.pcrs[0], manifest=hashlib.sha384(bytes(48) + inner).digest())


def test_a_manifest_says_what_the_operator_wrote_down() -> None:
    found = cbor2.loads(manifest_of())
    (one,) = found.pop("environments")
    assert found == {
        "kms": {"host": "kms.us-east-1.amazonaws.com", "port": 443, "ca_pem": "", "region": "us-east-1"},
        "version": 1,
    }
    written = json.loads(EXAMPLE.read_text())
    assert one.keys() == written.keys()
    assert (one["id"], one["kms_key_arn"], one["key_policy"]) == ("sandbox", KEY, "pinned")
    for name in ("issuers", "relying_party", "quorum", "session_lifetime_s", "step_up", "recovery"):
        assert one[name] == written[name]
    for administrator, pem in zip(one["administrators"], written["administrators"], strict=True):
        assert (
            "".join(pem["public_key"].split("\n")[1:-2])
            == base64.b64encode(administrator["public_key"]).decode()
        )
    assert json.loads(one["policy"])["layer"] == "environment"


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
    ("named", "region"),
    [
        ([], "us-east-1"),
        ([environment("sandbox", KEY, "pinned")] * 2, "us-east-1"),
        ([environment("sandbox", KEY, "pinned")], "eu-west-1"),
        ([environment("Sandbox", KEY, "pinned")], "us-east-1"),
        ([environment("sandbox", "alias/cosigner", "pinned")], "us-east-1"),
    ],
)
def test_a_manifest_that_the_enclave_would_refuse_is_not_written(
    named: list[Environment], region: str
) -> None:
    with pytest.raises(RefusedError):
        render.manifest(named, region=region, ca_pem="")


def test_the_endpoint_of_kms_is_the_regions() -> None:
    china = environment("s", "arn:aws-cn:kms:cn-north-1:111122223333:key/1234", "pinned")
    raw = render.manifest([china], region="cn-north-1", ca_pem="")
    assert cbor2.loads(raw)["kms"]["host"] == "kms.cn-north-1.amazonaws.com.cn"


# --- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "measurements.json").write_text(measurements.dump(IMAGE))
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return {name: str(tmp_path / name) for name in ("measurements.json", "manifest.cbor", "ca.pem")}


def test_from_measurements_to_policy_and_template(
    tmp_path: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "environment.json"
    path.write_text(EXAMPLE.read_text().replace(json.loads(EXAMPLE.read_text())["kms_key_arn"], KEY))
    common = ["--region", "us-east-1", "--environment", str(path), "--output", files["manifest.cbor"]]
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


def without(name: str) -> Any:
    return lambda found: found.pop(name)


def with_value(name: str, value: Any) -> Any:
    return lambda found: found.update({name: value})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (without("id"), "field_invalid"),
        (without("policy"), "field_missing"),
        (with_value("unknown", 1), "field_invalid"),
        (with_value("policy", {"version": 1}), "field_invalid"),
        (with_value("policy", "allow"), "field_invalid"),
        (with_value("key_policy", "open"), "field_invalid"),
        (with_value("issuers", "none"), "field_invalid"),
        (with_value("recovery", None), "field_invalid"),
        (lambda found: found["administrators"][0].update(public_key="AAAA"), "field_invalid"),
        (lambda found: found["issuers"][0].update(jwks="{}"), "field_invalid"),
        (lambda found: found["issuers"][0].pop("jwks"), "field_missing"),
    ],
)
def test_an_environment_of_another_form_is_refused(
    tmp_path: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str], change: Any, code: str
) -> None:
    found = json.loads(EXAMPLE.read_text())
    change(found)
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(found))
    options = ["--region", "us-east-1", "--output", files["manifest.cbor"], "--environment", str(path)]
    assert render.main(["manifest", *options]) == EXIT_REFUSED
    assert code in capsys.readouterr().err
    assert not Path(files["manifest.cbor"]).exists()


def test_an_environment_with_a_key_twice_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    path = tmp_path / "environment.json"
    path.write_text(EXAMPLE.read_text().replace('"quorum": 2', '"quorum": 1, "quorum": 2'))
    options = ["--region", "us-east-1", "--output", files["manifest.cbor"], "--environment", str(path)]
    assert render.main(["manifest", *options]) == EXIT_REFUSED


def test_a_role_with_a_path_is_none_that_the_template_makes() -> None:
    with pytest.raises(RefusedError):
        render.template("{}", role="arn:aws:iam::111122223333:role/team/cosigner")
