"""The API described in OpenAPI 3.1. ``python -m host.openapi`` prints it; ``host/openapi.json`` is that output, kept for reviewers."""

from __future__ import annotations

import http
import json
import sys
from collections.abc import Iterable
from typing import Any, Final

from protocol.envelope.backups import LOCATOR_LENGTH, MIN_BACKUP
from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.limits import MAX_HELLO, MAX_NONCE, MAX_RECORD, MIN_NONCE

from .backups import MAX_BACKUP
from .errors import CATALOGUE

_EVERYWHERE: Final = ("request_malformed", "headers_too_large", "rate_limited", "internal_error")
_ANY_ROUTE: Final = ("route_unknown", "method_not_allowed")
_ENCLAVE: Final = (
    "enclave_unavailable",
    "enclave_timeout",
    "link_lost",
    "link_reply_malformed",
    "host_busy",
    "phase_illegal",
    "message_malformed",
)
_UPLOAD: Final = ("body_empty", "body_timeout", "body_too_large", "content_type_unsupported", "host_busy")
_BODY: Final = ("message_too_large", *_UPLOAD)
_SLOT: Final = ("locator_malformed", "environment_malformed", "backup_unknown", "storage_unavailable")

_DESCRIPTION: Final = """\
The untrusted host of a threshold co-signer. It forwards opaque bytes to an attested enclave: verify the document that `/attestation`
returns before you open a session, and trust nothing else that comes from here.

Every error is `application/problem+json` with a stable `code`; `reaction` says what to do: `retry` (the same request may succeed
later), `abort` (it will not), `burn` (the session is dead). Errors of the enclave pass through under their own codes; those not listed
here are answered 503 (reaction retry), 502 (the enclave's fault), 409 (burn) or 400 (the client's fault). `Retry-After` is in seconds.

Under `/v1/backups/` the host keeps ciphertext for whoever has a slot's locator; it asks for nothing else.
"""


