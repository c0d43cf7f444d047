"""The judge of key policies: the good one, each rule with the smallest policy that breaks it, and an oracle that had no part in it."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation.key_policy import render
from enclave.key_policy import (
    DATA_ACTIONS,
    EDIT_ACTIONS,
    HARMLESS_ACTIONS,
    MAX_POLICY,
    Measurement,
    Verdict,
    judge_grants,
    judge_metadata,
    judge_policy,
)
from enclave.kms_errors import NEXT_STEPS, KmsError
from simulator.kms import key_policy
from simulator.kms.policy import KeyPolicy, MalformedPolicyError, Request, parse_policy
from simulator.kms.policy import Verdict as Evaluated

ACCOUNT = "111122223333"
ARN = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
PCRS = {0: b"\xa1" * 48, 1: b"\xa2" * 48, 2: b"\xa3" * 48, 16: b"\xa4" * 48}
OURS = Measurement(image=PCRS[0], manifest=PCRS[16])
OTHER = "bb" * 48
IMAGE, MANIFEST = "kms:RecipientAttestation:ImageSha384", "kms:RecipientAttestation:PCR16"

Policy = dict[str, Any]
Change = Callable[[Policy], object]


def good() -> Policy:
    """As rendered for operators: statement 0 hands out data keys, statement 1 is harmless."""
    policy: Policy = json.loads(key_policy(PCRS, account=ACCOUNT))
    return policy


def changed(change: Change) -> str:
    policy = good()
    change(policy)
    text = json.dumps(policy)
    assert text != json.dumps(good())
    return text


def refused(text: str, *, accept_editable: bool = False) -> KmsError:
    with pytest.raises(KmsError) as caught:
        judge_policy(text, ours=OURS, accept_editable=accept_editable)
    error = caught.value
    assert (error.culprit, error.reaction) == ("kms", "abort")
    assert error.code in NEXT_STEPS
    return error


def data(policy: Policy) -> Policy:
    statement: Policy = policy["Statement"][0]
    return statement


def conditions(policy: Policy) -> Policy:
    tests: Policy = data(policy)["Condition"]["StringEqualsIgnoreCase"]
    return tests


def look(policy: Policy) -> Policy:
    statement: Policy = policy["Statement"][1]
    return statement


def allow(*actions: str, **elements: object) -> Policy:
    """Another statement."""
    return {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": list(actions),
        "Resource": "*",
        **elements,
    }


def release(image: str, manifest: str, **elements: object) -> Policy:
    """A statement that lets a release at the data keys."""
    return allow(
        "kms:Decrypt",
        "kms:GenerateDataKey",
        Condition={"StringEquals": {IMAGE: image, MANIFEST: manifest}},
        **elements,
    )


# --- what is accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept_editable", [True, False])
def test_the_rendered_policy_is_pinned(accept_editable: bool) -> None:
    text = key_policy(PCRS, account=ACCOUNT)
    assert judge_policy(text, ours=OURS, accept_editable=accept_editable) is Verdict.PINNED


ROLE = f"arn:aws:iam::{ACCOUNT}:role/cosigner-host"
OPERATOR = f"arn:aws:iam::{ACCOUNT}:user/operator"


@pytest.mark.parametrize("releases", [1, 3])
@pytest.mark.parametrize("editors", [(), (OPERATOR,)], ids=["nobody edits", "somebody edits"])
@pytest.mark.parametrize("deleters", [(), (OPERATOR,)], ids=["nobody deletes", "somebody deletes"])
def test_the_judge_agrees_with_the_renderer_for_operators(
    releases: int, editors: tuple[str, ...], deleters: tuple[str, ...]
) -> None:
    others = [{**PCRS, 0: bytes([number]) * 48} for number in range(1, releases)]
    text = render([PCRS, *others], account=ACCOUNT, role=ROLE, editors=editors, deleters=deleters)
    expected = Verdict.EDITABLE if others or editors else Verdict.PINNED
    assert judge_policy(text, ours=OURS, accept_editable=True) is expected
    if expected is Verdict.PINNED:
        assert judge_policy(text, ours=OURS, accept_editable=False) is expected
    else:
        assert refused(text).code == ("kms_policy_refused" if others else "kms_policy_editable")


ACCEPTED: dict[str, Change] = {
    "only the image and the manifest": lambda p: data(p).update(
        Condition={"StringEquals": {IMAGE: PCRS[0].hex(), MANIFEST: PCRS[16].hex()}}
    ),
    "the image by its PCR": lambda p: data(p).update(
        Condition={"StringEquals": {"kms:RecipientAttestation:PCR0": PCRS[0].hex(), MANIFEST: PCRS[16].hex()}}
    ),
    "the image under both names": lambda p: conditions(p).update(
        {"kms:RecipientAttestation:PCR0": PCRS[0].hex()}
    ),
    "two exact operators": lambda p: data(p).update(
        Condition={
            "StringEquals": {IMAGE: PCRS[0].hex()},
            "StringEqualsIgnoreCase": {MANIFEST: PCRS[16].hex()},
        }
    ),
    "values in lists of one": lambda p: conditions(p).update({IMAGE: [PCRS[0].hex()]}),
    "capitals where case is ignored": lambda p: conditions(p).update({IMAGE: PCRS[0].hex().upper()}),
    "condition keys in another case": lambda p: conditions(p).update(
        {MANIFEST.lower(): conditions(p).pop(MANIFEST)}
    ),
    "actions in another case": lambda p: data(p).update(Action=["KMS:decrypt", "kms:GENERATEDATAKEY"]),
    "one action as a string": lambda p: data(p).update(Action="kms:Decrypt"),
    "a further exact condition": lambda p: conditions(p).update(
        {"kms:EncryptionContext:environment": ["live", "sandbox"]}
    ),
    "a role as principal": lambda p: data(p).update(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/host"}),
    "an account number as principal": lambda p: data(p).update(Principal={"AWS": [ACCOUNT]}),
    "the key's own ARN as resource": lambda p: data(p).update(Resource=[ARN]),
    "harmless actions for everybody": lambda p: look(p).update(Principal="*"),
    "harmless actions under any condition": lambda p: look(p).update(
        Condition={"StringLikeIfExists": {"aws:PrincipalArn": "*"}, "Bool": {"aws:SecureTransport": True}}
    ),
    "harmless actions beside data keys": lambda p: data(p)["Action"].append("kms:DescribeKey"),
    "a single statement without brackets": lambda p: p.update(Statement=data(p)),
    "an id": lambda p: p.update(Id="key-policy"),
    "no Sid": lambda p: data(p).pop("Sid"),
    "a Deny of everything but something": lambda p: p["Statement"].append(
        {
            "Effect": "Deny",
            "NotPrincipal": {"Service": ["ec2.amazonaws.com"], "Federated": "x", "CanonicalUser": "y"},
            "NotAction": ["kms:Describe*"],
            "NotResource": "arn:aws:kms:*",
            "Condition": {"NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": 30}},
        }
    ),
    "a Deny of Decrypt without attestation": lambda p: p["Statement"].append(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "kms:*",
            "Resource": "*",
            "Condition": {"Null": {IMAGE: "true"}},
        }
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_only_narrows_or_says_the_same_is_pinned(name: str) -> None:
    assert judge_policy(changed(ACCEPTED[name]), ours=OURS, accept_editable=False) is Verdict.PINNED


def test_a_policy_without_any_statement_for_us_is_left_to_kms() -> None:
    """KMS then denies; the judge only says what a policy must not allow."""
    text = changed(lambda p: p.update(Statement=[look(p)]))
    assert judge_policy(text, ours=OURS, accept_editable=False) is Verdict.PINNED


# --- each rule, by the smallest policy that breaks it ----------------------------------------------------------------


def renamed(statement: Policy, element: str) -> None:
    statement[f"Not{element}"] = statement.pop(element)


def under(operator: str) -> Change:
    def change(policy: Policy) -> None:
        data(policy)["Condition"] = {operator: conditions(policy)}

    return change


BROKEN: dict[str, tuple[Change, str]] = {
    # conditions of the data keys
    "no condition": (lambda p: data(p).pop("Condition"), "without conditions"),
    "empty condition": (lambda p: data(p).update(Condition={}), "without conditions"),
    "image not pinned": (lambda p: conditions(p).pop(IMAGE), "without conditions"),
    "manifest not pinned": (lambda p: conditions(p).pop(MANIFEST), "without conditions"),
    "the kernel instead of the image": (
        lambda p: conditions(p).update({"kms:RecipientAttestation:PCR1": conditions(p).pop(IMAGE)}),
        "without conditions",
    ),
    "NitroTPM's PCR16 instead of the enclave's": (
        lambda p: conditions(p).update(
            {"kms:RecipientAttestation:NitroTPMPCR16": conditions(p).pop(MANIFEST)}
        ),
        "without conditions",
    ),
    "a condition key with the Kelvin sign": (
        lambda p: conditions(p).update({MANIFEST.replace("k", "\u212a"): conditions(p).pop(MANIFEST)}),
        "without conditions",
    ),
    "two images": (lambda p: conditions(p).update({IMAGE: [PCRS[0].hex(), OTHER]}), "one release"),
    "two manifests": (lambda p: conditions(p).update({MANIFEST: [PCRS[16].hex(), OTHER]}), "one release"),
    "an image of zeros": (lambda p: conditions(p).update({IMAGE: "00" * 48}), "debug"),
    "a manifest of zeros": (lambda p: conditions(p).update({MANIFEST: "00" * 48}), "debug"),
    "a pattern for the image": (lambda p: conditions(p).update({IMAGE: "*"}), "not a measurement"),
    "a pattern at the end": (lambda p: conditions(p).update({IMAGE: "a1" * 47 + "a*"}), "not a measurement"),
    "a variable for the image": (
        lambda p: conditions(p).update({IMAGE: "${" + IMAGE + "}"}),
        "not a measurement",
    ),
    "a measurement that is too short": (
        lambda p: conditions(p).update({IMAGE: "a1" * 47}),
        "not a measurement",
    ),
    "a newline after the measurement": (
        lambda p: conditions(p).update({IMAGE: "a1" * 48 + "\n"}),
        "not a measurement",
    ),
    "capitals under StringEquals": (
        lambda p: data(p).update(
            Condition={"StringEquals": {IMAGE: PCRS[0].hex().upper(), MANIFEST: PCRS[16].hex()}}
        ),
        "not a measurement",
    ),
    "two images by two names": (
        lambda p: conditions(p).update({"kms:RecipientAttestation:PCR0": OTHER}),
        "contradicts itself",
    ),
    "a condition value that is a number": (lambda p: conditions(p).update({IMAGE: 5}), "not a measurement"),
    **{
        f"operator {operator}": (under(operator), "not exact")
        for operator in (
            "StringLike",
            "StringNotEquals",
            "StringNotEqualsIgnoreCase",
            "StringNotLike",
            "StringEqualsIfExists",
            "StringEqualsIgnoreCaseIfExists",
            "StringLikeIfExists",
            "ForAnyValue:StringEquals",
            "ForAllValues:StringEquals",
            "ForAllValues:StringEqualsIgnoreCase",
            "ForAnyValue:StringEqualsIfExists",
            "ArnEquals",
            "ArnLike",
            "BinaryEquals",
            "Bool",
            "Null",
            "stringequals",
            "StringEquals ",
            "",
        )
    },
    "another operator beside": (
        lambda p: data(p)["Condition"].update({"StringLike": {"aws:PrincipalArn": "*"}}),
        "not exact",
    ),
    # principals of the data keys
    "data keys for everybody": (lambda p: data(p).update(Principal="*"), "everybody"),
    "data keys for everybody of AWS": (lambda p: data(p).update(Principal={"AWS": "*"}), "everybody"),
    "data keys for everybody in a list": (
        lambda p: data(p).update(Principal={"AWS": [ACCOUNT, "*"]}),
        "everybody",
    ),
    "data keys for a pattern": (
        lambda p: data(p).update(Principal={"AWS": "arn:aws:iam::*:root"}),
        "everybody",
    ),
    "data keys for a service": (
        lambda p: data(p).update(Principal={"Service": "ec2.amazonaws.com"}),
        "everybody",
    ),
    "data keys for a federation": (
        lambda p: data(p).update(Principal={"AWS": ACCOUNT, "Federated": "x"}),
        "everybody",
    ),
    # actions
    **{
        f"allows {action}": (lambda p, action=action: p["Statement"].append(allow(action)), "allows")
        for action in (
            "kms:Encrypt",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
            "kms:CreateGrant",
            "kms:RetireGrant",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:GenerateDataKeyPair",
            "kms:GenerateDataKeyPairWithoutPlaintext",
            "kms:DeriveSharedSecret",
            "kms:Decapsulate",
            "kms:ReplicateKey",
            "kms:UpdatePrimaryRegion",
            "kms:ImportKeyMaterial",
            "kms:DeleteImportedKeyMaterial",
            "kms:GetParametersForImport",
            "kms:Sign",
            "kms:GenerateMac",
            "kms:TagResource",
            "kms:UpdateAlias",
            "kms:SynchronizeMultiRegionKey",
            "kms:InventedNextYear",
            "s3:GetObject",
            "kms:*",
            "*",
            "kms:Describe*",
            "kms:Decryp?",
            "kms:DescribeKey*",
            "kms:",
            ":Decrypt",
            "Decrypt",
            "kms:Decrypt ",
            "kms:Decrypt\n",
            "\u212ams:DescribeKey",
        )
    },
    "re-encryption under attestation": (lambda p: data(p)["Action"].append("kms:ReEncryptFrom"), "allows"),
    "data keys in the harmless statement": (
        lambda p: look(p)["Action"].append("kms:GenerateDataKey"),
        "without conditions",
    ),
    "GenerateDataKey without conditions": (
        lambda p: p["Statement"].append(allow("kms:GenerateDataKey")),
        "without conditions",
    ),
    **{
        f"allows all but something: {element}": (
            lambda p, element=element: renamed(look(p), element),
            "everything but",
        )
        for element in ("Principal", "Action", "Resource")
    },
    # releases
    "another image": (lambda p: conditions(p).update({IMAGE: OTHER}), "another release"),
    "another manifest": (lambda p: conditions(p).update({MANIFEST: OTHER}), "another release"),
    "another release beside ours": (
        lambda p: p["Statement"].append(release(OTHER, PCRS[16].hex())),
        "another release",
    ),
    # form
    "version of 2008": (lambda p: p.update(Version="2008-10-17"), "Version"),
    "no version": (lambda p: p.pop("Version"), "Version"),
    "an id that is no text": (lambda p: p.update(Id=1), "Id"),
    "an unknown member": (lambda p: p.update(Statements=[]), "not an object"),
    "no statement": (lambda p: p.update(Statement=[]), "no Statement"),
    "statements missing": (lambda p: p.pop("Statement"), "no Statement"),
    "a statement that is text": (lambda p: p["Statement"].append("Allow"), "not an object"),
    "an unknown element": (lambda p: data(p).update(Conditions={}), "not an object"),
    "an element in another case": (
        lambda p: data(p).update(condition=data(p).pop("Condition")),
        "not an object",
    ),
    "a Sid that is no text": (lambda p: data(p).update(Sid=1), "Sid"),
    "another effect": (lambda p: data(p).update(Effect="allow"), "Effect"),
    "no effect": (lambda p: data(p).pop("Effect"), "Effect"),
    **{
        f"no {element}": (lambda p, element=element: data(p).pop(element), "exactly one")
        for element in ("Principal", "Action", "Resource")
    },
    "action and its opposite": (lambda p: data(p).update(NotAction="kms:Sign"), "exactly one"),
    "no actions in the list": (lambda p: data(p).update(Action=[]), "Action"),
    "an empty action": (lambda p: data(p).update(Action=[""]), "Action"),
    "an action that is a number": (lambda p: data(p).update(Action=[1]), "Action"),
    "an action that is an object": (lambda p: data(p).update(Action={"kms:Decrypt": 1}), "Action"),
    "a resource that is a boolean": (lambda p: data(p).update(Resource=True), "Resource"),
    "a principal that is text": (lambda p: data(p).update(Principal=ACCOUNT), "principal"),
    "an unknown kind of principal": (lambda p: data(p).update(Principal={"aws": ACCOUNT}), "principal"),
    "an empty principal": (lambda p: data(p).update(Principal={}), "principal"),
    "a principal without identities": (lambda p: data(p).update(Principal={"AWS": []}), "Principal"),
    "a condition that is a list": (lambda p: data(p).update(Condition=[]), "Condition"),
    "an operator without keys": (lambda p: data(p)["Condition"].update(StringEquals={}), "nothing to test"),
    "a condition without values": (lambda p: conditions(p).update({IMAGE: []}), "Condition"),
    "a condition on an object": (lambda p: conditions(p).update({IMAGE: {}}), "Condition"),
    "a Deny that is malformed": (lambda p: p["Statement"].append({"Effect": "Deny"}), "exactly one"),
    "a Deny with an unknown element": (
        lambda p: p["Statement"].append(
            {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "If": {}}
        ),
        "not an object",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_has_a_smallest_policy_that_breaks_it(name: str) -> None:
    change, why = BROKEN[name]
    error = refused(changed(change))
    assert error.code == "kms_policy_refused"
    assert why in error.message


@pytest.mark.parametrize("name", BROKEN)
def test_a_manifest_that_accepts_editing_accepts_nothing_else(name: str) -> None:
    change, why = BROKEN[name]
    if why == "another release":
        text = changed(change)
        assert judge_policy(text, ours=OURS, accept_editable=True) is Verdict.EDITABLE
        return
    assert why in refused(changed(change), accept_editable=True).message


def test_a_refusal_names_its_statement() -> None:
    error = refused(changed(lambda p: p["Statement"].insert(0, allow("kms:Encrypt", Sid="Backdoor"))))
    assert error.message == "statement 1 ('Backdoor') allows 'kms:encrypt'"
    error = refused(changed(lambda p: p["Statement"].insert(0, allow("kms:Encrypt"))))
    assert error.message == "statement 1 allows 'kms:encrypt'"


@pytest.mark.parametrize("sid", ["\ud800", "x" * 5000, "\x00\n\r", "ä"])
def test_the_words_of_a_refusal_are_short_and_travel_safely(sid: str) -> None:
    error = refused(changed(lambda p: p["Statement"].append(allow("kms:Encrypt", Sid=sid))))
    assert error.message.isascii()
    assert error.message.isprintable()
    assert len(error.message) < 200


def edited(**elements: object) -> Change:
    return lambda p: p["Statement"].append(allow("kms:PutKeyPolicy", **elements))


EDITABLE: dict[str, Change] = {
    "by the account": edited(),
    "by one user": edited(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/operator"}),
    "by everybody": edited(Principal="*"),
    "by a service": edited(Principal={"Service": "cloudformation.amazonaws.com"}),
    "under conditions": edited(Condition={"Bool": {"aws:MultiFactorAuthPresent": True}}),
    "of another resource": edited(Resource="arn:aws:kms:us-east-1:111122223333:key/other"),
    "in another case": lambda p: look(p)["Action"].append("KMS:putkeypolicy"),
    "under attestation": lambda p: data(p)["Action"].append("kms:PutKeyPolicy"),
    "though denied": lambda p: p["Statement"].extend(
        [
            allow("kms:PutKeyPolicy"),
            {"Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*"},
        ]
    ),
}


@pytest.mark.parametrize("name", EDITABLE)
def test_a_policy_that_somebody_may_change_is_refused_or_reported(name: str) -> None:
    text = changed(EDITABLE[name])
    assert refused(text).code == "kms_policy_editable"
    assert judge_policy(text, ours=OURS, accept_editable=True) is Verdict.EDITABLE


def test_other_releases_are_reported_as_editable_and_must_be_pinned_like_ours() -> None:
    text = changed(lambda p: p["Statement"].append(release(OTHER, "cc" * 48)))
    assert judge_policy(text, ours=OURS, accept_editable=True) is Verdict.EDITABLE
    for loose in (
        release("00" * 48, "cc" * 48),
        release("*", "cc" * 48),
        allow("kms:Decrypt", Condition={"StringEquals": {IMAGE: OTHER}}),
        allow("kms:Decrypt", Condition={"StringEqualsIfExists": {IMAGE: OTHER, MANIFEST: OTHER}}),
    ):
        text = changed(lambda p, loose=loose: p["Statement"].append(loose))
        assert refused(text, accept_editable=True).code == "kms_policy_refused"


# --- JSON ------------------------------------------------------------------------------------------------------------

NOT_STRICT: dict[str, str] = {
    "nothing": "",
    "noise": "\x00\xff",
    "no object": "[]",
    "text": '"policy"',
    "null": "null",
    "cut short": json.dumps(good())[:-1],
    "something behind": json.dumps(good()) + "{}",
    "a comma too much": json.dumps(good())[:-1] + ",}",
    "byte order mark": "\ufeff" + json.dumps(good()),
    "half a surrogate pair": "\ud800" + json.dumps(good()),
    "NaN": json.dumps(good()).replace(f'"{"a2" * 48}"', "NaN"),
    "a digit string beyond Python's limit": json.dumps(good()).replace(f'"{"a2" * 48}"', "9" * 5000),
    "a name twice": json.dumps(good()).replace('"Version"', '"Id": "a", "Id": "b", "Version"', 1),
    "an effect twice": json.dumps(good()).replace(
        '"Effect": "Allow"', '"Effect": "Deny", "Effect": "Allow"', 1
    ),
    "a condition twice": json.dumps(good()).replace(f'"{IMAGE}"', f'"{IMAGE}": "{OTHER}", "{IMAGE}"', 1),
    "a condition twice in two cases": json.dumps(good()).replace(
        f'"{IMAGE}"', f'"{IMAGE.lower()}": "{"a1" * 48}", "{IMAGE}"', 1
    ),
    "nested deeply": "[" * 100_000,
    "nested deeply inside": json.dumps(good()).replace('"*"', "[" * 5000 + "]" * 5000, 1),
    "too large": json.dumps(good()) + " " * MAX_POLICY,
}


@pytest.mark.parametrize("name", NOT_STRICT)
def test_what_is_not_one_strict_json_object_is_refused(name: str) -> None:
    for accept_editable in (True, False):
        assert refused(NOT_STRICT[name], accept_editable=accept_editable).code == "kms_policy_refused"


def test_depth_is_refused_before_anything_recursive_reads_it() -> None:
    """Python's own limit is no help: libraries raise it (`protocol.envelope.nesting`)."""
    assert "nested too deeply" in refused("[" * 2049).message
    assert "nested too deeply" not in refused("[" * 2048).message


