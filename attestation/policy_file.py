"""Trust policies as files, version 1:

    {
      "version": 1,
      "roots": ["64 hex digits"],
      "releases": [{"name": "1.2.0", "pcrs": {"0": "96 hex digits", "1": "…", "2": "…", "8": "…"}}],
      "pcrs": {"16": ["96 hex digits", "…"]},
      "max_age_s": 300,
      "max_skew_s": 5
    }

`version` and `releases` are required. Without `roots` the root of AWS alone is trusted; with it, the named ones
alone. PCR0, PCR1 and PCR2 stand in releases and nowhere else, so that no file can mix two images. Hex digits are lower
case. An unknown field, a repeated key, an all-zero PCR, a list with one value twice: refused, because a policy that
is read in another way than it was meant is worse than none.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any, Final

from attestation.measurements import pcr_value
from attestation.policy import AWS_NITRO_ROOT_G1, IMAGE_PCRS, Release, TrustPolicy
from attestation.strict_json import FileError, expect_fields, expect_version, parse_object

VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024
MAX_ROOTS: Final = 8
MAX_RELEASES: Final = 64
MAX_VALUES: Final = 64
MAX_AGE_S: Final = 366 * 86400
MAX_SKEW_S: Final = 3600

_REQUIRED: Final = frozenset({"version", "releases"})
_OPTIONAL: Final = frozenset({"roots", "pcrs", "max_age_s", "max_skew_s"})
_ANY_PCR: Final = frozenset(str(index) for index in range(32))
_IMAGE: Final = frozenset(str(index) for index in IMAGE_PCRS)


def load(raw: bytes) -> TrustPolicy:
    """The policy that the content of a file describes.

    Raises FileError.
    """
    fields = parse_object(raw, max_bytes=MAX_BYTES)
    if "version" in fields:  # before the rest: another version may have other fields
        expect_version(fields["version"], VERSION)
    expect_fields("the policy", fields, required=_REQUIRED, optional=_OPTIONAL)
    releases = _list("releases", fields["releases"], MAX_RELEASES)
    policy = TrustPolicy(
        roots=_roots(fields["roots"]) if "roots" in fields else frozenset({AWS_NITRO_ROOT_G1}),
        releases=tuple(_release(f"release {number}", item) for number, item in enumerate(releases, start=1)),
        pcrs=_pcrs(fields.get("pcrs", {})),
        **{
            name.removesuffix("_s"): _seconds(name, fields[name], most)
            for name, most in (("max_age_s", MAX_AGE_S), ("max_skew_s", MAX_SKEW_S))
            if name in fields
        },
    )
    if len({frozenset(release.pcrs.items()) for release in policy.releases}) != len(policy.releases):
        raise FileError("field_invalid", "a release is given twice")
    return policy


def dump(policy: TrustPolicy) -> str:
    """The text of a policy file; `load` reads the same policy back. Raises FileError where the file cannot say it."""
    fields: dict[str, Any] = {
        "version": VERSION,
        "roots": sorted(policy.roots),
        "releases": [
            ({"name": release.name} if release.name else {})
            | {"pcrs": {str(index): value.hex() for index, value in release.pcrs.items()}}
            for release in policy.releases
        ],
        "pcrs": {
            str(index): sorted(value.hex() for value in allowed) for index, allowed in policy.pcrs.items()
        },
        "max_age_s": policy.max_age.total_seconds(),
        "max_skew_s": policy.max_skew.total_seconds(),
    }
    for name in ("max_age_s", "max_skew_s"):
        if fields[name].is_integer():
            fields[name] = int(fields[name])
    text = json.dumps(fields, indent=2) + "\n"
    load(text.encode())
    return text


def _roots(value: object) -> frozenset[str]:
    roots = _list("roots", value, MAX_ROOTS)
    for root in roots:
        if not isinstance(root, str) or not re.fullmatch("[0-9a-f]{64}", root):
            raise FileError("field_invalid", "a root is not a SHA-256 of 64 lower-case hex digits")
    return frozenset(roots)


def _release(where: str, value: object) -> Release:
    fields = expect_fields(where, value, required=frozenset({"pcrs"}), optional=frozenset({"name"}))
    name = fields.get("name", "")
    if not isinstance(name, str) or ("name" in fields and not re.fullmatch(r"[ -~]{1,100}", name)):
        raise FileError("field_invalid", f"the name of {where} is not 1 to 100 printable ASCII characters")
    pcrs = expect_fields(f"pcrs of {where}", fields["pcrs"], required=_IMAGE, optional=_ANY_PCR)
    return Release(
        name=name,
        pcrs={int(index): pcr_value(f"PCR{index} of {where}", text) for index, text in pcrs.items()},
    )


def _pcrs(value: object) -> dict[int, frozenset[bytes]]:
    pcrs = expect_fields("pcrs", value, required=frozenset(), optional=_ANY_PCR)
    if _IMAGE & pcrs.keys():
        raise FileError(
            "field_invalid", "PCR0, PCR1 and PCR2 belong into releases, where they count only together"
        )
    return {
        int(index): frozenset(
            pcr_value(f"a value of PCR{index}", text) for text in _list(f"PCR{index}", values, MAX_VALUES)
        )
        for index, values in pcrs.items()
    }


def _list(where: str, value: object, most: int) -> list[Any]:
    """1 to `most` values, none of them twice."""
    if type(value) is not list or not 0 < len(value) <= most:
        raise FileError("field_invalid", f"{where} is not a list of 1 to {most} values")
    if any(value.count(item) > 1 for item in value):
        raise FileError("field_invalid", f"{where} has a value twice")
    return value


def _seconds(where: str, value: object, most: int) -> timedelta:
    if type(value) is not int or not 0 <= value <= most:
        raise FileError("field_invalid", f"{where} is not a whole number of seconds from 0 to {most}")
    return timedelta(seconds=value)