def build() -> dict[str, Any]:
    """The description, as JSON would have it."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cosigner host", "version": "1.0.0", "description": _DESCRIPTION},
        "paths": {
            "/attestation": {"get": _attestation()},
            "/v1/sessions": {"post": _open_session()},
            "/v1/sessions/{session_id}/records": {"post": _record()},
            "/v1/backups/{locator}": {
                "get": _fetch_backup(),
                "put": _keep_backup(),
                "delete": _delete_backup(),
            },
            "/healthz": {"get": _healthz()},
            "/readyz": {"get": _readyz()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _openapi()},
        },
        "components": {
            "parameters": {
                "RequestId": {
                    "name": "x-request-id",
                    "in": "header",
                    "description": "Chosen by the client, else by the host; stands in every answer and in the host's log.",
                    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
                }
            },
            "headers": {
                "RequestId": {"description": "The request's id.", "schema": {"type": "string"}},
                "RetryAfter": {
                    "description": "Seconds to wait; present where waiting helps.",
                    "schema": {"type": "integer", "minimum": 1},
                },
            },
            "schemas": {
                "Problem": _problem_schema(),
                "Readiness": _readiness_schema(),
                "NotReady": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"$ref": "#/components/schemas/Readiness"},
                    ]
                },
                "Attestation": _attestation_schema(),
            },
        },
    }


def _attestation() -> dict[str, Any]:
    nonce = {
        "name": "nonce",
        "in": "query",
        "required": True,
        "description": f"{MIN_NONCE} to {MAX_NONCE} fresh random bytes in hexadecimal; they stand in the document.",
        "schema": {"type": "string", "pattern": f"^([0-9a-fA-F]{{2}}){{{MIN_NONCE},{MAX_NONCE}}}$"},
    }
    return _operation(
        "attestation",
        "The enclave's attestation document over a nonce, and its channel key",
        _success("The document; verify it.", {"application/json": _ref("Attestation")}),
        ("nonce_malformed", *_ENCLAVE),
        parameters=[nonce],
    )


def _open_session() -> dict[str, Any]:
    session_id = {
        "description": "The session's id, 32 lower-case hexadecimal digits.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    }
    return _operation(
        "openSession",
        "Open an encrypted session: client hello in, enclave hello out",
        _success("The enclave hello.", _octets(MAX_HELLO), headers={"x-session-id": session_id}),
        (
            "channel_key_unknown",
            "environment_unknown",
            "environment_unavailable",
            "hello_rejected",
            *_BODY,
            *_ENCLAVE,
        ),
        body=_octets(MAX_HELLO),
    )


def _record() -> dict[str, Any]:
    session_id = {
        "name": "session_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    }
    return _operation(
        "exchangeRecord",
        "Send one sealed record of a session and get the sealed answer",
        _success("The sealed answer.", _octets(MAX_RECORD)),
        ("session_id_malformed", "session_unknown", "record_rejected", *_BODY, *_ENCLAVE),
        parameters=[session_id],
        body=_octets(MAX_RECORD),
    )


def _fetch_backup() -> dict[str, Any]:
    return _operation(
        "fetchBackup",
        "The encrypted backup in a slot",
        _success("Ciphertext.", _octets(MAX_BACKUP, least=MIN_BACKUP)),
        _SLOT,
        parameters=_slot(),
    )


def _keep_backup() -> dict[str, Any]:
    return _operation(
        "keepBackup",
        "Keep an encrypted backup in a slot that the enclave has opened, in place of what was there",
        _success("It is kept, durably."),
        ("backup_malformed", "backup_conflict", "backup_exhausted", *_SLOT, *_UPLOAD),
        status="204",
        parameters=_slot(),
        body=_octets(MAX_BACKUP, least=MIN_BACKUP),
    )


def _delete_backup() -> dict[str, Any]:
    return _operation(
        "deleteBackup",
        "Empty a slot; it stays open",
        _success("It is empty."),
        ("backup_conflict", "backup_exhausted", *_SLOT),
        status="204",
        parameters=_slot(),
    )


def _slot() -> list[dict[str, Any]]:
    return [
        {
            "name": "locator",
            "in": "path",
            "required": True,
            "description": "A capability that the enclave gives to the authenticated user. It stands in no log.",
            "schema": {"type": "string", "pattern": f"^[0-9a-f]{{{2 * LOCATOR_LENGTH}}}$"},
        },
        {
            "name": "environment",
            "in": "query",
            "required": True,
            "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
        },
    ]


def _healthz() -> dict[str, Any]:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": "up"}}}
    return _operation(
        "healthz", "This process runs", _success("It does.", {"application/json": {"schema": schema}}), ()
    )


def _readyz() -> dict[str, Any]:
    operation = _operation(
        "readyz",
        "Whether the enclave is ready, and what it is doing otherwise",
        _success("It is ready.", {"application/json": _ref("Readiness")}),
        ("enclave_not_ready",),
    )
    operation["responses"]["503"]["content"]["application/problem+json"]["schema"] = {
        "$ref": "#/components/schemas/NotReady"
    }
    return operation


def _metrics() -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return _operation(
        "metrics", "Counters in Prometheus's text format", _success("The counters.", content), ()
    )


def _openapi() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return _operation("openapi", "This description", _success("The description.", content), ())


def _operation(
    name: str,
    summary: str,
    success: dict[str, Any],
    codes: Iterable[str],
    *,
    status: str = "200",
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "parameters": [*(parameters or []), {"$ref": "#/components/parameters/RequestId"}],
        "responses": {status: success, **_problems({*codes, *_EVERYWHERE, *_ANY_ROUTE})},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _success(
    description: str, content: dict[str, Any] | None = None, *, headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    request_id = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    body = {} if content is None else {"content": content}
    return {"description": description, "headers": {**request_id, **(headers or {})}, **body}


def _problems(codes: Iterable[str]) -> dict[str, Any]:
    """Responses for error codes, by status, each code with its example."""
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(CATALOGUE[code].status, []).append(code)
    return {
        str(status): {
            "description": f"{http.HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in by_status[status])}",
            "headers": {
                "x-request-id": {"$ref": "#/components/headers/RequestId"},
                **(
                    {"retry-after": {"$ref": "#/components/headers/RetryAfter"}}
                    if any(CATALOGUE[code].retry_after for code in by_status[status])
                    else {}
                ),
            },
            "content": {
                "application/problem+json": {
                    **_ref("Problem"),
                    "examples": {code: {"summary": CATALOGUE[code].title} for code in by_status[status]},
                }
            },
        }
        for status in sorted(by_status)
    }


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    properties = {
        "type": {"type": "string", "description": "urn:cosigner:problem: and the code."},
        "title": text,
        "status": {"type": "integer"},
        "detail": text,
        "code": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"},
        "culprit": {"enum": [culprit.value for culprit in Culprit]},
        "reaction": {"enum": [reaction.value for reaction in Reaction]},
        "requestId": text,
    }
    return {"type": "object", "required": sorted(properties), "properties": properties}


def _readiness_schema() -> dict[str, Any]:
    text = {"type": "string"}
    fault = {
        "type": ["object", "null"],
        "description": "The last thing that went wrong; null once the enclave is ready.",
        "properties": {"code": text, "message": text, "culprit": text, "reaction": text},
    }
    properties = {
        "ready": {"type": "boolean"},
        "state": {
            "enum": ["starting", "connecting", "provisioning", "ready", "backing_off", "stopped"],
            "description": "What the host's supervisor is at.",
        },
        "phase": {
            "type": "string",
            "description": "The enclave's own phase, empty while it is not connected.",
        },
        "reason": {
            "type": "string",
            "description": "The enclave's own words for its phase; while it is not connected, those with which the last one ended.",
        },
        "fault": fault,
        "restarts": {"type": "integer", "minimum": 0},
        "since": {"type": "number", "description": "Seconds since 1970."},
    }
    return {"type": "object", "required": sorted(properties), "properties": properties}


def _attestation_schema() -> dict[str, Any]:
    encoded = {"type": "string", "contentEncoding": "base64"}
    properties = {
        "document": {**encoded, "description": "COSE_Sign1, at most 16 KiB."},
        "channelKey": {
            **encoded,
            "description": "1,216 bytes; their SHA-256 stands in the document's user_data.",
        },
    }
    return {"type": "object", "required": sorted(properties), "properties": properties}


def _octets(limit: int, *, least: int = 1) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary", "minLength": least, "maxLength": limit}
    return {"application/octet-stream": {"schema": schema}}


def _ref(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(build(), indent=2) + "\n")
