"""Grants: permissions beside the key policy (KMS Developer Guide, «Grants in AWS KMS»).

A grant lets its grantee use the key whatever conditions the key policy makes, attestation included: only an explicit
Deny in the policy stops it. That is why a key policy alone says little, and why an enclave asks for the list of grants.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from simulator.kms.errors import ApiError
from simulator.kms.fields import Body, member, optional_text, string_map, strings, text
from simulator.kms.principals import account_of, is_principal, stands_for

# KMS Developer Guide, «Grant operations», those for symmetric encryption keys.
_USES_CONTEXT: Final = frozenset(
    {
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
    }
)
_OPERATIONS: Final = _USES_CONTEXT | {"CreateGrant", "DescribeKey", "RetireGrant"}
_CONSTRAINTS: Final = ("EncryptionContextEquals", "EncryptionContextSubset")
_NAME: Final = re.compile(r"[a-zA-Z0-9:/_-]{1,256}")
_MAX_PAIRS: Final = 8

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One grant. `equals`, `subset`: encryption context that a use of the key must have exactly, or must include.

    `token` names the grant, too, and is a secret of whoever created it; it is never listed. `created_at`: Unix time.
    """

    id: str
    token: str
    key_arn: str
    grantee: str
    operations: tuple[str, ...]
    retiring: str | None
    name: str | None
    equals: Pairs | None
    subset: Pairs | None
    issuing_account: str
    created_at: float

    @classmethod
    def from_request(cls, body: Body, *, key_arn: str, account: str, now: float) -> Self:
        """The grant that a CreateGrant request asks for. Raises ApiError."""
        for unsupported in ("GranteeServicePrincipal", "RetiringServicePrincipal"):
            if body.get(unsupported) is not None:
                raise ApiError("UnsupportedOperationException", f"{unsupported} is not simulated")
        operations = strings(body, "Operations")
        if not operations or not set(operations) <= _OPERATIONS:
            raise ApiError("ValidationException", "Operations must be grant operations of a symmetric key.")
        constraints = member(body, "Constraints") or {}
        if not constraints.keys() <= set(_CONSTRAINTS):
            raise ApiError("UnsupportedOperationException", "these grant constraints are not simulated")
        name = optional_text(body, "Name")
        if name is not None and _NAME.fullmatch(name) is None:
            raise ApiError("ValidationException", "Name is malformed")
        return cls(
            id=secrets.token_hex(32),
            token=secrets.token_urlsafe(64),
            key_arn=key_arn,
            grantee=_principal(text(body, "GranteePrincipal")),
            operations=tuple(dict.fromkeys(operations)),
            retiring=_principal(text(body, "RetiringPrincipal")) if body.get("RetiringPrincipal") else None,
            name=name,
            equals=_pairs(constraints, "EncryptionContextEquals"),
            subset=_pairs(constraints, "EncryptionContextSubset"),
            issuing_account=f"arn:aws:iam::{account}:root",
            created_at=now,
        )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        fields = dict(record)
        fields["operations"] = tuple(fields["operations"])
        for name in ("equals", "subset"):
            if fields[name] is not None:
                fields[name] = tuple((key, value) for key, value in fields[name])
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, with the token."""
        return dataclasses.asdict(self)

    def entry(self) -> dict[str, Any]:
        """As ListGrants shows it (KMS API Reference, GrantListEntry)."""
        constraints = {
            name: dict(pairs)
            for name, pairs in (
                ("EncryptionContextEquals", self.equals),
                ("EncryptionContextSubset", self.subset),
            )
            if pairs is not None
        }
        optional = {"Name": self.name, "RetiringPrincipal": self.retiring, "Constraints": constraints or None}
        return {
            "KeyId": self.key_arn,
            "GrantId": self.id,
            "CreationDate": self.created_at,
            "GranteePrincipal": self.grantee,
            "IssuingAccount": self.issuing_account,
            "Operations": list(self.operations),
            **{name: value for name, value in optional.items() if value is not None},
        }

    def allows(self, operation: str, principal: str, context: Mapping[str, str]) -> bool:
        """Does it let `principal` (an ARN) do this under the encryption context? Whoever attests what is not asked."""
        if operation not in self.operations or not _is(self.grantee, principal):
            return False
        return operation not in _USES_CONTEXT or self._accepts(context)

    def may_be_retired_by(self, principal: str) -> bool:
        """The retiring principal, a grantee with RetireGrant, and the issuing account itself may."""
        if self.retiring is not None and _is(self.retiring, principal):
            return True
        return principal == self.issuing_account or self.allows("RetireGrant", principal, {})

    def covers(self, other: Grant) -> bool:
        """May a grantee with CreateGrant make `other`, that is: does `other` allow nothing that this does not?"""
        if not set(other.operations) <= set(self.operations):
            return False
        if self.equals is not None:
            return other.equals is not None and _folded(other.equals) == _folded(self.equals)
        if self.subset is not None:
            theirs = other.equals if other.equals is not None else other.subset
            return theirs is not None and _folded(self.subset) <= _folded(theirs)
        return True

    def same_as(self, other: Grant) -> bool:
        """Equal in all that a caller chooses: CreateGrant with such a name answers with the first one's id."""
        return (
            self.name is not None
            and dataclasses.replace(other, id=self.id, token=self.token, created_at=self.created_at) == self
        )

    def _accepts(self, context: Mapping[str, str]) -> bool:
        # KMS API Reference, GrantConstraints: names compare without case here, values with it.
        given = _folded(tuple(context.items()))
        if self.equals is not None and _folded(self.equals) != given:
            return False
        return self.subset is None or _folded(self.subset) <= given


def grant_condition_keys(grant: Grant) -> dict[str, tuple[str, ...]]:
    """What a key policy can ask about a CreateGrant request (KMS Developer Guide, «AWS KMS condition keys»)."""
    keys = {"kms:grantoperations": grant.operations, "kms:granteeprincipal": (grant.grantee,)}
    if grant.retiring is not None:
        keys["kms:retiringprincipal"] = (grant.retiring,)
    if grant.equals is not None or grant.subset is not None:
        names = zip(_CONSTRAINTS, (grant.equals, grant.subset), strict=True)
        keys["kms:grantconstrainttype"] = tuple(name for name, pairs in names if pairs is not None)
    return keys


def _is(named: str, principal: str) -> bool:
    return stands_for(named, principal, account_of(principal))


def _principal(value: str) -> str:
    if not is_principal(value):
        raise ApiError("InvalidArnException", f"ARN '{value}' is not a principal's")
    return value


def _pairs(constraints: Body, name: str) -> Pairs | None:
    if constraints.get(name) is None:
        return None
    pairs = string_map(constraints, name)
    if not 1 <= len(pairs) <= _MAX_PAIRS:
        raise ApiError("ValidationException", f"{name} must have 1 to {_MAX_PAIRS} pairs")
    return tuple(sorted(pairs.items()))


def _folded(pairs: Pairs) -> frozenset[tuple[str, str]]:
    return frozenset((name.lower(), value) for name, value in pairs)