def test_a_policy_of_exactly_kms_own_limit_is_read() -> None:
    text = json.dumps(good())
    text += " " * (MAX_POLICY - len(text))
    assert judge_policy(text, ours=OURS, accept_editable=False) is Verdict.PINNED


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_ends_in_a_refusal(text: str) -> None:
    refused(text)


# --- metadata and grants ---------------------------------------------------------------------------------------------


def metadata(**changes: object) -> dict[str, object]:
    return {
        "AWSAccountId": ACCOUNT,
        "KeyId": ARN.rpartition("/")[2],
        "Arn": ARN,
        "CreationDate": 1,
        "Enabled": True,
        "Description": "",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
        "CurrentKeyMaterialId": "00" * 32,
        **changes,
    }


BAD_METADATA: dict[str, tuple[dict[str, object], str]] = {
    "another ARN": ({"Arn": ARN[:-1] + "0"}, "kms_key_mismatch"),
    "an alias": ({"Arn": ARN.replace("key/", "alias/")}, "kms_key_mismatch"),
    "another id": ({"KeyId": "1234"}, "kms_key_mismatch"),
    "the ARN as id": ({"KeyId": ARN}, "kms_key_mismatch"),
    "another account": ({"AWSAccountId": "444455556666"}, "kms_key_mismatch"),
    "managed by AWS": ({"KeyManager": "AWS"}, "kms_key_metadata_refused"),
    "imported": ({"Origin": "EXTERNAL"}, "kms_key_metadata_refused"),
    "in an HSM cluster": ({"Origin": "AWS_CLOUDHSM"}, "kms_key_metadata_refused"),
    "in an external store": ({"Origin": "EXTERNAL_KEY_STORE"}, "kms_key_metadata_refused"),
    "multi-region": ({"MultiRegion": True}, "kms_key_metadata_refused"),
    "multi-region by a number": ({"MultiRegion": 0}, "kms_key_metadata_refused"),
    "no word on regions": ({"MultiRegion": None}, "kms_key_metadata_refused"),
    "for signatures": ({"KeyUsage": "SIGN_VERIFY"}, "kms_key_metadata_refused"),
    "asymmetric": ({"KeySpec": "RSA_2048"}, "kms_key_metadata_refused"),
    "a custom key store": ({"CustomKeyStoreId": "cks-1"}, "kms_key_metadata_refused"),
    "a cluster": ({"CloudHsmClusterId": "cluster-1"}, "kms_key_metadata_refused"),
    "an external key": ({"XksKeyConfiguration": {"Id": "1"}}, "kms_key_metadata_refused"),
    "replicas": ({"MultiRegionConfiguration": {}}, "kms_key_metadata_refused"),
    "material that expires": (
        {"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": 1},
        "kms_key_metadata_refused",
    ),
    "a field of next year": ({"EscrowedBy": "somebody"}, "kms_key_metadata_refused"),
    "disabled": ({"Enabled": False, "KeyState": "Disabled"}, "kms_key_unusable"),
    "enabled in words only": ({"Enabled": False}, "kms_key_unusable"),
    "about to be deleted": (
        {"Enabled": False, "KeyState": "PendingDeletion", "DeletionDate": 2},
        "kms_key_unusable",
    ),
    "without a state": ({"KeyState": None}, "kms_key_unusable"),
}


