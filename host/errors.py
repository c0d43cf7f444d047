"""Every error code that the host answers over HTTP, with its status (``/openapi.json`` lists the same table).

Errors of the enclave pass through under their own codes. The codes that the host knows are in :data:`CATALOGUE`; for any other the
status follows from culprit and reaction (:func:`answer_to`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.envelope.errors import CosignerError, Culprit, Reaction


class HostError(CosignerError):
    """An error that the host itself found."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How an error code is answered over HTTP.

    :ivar retry_after: seconds for the ``Retry-After`` header; 0 for none.
    """

    status: int
    title: str
    retry_after: int = 0


CATALOGUE: Final[dict[str, Answer]] = {
    # the request itself
    "request_malformed": Answer(400, "The request is not well-formed HTTP"),
    "nonce_malformed": Answer(400, "The nonce is not 16 to 64 bytes in hexadecimal"),
    "session_id_malformed": Answer(400, "The session id is not 32 lower-case hexadecimal digits"),
    "locator_malformed": Answer(400, "The locator is not 64 lower-case hexadecimal digits"),
    "environment_malformed": Answer(400, "The environment is not named once, or not by a name"),
    "backup_malformed": Answer(400, "The body is too short for a backup"),
    "body_empty": Answer(400, "The request has no body"),
    "route_unknown": Answer(404, "Nothing is at this path"),
    "backup_unknown": Answer(404, "No backup is kept under this locator"),
    "method_not_allowed": Answer(405, "This path does not answer this method"),
    "body_timeout": Answer(408, "The body did not arrive in time"),
    "backup_conflict": Answer(409, "Another request changed the backup at the same moment"),
    "backup_exhausted": Answer(409, "The backup was replaced too often"),
    "body_too_large": Answer(413, "The body is too large"),
    "content_type_unsupported": Answer(415, "The body must be application/octet-stream"),
    "headers_too_large": Answer(431, "The request's headers are too large"),
    # the host's own limits and faults
    "rate_limited": Answer(429, "Too many requests", retry_after=1),
    "host_busy": Answer(503, "The host has too much under way", retry_after=1),
    "storage_unavailable": Answer(503, "The host's storage failed", retry_after=2),
    "internal_error": Answer(500, "Something failed that should not have"),
    # the way to the enclave
    "enclave_unavailable": Answer(503, "The enclave is not connected", retry_after=2),
    "enclave_not_ready": Answer(503, "The enclave is not ready", retry_after=2),
    "enclave_timeout": Answer(504, "The enclave did not answer in time"),
    "link_lost": Answer(503, "The connection to the enclave was lost", retry_after=2),
    "link_reply_malformed": Answer(502, "The enclave's answer was not well-formed", retry_after=2),
    # the enclave's answers
    "message_malformed": Answer(400, "The enclave could not parse the request"),
    "message_too_large": Answer(413, "The message is too large"),
    "channel_key_unknown": Answer(
        409, "The channel key is no longer in use: attest again and make a new hello"
    ),
    "environment_unknown": Answer(400, "The enclave has no such environment"),
    "environment_unavailable": Answer(503, "The environment has no data key yet", retry_after=5),
    "hello_rejected": Answer(409, "The handshake was refused: attest again and make a new hello"),
    "record_rejected": Answer(409, "The record is not the next one of its session"),
    "session_unknown": Answer(404, "The enclave has no such session"),
    "phase_illegal": Answer(503, "The enclave does not do this in its present phase", retry_after=2),
}


def answer_to(error: CosignerError) -> Answer:
    """The HTTP answer to an error, known or not."""
    known = CATALOGUE.get(error.code)
    if known is not None:
        return known
    if error.reaction is Reaction.RETRY:
        return Answer(503, "The enclave cannot do this now", retry_after=2)
    if error.culprit is not Culprit.CLIENT:
        return Answer(502, "The enclave failed")
    if error.reaction is Reaction.BURN:
        return Answer(409, "The session is closed: open a new one")
    return Answer(400, "The enclave refused the request")
