"""Bodies that a JavaScript receiver parses, writes again and hashes: the very same bytes.

ECMA-262 is modelled here anew (``JSON.parse``, then ``JSON.stringify``, on what the checker lets through and on what it refuses). Where
Node.js is on the machine the same cases go through it, too, so that the model cannot be wrong alone; without Node.js that part has no cases
beyond the model's.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.webhooks import canonical, payload
from host.webhooks.events import read
from tests.host.webhooks.arrivals import NOW, arrival, outbox_event

KEYS = st.text(max_size=6).filter(lambda key: not key.isdecimal())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=12)
    | st.integers(-canonical.MAX_SAFE_INTEGER, canonical.MAX_SAFE_INTEGER),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)

SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def quote(text: str) -> str:
    """QuoteJSONString (ECMA-262 §25.5.2.2)."""
    out = ['"']
    for character in text:
        if character in SHORT:
            out.append(SHORT[character])
        elif ord(character) < 0x20 or "\ud800" <= character <= "\udfff":
            out.append(f"\\u{ord(character):04x}")
        else:
            out.append(character)
    return "".join([*out, '"'])


def number(text: str) -> str:
    """Number::toString (§6.1.6.1.20) of a literal, as far as whole numbers below 10^21 go."""
    value = float(text)
    if not math.isfinite(value):
        return "null"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(Decimal(repr(value)).normalize()).lower()


class Raw(str):
    """A number as it was written."""

    __slots__ = ()


def stringify(value: Any) -> str:
    """SerializeJSONProperty, with the order of OrdinaryOwnPropertyKeys (§10.1.11.1): array indices first, by size."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Raw():
            return number(value)
        case str():
            return quote(value)
        case list():
            return "[" + ",".join(stringify(entry) for entry in value) + "]"
        case dict():
            indices = sorted((key for key in value if is_index(key)), key=int)
            rest = [key for key in value if not is_index(key)]
            return "{" + ",".join(f"{quote(key)}:{stringify(value[key])}" for key in indices + rest) + "}"
    raise AssertionError(value)


def is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and str(int(key)) == key and int(key) < 2**32 - 1


def round_trip(text: bytes) -> bytes:
    """``JSON.stringify(JSON.parse(text))`` by the model."""
    parsed = json.loads(text, parse_int=Raw, parse_float=Raw)
    return stringify(parsed).encode("utf-8", "surrogatepass")


def through_node(texts: list[bytes]) -> list[bytes] | None:
    """The same by Node.js; ``None`` where there is none."""
    node = shutil.which("node")
    if node is None:
        return None
    script = (
        "const lines = require('fs').readFileSync(0, 'utf8').split('\\n').slice(0, -1);"
        "for (const line of lines) process.stdout.write("
        "Buffer.from(JSON.stringify(JSON.parse(Buffer.from(line, 'hex').toString('utf8'))), 'utf8').toString('hex') + '\\n');"
    )
    lines = "".join(text.hex() + "\n" for text in texts)
    done = subprocess.run(
        [node, "-e", script], input=lines, capture_output=True, text=True, check=True, timeout=60
    )
    return [bytes.fromhex(line) for line in done.stdout.splitlines()]


AWKWARD = [
    {},
    {"a": {}, "b": [], "c": [[], {}]},
    {"": "", " ": " "},
    {"text": "".join(map(chr, range(0x80)))},
    {"line separators": "\u2028\u2029", "del": "\x7f", "bom": "\ufeff", "zero": "\x00"},
    {"astral": "\U0001f600\U0010ffff", "private": "\ue000", "last": "\uffff"},
    {"__proto__": 1, "constructor": {"prototype": None}, "toString": "x"},
    {"numbers": [0, -1, 1, canonical.MAX_SAFE_INTEGER, -canonical.MAX_SAFE_INTEGER]},
    {"z": 1, "a": 2, "01": 3, "1a": 4, "-1": 5, "1.5": 6, "1e3": 7, "+1": 8, "\u0661": 9},
    {"slash": "</script>", "escaped": "\\u0041\\/", "quote": "\"'"},
]
UNPORTABLE = [
    b'{"x":1.0}',
    b'{"x":1e2}',
    b'{"x":1E400}',
    b'{"x":-0.0}',
    b'{"big":12345678901234567890}',
    b'{"big":9007199254740993}',
    b'{"b":1,"10":2,"2":3}',
    b'{"b":{"c":1,"0":2}}',
    b'{"a":1,"b":2,"a":3}',
]


