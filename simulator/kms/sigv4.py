"""Who is calling: AWS Signature Version 4 of a KMS request, checked with the caller's secret where it is known."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from simulator.kms.errors import ApiError

_MAX_SKEW: Final = timedelta(minutes=5)
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Za-z0-9_-]{1,128})/(\d{8})/([a-z0-9-]+)/kms/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
_MUST_BE_SIGNED: Final = frozenset({"host", "x-amz-date", "x-amz-target"})


@dataclass(frozen=True, slots=True)
class Credential:
    """What the simulator knows of a caller. `session_token`: None for long-lived credentials."""

    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "<Credential>"


def authenticate(
    headers: Mapping[str, str],
    body: bytes,
    *,
    region: str,
    credentials: Mapping[str, Credential] | None,
    now: datetime,
) -> str:
    """The caller's access key id. `headers` have lower-case names. With `credentials` None every access key passes unchecked.

    Raises ApiError, as AWS does for requests that it cannot attribute.
    """
    authorization = headers.get("authorization")
    if authorization is None:
        raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise ApiError("IncompleteSignatureException", "Authorization is not a Signature Version 4 for kms")
    access_key, day, scope_region, signed_names, signature = match.groups()
    names = signed_names.split(";")
    stamp = headers.get("x-amz-date", "")
    if names != sorted(names) or not set(names) >= _MUST_BE_SIGNED or not stamp.startswith(day):
        raise ApiError("IncompleteSignatureException", "not all required headers are signed")
    if scope_region != region:
        raise ApiError("InvalidSignatureException", f"Credential should be scoped to region {region}")
    _check_date(stamp, now)
    if credentials is not None:
        credential = credentials.get(access_key)
        if credential is None or headers.get("x-amz-security-token") != credential.session_token:
            raise ApiError("UnrecognizedClientException", "The security token included is invalid.")
        scope = f"{day}/{region}/kms/aws4_request"
        expected = _signature(credential.secret_access_key, headers, names, body, scope=scope)
        if not hmac.compare_digest(expected, signature):
            raise ApiError("InvalidSignatureException", "The request signature does not match.")
    return access_key


def _check_date(stamp: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise ApiError("IncompleteSignatureException", "X-Amz-Date is malformed") from error
    if abs(now - signed_at) > _MAX_SKEW:
        raise ApiError("InvalidSignatureException", f"Signature expired or not yet current: {stamp}")


def _signature(secret: str, headers: Mapping[str, str], names: list[str], body: bytes, *, scope: str) -> str:
    """AWS General Reference, «Create a signed AWS API request», for POST / without a query."""
    canonical_headers = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names)
    payload_hash = hashlib.sha256(body).hexdigest()
    canonical = f"POST\n/\n\n{canonical_headers}\n{';'.join(names)}\n{payload_hash}"
    canonical_hash = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{canonical_hash}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()