def test_metadata_of_a_plain_key_is_accepted() -> None:
    judge_metadata(metadata(), ARN)
    judge_metadata(metadata(PendingDeletionWindowInDays=7), ARN)  # of a deletion that was cancelled


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_of_any_other_key_is_refused(name: str) -> None:
    changes, code = BAD_METADATA[name]
    with pytest.raises(KmsError) as caught:
        judge_metadata(metadata(**changes), ARN)
    assert caught.value.code == code
    assert code in NEXT_STEPS


@pytest.mark.parametrize(
    "name", ["KeyManager", "Origin", "MultiRegion", "KeyUsage", "KeySpec", "Arn", "KeyId"]
)
def test_metadata_that_says_too_little_is_refused(name: str) -> None:
    little = metadata()
    del little[name]
    with pytest.raises(KmsError):
        judge_metadata(little, ARN)


def test_any_grant_is_refused() -> None:
    judge_grants([])
    with pytest.raises(KmsError) as caught:
        judge_grants([{"Operations": ["DescribeKey"]}])
    assert (caught.value.code, caught.value.reaction) == ("kms_key_has_grants", "abort")


# --- the oracle: an evaluator of policies, asked whether anybody gets what nobody but a release of ours may ----------

CALLERS = [
    f"arn:aws:iam::{ACCOUNT}:root",
    f"arn:aws:iam::{ACCOUNT}:role/host",
    f"arn:aws:iam::{ACCOUNT}:user/operator",
    "arn:aws:iam::444455556666:role/stranger",
]
PLANTING = [
    "Encrypt",
    "ReEncryptFrom",
    "ReEncryptTo",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeyPair",
]
WIDENING = ["CreateGrant", "ReplicateKey", "ImportKeyMaterial", "UpdatePrimaryRegion", "DeriveSharedSecret"]


