"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from protocol.envelope.errors import CosignerError, Culprit, Reaction

from .errors import HostError, answer_to

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, rename="camel"):
    """The members of every problem; a route may add its own."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    culprit: Culprit
    reaction: Reaction
    request_id: str


def problem_of(error: CosignerError, request_id: str) -> Problem:
    """The problem that tells of an error."""
    answer = answer_to(error)
    return Problem(
        type=f"urn:cosigner:problem:{error.code}",
        title=answer.title,
        status=answer.status,
        detail=error.message,
        code=error.code,
        culprit=error.culprit,
        reaction=error.reaction,
        request_id=request_id,
    )


def problem_response(
    error: CosignerError, request_id: str, *, extra: Mapping[str, object] | None = None
) -> Response:
    """The response that tells of an error.

    :param extra: more members.
    """
    answer = answer_to(error)
    members = msgspec.to_builtins(problem_of(error, request_id))
    headers = {"retry-after": str(answer.retry_after)} if answer.retry_after else None
    return Response(
        msgspec.json.encode({**members, **(extra or {})}),
        status_code=answer.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def client_error(code: str, message: str) -> HostError:
    """An error that the client caused and can mend."""
    return HostError(code, message, culprit=Culprit.CLIENT, reaction=Reaction.ABORT)
