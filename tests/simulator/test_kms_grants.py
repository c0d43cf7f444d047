"""Grants as an unmodified boto3 sees them: what they allow beside the key policy, and who may make and end them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.kms import KmsSimulator, key_policy
from simulator.kms.policy import ACCOUNT

PCRS = {0: b"\x01" * 48}
HOLDER = "AKIDHOLDER"


def refused(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture(scope="module")
def holder(simulator: KmsSimulator, connect: Callable[..., Any]) -> Any:
    """Another user of the account."""
    return connect(simulator, aws_access_key_id=HOLDER)


@pytest.fixture
def arn(client: Any, simulator: KmsSimulator) -> str:
    """A key that is attested only by its policy, after a grant was made and the policy closed, as an insider would."""
    return simulator.create_key()


def user(simulator: KmsSimulator, name: str) -> str:
    return f"arn:aws:iam::{simulator.account}:user/{name}"


def close(client: Any, arn: str) -> None:
    client.put_key_policy(KeyId=arn, Policy=key_policy(PCRS), BypassPolicyLockoutSafetyCheck=True)


def test_a_grant_goes_around_the_attestation_that_the_policy_demands(
    simulator: KmsSimulator, client: Any, holder: Any, arn: str
) -> None:
    client.create_grant(
        KeyId=arn, GranteePrincipal=user(simulator, HOLDER), Operations=["Decrypt", "GenerateDataKey"]
    )
    close(client, arn)
    made = holder.generate_data_key(KeyId=arn, KeySpec="AES_256")
    assert holder.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"] == made["Plaintext"]
    assert refused(client.generate_data_key, KeyId=arn, KeySpec="AES_256") == "AccessDeniedException"
    assert refused(holder.encrypt, KeyId=arn, Plaintext=b"x") == "AccessDeniedException"
    [grant] = client.list_grants(KeyId=arn)["Grants"]
    assert grant["Operations"] == ["Decrypt", "GenerateDataKey"]


def test_grants_are_listed_as_aws_lists_them(simulator: KmsSimulator, client: Any, arn: str) -> None:
    assert client.list_grants(KeyId=arn)["Grants"] == []
    made = client.create_grant(
        KeyId=arn,
        GranteePrincipal=user(simulator, HOLDER),
        RetiringPrincipal=user(simulator, "AKIDRETIRER"),
        Operations=["Decrypt"],
        Name="for-a-test",
        Constraints={"EncryptionContextSubset": {"purpose": "seal"}},
    )
    listed = client.list_grants(KeyId=arn)
    assert listed["Truncated"] is False
    [entry] = listed["Grants"]
    assert entry.pop("CreationDate").tzinfo is not None
    assert entry == {
        "KeyId": arn,
        "GrantId": made["GrantId"],
        "Name": "for-a-test",
        "GranteePrincipal": user(simulator, HOLDER),
        "RetiringPrincipal": user(simulator, "AKIDRETIRER"),
        "IssuingAccount": f"arn:aws:iam::{simulator.account}:root",
        "Operations": ["Decrypt"],
        "Constraints": {"EncryptionContextSubset": {"purpose": "seal"}},
    }


def test_long_lists_come_in_pages(simulator: KmsSimulator, client: Any, arn: str) -> None:
    made = [
        client.create_grant(KeyId=arn, GranteePrincipal=user(simulator, f"u{i}"), Operations=["Decrypt"])[
            "GrantId"
        ]
        for i in range(5)
    ]
    first = client.list_grants(KeyId=arn, Limit=2)
    assert first["Truncated"] is True
    pages = client.get_paginator("list_grants").paginate(KeyId=arn, PaginationConfig={"PageSize": 2})
    assert [grant["GrantId"] for page in pages for grant in page["Grants"]] == made
    assert refused(client.list_grants, KeyId=arn, Marker="elsewhere") == "InvalidMarkerException"
    filtered = client.list_grants(KeyId=arn, GranteePrincipal=user(simulator, "u3"))["Grants"]
    assert [grant["GrantId"] for grant in filtered] == [made[3]]
    assert [grant["GrantId"] for grant in client.list_grants(KeyId=arn, GrantId=made[1])["Grants"]] == [
        made[1]
    ]


def test_a_named_grant_is_made_once(simulator: KmsSimulator, client: Any, arn: str) -> None:
    wanted = {"KeyId": arn, "GranteePrincipal": user(simulator, HOLDER), "Operations": ["Decrypt"]}
    named = [client.create_grant(**wanted, Name="once")["GrantId"] for _ in range(2)]
    nameless = [client.create_grant(**wanted)["GrantId"] for _ in range(2)]
    assert len(set(named)) == 1
    assert len(set(nameless)) == 2


@pytest.mark.parametrize(
    ("constraint", "context", "allowed"),
    [
        ({"EncryptionContextSubset": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"EncryptionContextSubset": {"a": "1"}}, {"A": "1"}, True),  # names without case, values with it
        ({"EncryptionContextSubset": {"a": "x"}}, {"a": "X"}, False),
        ({"EncryptionContextSubset": {"a": "1"}}, {}, False),
        ({"EncryptionContextEquals": {"a": "1"}}, {"a": "1"}, True),
        ({"EncryptionContextEquals": {"a": "1"}}, {"a": "1", "b": "2"}, False),
        ({"EncryptionContextEquals": {"a": "1"}}, {}, False),
    ],
)
def test_constraints_look_at_the_encryption_context(
    client: Any, holder: Any, arn: str, constraint: Any, context: Any, *, allowed: bool
) -> None:
    client.create_grant(
        KeyId=arn,
        GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:user/{HOLDER}",
        Operations=["GenerateDataKey", "DescribeKey"],
        Constraints=constraint,
    )
    close(client, arn)
    call = {"KeyId": arn, "KeySpec": "AES_256", "EncryptionContext": context}
    if allowed:
        assert holder.generate_data_key(**call)["Plaintext"]
    else:
        assert refused(holder.generate_data_key, **call) == "AccessDeniedException"
    assert holder.describe_key(KeyId=arn)["KeyMetadata"]["Arn"] == arn  # constraints do not concern it


def test_an_explicit_deny_beats_a_grant(simulator: KmsSimulator, client: Any, holder: Any, arn: str) -> None:
    client.create_grant(KeyId=arn, GranteePrincipal=user(simulator, HOLDER), Operations=["GenerateDataKey"])
    policy = client.get_key_policy(KeyId=arn)["Policy"].replace(
        '"Statement": [',
        '"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "kms:GenerateDataKey", "Resource": "*",'
        ' "Condition": {"Null": {"kms:RecipientAttestation:ImageSha384": "true"}}}, ',
    )
    client.put_key_policy(KeyId=arn, Policy=policy)
    assert refused(holder.generate_data_key, KeyId=arn, KeySpec="AES_256") == "AccessDeniedException"


def test_an_attested_policy_lets_nobody_grant(simulator: KmsSimulator, client: Any) -> None:
    arn = simulator.create_key(key_policy(PCRS))
    wanted = {"KeyId": arn, "GranteePrincipal": user(simulator, HOLDER), "Operations": ["Decrypt"]}
    assert refused(client.create_grant, **wanted) == "AccessDeniedException"


def test_a_grantee_passes_on_no_more_than_it_has(
    simulator: KmsSimulator, client: Any, holder: Any, arn: str
) -> None:
    client.create_grant(
        KeyId=arn,
        GranteePrincipal=user(simulator, HOLDER),
        Operations=["CreateGrant", "Decrypt"],
        Constraints={"EncryptionContextSubset": {"a": "1"}},
    )
    close(client, arn)
    to = {"KeyId": arn, "GranteePrincipal": user(simulator, "other")}
    strict = {"EncryptionContextSubset": {"a": "1", "b": "2"}}
    assert holder.create_grant(**to, Operations=["Decrypt"], Constraints=strict)["GrantId"]
    assert refused(holder.create_grant, **to, Operations=["Decrypt"]) == "AccessDeniedException"
    assert (
        refused(holder.create_grant, **to, Operations=["Encrypt"], Constraints=strict)
        == "AccessDeniedException"
    )
    looser = {"EncryptionContextSubset": {"b": "2"}}
    assert (
        refused(holder.create_grant, **to, Operations=["Decrypt"], Constraints=looser)
        == "AccessDeniedException"
    )


def test_grants_end_by_revoking_and_by_retiring(
    simulator: KmsSimulator, client: Any, holder: Any, connect: Callable[..., Any], arn: str
) -> None:
    retirer = connect(simulator, aws_access_key_id="AKIDRETIRER")
    wanted = {
        "KeyId": arn,
        "GranteePrincipal": user(simulator, HOLDER),
        "RetiringPrincipal": user(simulator, "AKIDRETIRER"),
    }
    one, two, three = (
        client.create_grant(**wanted, Operations=operations)
        for operations in (["Decrypt"], ["Decrypt"], ["Decrypt", "RetireGrant"])
    )
    client.revoke_grant(KeyId=arn, GrantId=one["GrantId"])
    assert refused(client.revoke_grant, KeyId=arn, GrantId=one["GrantId"]) == "NotFoundException"
    close(client, arn)
    assert refused(client.revoke_grant, KeyId=arn, GrantId=two["GrantId"]) == "AccessDeniedException"
    assert refused(holder.retire_grant, GrantToken=two["GrantToken"]) == "AccessDeniedException"
    retirer.retire_grant(GrantToken=two["GrantToken"])
    holder.retire_grant(KeyId=arn, GrantId=three["GrantId"])
    assert refused(holder.retire_grant, GrantToken=two["GrantToken"]) == "InvalidGrantTokenException"
    assert client.list_grants(KeyId=arn)["Grants"] == []


def test_a_dry_run_changes_nothing(simulator: KmsSimulator, client: Any, arn: str) -> None:
    wanted = {"KeyId": arn, "GranteePrincipal": user(simulator, HOLDER), "Operations": ["Decrypt"]}
    assert refused(client.create_grant, **wanted, DryRun=True) == "DryRunOperationException"
    assert client.list_grants(KeyId=arn)["Grants"] == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Operations": ["Sign"]}, "ValidationException"),  # not on a symmetric key
        ({"Operations": []}, "ValidationException"),
        ({"GranteePrincipal": "somebody"}, "InvalidArnException"),
        ({"GranteePrincipal": "*"}, "InvalidArnException"),
        ({"Constraints": {"SourceArn": "arn:aws:s3:::some-bucket"}}, "UnsupportedOperationException"),
        ({"Constraints": {"EncryptionContextEquals": {}}}, "ValidationException"),
        ({"GranteeServicePrincipal": "ec2.amazonaws.com"}, "UnsupportedOperationException"),
        ({"Name": "with blanks"}, "ValidationException"),
        ({"KeyId": "no-such-key"}, "NotFoundException"),
    ],
)
def test_what_grants_cannot_be(
    simulator: KmsSimulator, client: Any, arn: str, changes: dict[str, Any], code: str
) -> None:
    wanted = {"KeyId": arn, "GranteePrincipal": user(simulator, HOLDER), "Operations": ["Decrypt"], **changes}
    assert refused(client.create_grant, **wanted) == code


def test_grants_survive_a_restart(state: Path, connect: Callable[..., Any]) -> None:
    with KmsSimulator(state) as first:
        arn = first.create_key()
        connect(first).create_grant(
            KeyId=arn,
            GranteePrincipal=user(first, HOLDER),
            Operations=["Decrypt"],
            Constraints={"EncryptionContextEquals": {"a": "1"}},
        )
        before = connect(first).list_grants(KeyId=arn)["Grants"]
    with KmsSimulator(state) as second:
        assert connect(second).list_grants(KeyId=arn)["Grants"] == before


def test_metadata_is_what_aws_gives(simulator: KmsSimulator, client: Any, arn: str) -> None:
    metadata = client.describe_key(KeyId=arn)["KeyMetadata"]
    assert metadata.pop("CreationDate").tzinfo is not None
    assert metadata == {
        "AWSAccountId": simulator.account,
        "Arn": arn,
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "Description": "",
        "Enabled": True,
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "KeyId": arn.rpartition("/")[2],
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyState": "Enabled",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "MultiRegion": False,
        "Origin": "AWS_KMS",
    }


def test_metadata_can_be_made_to_lie(simulator: KmsSimulator, client: Any) -> None:
    arn = simulator.create_key(claims={"Origin": "EXTERNAL", "MultiRegion": True})
    metadata = client.describe_key(KeyId=arn)["KeyMetadata"]
    assert (metadata["Origin"], metadata["MultiRegion"], metadata["Arn"]) == ("EXTERNAL", True, arn)
