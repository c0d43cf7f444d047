"""Remote control of a running simulator: `/_simulator/…` on its own port, where KMS has only `/`.

`GET events` (newest last), `GET faults`, `POST faults` (`{"fault": "throttle:Decrypt*3"}`), `DELETE faults`. Nobody signs
these requests: whoever can reach the port may misuse it, as is right for a stand-in that protects nothing.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

from simulator.kms.errors import ApiError
from simulator.kms.faults import Faults, Injection
from simulator.kms.fields import text
from simulator.kms.jsonbody import json_object
from simulator.kms.trail import Event

PREFIX: Final = "/_simulator/"


class Controlled(Protocol):
    """What is controlled."""

    faults: Faults

    @property
    def events(self) -> list[Event]: ...


def control(simulator: Controlled, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and JSON body for one request below `PREFIX`."""
    try:
        answer = _run(simulator, method, path.removeprefix(PREFIX), body)
    except ApiError as error:
        return error.status, json.dumps({"__type": error.code, "message": error.message}).encode()
    return 200, json.dumps(answer).encode()


def _run(simulator: Controlled, method: str, name: str, body: bytes) -> dict[str, Any]:
    match method, name:
        case "GET", "events":
            return {"events": simulator.events}
        case "GET", "faults":
            pass
        case "POST", "faults":
            try:
                injection = Injection.parse(text(json_object(body), "fault"))
            except ValueError as error:
                raise ApiError("ValidationException", str(error)) from error
            simulator.faults.add(injection)
        case "DELETE", "faults":
            simulator.faults.clear()
        case _:
            raise ApiError("NotFoundException", "no such control", status=404)
    return {"faults": simulator.faults.waiting}