Attested = dict[str, tuple[str, ...]]


def attested(pcrs: dict[int, bytes]) -> Attested:
    keys = {f"kms:recipientattestation:pcr{index}": (value.hex(),) for index, value in pcrs.items()}
    return {**keys, "kms:recipientattestation:imagesha384": (pcrs[0].hex(),)}


UNMEASURED: list[Attested] = [
    {},
    attested({index: bytes(48) for index in PCRS}),
]  # no enclave, and debug mode
STRANGERS: list[Attested] = [
    *UNMEASURED,
    *(attested({**PCRS, index: b"\xbb" * 48}) for index in (0, 16)),
    {name: value for name, value in attested(PCRS).items() if not name.endswith(("pcr0", "imagesha384"))},
]


def evaluated(text: str) -> KeyPolicy:
    """For the oracle. It evaluates less than the judge reads in a Deny; without them, it sees at least what KMS allows.

    :raises MalformedPolicyError: it cannot evaluate this.
    """
    policy = json.loads(text)
    statements = policy.get("Statement")
    if not isinstance(policy.get("Version"), str) or not isinstance(statements, dict | list):
        raise MalformedPolicyError("not evaluated")
    listed = [statements] if isinstance(statements, dict) else statements
    allowing = [entry for entry in listed if not isinstance(entry, dict) or entry.get("Effect") != "Deny"]
    return parse_policy(json.dumps({**policy, "Statement": allowing}))


