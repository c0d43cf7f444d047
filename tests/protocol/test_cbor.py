"""CBOR: exactly one encoding of each value is accepted, and nothing that a message cannot hold."""

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.envelope.limits import MAX_DEPTH
from protocol.envelope.messages import Attest, Found, LinkReplyFrame, LinkRequestFrame
from protocol.messages import Answer, Signed
from tests.protocol.deterministic import Tree, encode, head, tag
from tests.protocol.samples import PLAIN, SAMPLES, enveloped

NONCE = bytes(range(16))


def frame(nonce: bytes = encode(NONCE), *, number: bytes = encode(5)) -> bytes:
    """An attestation request with the given encodings in place of its nonce and its id."""
    body = head(5, 2) + encode("kind") + encode("attest") + encode("nonce") + nonce
    return head(5, 2) + encode("id") + number + encode("body") + body


def summary(encoded: bytes) -> bytes:
    """An answer whose free-form summary holds the given encoding under the name ``x``."""
    inner = {
        "kind": "signed",
        "shares": [b"s"],
        "digests": [b"d"],
        "commitments": [b"c"],
        "summary": {"x": 0},
    }
    text = encode({"reply": inner})
    return text.replace(encode("x") + encode(0), encode("x") + encoded)


def refused(raw: bytes, kind: Any = LinkRequestFrame) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        cbor.decode(raw, kind, culprit=Culprit.HOST)
    return caught.value


def test_the_helpers_make_messages_that_are_accepted() -> None:
    assert cbor.decode(frame(), LinkRequestFrame, culprit=Culprit.HOST) == LinkRequestFrame(5, Attest(NONCE))
    answer = cbor.decode(summary(encode(["anything", None, True])), Answer, culprit=Culprit.HOST)
    assert isinstance(answer.reply, Signed)
    assert answer.reply.summary == {"x": ["anything", None, True]}


TAGGED: list[tuple[int, bytes]] = [
    (0, encode("2031-05-06T07:08:09Z")),
    (1, encode(1_900_000_000)),
    (2, encode(b"\x01\x00\x00\x00\x00\x00\x00\x00\x00")),
    (3, encode(b"\x01")),
    (4, encode([-2, 27315])),
    (5, encode([-1, 3])),
    (18, encode([b"", b"", b""])),
    (21, encode(b"x")),
    (24, encode(encode(NONCE))),
    (25, encode(0)),
    (28, encode([1])),
    (29, encode(0)),
    (30, encode([1, 3])),
    (32, encode("https://example.org")),
    (35, encode("(a+)+$")),
    (36, encode("MIME-Version: 1.0\r\n\r\n")),
    (37, encode(bytes(16))),
    (43, encode("x")),
    (100, encode(12345)),
    (256, encode(["x", "x"])),
    (258, encode([1, 2])),
    (260, encode(b"\x7f\x00\x00\x01")),
    (261, encode("127.0.0.1")),
    (1004, encode("2031-05-06")),
    (55799, encode(NONCE)),
    ((1 << 64) - 1, encode(NONCE)),
]


@pytest.mark.parametrize(("number", "content"), TAGGED, ids=lambda value: str(value)[:8])
def test_every_tag_is_refused_wherever_it_stands(number: int, content: bytes) -> None:
    assert refused(frame(tag(number, content))).code == "message_malformed"
    assert refused(frame(number=tag(number, content))).code == "message_malformed"
    assert refused(tag(number, frame())).code == "message_malformed"
    # The summary may hold any value, so that only the refusal of tags as such stands in the way.
    assert refused(summary(tag(number, content)), Answer).code == "message_malformed"


def test_a_tag_around_a_valid_value_is_refused_although_its_content_would_pass() -> None:
    for number in range(300):
        assert refused(frame(tag(number, encode(NONCE)))).code == "message_malformed"
        assert refused(summary(tag(number, encode(NONCE))), Answer).code == "message_malformed"


@pytest.mark.parametrize(
    "encoded",
    [
        bytes.fromhex("f7"),  # undefined
        bytes.fromhex("f0"),  # simple value 16
        bytes.fromhex("f820"),  # simple value 32
        bytes.fromhex("f818"),  # simple value 24, not well-formed
        bytes.fromhex("ff"),  # break outside of anything
        bytes.fromhex("1c"),  # reserved additional information
        bytes.fromhex("fc"),
    ],
    ids=bytes.hex,
)
def test_undefined_and_other_simple_values_are_refused(encoded: bytes) -> None:
    assert refused(frame(encoded)).code == "message_malformed"
    assert refused(frame(number=encoded)).code == "message_malformed"
    assert refused(summary(encoded), Answer).code == "message_malformed"


