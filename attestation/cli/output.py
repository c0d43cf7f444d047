"""How values are shown to people and to programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attestation.errors import STEPS, AttestationError

MEANINGS: Final = {
    0: "image",
    1: "kernel and boot",
    2: "application",
    3: "IAM role of the instance",
    4: "instance",
    8: "signer of the image",
}
"""What AWS measures into PCRs; the others belong to the enclave's own code."""


def print_json(value: object) -> None:
    print(json.dumps(value))


def print_refusal(error: AttestationError, *, as_json: bool) -> None:
    """A document that was not accepted: what failed, and how far it got."""
    if as_json:
        print_json({"verified": False, "code": error.code, "step": error.step, "message": error.message})
        return
    print("NOT VERIFIED")
    print(f"  code     {error.code}")
    print(f"  step     {error.step} ({STEPS[error.step]})")
    print(f"  message  {error.message}")


def warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def hex_or_none(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def hex_pcrs(pcrs: Mapping[int, bytes]) -> dict[str, str]:
    return {str(index): value.hex() for index, value in pcrs.items()}


def field(name: str, value: Any) -> None:  # noqa: ANN401 - whatever can be printed
    print(f"  {name:<12} {'-' if value is None else value}")


def printable(text: str) -> str:
    """`text` from a stranger: what is not printable ASCII as escapes, so that no terminal obeys it."""
    return text.encode("unicode_escape").decode("ascii").replace("\x7f", "\\x7f")


def rfc3339(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
