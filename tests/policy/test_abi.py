"""The ABI decoder against `eth_abi`, which had no part in it; what another encoding of the same arguments is; and types."""

from __future__ import annotations

import eth_abi
import pytest
from eth_abi.grammar import parse as parse_grammar
from eth_utils import function_signature_to_4byte_selector, keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.abi import Function, function, function_of_abi, parse_type
from policy.calldata import CalldataError, decode, decode_call
from policy.errors import PolicyError
from policy.keccak import keccak256

ELEMENTARY = (
    [f"uint{bits}" for bits in (8, 64, 160, 256)]
    + [f"int{bits}" for bits in (8, 128, 256)]
    + ["address", "bool", "bytes", "string", "bytes1", "bytes4", "bytes32"]
)


def value_of(kind: str) -> st.SearchStrategy:
    """Values of a type, by the grammar of another library."""
    return _value(parse_grammar(kind))


def _value(kind) -> st.SearchStrategy:
    if kind.arrlist:
        *rest, dimension = kind.arrlist
        element = _value(type(kind)(*_parts(kind, tuple(rest) or None)))
        least, most = (dimension[0], dimension[0]) if dimension else (0, 3)
        return st.lists(element, min_size=least, max_size=most)
    if hasattr(kind, "components"):
        return st.tuples(*(_value(component) for component in kind.components))
    match kind.base:
        case "uint":
            return st.integers(0, 2**kind.sub - 1)
        case "int":
            return st.integers(-(2 ** (kind.sub - 1)), 2 ** (kind.sub - 1) - 1)
        case "address":
            return st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
        case "bool":
            return st.booleans()
        case "string":
            return st.text(max_size=40)
    sub = kind.sub
    return st.binary(max_size=70) if sub is None else st.binary(min_size=sub, max_size=sub)


def _parts(kind, arrlist):
    if hasattr(kind, "components"):
        return kind.components, arrlist
    return kind.base, kind.sub, arrlist


def plain(value):
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


TYPES = st.recursive(
    st.sampled_from(ELEMENTARY),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda members: f"({','.join(members)})"),
        inner.map(lambda element: f"{element}[]"),
        st.tuples(inner, st.integers(1, 3)).map(lambda pair: f"{pair[0]}[{pair[1]}]"),
    ),
    max_leaves=5,
).filter(lambda text: _depth(text) <= 5)


def _depth(text: str) -> int:
    deepest = depth = 1
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        deepest = max(deepest, depth)
    return deepest + text.count("[")


@st.composite
def calls(draw):
    types = draw(st.lists(TYPES, max_size=4))
    values = [draw(value_of(kind)) for kind in types]
    return types, values, eth_abi.encode(types, values)


@settings(max_examples=300, deadline=None)
@given(calls())
def test_what_eth_abi_encodes_is_decoded(call):
    types, values, encoded = call
    assert decode([parse_type(kind) for kind in types], encoded) == plain(values)


@settings(max_examples=300, deadline=None)
@given(calls(), st.data())
def test_whatever_decodes_is_what_eth_abi_would_encode(call, data):
    """One encoding: after any change the bytes are refused, or they are the encoding of other values."""
    types, _, encoded = call
    at = data.draw(st.integers(0, max(len(encoded) - 1, 0)))
    altered = data.draw(
        st.sampled_from(
            [
                encoded[:at] + bytes([encoded[at] ^ 1 << data.draw(st.integers(0, 7))]) + encoded[at + 1 :]
                if encoded
                else b"\0",
                encoded + bytes(32),
                encoded[:-32],
                encoded[:at] + encoded[at + 32 :],
                encoded[:at] + bytes(32) + encoded[at:],
            ]
        )
    )
    try:
        values = decode([parse_type(kind) for kind in types], altered)
    except CalldataError:
        return
    assert eth_abi.encode(types, values) == altered


@settings(max_examples=300, deadline=None)
@given(st.lists(TYPES, max_size=3), st.binary(max_size=400))
def test_rubbish_is_refused_or_is_an_encoding(types, data):
    try:
        values = decode([parse_type(kind) for kind in types], data)
    except CalldataError:
        return
    assert eth_abi.encode(types, values) == data


