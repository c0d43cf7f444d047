"""Render the key policy of a KMS key that releases its data keys to measured enclaves, and to nobody else.

Facts: AWS KMS Developer Guide, «Condition keys for AWS Nitro Enclaves» and «Default key policy»; IAM User Guide,
«Grammar of the IAM JSON policy language».

- Each release is a statement of its own. One statement with two values for each condition key would also let in
  PCR0 of one release together with PCR1 of the other.
- Decrypt and GenerateDataKey are conditioned alike: whoever can call GenerateDataKey without an enclave knows the
  key that a new environment would be founded on.
- There is no `kms:*` and no statement for the account that grants more than reading, so nothing that IAM says
  inside the account can widen this. Without `editors` nobody can change the policy any more; KMS accepts such a
  policy only with BypassPolicyLockoutSafetyCheck.
- A condition on a key that the request lacks is not met (IAM User Guide, «Condition operators»), as the operator has
  no IfExists: calls without `Recipient` are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attestation.document import PCR_BYTES, PCR_COUNT

MAX_POLICY: Final = 32 * 1024
"""Bytes of a key policy (KMS API Reference, PutKeyPolicy)."""

REQUIRED_PCRS: Final = frozenset({0, 16})
"""PCR0 is the image and PCR16 the manifest: what runs, and for whom."""

_RELEASE_ACTIONS: Final = ("kms:Decrypt", "kms:GenerateDataKey")
_READ_ACTIONS: Final = ("kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants")
# A key whose deletion was cancelled is disabled until somebody enables it (KMS API Reference, CancelKeyDeletion).
_DELETE_ACTIONS: Final = ("kms:CancelKeyDeletion", "kms:EnableKey", "kms:ScheduleKeyDeletion")
_ARN: Final = re.compile(
    r"arn:(aws(?:-[a-z]+)*):iam::([0-9]{12}):(root|(?:role|user)/[\w+=,.@/-]{1,512})", re.ASCII
)
_ZERO: Final = bytes(PCR_BYTES)


def render(
    releases: Sequence[Mapping[int, bytes]],
    *,
    account: str,
    role: str | Sequence[str],
    editors: Sequence[str] = (),
    deleters: Sequence[str] = (),
) -> str:
    """The JSON text of a key policy.

    `releases`: for each, PCR index 0..31 to 48 bytes; PCR0 and PCR16 are required. `account`: twelve digits. `role`:
    ARN or ARNs of the roles (or users) of this account with which enclaves call KMS. `editors`: ARNs that may
    replace the policy, and could so let any image at the key. `deleters`: ARNs that may schedule the key's deletion.

    Raises ValueError for what would release to no measured enclave, or to more than asked for.
    """
    if not re.fullmatch("[0-9]{12}", account):
        raise ValueError("an account has twelve digits")
    roles = [role] if isinstance(role, str) else list(role)
    partition = _check_principals(roles, account)
    root = f"arn:{partition}:iam::{account}:root"
    statements = [
        {
            "Sid": f"ReleaseToEnclave{number}",
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_many(roles)},
            "Action": list(_RELEASE_ACTIONS),
            "Resource": "*",
            "Condition": {"StringEqualsIgnoreCase": conditions},
        }
        for number, conditions in enumerate(_distinct(releases), start=1)
    ]
    statements.append(_allow("Read", [*roles, root], _READ_ACTIONS))
    if deleters:
        statements.append(_allow("Delete", _checked(deleters), _DELETE_ACTIONS))
    if editors:
        statements.append(_allow("ChangeThisPolicy", _checked(editors), ("kms:PutKeyPolicy",)))
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
    if len(policy) > MAX_POLICY:
        raise ValueError(f"the policy has {len(policy)} characters; KMS takes {MAX_POLICY}")
    return policy


def _distinct(releases: Sequence[Mapping[int, bytes]]) -> list[dict[str, str]]:
    """The conditions of each release."""
    rendered = [_conditions(release) for release in releases]
    if not rendered:
        raise ValueError("a policy without releases would release to nobody")
    if any(rendered.count(conditions) > 1 for conditions in rendered):
        raise ValueError("a release is given twice")
    return rendered


def _conditions(release: Mapping[int, bytes]) -> dict[str, str]:
    missing = sorted(REQUIRED_PCRS - release.keys())
    if missing:
        raise ValueError(f"a release does not pin PCR{missing[0]}")
    for index, value in release.items():
        if not 0 <= index < PCR_COUNT or len(value) != PCR_BYTES:
            raise ValueError(f"PCR{index} is not one of 0 to {PCR_COUNT - 1} with {PCR_BYTES} bytes")
        if value == _ZERO:  # what debug mode and unset PCRs have
            raise ValueError(f"PCR{index} is all zero, which pins nothing")
    return {
        # ImageSha384 is PCR0 under its older name, which every AWS example uses.
        f"kms:RecipientAttestation:{'ImageSha384' if index == 0 else f'PCR{index}'}": value.hex()
        for index, value in sorted(release.items())
    }


def _check_principals(roles: Sequence[str], account: str) -> str:
    """The partition of the roles, which are of this account."""
    matches = [_ARN.fullmatch(role) for role in roles]
    if not matches or any(match is None or match[3] == "root" for match in matches):
        raise ValueError("a role is given by its full ARN, such as arn:aws:iam::111122223333:role/name")
    found = {(match[1], match[2]) for match in matches if match}
    if {owner for _, owner in found} != {account}:
        raise ValueError(f"a role is not of account {account}")
    if len(found) > 1:
        raise ValueError("the roles are of several partitions")
    return found.pop()[0]


def _checked(principals: Sequence[str]) -> list[str]:
    if isinstance(principals, str) or not all(_ARN.fullmatch(principal) for principal in principals):
        raise ValueError("editors and deleters are full ARNs of roles, users, or the account's root")
    return list(principals)


def _allow(sid: str, principals: Sequence[str], actions: Sequence[str]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": _one_or_many(principals)},
        "Action": list(actions),
        "Resource": "*",
    }


def _one_or_many(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
