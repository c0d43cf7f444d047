"""The CloudFormation templates: linted, created on moto, and what comes of them used by the code that will use it.

moto makes role, key, table, bucket, instance, topic and rule; it has no metric filters, alarms and bucket policies, which are checked by
their text here and by cfn-lint. AWS itself has not seen these templates.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from cfnlint.decode import cfn_yaml
from moto import mock_aws
from moto.kms.models import kms_backends

from deploy import render
from deploy.render import Release
from enclave import key_policy as judge
from enclave.kms_errors import KmsError
from enclave.manifest import expected_pcr
from host.readiness_metric import METRIC, NAMESPACE
from host.storage import Stored
from host.storage.dynamodb import DynamoDbStore
from tests.deploy.environments import environment

TEMPLATES = Path(__file__).parents[2] / "deploy" / "cloudformation"
ACCOUNT, REGION = "123456789012", "us-east-1"  # moto's
FOUNDER = f"arn:aws:iam::{ACCOUNT}:role/founder"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/cosigner-parent"
UNKNOWN_TO_MOTO = {
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::Logs::MetricFilter",
    "AWS::CloudWatch::Alarm",
}
IMAGE = {0: b"\xab" * 48, 1: b"\xcd" * 48, 2: b"\xef" * 48}


def load(name: str) -> dict[str, Any]:
    """A template as JSON, with the functions in their long form."""
    return dict(json.loads(json.dumps(cfn_yaml.load(str(TEMPLATES / name)), default=str)))


PARENT = load("parent.yaml")["Resources"]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield


def create(name: str, template: dict[str, Any], **parameters: str) -> dict[str, str]:
    """Create a stack on moto; its outputs."""
    client = boto3.client("cloudformation")
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tried to parse .* but it's not supported by moto")
        client.create_stack(
            StackName=name,
            TemplateBody=json.dumps(template),
            Parameters=given,
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def policy_in_moto(key_arn: str) -> str:
    policy = kms_backends[ACCOUNT][REGION].keys[key_arn.rpartition("/")[2]].policy
    return policy if isinstance(policy, str) else json.dumps(policy)


def create_parent(key_arn: str) -> dict[str, str]:
    ec2 = boto3.client("ec2")
    boto3.client("logs").create_log_group(logGroupName="trail")
    template = load("parent.yaml")
    # moto takes these from the instance only, and not from its launch template.
    template["Resources"]["Instance"]["Properties"] |= {
        "ImageId": ec2.describe_images()["Images"][0]["ImageId"],
        "InstanceType": "m6i.xlarge",
    }
    return create(
        "parent",
        template,
        KeyArn=key_arn,
        VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        SubnetId=ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        ProxySecurityGroupId=ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"],
        ReleaseBucketName="releases",
        TrailLogGroupName="trail",
        AlarmEmail="operator@example.org",
    )


# --- the key --------------------------------------------------------------------------------------------------------------


def test_the_founding_policy_releases_nothing_and_lets_the_founder_put_the_real_one(aws: None) -> None:
    key_arn = create("key", load("key.json"), FounderArn=FOUNDER)["KeyArn"]
    policy = json.loads(policy_in_moto(key_arn))
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert not {action.lower() for action in allowed} & judge.DATA_ACTIONS
    (founding,) = [one for one in policy["Statement"] if "kms:PutKeyPolicy" in one["Action"]]
    assert founding["Principal"] == {"AWS": FOUNDER}
    assert founding["Action"] == ["kms:PutKeyPolicy"]
    # No enclave would use the key like this.
    ours = judge.Measurement(image=IMAGE[0], manifest=bytes(47) + b"\x01")
    with pytest.raises(KmsError):
        judge.judge_policy(json.dumps(policy), ours=ours, accept_editable=False)


def test_the_rendered_template_makes_a_key_whose_policy_the_enclave_accepts(aws: None) -> None:
    named = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234"  # the key of the stack that this template updates
    raw = render.manifest([environment("sandbox", named, "pinned")], region=REGION, ca_pem="")
    template = render.template(render.policy(named, [Release(IMAGE, raw)], role=ROLE), role=ROLE)
    made = create("key", template)
    assert made["RoleArn"] == ROLE
    ours = judge.Measurement(image=IMAGE[0], manifest=expected_pcr(raw))
    verdict = judge.judge_policy(policy_in_moto(made["KeyArn"]), ours=ours, accept_editable=False)
    assert verdict is judge.Verdict.PINNED


def test_the_policy_is_put_as_the_runbook_has_it(aws: None) -> None:
    key_arn = boto3.client("kms").create_key(BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]["Arn"]
    raw = render.manifest([environment("sandbox", key_arn, "pinned")], region=REGION, ca_pem="")
    text = render.policy(key_arn, [Release(IMAGE, raw)], role=ROLE)
    kms = boto3.client("kms")
    kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=text, BypassPolicyLockoutSafetyCheck=True)
    assert json.loads(policy_in_moto(key_arn)) == json.loads(text)


def test_the_key_outlives_its_stack_and_stands_where_the_enclave_wants_it() -> None:
    key = load("key.json")["Resources"]["Key"]
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = key["Properties"]
    assert properties["MultiRegion"] is False
    assert properties["PendingWindowInDays"] == 30
    assert properties["BypassPolicyLockoutSafetyCheck"] is True
    assert (properties["KeySpec"], properties["KeyUsage"]) == ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")


def test_cfn_lint_takes_what_is_rendered(tmp_path: Path) -> None:
    raw = render.manifest(
        [environment("s", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234", "pinned")], region=REGION, ca_pem=""
    )
    text = render.policy(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234", [Release(IMAGE, raw)], role=ROLE)
    (tmp_path / "key.json").write_text(json.dumps(render.template(text, role=ROLE)))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("cfn-lint")),
            str(tmp_path / "key.json"),
            *map(str, sorted(TEMPLATES.iterdir())),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


# --- the instance, its table, its rights -----------------------------------------------------------------------------------


def test_the_table_of_the_stack_is_the_one_that_the_host_wants(aws: None) -> None:
    key_arn = create("key", load("key.json"), FounderArn=FOUNDER)["KeyArn"]
    table = create_parent(key_arn)["TableName"]

    async def use() -> None:
        store = DynamoDbStore(table, region=REGION)
        await store.put("environments/sandbox/data-key", expected=0, epoch=1, value=b"wrapped")
        assert await store.get("environments/sandbox/data-key") == Stored(1, b"wrapped")
        await store.close()

    asyncio.run(use())


def test_the_rights_on_the_table_are_those_of_the_stores_calls(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: set[str] = set()
    real = BaseClient._make_api_call

    def note(client: Any, operation: str, arguments: Any) -> Any:
        called.add(f"dynamodb:{operation}")
        return real(client, operation, arguments)

    table = PARENT["Records"]["Properties"]
    boto3.client("dynamodb").create_table(
        TableName="records",
        **{name: table[name] for name in ("KeySchema", "AttributeDefinitions", "BillingMode")},
    )
    monkeypatch.setattr(BaseClient, "_make_api_call", note)

    async def use() -> None:
        store = DynamoDbStore("records", region=REGION)
        await store.put("k", expected=0, epoch=1, value=b"v")
        await store.get("k")
        await store.keys("", after="", count=10)
        await store.delete("k", expected=1)
        await store.close()

    asyncio.run(use())
    (statement,) = [one for one in statements("Rights") if one["Sid"] == "Records"]
    assert set(statement["Action"]) == called
    assert statement["Resource"] == {"Fn::GetAtt": ["Records", "Arn"]}


def test_the_rights_on_the_key_are_those_of_the_enclaves_calls() -> None:
    (statement,) = [one for one in statements("Rights") if one["Sid"] == "Key"]
    assert set(statement["Action"]) == {
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "kms:DescribeKey",
        "kms:GetKeyPolicy",
        "kms:ListGrants",
    }
    assert statement["Resource"] == {"Ref": "KeyArn"}
    for one in statements("Rights"):
        assert one["Resource"] != "*" or "Condition" in one
        assert not any("*" in action for action in [*one["Action"]])


def statements(name: str) -> list[dict[str, Any]]:
    found = PARENT[name]["Properties"]["PolicyDocument"]["Statement"]
    return [
        {**one, "Action": [one["Action"]] if isinstance(one["Action"], str) else one["Action"]}
        for one in found
    ]


def test_the_instance_has_enclaves_and_gives_its_credentials_to_nobody_who_only_forwards() -> None:
    data = PARENT["Template"]["Properties"]["LaunchTemplateData"]
    assert data["EnclaveOptions"] == {"Enabled": True}
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert "KeyName" not in data
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    door = PARENT["Door"]["Properties"]
    assert [rule["SourceSecurityGroupId"] for rule in door["SecurityGroupIngress"]] == [
        {"Ref": "ProxySecurityGroupId"}
    ]


@pytest.mark.parametrize("name", ["Records", "Logs"])
def test_what_holds_data_outlives_its_stack(name: str) -> None:
    assert (PARENT[name]["DeletionPolicy"], PARENT[name]["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_records_can_be_restored_and_logs_cannot_be_deleted() -> None:
    records, logs = PARENT["Records"]["Properties"], PARENT["Logs"]["Properties"]
    assert records["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert records["DeletionProtectionEnabled"] is True
    assert logs["ObjectLockEnabled"] is True
    assert logs["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "COMPLIANCE"
    assert logs["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(logs["PublicAccessBlockConfiguration"].values()) == {True}


# --- alarms ----------------------------------------------------------------------------------------------------------------


def test_every_alarm_goes_to_the_topic_and_looks_at_a_metric_that_somebody_fills() -> None:
    filled = {(NAMESPACE, METRIC), ("AWS/EC2", "StatusCheckFailed")}
    for resource in PARENT.values():
        if resource["Type"] == "AWS::Logs::MetricFilter":
            (made,) = resource["Properties"]["MetricTransformations"]
            filled.add((made["MetricNamespace"], made["MetricName"]))
    alarms = [one["Properties"] for one in PARENT.values() if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert {(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms} == filled
    for alarm in alarms:
        assert alarm["AlarmActions"] == [{"Ref": "Alarms"}]
        assert "AlarmDescription" in alarm
    (ready,) = [alarm for alarm in alarms if alarm["MetricName"] == METRIC]
    assert ready["TreatMissingData"] == "breaching"
    assert [one["Name"] for one in ready["Dimensions"]] == ["Instance"]


def test_every_change_of_the_key_that_the_enclave_calls_dangerous_raises_an_event() -> None:
    names = set(PARENT["KeyChanged"]["Properties"]["EventPattern"]["detail"]["eventName"])
    assert {name for name in names if f"kms:{name.lower()}" in judge.EDIT_ACTIONS} == {"PutKeyPolicy"}
    assert {"CreateGrant", "DisableKey", "ScheduleKeyDeletion", "ReplicateKey", "ImportKeyMaterial"} <= names


def test_moto_leaves_out_only_what_this_file_says_it_does() -> None:
    kinds = {resource["Type"] for resource in PARENT.values()}
    assert kinds >= UNKNOWN_TO_MOTO
    assert kinds - UNKNOWN_TO_MOTO == {
        "AWS::DynamoDB::Table",
        "AWS::EC2::Instance",
        "AWS::EC2::LaunchTemplate",
        "AWS::EC2::SecurityGroup",
        "AWS::Events::Rule",
        "AWS::IAM::InstanceProfile",
        "AWS::IAM::Policy",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
    }
