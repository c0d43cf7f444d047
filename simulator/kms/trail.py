"""The log of calls, in the form of CloudTrail (KMS Developer Guide, «Logging AWS KMS API calls with AWS CloudTrail»).

It holds what CloudTrail would hold: who called what with which encryption context, for which key, as which enclave
(«Monitoring requests for Nitro enclaves»), and how it ended. Plaintexts, ciphertexts, keys, grant tokens and documents
never enter it: members of requests are taken over by name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from simulator.kms.call import Call
from simulator.kms.errors import ApiError
from simulator.kms.principals import account_of, role_of

MAX_EVENTS: Final = 10_000  # kept in memory; the file keeps all
_LOGGED: Final = (
    "BypassPolicyLockoutSafetyCheck",
    "Constraints",
    "Description",
    "DryRun",
    "EncryptionContext",
    "GrantId",
    "GranteePrincipal",
    "KeyId",
    "KeySpec",
    "KeyUsage",
    "Limit",
    "Marker",
    "MultiRegion",
    "Name",
    "NumberOfBytes",
    "Operations",
    "Origin",
    "Policy",
    "PolicyName",
    "RetiringPrincipal",
)
_WITHOUT_PARAMETERS: Final = frozenset({"GenerateRandom", "RetireGrant"})
_WITH_ALGORITHM: Final = frozenset({"Decrypt", "Encrypt"})
_WRITES: Final = frozenset({"CreateGrant", "CreateKey", "PutKeyPolicy", "RetireGrant", "RevokeGrant"})

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request came from."""

    access_key: str
    address: str
    user_agent: str
    request_id: str


class Trail:
    """Events in order of their end, the last `MAX_EVENTS` of them; all are appended to `file`, one JSON a line.

    Raises OSError for a file that cannot be written.
    """

    def __init__(self, file: Path | None = None) -> None:
        if file is not None:
            file.open("a", encoding="utf-8").close()
        self._file = file
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)

    @property
    def events(self) -> list[Event]:
        """A copy, oldest first."""
        with self._lock:
            return list(self._events)

    def record(self, event: Event) -> None:
        """Keep one more."""
        line = json.dumps(event) + "\n"
        with self._lock:
            self._events.append(event)
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(line)


def event_of(
    call: Call,
    origin: Origin,
    *,
    region: str,
    now: datetime,
    answer: Mapping[str, Any] | None = None,
    error: ApiError | None = None,
) -> Event:
    """One finished call: with its answer, or with its error."""
    account = account_of(call.principal)
    event: dict[str, Any] = {
        "eventVersion": "1.08",
        "userIdentity": _identity(call.principal, origin.access_key),
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "kms.amazonaws.com",
        "eventName": call.operation,
        "awsRegion": region,
        "sourceIPAddress": origin.address,
        "userAgent": origin.user_agent,
    }
    if error is not None:
        # Not shown on the KMS pages of CloudTrail; other services' refusals by policy have this name there.
        event["errorCode"] = "AccessDenied" if error.code == "AccessDeniedException" else error.code
        event["errorMessage"] = error.message
    event["requestParameters"] = _parameters(call)
    event["responseElements"] = _elements(call, answer or {})
    additional: dict[str, Any] = {}
    if call.recipient is not None:
        additional["recipient"] = call.recipient.trail
    if call.operation == "RetireGrant" and call.grant_id is not None:
        additional["grantId"] = call.grant_id
    if additional:
        event["additionalEventData"] = additional
    return event | {
        "requestID": origin.request_id,
        "eventID": str(uuid.uuid4()),
        "readOnly": call.operation not in _WRITES,
        "resources": []
        if call.key_arn is None
        else [{"accountId": account, "type": "AWS::KMS::Key", "ARN": call.key_arn}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }


def _parameters(call: Call) -> dict[str, Any] | None:
    if call.operation in _WITHOUT_PARAMETERS:
        return None
    parameters = {
        name[0].lower() + name[1:]: _plain(call.body[name], deep=name == "Constraints")
        for name in _LOGGED
        if call.body.get(name) is not None
    }
    if call.operation in _WITH_ALGORITHM:
        parameters["encryptionAlgorithm"] = "SYMMETRIC_DEFAULT"
    return parameters or None


def _plain(value: object, *, deep: bool) -> object:
    if deep and isinstance(value, dict):
        return {name[:1].lower() + name[1:]: inner for name, inner in value.items()}
    return value


def _elements(call: Call, answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """What writing operations made; null for all that give out data."""
    if call.operation == "CreateGrant" and "GrantId" in answer:
        return {"grantId": answer["GrantId"]}
    if call.operation == "CreateKey" and "KeyMetadata" in answer:
        metadata = answer["KeyMetadata"]
        return {"keyMetadata": {name[0].lower() + name[1:]: value for name, value in metadata.items()}}
    return None


def _identity(principal: str, access_key: str) -> dict[str, Any]:
    account = account_of(principal)
    role = role_of(principal)
    common = {"arn": principal, "accountId": account, "accessKeyId": access_key}
    if role == principal:
        return {
            "type": "IAMUser",
            "principalId": _unique_id("AIDA", principal),
            **common,
            "userName": principal.rpartition("/")[2],
        }
    role_id = _unique_id("AROA", role)
    return {
        "type": "AssumedRole",
        "principalId": f"{role_id}:{principal.rpartition('/')[2]}",
        **common,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": role_id,
                "arn": role,
                "accountId": account,
                "userName": role.rpartition("/")[2],
            }
        },
    }


def _unique_id(prefix: str, arn: str) -> str:
    return prefix + base64.b32encode(hashlib.sha256(arn.encode()).digest()).decode()[:17]