WORD = bytes(31)
TRANSFER = function("transfer(address,uint256)")


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.mark.parametrize(
    ("types", "data"),
    [
        (["address"], word(1 << 160)),
        (["bool"], word(2)),
        (["uint8"], word(256)),
        (["int8"], word(128)),
        (["int8"], word(2**256 - 129)),
        (["bytes4"], b"abcd" + b"\1" + bytes(27)),
        (["uint256"], word(1)[:-1]),
        (["uint256"], word(1) + b"\0"),
        ([], word(0)),
        (["bytes"], word(32) + word(3) + b"abc" + bytes(28) + b"\1"),
        (["bytes"], word(32) + word(3) + b"abc"),
        (["bytes"], word(32) + word(33) + bytes(32)),
        (["bytes"], word(32) + word(2**255)),
        (["bytes"], word(64) + bytes(32) + word(0)),
        (["bytes"], word(0)),
        (["bytes", "bytes"], word(64) + word(64) + word(0)),
        (["bytes", "bytes"], word(96) + word(64) + word(0) + word(0)),
        (["string"], word(32) + word(1) + b"\xff" + bytes(31)),
        (["uint256[]"], word(32) + word(2**64)),
        (["uint256[]"], word(32) + word(2) + word(1)),
        (["bytes[]"], word(32) + word(1) + word(64) + word(0)),
    ],
    ids=[
        "an address of 161 bits", "a truth value of 2", "a number too large", "an int too large", "an int too small",
        "padding after fixed bytes", "one byte short", "one byte long", "arguments of a function without any",
        "padding that is not zero", "no padding", "a length beyond the end", "a length of 2^255",
        "a gap before a tail", "an offset into the head", "two offsets to one tail", "tails in another order",
        "a string that is not UTF-8", "an array longer than memory", "an array beyond the end", "a gap in an array",
    ],
)  # fmt: skip
def test_other_encodings_are_refused(types, data):
    with pytest.raises(CalldataError):
        decode([parse_type(kind) for kind in types], data)


def test_another_selector_is_refused():
    with pytest.raises(CalldataError, match="another function"):
        decode_call(TRANSFER, b"\xa9\x05\x9c\xbc" + bytes(64))
    with pytest.raises(CalldataError, match="another function"):
        decode_call(TRANSFER, b"\xa9\x05\x9c")


@settings(max_examples=200, deadline=None)
@given(st.lists(TYPES, max_size=4))
def test_selectors_are_those_of_another_library(types):
    signature = f"do_it({','.join(types)})"
    found = function(signature)
    assert found.signature == signature
    assert found.selector == function_signature_to_4byte_selector(signature)
    assert [kind.text for kind in found.inputs] == types
    assert isinstance(found, Function)
    assert found.name == "do_it"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=600))
def test_keccak_is_keccak(data):
    assert keccak256(data) == keccak(data)


@pytest.mark.parametrize(
    "signature",
    [
        "", "f", "f(", "f(uint)", "f(int)", "f(uint256", "f(uint256))", "f(uint256) ", "f( uint256)", "f(uint256 a)",
        "f(uint256,)", "f(,)", "f(())", "f(uint7)", "f(uint264)", "f(uint0)", "f(bytes0)", "f(bytes33)", "f(byte)",
        "f(uint256[0])", "f(uint256[-1])", "f(uint256[01])", "f(fixed128x18)", "f(function)", "1f()", "f-g()",
        "f(uint256[1025])", "f(uint256[1024][2])", "f(" + "(" * 7 + "bool" + ")" * 7 + ")", "f(bool[][][][][][])",
        "f(" + ",".join(["bool"] * 65) + ")", "f(uint256[1000],uint256[1000])", "f(" + "a" * 2000 + ")",
        "f(tuple)", "f(address payable)", "f(uint256)(bool)", "f(uint256)view",
    ],
)  # fmt: skip
def test_signatures_that_are_not_canonical_are_refused(signature):
    with pytest.raises(PolicyError) as caught:
        function(signature)
    assert caught.value.code == "policy_value"


def entry(name, *types, **members):
    return {"type": "function", "name": name, "inputs": [{"type": kind} for kind in types]} | members


def test_functions_of_an_abi_are_found_by_name_and_by_signature():
    abi = [{"type": "constructor", "inputs": []}, entry("f", "bool"), entry("g"), entry("g", "uint8")]
    assert function_of_abi(abi, "f", "abi").signature == "f(bool)"
    assert function_of_abi(abi, "g(uint8)", "abi").signature == "g(uint8)"


@pytest.mark.parametrize(
    ("abi", "code"),
    [
        ([entry("g"), entry("g", "uint8")], "policy_conflict"),
        ([entry("f")], "policy_conflict"),
        ([{"type": "event", "name": "g"}], "policy_conflict"),
        ([entry("g", "uint")], "policy_value"),
        ([entry("g", surprise=1)], "policy_unknown_field"),
        (
            [{"type": "function", "name": "g", "inputs": [{"type": "bool", "surprise": 1}]}],
            "policy_unknown_field",
        ),
        ([{"type": "function", "name": "g", "inputs": [{"type": "tuple"}]}], "policy_value"),
        ([{"type": "function", "name": "g", "inputs": ["bool"]}], "policy_value"),
        ([{"type": "function", "name": "g(bool", "inputs": []}], "policy_value"),
        ([{"type": "function", "inputs": []}], "policy_value"),
        ([{"type": "nonsense"}], "policy_value"),
        (["g"], "policy_value"),
    ],
)
def test_abis_that_do_not_say_one_function_are_refused(abi, code):
    with pytest.raises(PolicyError) as caught:
        function_of_abi(abi, "g", "abi")
    assert caught.value.code == code