@pytest.mark.parametrize(
    "encoded", ["f90000", "f94500", "fa40a00000", "fb4014000000000000", "f97e00", "f97c00"]
)
def test_floats_are_refused_where_a_number_stands(encoded: str) -> None:
    assert refused(frame(number=bytes.fromhex(encoded))).code == "message_malformed"
    assert refused(frame(bytes.fromhex(encoded))).code == "message_malformed"


@pytest.mark.parametrize(
    "encoded",
    ["5f50" + NONCE.hex() + "ff", "5fff", "7f6161ff", "9fff", "9f00ff", "bfff", "bf616100ff"],
)
def test_indefinite_lengths_are_refused(encoded: str) -> None:
    assert refused(frame(bytes.fromhex(encoded))).code == "message_malformed"
    assert refused(summary(bytes.fromhex(encoded)), Answer).code == "message_malformed"


def test_an_indefinite_outermost_map_is_refused() -> None:
    assert refused(b"\xbf" + frame()[1:] + b"\xff").code == "message_malformed"


def test_duplicate_keys_are_refused_even_with_equal_values() -> None:
    twice = (
        head(5, 3)
        + encode("id")
        + encode(5)
        + encode("id")
        + encode(5)
        + frame()[1:][len(encode("id")) + 1 :]
    )
    assert refused(twice).code == "message_malformed"
    assert refused(summary(head(5, 2) + 2 * (encode("a") + encode(1))), Answer).code == "message_malformed"


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_integers_in_more_bytes_than_needed_are_refused(width: int) -> None:
    assert refused(frame(number=head(0, 5, width=width))).code == "message_malformed"
    assert refused(summary(head(1, 5, width=width)), Answer).code == "message_malformed"


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_lengths_in_more_bytes_than_needed_are_refused(width: int) -> None:
    assert refused(frame(head(2, 16, width=width) + NONCE)).code == "message_malformed"
    text = head(3, 2, width=width) + b"id"
    assert refused(frame().replace(encode("id"), text)).code == "message_malformed"
    assert refused(summary(head(4, 1, width=width) + encode(0)), Answer).code == "message_malformed"
    assert refused(head(5, 2, width=width) + frame()[1:]).code == "message_malformed"


def test_keys_in_another_order_are_refused() -> None:
    body = frame()[1 + len(encode("id")) + 1 :]
    swapped = head(5, 2) + body + encode("id") + encode(5)
    assert refused(swapped).message == "The LinkRequestFrame is not in its one deterministic encoding."
    unsorted = head(5, 2) + encode("bb") + encode(0) + encode("a") + encode(0)
    assert refused(summary(unsorted), Answer).code == "message_malformed"


@pytest.mark.parametrize("key", [encode(0), encode(-1), encode(None), encode(True), encode([]), encode({})])
def test_keys_that_are_no_strings_are_refused(key: bytes) -> None:
    assert refused(summary(head(5, 1) + key + encode(0)), Answer).code == "message_malformed"
    assert refused(head(5, 3) + key + encode(0) + frame()[1:]).code == "message_malformed"


@pytest.mark.parametrize("trailing", [b"\x00", b"\xf6", b"\xff", frame()])
def test_trailing_bytes_are_refused(trailing: bytes) -> None:
    assert refused(frame() + trailing).code == "message_malformed"


def test_every_prefix_of_a_message_is_refused() -> None:
    whole = frame()
    for end in range(len(whole)):
        assert refused(whole[:end]).code == "message_malformed"


def test_text_must_be_valid_utf8() -> None:
    assert refused(summary(head(3, 2) + b"\xc3\x28"), Answer).code == "message_malformed"
    assert refused(summary(head(3, 3) + b"\xed\xa0\x80"), Answer).code == "message_malformed"  # a surrogate
    assert refused(summary(head(3, 2) + b"\xc0\x80"), Answer).code == "message_malformed"  # overlong


def test_text_and_bytes_do_not_stand_for_each_other() -> None:
    assert refused(frame(encode("x" * 16))).code == "message_malformed"
    assert refused(frame().replace(encode("attest"), encode(b"attest"))).code == "message_malformed"
    assert refused(frame().replace(encode("id"), encode(b"id"))).code == "message_malformed"


@pytest.mark.parametrize("number", [encode(True), encode("5"), encode(None), encode([5]), encode(-1)])
def test_numbers_are_not_converted_from_other_types(number: bytes) -> None:
    assert refused(frame(number=number)).code == "message_malformed"