def leaks(text: str, strangers: Sequence[Attested] = STRANGERS) -> list[str]:
    """What the policy gives to somebody who is not this release."""
    policy = evaluated(text)

    def allowed(action: str, caller: str, attestation: Attested) -> bool:
        account = caller.split(":")[4]
        context = {
            "kms:calleraccount": (account,),
            "aws:principalaccount": (account,),
            "aws:principalarn": (caller,),
            **attestation,
        }
        request = Request(
            action=f"kms:{action}", principal=caller, account=account, resource=ARN, context=context
        )
        return policy.judge(request) is Evaluated.ALLOW

    wanted = [(action, context) for action in ("Decrypt", "GenerateDataKey") for context in strangers]
    wanted += [
        (action, context) for action in (*PLANTING, *WIDENING) for context in (*strangers, attested(PCRS))
    ]
    return [
        f"{caller} may {action}"
        for caller in CALLERS
        for action, context in wanted
        if allowed(action, caller, context)
    ]


def may_be_edited(text: str) -> bool:
    """Whether anybody may change the policy."""
    policy = evaluated(text)
    return any(
        policy.judge(
            Request(
                action="kms:PutKeyPolicy",
                principal=caller,
                account=caller.split(":")[4],
                resource=ARN,
                context={**context, "aws:principalarn": (caller,)},
            )
        )
        is Evaluated.ALLOW
        for caller in CALLERS
        for context in (*STRANGERS, attested(PCRS))
    )


