"""Measurements as a file: what an image build writes beside its image.

    {"version": 1, "pcrs": {"0": "96 hex digits", "1": "…", "2": "…", "8": "…"}}

PCR8 is there if the image is signed. Digits are lower case. No other field, no other PCR: everything else that a
PCR can hold (role, instance, manifest) is not a property of the image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from attestation.document import PCR_BYTES
from attestation.strict_json import FileError, expect_fields, expect_version, parse_object

MAX_BYTES: Final = 4096
_REQUIRED: Final = frozenset({"0", "1", "2"})


def load(raw: bytes) -> dict[int, bytes]:
    """PCR index to 48 bytes, from the content of a measurements file.

    Raises FileError.
    """
    fields = parse_object(raw, max_bytes=MAX_BYTES)
    expect_fields("the file", fields, required=frozenset({"version", "pcrs"}))
    expect_version(fields["version"], 1)
    pcrs = expect_fields("pcrs", fields["pcrs"], required=_REQUIRED, optional=frozenset({"8"}))
    return {int(index): pcr_value(f"PCR{index}", value) for index, value in sorted(pcrs.items())}


def dump(pcrs: Mapping[int, bytes]) -> str:
    """The text of a measurements file; `load` reads it back."""
    text = json.dumps(
        {"version": 1, "pcrs": {str(i): value.hex() for i, value in sorted(pcrs.items())}}, indent=2
    )
    load(text.encode())
    return text + "\n"


def pcr_value(where: str, value: object) -> bytes:
    """48 bytes from lower-case hex. All zero is refused: that is what PCRs hold that nobody measured anything into.

    Raises FileError.
    """
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * PCR_BYTES}}}", value):
        raise FileError("field_invalid", f"{where} is not {2 * PCR_BYTES} lower-case hex digits")
    if not value.strip("0"):
        raise FileError("field_invalid", f"{where} is all zero, which pins nothing")
    return bytes.fromhex(value)
