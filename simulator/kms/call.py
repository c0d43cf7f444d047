"""One request to KMS, as far as it is understood, and what policies can ask about it."""

from __future__ import annotations

from moto.kms.models import Key

from simulator.kms.conditions import Context
from simulator.kms.errors import ApiError
from simulator.kms.faults import Fault
from simulator.kms.fields import Body, flag, string_map
from simulator.kms.policy import Request
from simulator.kms.principals import account_of, role_of
from simulator.kms.recipient import Recipient

_GRANT_OPERATIONS = frozenset({"CreateGrant", "ListGrants", "RevokeGrant"})
_POLICY_OPERATIONS = frozenset({"CreateKey", "PutKeyPolicy"})
_CRYPTOGRAPHIC = frozenset({"Decrypt", "Encrypt", "GenerateDataKey"})


class Call:
    """Raises ApiError for a malformed encryption context. `body`: the request's members. `principal`: the caller's ARN. `recipient` is set once it is verified.

    `context`: the encryption context. `key_arn` and `grant_id` say, once known, what the call was about; they are there for the log.
    """

    def __init__(self, operation: str, body: Body, *, principal: str, fault: Fault | None = None) -> None:
        self.operation = operation
        self.body = body
        self.principal = principal
        self.context = _encryption_context(body)
        self.fault = fault
        self.recipient: Recipient | None = None
        self.key_arn: str | None = None
        self.grant_id: str | None = None

    def refuse_recipient(self) -> None:
        """Only some operations have the parameter; a caller who sends it elsewhere relies on what is not there."""
        if self.body.get("Recipient") is not None:
            raise ApiError("ValidationException", f"{self.operation} has no Recipient parameter")

    def stop_dry_run(self) -> None:
        """To be called when the caller may, and before anything is done."""
        if flag(self.body, "DryRun"):
            raise ApiError(
                "DryRunOperationException", "The request would have succeeded, but the DryRun option is set."
            )

    def reported_key_id(self, arn: str) -> str:
        """The ARN for the answer, or another one when the fault asks for that."""
        if self.fault is Fault.OTHER_KEY_ID:
            return f"{arn.rpartition('/')[0]}/00000000-0000-0000-0000-000000000000"
        return arn

    def request(self, resource: str, *, key: Key | None = None, more: Context | None = None) -> Request:
        """What a policy is asked. `key` is absent while it is being made; `more`: further condition keys."""
        return Request(
            action=f"kms:{self.operation}",
            principal=self.principal,
            account=account_of(self.principal),
            resource=resource,
            context={**self._condition_keys(key), **(more or {})},
        )

    def _condition_keys(self, key: Key | None) -> Context:
        """KMS Developer Guide, «AWS KMS condition keys»; IAM User Guide, «AWS global condition context keys»."""
        account = account_of(self.principal)
        keys: dict[str, tuple[str, ...]] = {
            "aws:principalaccount": (account,),
            "aws:principalarn": (role_of(self.principal),),
            "aws:securetransport": ("true",),
            "kms:calleraccount": (account,),
        }
        if key is not None:
            keys["kms:keyorigin"] = (key.origin,)
            keys["kms:keyspec"] = (key.key_spec,)
            keys["kms:keyusage"] = (key.key_usage,)
            keys["kms:multiregion"] = (str(key.multi_region).lower(),)
        if self.operation in _GRANT_OPERATIONS:
            keys["kms:grantisforawsresource"] = ("false",)
        if self.operation in _POLICY_OPERATIONS:
            bypass = flag(self.body, "BypassPolicyLockoutSafetyCheck")
            keys["kms:bypasspolicylockoutsafetycheck"] = (str(bypass).lower(),)
        if self.operation in _CRYPTOGRAPHIC:
            keys["kms:encryptionalgorithm"] = ("SYMMETRIC_DEFAULT",)
        if self.context:
            keys["kms:encryptioncontextkeys"] = tuple(sorted(self.context))
        for name, value in self.context.items():
            keys[f"kms:encryptioncontext:{name.lower()}"] = (value,)
        if self.recipient is not None:
            keys.update(self.recipient.condition_keys)
        return keys


def _encryption_context(body: Body) -> dict[str, str]:
    context = string_map(body, "EncryptionContext")
    if len({name.lower() for name in context}) != len(context):
        # They would become one condition key with two values.
        raise ApiError(
            "UnsupportedOperationException",
            "encryption contexts with names that differ only in case are not simulated",
        )
    return context