def test_the_oracle_finds_nothing_in_the_good_policy_and_something_in_every_wider_one() -> None:
    assert leaks(json.dumps(good())) == []
    assert not may_be_edited(json.dumps(good()))
    for name in ("no condition", "image not pinned", "operator StringEqualsIfExists", "allows kms:*"):
        assert leaks(changed(BROKEN[name][0])), name
    assert may_be_edited(changed(EDITABLE["by one user"]))


VALUES: list[Any] = [
    "*",
    "kms:*",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:CreateGrant",
    "kms:PutKeyPolicy",
    "kms:Encrypt",
    "kms:ReEncryptFrom",
    "kms:Describe*",
    "kms:DescribeKey",
    "Allow",
    "Deny",
    "2008-10-17",
    PCRS[0].hex(),
    PCRS[16].hex(),
    OTHER,
    "00" * 48,
    "?" * 96,
    ACCOUNT,
    {"AWS": "*"},
    {"AWS": [ACCOUNT]},
    [],
    {},
    [PCRS[0].hex(), OTHER],
]
NAMES: list[str] = [
    "Action",
    "NotAction",
    "Principal",
    "NotPrincipal",
    "Resource",
    "NotResource",
    "Effect",
    "Condition",
    "StringEquals",
    "StringEqualsIfExists",
    "StringEqualsIgnoreCaseIfExists",
    "StringLike",
    "StringNotEquals",
    "ForAllValues:StringEquals",
    "ForAnyValue:StringEquals",
    "Null",
    IMAGE,
    MANIFEST,
    MANIFEST.lower(),
    "kms:RecipientAttestation:PCR0",
    "kms:RecipientAttestation:PCR1",
    "kms:CallerAccount",
]