def test_what_is_written_survives_a_javascript_receiver() -> None:
    texts = [canonical.write(value) for value in AWKWARD]
    for value, text in zip(AWKWARD, texts, strict=True):
        assert canonical.parse(text) == value
        assert round_trip(text) == text
    seen = through_node(texts)
    assert seen is None or seen == texts


@settings(max_examples=300, deadline=None)
@given(OBJECTS)
def test_anything_that_is_accepted_survives(value: dict[str, Any]) -> None:
    text = canonical.write(value)
    assert round_trip(text) == text
    assert list(canonical.parse(text)) == list(value)


def test_random_objects_survive_node_itself() -> None:
    texts: list[bytes] = []

    @settings(max_examples=200, deadline=None, database=None)
    @given(OBJECTS)
    def collect(value: dict[str, Any]) -> None:
        texts.append(canonical.write(value))

    collect()
    assert len(texts) >= 50
    seen = through_node(texts)
    assert seen is None or seen == texts


def test_what_would_not_survive_is_refused_and_would_not() -> None:
    """The refusals are not arbitrary: by the model and by Node.js each of these comes back as other bytes."""
    for text in UNPORTABLE:
        assert round_trip(text) != text, text
        with pytest.raises(canonical.NotPortableError):
            canonical.parse(text)
    seen = through_node(UNPORTABLE)
    assert seen is None or all(there != text for there, text in zip(seen, UNPORTABLE, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"4294967295":1}',
        b'{"0":1}',
        b"[]",
        b"1",
        b'"x"',
        b"null",
    ]
    + [
        b"",
        b"{",
        b"{}x",
        b'{"a":1,}',
        b"\xef\xbb\xbf{}",
        b"\xff",
        b'{"a":\xc0\x80}',
        b"{'a':1}",
        b"[" * 100_000,
    ]
    + [b'{"a":' * 17 + b"1" + b"}" * 17],
)
def test_what_is_no_portable_object_is_refused(text: bytes) -> None:
    with pytest.raises(canonical.NotPortableError):
        canonical.parse(text)


@pytest.mark.parametrize(
    "value", [{"a": 1.5}, {"a": b"x"}, {1: 2}, {"a": (1,)}, {"a": {"5": 1}}, {"a": 1 << 53}]
)
def test_a_sender_cannot_write_what_is_refused(value: Any) -> None:
    with pytest.raises(canonical.NotPortableError):
        canonical.write(value)


def test_however_the_enclave_wrote_it_the_body_is_in_the_one_form() -> None:
    raw = b'{ "walletId" : "w", "memo": "\\u00e4\\/\\u0001\\ud83d\\ude00", "list": [ 1, -0 ] }'
    event = read(outbox_event(data=raw), now=NOW).event
    assert event.data == '{"walletId":"w","memo":"ä/\\u0001\U0001f600","list":[1,0]}'.encode()
    body = payload.body(event, message_id="m", webhook_id="h", environment_name="Töst", redelivery=True)
    assert round_trip(body) == body
    seen = through_node([body])
    assert seen is None or seen == [body]


@settings(max_examples=100, deadline=None)
@given(data=OBJECTS, name=st.text(min_size=1, max_size=9), redelivery=st.booleans())
def test_every_body_survives(data: dict[str, Any], name: str, redelivery: bool) -> None:
    event = arrival(data=canonical.write(data)).event
    body = payload.body(event, message_id="m", webhook_id="h", environment_name=name, redelivery=redelivery)
    assert round_trip(body) == body
    envelope = json.loads(body)
    assert envelope["data"] == data
    assert envelope["redelivery"] is redelivery
    assert envelope["userId"] == (data.get("userId") if isinstance(data.get("userId"), str) else None)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_759_331_606_348, "2025-10-01T15:13:26.348Z"),
        (999, "1970-01-01T00:00:00.999Z"),
    ],
)
def test_the_time_is_written_as_javascript_writes_it(milliseconds: int, text: str) -> None:
    assert payload.timestamp(milliseconds) == text
