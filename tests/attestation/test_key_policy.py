"""The rendered key policy, judged by the simulator's evaluator, which had no part in rendering it."""

import itertools
import json

import pytest

from attestation.key_policy import render
from simulator.kms.policy import Request, Verdict, parse_policy

ACCOUNT = "111122223333"
ROLE, OTHER_ROLE = (f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("enclave-host", "path/second"))
EDITOR = f"arn:aws:iam::{ACCOUNT}:user/release-manager"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
A, B, C, D, MANIFEST, OTHER_MANIFEST = (bytes([number]) * 48 for number in range(1, 7))
RELEASE = {0: A, 1: B, 2: C, 16: MANIFEST}
NEXT = {0: D, 1: C, 2: B, 16: OTHER_MANIFEST}
RELEASING = ["kms:Decrypt", "kms:GenerateDataKey"]
READING = ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListGrants", "kms:GetKeyRotationStatus"]


def verdict(policy: str, action: str, pcrs: dict[int, bytes] | None = None, principal: str = ROLE) -> Verdict:
    context = {
        f"kms:recipientattestation:{'imagesha384' if index == 0 else f'pcr{index}'}": (value.hex(),)
        for index, value in (pcrs or {}).items()
    }
    account = principal.split(":")[4]
    return parse_policy(policy).judge(
        Request(action=action, principal=principal, account=account, resource="*", context=context)
    )


def rendered(*releases: dict[int, bytes], **options: object) -> str:
    return render(releases or [RELEASE], **{"account": ACCOUNT, "role": ROLE, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("action", RELEASING)
def test_keys_are_released_to_the_measured_enclave_alone(action: str) -> None:
    policy = rendered()
    assert verdict(policy, action, RELEASE) is Verdict.ALLOW
    assert verdict(policy, action) is Verdict.NO_STATEMENT
    for index in RELEASE:
        other = {**RELEASE, index: bytes(48)}
        missing = {key: value for key, value in RELEASE.items() if key != index}
        assert verdict(policy, action, other) is Verdict.NO_STATEMENT
        assert verdict(policy, action, missing) is Verdict.NO_STATEMENT


@pytest.mark.parametrize("action", RELEASING)
def test_two_releases_are_valid_at_once_and_never_mixed(action: str) -> None:
    policy = rendered(RELEASE, NEXT)
    for choice in itertools.product((RELEASE, NEXT), repeat=4):
        pcrs = {index: source[index] for index, source in zip(RELEASE, choice, strict=True)}
        expected = Verdict.ALLOW if pcrs in (RELEASE, NEXT) else Verdict.NO_STATEMENT
        assert verdict(policy, action, pcrs) is expected


@pytest.mark.parametrize("principal", [ROOT, EDITOR, f"arn:aws:iam::{ACCOUNT}:role/enclave-hos", "arn:aws:iam::999999999999:role/enclave-host"])  # fmt: skip
def test_nobody_but_the_role_gets_a_key_even_with_the_right_enclave(principal: str) -> None:
    policy = rendered(editors=[EDITOR], deleters=[ROOT])
    for action in RELEASING:
        assert verdict(policy, action, RELEASE, principal) is Verdict.NO_STATEMENT


def test_several_roles_may_be_named() -> None:
    policy = rendered(role=[ROLE, OTHER_ROLE])
    assert verdict(policy, "kms:Decrypt", RELEASE, OTHER_ROLE) is Verdict.ALLOW
    assert verdict(policy, "kms:DescribeKey", None, OTHER_ROLE) is Verdict.ALLOW


@pytest.mark.parametrize("action", READING)
def test_role_and_account_may_read(action: str) -> None:
    assert verdict(rendered(), action) is Verdict.ALLOW
    assert verdict(rendered(), action, principal=f"arn:aws:iam::{ACCOUNT}:user/auditor") is Verdict.ALLOW
    assert verdict(rendered(), action, principal="arn:aws:iam::999999999999:root") is Verdict.NO_STATEMENT


def test_editing_and_deleting_are_for_those_who_are_named() -> None:
    for action in ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"):
        for principal in (ROLE, EDITOR, ROOT):
            assert verdict(rendered(), action, RELEASE, principal) is Verdict.NO_STATEMENT
    policy = rendered(editors=[EDITOR], deleters=[ROOT])
    assert verdict(policy, "kms:PutKeyPolicy", principal=EDITOR) is Verdict.ALLOW
    assert verdict(policy, "kms:PutKeyPolicy", principal=ROLE) is Verdict.NO_STATEMENT
    assert verdict(policy, "kms:ScheduleKeyDeletion", principal=ROOT) is Verdict.ALLOW
    assert (
        verdict(policy, "kms:ScheduleKeyDeletion", principal="arn:aws:iam::999999999999:root")
        is Verdict.NO_STATEMENT
    )


@pytest.mark.parametrize(
    "action",
    [
        "kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:Sign", "kms:CreateGrant", "kms:RetireGrant",
        "kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateDataKeyPair", "kms:ImportKeyMaterial", "kms:UpdateAlias",
        "kms:ReplicateKey", "kms:UpdatePrimaryRegion", "kms:DeriveSharedSecret", "kms:EnableKeyRotation", "kms:TagResource",
    ],
)  # fmt: skip
def test_nothing_goes_around_the_conditions(action: str) -> None:
    policy = rendered(editors=[EDITOR], deleters=[ROOT])
    for principal in (ROLE, EDITOR, ROOT):
        assert verdict(policy, action, RELEASE, principal) is Verdict.NO_STATEMENT


def test_the_whole_text() -> None:
    """What an auditor reads: every element, nothing else."""
    policy = json.loads(rendered(editors=[EDITOR], deleters=[ROOT]))
    assert policy == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ReleaseToEnclave1",
                "Effect": "Allow",
                "Principal": {"AWS": ROLE},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": "*",
                "Condition": {
                    "StringEqualsIgnoreCase": {
                        "kms:RecipientAttestation:ImageSha384": A.hex(),
                        "kms:RecipientAttestation:PCR1": B.hex(),
                        "kms:RecipientAttestation:PCR2": C.hex(),
                        "kms:RecipientAttestation:PCR16": MANIFEST.hex(),
                    }
                },
            },
            {
                "Sid": "Read",
                "Effect": "Allow",
                "Principal": {"AWS": [ROLE, ROOT]},
                "Action": [
                    "kms:DescribeKey",
                    "kms:GetKeyPolicy",
                    "kms:GetKeyRotationStatus",
                    "kms:ListGrants",
                ],
                "Resource": "*",
            },
            {
                "Sid": "Delete",
                "Effect": "Allow",
                "Principal": {"AWS": ROOT},
                "Action": ["kms:CancelKeyDeletion", "kms:EnableKey", "kms:ScheduleKeyDeletion"],
                "Resource": "*",
            },
            {
                "Sid": "ChangeThisPolicy",
                "Effect": "Allow",
                "Principal": {"AWS": EDITOR},
                "Action": ["kms:PutKeyPolicy"],
                "Resource": "*",
            },
        ],
    }