def test_nesting_ends_at_the_limit() -> None:
    around = 3  # answer, reply, summary

    def nested(levels: int) -> bytes:
        return summary(b"\x81" * levels + b"\x00")

    assert cbor.decode(nested(MAX_DEPTH - around), Answer, culprit=Culprit.HOST)
    assert refused(nested(MAX_DEPTH - around + 1), Answer).code == "message_malformed"
    assert refused(b"\x81" * 100_000).code == "message_malformed"
    assert refused(b"\xa1\x61a" * 100_000).code == "message_malformed"


def test_a_length_that_promises_more_than_there_is_is_refused_without_allocating_it() -> None:
    for major in (2, 3, 4, 5):
        for promised in (100, 1 << 31, 1 << 40, (1 << 64) - 1):
            assert refused(frame(head(major, promised))).code == "message_malformed"


def test_the_size_limit_is_exact_and_checked_before_parsing() -> None:
    whole = frame()
    assert cbor.decode(whole, LinkRequestFrame, limit=len(whole), culprit=Culprit.HOST)
    with pytest.raises(ProtocolError) as caught:
        cbor.decode(whole, LinkRequestFrame, limit=len(whole) - 1, culprit=Culprit.HOST)
    assert caught.value.code == "message_too_large"
    assert refused(bytes((1 << 20) + 1)).code == "message_too_large"


def test_the_blame_is_the_one_that_the_caller_names() -> None:
    for culprit in Culprit:
        with pytest.raises(ProtocolError) as caught:
            cbor.decode(b"", LinkRequestFrame, culprit=culprit)
        assert caught.value.culprit is culprit


def test_refusals_of_large_values_have_short_messages() -> None:
    kind = encode("x" * 60_000)
    raw = frame().replace(encode("attest"), kind)
    assert len(refused(raw).message) < 400


# --- properties --------------------------------------------------------------------------------------------------------------

KINDS = (LinkRequestFrame, LinkReplyFrame, Answer, *{type(sample) for sample in PLAIN})

trees: st.SearchStrategy[Tree] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 64), (1 << 64) - 1),
        st.binary(max_size=300),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), trees, max_size=4))
def test_any_tree_is_encoded_as_rfc_8949_says_and_read_back(tree: dict[str, Tree]) -> None:
    answer = Answer(Signed(commitments=[b"c"], shares=[b"s"], digests=[b"d"], summary=dict(tree)))
    inner = {"kind": "signed", "shares": [b"s"], "digests": [b"d"], "commitments": [b"c"], "summary": tree}
    raw = cbor.encode(answer)
    assert raw == encode({"reply": inner})
    assert cbor.decode(raw, Answer, culprit=Culprit.HOST) == answer


def _identical_or_refused(raw: bytes) -> None:
    for kind in KINDS:
        try:
            value = cbor.decode(raw, kind, culprit=Culprit.HOST)
        except ProtocolError as error:
            refusal: str | None = error.code
        else:
            refusal = None
            assert cbor.encode(value) == raw
        assert refusal in {None, "message_malformed"}


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_are_what_they_encode_to(raw: bytes) -> None:
    _identical_or_refused(raw)


@given(trees.map(encode))
def test_any_well_formed_item_is_refused_or_is_what_it_encodes_to(raw: bytes) -> None:
    _identical_or_refused(raw)


ENCODED = [cbor.encode(sample) for sample in (*enveloped(), *PLAIN)]


@given(st.sampled_from(ENCODED), st.data())
def test_any_altered_message_is_refused_or_is_what_it_encodes_to(raw: bytes, data: st.DataObject) -> None:
    altered = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(altered) - 1))
        change: Callable[[int, int], int] = data.draw(st.sampled_from([_flip, _set]))
        altered[at] = change(altered[at], data.draw(st.integers(0, 255)))
    _identical_or_refused(bytes(altered))


def _flip(old: int, value: int) -> int:
    return old ^ 1 << value % 8


def _set(_: int, value: int) -> int:
    return value


def test_types_that_are_no_messages_cannot_be_encoded_by_mistake() -> None:
    assert cbor.encode(SAMPLES[Found]) == encode({"kind": "found", "epoch": 1, "value": b"value"})
    with pytest.raises(TypeError):
        cbor.encode(object())


@pytest.mark.parametrize(
    "value", [1.5, float("nan"), float("inf"), [1.5], {"x": {"y": [0.0]}}, {1: 2}, {b"x": 1}]
)
def test_floats_and_keys_that_are_not_text_are_refused_even_where_any_value_may_stand(value) -> None:
    raw = cbor2.dumps(value, canonical=True)
    with pytest.raises(ProtocolError) as refused:
        cbor.decode(raw, object, culprit=Culprit.HOST)
    assert refused.value.code == "message_malformed"