def nodes(tree: Any) -> list[Any]:
    """Every object and list of a policy."""
    children = list(tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    own = [tree] if isinstance(tree, dict | list) else []
    return own + [node for child in children for node in nodes(child)]


def mutate(tree: Policy, draw: random.Random) -> None:
    """One change of one node: drop, rename, replace, add, copy."""
    node = draw.choice(nodes(tree))
    value = copy.deepcopy(draw.choice(VALUES))
    if isinstance(node, list):
        match draw.randrange(4):
            case 0 if node:
                node.pop(draw.randrange(len(node)))
            case 1 if node:
                node[draw.randrange(len(node))] = value
            case 2 if node:
                node.append(copy.deepcopy(draw.choice(node)))
            case _:
                node.append(value)
        return
    names = list(node)
    match draw.randrange(4):
        case 0 if names:
            node.pop(draw.choice(names))
        case 1 if names:
            node[draw.choice(NAMES)] = node.pop(draw.choice(names))
        case 2 if names:
            node[draw.choice(names)] = value
        case _:
            node[draw.choice(NAMES)] = value


@given(st.integers(0, 2**63), st.integers(1, 6))
@settings(max_examples=1500, deadline=None)
def test_no_mutation_that_widens_is_accepted(seed: int, count: int) -> None:
    """Whatever the judge accepts, the oracle finds no leak in; what it calls pinned, nobody can edit."""
    draw = random.Random(seed)
    policy = good()
    if draw.random() < 0.3:
        policy["Statement"].append(allow("kms:PutKeyPolicy"))
    for _ in range(count):
        mutate(policy, draw)
    text = json.dumps(policy)
    for accept_editable in (False, True):
        try:
            verdict = judge_policy(text, ours=OURS, accept_editable=accept_editable)
        except KmsError:
            continue
        try:
            found, editable = leaks(text), may_be_edited(text)
        except MalformedPolicyError:
            continue  # only in what is harmless for anybody: see the list of what is accepted
        if verdict is Verdict.PINNED:
            assert (found, editable) == ([], False), text
        else:
            # Other releases may have been let in by name; never somebody without a measurement, never other operations.
            foreign = [leak for leak in found if not leak.endswith(("may Decrypt", "may GenerateDataKey"))]
            assert foreign == [], text
            assert leaks(text, UNMEASURED) == [], text


def test_the_mutations_reach_both_sides() -> None:
    """Else the property above would say nothing."""
    outcomes = {"accepted": 0, "refused": 0, "leaking": 0}
    for seed in range(1500):
        draw = random.Random(seed)
        policy = good()
        mutate(policy, draw)
        text = json.dumps(policy)
        try:
            judge_policy(text, ours=OURS, accept_editable=True)
        except KmsError:
            outcomes["refused"] += 1
        else:
            outcomes["accepted"] += 1
        try:
            outcomes["leaking"] += bool(leaks(text))
        except MalformedPolicyError:
            continue
    assert min(outcomes.values()) > 40, outcomes


# --- the lists -------------------------------------------------------------------------------------------------------


def test_the_lists_name_operations_of_kms_and_do_not_overlap() -> None:
    """botocore's description of the service is a list of operations that was written by others."""
    import botocore.session

    operations = botocore.session.get_session().get_service_model("kms").operation_names
    known = {f"kms:{name.lower()}" for name in operations}
    assert known >= DATA_ACTIONS | EDIT_ACTIONS | HARMLESS_ACTIONS
    assert len(DATA_ACTIONS) + len(EDIT_ACTIONS) + len(HARMLESS_ACTIONS) == len(
        DATA_ACTIONS | EDIT_ACTIONS | HARMLESS_ACTIONS
    )
