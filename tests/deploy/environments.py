"""Environments for the tests of deployment: the example's, under other names and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from deploy import environments
from enclave.manifest import Environment

EXAMPLE = Path(__file__).parents[2] / "deploy" / "config" / "environment.json"


def environment(name: str, key_arn: str, key_policy: Any) -> Environment:
    return msgspec.structs.replace(
        environments.load(EXAMPLE), id=name, kms_key_arn=key_arn, key_policy=key_policy
    )