def test_other_partitions_keep_their_name() -> None:
    role = f"arn:aws-us-gov:iam::{ACCOUNT}:role/enclave-host"
    policy = json.loads(rendered(role=role))
    assert policy["Statement"][1]["Principal"]["AWS"] == [role, f"arn:aws-us-gov:iam::{ACCOUNT}:root"]


@pytest.mark.parametrize(
    ("releases", "options", "message"),
    [
        ([], {}, "to nobody"),
        ([{}], {}, "PCR0"),
        ([{0: A}], {}, "PCR16"),
        ([{1: B, 16: MANIFEST}], {}, "PCR0"),
        ([RELEASE, {0: A}], {}, "PCR16"),
        ([RELEASE, dict(RELEASE)], {}, "twice"),
        ([{**RELEASE, 0: bytes(48)}], {}, "all zero"),
        ([{**RELEASE, 16: bytes(48)}], {}, "all zero"),
        ([{**RELEASE, 0: A[:32]}], {}, "48 bytes"),
        ([{**RELEASE, 32: A}], {}, "0 to 31"),
        ([{**RELEASE, -1: A}], {}, "0 to 31"),
        ([RELEASE], {"account": "1111"}, "twelve digits"),
        ([RELEASE], {"account": "*"}, "twelve digits"),
        ([RELEASE], {"role": []}, "full ARN"),
        ([RELEASE], {"role": "*"}, "full ARN"),
        ([RELEASE], {"role": ROOT}, "full ARN"),
        ([RELEASE], {"role": "enclave-host"}, "full ARN"),
        ([RELEASE], {"role": f"arn:aws:iam::{ACCOUNT}:role/*"}, "full ARN"),
        ([RELEASE], {"role": [ROLE, "*"]}, "full ARN"),
        ([RELEASE], {"role": ROLE + "\n"}, "full ARN"),
        ([RELEASE], {"role": "arn:aws:iam::999999999999:role/enclave-host"}, "not of account"),
        ([RELEASE], {"role": [ROLE, ROLE.replace("arn:aws:", "arn:aws-cn:")]}, "partitions"),
        ([RELEASE], {"editors": ["*"]}, "full ARNs"),
        ([RELEASE], {"editors": EDITOR}, "full ARNs"),
        ([RELEASE], {"deleters": ["arn:aws:iam::*:root"]}, "full ARNs"),
        ([{**RELEASE, 3: bytes([n, 1]) * 24} for n in range(90)], {}, "KMS takes"),
    ],
)  # fmt: skip
def test_what_releases_to_nobody_or_too_many_is_not_rendered(
    releases: list[dict[int, bytes]], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        render(releases, **{"account": ACCOUNT, "role": ROLE, **options})  # type: ignore[arg-type]
