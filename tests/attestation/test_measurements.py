"""measurements.json: read back as written, and refused in every other form."""

import json

import pytest

from attestation.measurements import dump, load
from attestation.strict_json import FileError

A, B, C, D = (bytes([number]) * 48 for number in range(1, 5))
TEXT = dump({0: A, 1: B, 2: C})


def code_of(text: str | bytes) -> str:
    with pytest.raises(FileError) as caught:
        load(text.encode() if isinstance(text, str) else text)
    return caught.value.code


def test_what_is_written_is_read() -> None:
    for pcrs in ({0: A, 1: B, 2: C}, {0: A, 1: B, 2: C, 8: D}):
        assert load(dump(pcrs).encode()) == pcrs
        assert json.loads(dump(pcrs)) == {"version": 1, "pcrs": {str(i): v.hex() for i, v in pcrs.items()}}


@pytest.mark.parametrize(
    "pcrs", [{0: A}, {0: A, 1: B, 2: C, 3: D}, {0: A, 1: B, 2: bytes(48)}, {0: A[:5], 1: B, 2: C}]
)
def test_what_could_not_be_read_is_not_written(pcrs: dict[int, bytes]) -> None:
    with pytest.raises(FileError):
        dump(pcrs)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "json_malformed"),
        ("[]", "json_malformed"),
        (TEXT + TEXT, "json_malformed"),
        ("\ufeff" + TEXT, "json_malformed"),
        (TEXT.encode("utf-16"), "json_malformed"),
        (TEXT.replace('"1"', '"0"'), "json_malformed"),
        ("[" * 100_000, "file_too_large"),
        ("[" * 4000, "json_malformed"),
        (TEXT + " " * 4096, "file_too_large"),
        (TEXT.replace('"version": 1', '"version": 2'), "version_unknown"),
        (TEXT.replace('"version": 1', '"version": 1.0'), "version_unknown"),
        (TEXT.replace('"version": 1', '"version": true'), "version_unknown"),
        (TEXT.replace('"version": 1,', ""), "field_missing"),
        (TEXT.replace('"2"', '"3"'), "field_missing"),
        (TEXT.replace('"pcrs"', '"PCRs"'), "field_missing"),
        (TEXT.replace("{", '{"HashAlgorithm": "SHA384",', 1), "field_unknown"),
        (TEXT.replace('"0"', f'"4": "{A.hex()}", "0"'), "field_unknown"),
        (TEXT.replace('"0"', f'"00": "{A.hex()}", "0"'), "field_unknown"),
        (TEXT.replace(A.hex(), A.hex()[:-1]), "field_invalid"),
        (TEXT.replace(C.hex(), "AB" * 48), "field_invalid"),
        (TEXT.replace(A.hex(), "00" * 48), "field_invalid"),
        (TEXT.replace(A.hex(), A.hex() + "\\n"), "field_invalid"),
        (TEXT.replace(f'"{A.hex()}"', "0"), "field_invalid"),
        ('{"version": 1, "pcrs": []}', "field_invalid"),
    ],
)
def test_every_other_form_is_refused(text: str | bytes, code: str) -> None:
    assert code_of(text) == code
