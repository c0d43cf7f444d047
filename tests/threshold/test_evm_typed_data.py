"""Typed data (EIP-712) and messages (EIP-191) against `eth_account`; and everything that is refused."""

from __future__ import annotations

import copy
import json

import pytest
from eth_account.messages import (
    _hash_eip191_message,
    encode_defunct,
    encode_intended_validator,
    encode_typed_data,
)
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.threshold.evm import ACCOUNT, KEY, PUBLIC_KEY, addresses, uint
from threshold import PayloadError
from threshold.payload import evm_message_digest, evm_signature_assemble, evm_typed_data_inspect
from threshold.tasks import evm_message_task, evm_typed_data_task

DOMAIN_FIELDS = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
    "salt": "bytes32",
}
# The example of EIP-712, whose digest stands in the standard's own test.
MAIL = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    },
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}
MAIL_DIGEST = "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"


def inspect(typed_data: dict) -> dict:
    return evm_typed_data_inspect(json.dumps(typed_data).encode())


def refused(typed_data: dict | bytes) -> tuple[str, str | None]:
    raw = typed_data if isinstance(typed_data, bytes) else json.dumps(typed_data).encode()
    with pytest.raises(PayloadError) as caught:
        evm_typed_data_inspect(raw)
    assert caught.value.message
    return caught.value.code, caught.value.field


def one(kind: str, value: object, **types: list) -> dict:
    """Typed data with one member ``x`` of this type."""
    return {
        "types": {"EIP712Domain": [], "T": [{"name": "x", "type": kind}], **types},
        "primaryType": "T",
        "domain": {},
        "message": {"x": value},
    }


def expected(typed_data: dict) -> bytes:
    """The digest by `eth_account`."""
    return _hash_eip191_message(encode_typed_data(full_message=typed_data))


def test_the_example_of_the_standard_has_its_digest():
    details = inspect(MAIL)
    assert details["digest"].hex() == MAIL_DIGEST
    assert details["encoded_type"] == (
        "Mail(Person from,Person to,string contents)Person(string name,address wallet)"
    )
    assert (
        details["domain_separator"].hex()
        == "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
    )
    assert details["message_hash"].hex() == "c52c0ee5d84264471806290a3f2c4cecfc5490626bf912d01f240d7a274b371e"
    assert details["primary_type"] == "Mail"
    assert (details["domain"], details["message"]) == (MAIL["domain"], MAIL["message"])


# Type name, values as JSON with what they are read as.
def _number(kind: str, bits: int, numbers: st.SearchStrategy) -> st.SearchStrategy:
    def spell(number):
        spellings = [number, str(number)] + ([hex(number)] if number >= 0 else [])
        return st.sampled_from(spellings).map(lambda spelling: (spelling, number))

    return st.tuples(st.just(f"{kind}{bits}"), st.just(numbers.flatmap(spell)))


def _hex(raw: bytes) -> tuple[str, bytes]:
    return "0x" + raw.hex(), raw


_bits = st.integers(1, 32).map(lambda n: 8 * n)
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
elementary = st.one_of(
    st.just(("bool", st.booleans().map(lambda value: (value, value)))),
    st.just(("string", _text.map(lambda text: (text, text)))),
    st.just(("bytes", st.binary(max_size=70).map(_hex))),
    st.just(("address", addresses.map(lambda raw: ("0x" + raw.hex(), to_checksum_address(raw))))),
    st.integers(1, 32).map(lambda n: (f"bytes{n}", st.binary(min_size=n, max_size=n).map(_hex))),
    _bits.flatmap(lambda bits: _number("uint", bits, uint(bits))),
    _bits.flatmap(lambda bits: _number("int", bits, uint(bits).map(lambda number: number - 2 ** (bits - 1)))),
)


def arrays(inner):
    kind, values = inner

    def pairs(items):
        return [given_ for given_, _ in items], [read for _, read in items]

    dynamic = (f"{kind}[]", st.lists(values, max_size=3).map(pairs))
    fixed = st.integers(1, 3).map(
        lambda n: (f"{kind}[{n}]", st.lists(values, min_size=n, max_size=n).map(pairs))
    )
    return st.one_of(st.just(inner), st.just(inner), st.just(dynamic), fixed)


@st.composite
def structs(draw):
    """A tree of struct types (each refers to later ones only), with a value and what it is read as."""
    count = draw(st.integers(1, 4))
    names = [f"{draw(st.sampled_from(['Zeta', 'alpha', '_T', 'Order']))}{i}" for i in range(count)]
    types: dict[str, list] = {}
    made: dict[str, st.SearchStrategy] = {}
    for i in reversed(range(count)):
        members = []
        for k in range(draw(st.integers(0, 4))):
            base = draw(elementary)
            if i + 1 < count and draw(st.booleans()):
                other = draw(st.sampled_from(names[i + 1 :]))
                base = (other, made[other])
            members.append((f"f{k}", *draw(arrays(draw(arrays(base))))))
        if i + 1 < count:
            # Every type is used, so that the primary type is the only root.
            members.append(("next", names[i + 1], made[names[i + 1]]))
        types[names[i]] = [{"name": name, "type": kind} for name, kind, _ in members]

        def build(values, members=members):
            pairs = dict(zip([name for name, _, _ in members], values, strict=True))
            return {n: v[0] for n, v in pairs.items()}, {n: v[1] for n, v in pairs.items()}

        made[names[i]] = st.tuples(*[values for _, _, values in members]).map(build)
    return names[0], types, draw(made[names[0]])


@st.composite
def domains(draw):
    values = {
        "name": _text,
        "version": _text,
        "chainId": uint(256),
        "verifyingContract": addresses.map(to_checksum_address),
        "salt": st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex()),
    }
    return {name: draw(values[name]) for name in DOMAIN_FIELDS if draw(st.booleans())}


@given(structs(), domains(), st.booleans())
@settings(max_examples=200)
def test_typed_data_has_the_digest_of_eth_account(struct, domain, declared):
    primary, types, (message, read) = struct
    typed_data = {"types": types, "primaryType": primary, "domain": domain, "message": message}
    if declared:
        fields = [{"name": name, "type": DOMAIN_FIELDS[name]} for name in domain]
        typed_data["types"] = {**types, "EIP712Domain": fields}
    details = inspect(typed_data)
    assert details["digest"] == expected(typed_data)
    assert details["message"] == read
    assert details["domain"] == {
        name: bytes.fromhex(value[2:]) if name == "salt" else value for name, value in domain.items()
    }
    signed = ACCOUNT.sign_typed_data(full_message=typed_data)
    ours = KEY.sign_msg_hash(details["digest"])
    assert (ours.r, ours.s) == (signed.r, signed.s)
    assert evm_signature_assemble(details["digest"], ours.to_bytes()[:64], ours.v, PUBLIC_KEY) == bytes(
        signed.signature
    )


@given(structs(), st.data())
@settings(max_examples=200)
def test_a_changed_text_is_refused_or_hashed_as_eth_account_hashes_it(struct, data):
    primary, types, (message, _) = struct
    typed_data = {"types": types, "primaryType": primary, "domain": {}, "message": message}
    raw = bytearray(json.dumps(typed_data).encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[at] = data.draw(st.sampled_from(b'0123456789abcdefx"[]{},:-.eEnul \\\xff'))
    else:
        del raw[at]
    try:
        details = evm_typed_data_inspect(bytes(raw))
    except PayloadError as error:
        assert error.code.startswith("typed_data_")  # noqa: PT017
        return
    whole = json.loads(raw)
    # eth_account insists that the primary type is the only root.
    parts = encode_typed_data(whole["domain"], closure(whole), whole["message"])
    assert details["digest"] == _hash_eip191_message(parts)


def closure(whole: dict) -> dict:
    """The types that the primary type reaches."""
    reached: dict = {}
    todo = [whole["primaryType"]]
    while todo:
        name = todo.pop()
        if name in whole["types"] and name not in reached:
            reached[name] = whole["types"][name]
            todo += [member["type"].split("[")[0] for member in reached[name]]
    return reached


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_with_a_code(raw):
    with pytest.raises(PayloadError) as caught:
        evm_typed_data_inspect(raw)
    assert caught.value.code.startswith("typed_data_")


def test_recursive_types_end_with_null_or_an_empty_array():
    person = [
        {"name": "name", "type": "string"},
        {"name": "mother", "type": "Person"},
        {"name": "friends", "type": "Person[]"},
    ]
    leaf = {"name": "Lyanna", "mother": None, "friends": []}
    message = {"name": "Jon", "mother": leaf, "friends": [leaf, {**leaf, "name": "Arya"}]}
    typed_data = {"types": {"Person": person}, "primaryType": "Person", "domain": {}, "message": message}
    details = inspect(typed_data)
    assert details["digest"] == expected(typed_data)
    assert details["message"] == message


def test_types_may_refer_to_each_other():
    types = {
        "Root": [{"name": "a", "type": "A"}],
        "A": [{"name": "b", "type": "B[]"}],
        "B": [{"name": "a", "type": "A"}],
    }
    message = {"a": {"b": [{"a": {"b": []}}, {"a": None}]}}
    typed_data = {"types": types, "primaryType": "Root", "domain": {}, "message": message}
    details = inspect(typed_data)
    assert details["digest"] == expected(typed_data)
    assert details["encoded_type"] == "Root(A a)A(B[] b)B(A a)"


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("uint256", 2**256 - 1, 2**256 - 1),
        ("uint256", str(2**256 - 1), 2**256 - 1),
        ("uint256", hex(2**256 - 1), 2**256 - 1),
        ("uint256", 2**64 + 1, 2**64 + 1),
        ("uint", 5, 5),
        ("int", -5, -5),
        ("int256", -(2**255), -(2**255)),
        ("int256", str(-(2**255)), -(2**255)),
        ("int8", -128, -128),
        ("int8", 127, 127),
        ("uint8", "0x00ff", 255),
        ("uint8", "007", 7),
        ("bytes1", "0xaB", b"\xab"),
        ("bytes", "0x", b""),
        ("string", "", ""),
        ("string", "\0 \u2028 \U0001f600", "\0 \u2028 \U0001f600"),
        ("uint8[]", [], []),
        ("uint8[][2]", [[], [1]], [[], [1]]),
        ("uint8[2][]", [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        (
            "address",
            "0xDE0B295669A9FD93D5F28D9EC85E40F4CB697BAE",
            "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe",
        ),
        ("U", {}, {}),
        ("U[]", [{}, {}], [{}, {}]),
    ],
)
def test_unusual_values_are_read(kind, value, read):
    typed_data = one(kind, value, **({"U": []} if kind.startswith("U") else {}))
    if kind == "address":
        typed_data["message"]["x"] = value
        assert inspect(typed_data)["digest"] == expected(one(kind, value.lower()))
    else:
        assert inspect(typed_data)["digest"] == expected(typed_data)
    assert inspect(typed_data)["message"] == {"x": read}


def test_unusual_names_and_white_space_are_read():
    types = {
        "HyperliquidTransaction:UsdSend": [
            {"name": "hyperliquidChain", "type": "string"},
            {"type": "uint64", "name": "$time_"},
        ]
    }
    typed_data = {
        "message": {"$time_": 1, "hyperliquidChain": "Mainnet"},
        "domain": {"name": "HyperliquidSignTransaction", "chainId": 421614},
        "primaryType": "HyperliquidTransaction:UsdSend",
        "types": types,
    }
    digest = inspect(typed_data)["digest"]
    assert digest == expected(typed_data)
    assert evm_typed_data_inspect(json.dumps(typed_data, indent=3).encode() + b"\n")["digest"] == digest


def test_types_that_are_not_used_change_nothing():
    more = copy.deepcopy(MAIL)
    more["types"]["Unused"] = [{"name": "mail", "type": "Mail[]"}]
    assert inspect(more)["digest"].hex() == MAIL_DIGEST


def test_the_domain_alone_can_be_signed():
    typed_data = {**copy.deepcopy(MAIL), "primaryType": "EIP712Domain", "message": {}}
    details = inspect(typed_data)
    assert details["digest"] == keccak(b"\x19\x01" + details["domain_separator"])
    assert (details["message_hash"], details["message"]) == (None, {})
    typed_data["message"] = {"name": "Ether Mail"}
    assert refused(typed_data) == ("typed_data_unknown_field", "name")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint8", "-1"),
        ("uint8", "-0x1"),
        ("uint8", "0x"),
        ("uint8", ""),
        ("uint8", " 1"),
        ("uint8", "1_0"),
        ("uint8", "+1"),
        ("uint8", "١"),
        ("uint8", "1.0"),
        ("uint8", 1.0),
        ("uint8", 1e2),
        ("uint8", True),
        ("uint8", None),
        ("uint8", [1]),
        ("uint256", 2**256),
        ("uint256", "0" * 200 + "1"),
        ("int8", 128),
        ("int8", -129),
        ("int8", "0xff"),
        ("int256", 2**255),
        ("int256", -(2**255) - 1),
        ("int256", -(2**256)),
        ("bool", "true"),
        ("bool", 1),
        ("bool", None),
        ("string", 1),
        ("string", None),
        ("bytes", "0x0"),
        ("bytes", "ff"),
        ("bytes", "0x0x00"),
        ("bytes", "0Xff"),
        ("bytes", "0xfg"),
        ("bytes", [1, 2]),
        ("bytes", None),
        ("bytes4", "0x000000"),
        ("bytes4", "0x0000000000"),
        ("bytes4", "abcd"),
        ("address", "0x" + "00" * 19),
        ("address", "0x" + "00" * 21),
        ("address", "de0b295669a9fd93d5f28d9ec85e40f4cb697bae"),
        ("address", "0xdE0B295669a9FD93d5F28D9Ec85E40f4cb697BAe"),
        ("address", 0),
        ("uint8[]", {}),
        ("uint8[]", None),
        ("uint8[2]", [1]),
        ("uint8[2]", [1, 2, 3]),
        ("U", []),
        ("U", "x"),
    ],
)
def test_values_that_are_not_of_their_type_are_refused(kind, value):
    assert refused(one(kind, value, U=[])) == ("typed_data_value", "message.x")


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "uint7",
        "uint08",
        "uint264",
        "int0",
        "bytes0",
        "bytes33",
        "bytes032",
        "fixed",
        "fixed128x18",
        "function",
        "Missing",
        "Missing[]",
        "uint8[0]",
        "uint8[-1]",
        "uint8[01]",
        "uint8[",
        "uint8]",
        "uint8[]x",
        "uint8[][",
        "[]",
        "uint8[ ]",
        " uint8",
        "uint8 ",
        "(uint8)",
        "uint8" + "[]" * 9,
        "uint8[99999999999999999999999]",
    ],
)
def test_types_that_do_not_exist_are_refused(kind):
    assert refused(one(kind, 1)) == ("typed_data_type", "types.T[0].type")


def change(path: str, value: object) -> dict:
    """The example with one place set; ``...`` removes it."""
    changed = copy.deepcopy(MAIL)
    *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = changed
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "code", "field"),
    [
        ("types", ..., "typed_data_missing_field", "types"),
        ("primaryType", ..., "typed_data_missing_field", "primaryType"),
        ("domain", ..., "typed_data_missing_field", "domain"),
        ("message", ..., "typed_data_missing_field", "message"),
        ("extra", 1, "typed_data_unknown_field", "extra"),
        ("types", [], "typed_data_malformed", "types"),
        ("types/Mail", {}, "typed_data_malformed", "types.Mail"),
        ("types/Mail/0", "Person from", "typed_data_malformed", "types.Mail[0]"),
        ("types/Mail/0/name", ..., "typed_data_missing_field", "types.Mail[0].name"),
        ("types/Mail/0/type", ..., "typed_data_missing_field", "types.Mail[0].type"),
        ("types/Mail/0/kind", "x", "typed_data_unknown_field", "types.Mail[0].kind"),
        ("types/Mail/0/name", 1, "typed_data_malformed", "types.Mail[0]"),
        ("types/Mail/0/name", "to", "typed_data_type", "types.Mail[1].name"),
        ("types/Mail/0/name", "", "typed_data_type", "types.Mail[0].name"),
        ("types/Mail/0/name", "a,uint256 b", "typed_data_type", "types.Mail[0].name"),
        ("types/Mail/0/name", "a)B(uint8 c", "typed_data_type", "types.Mail[0].name"),
        ("types/Mail/0/name", "n" * 257, "typed_data_type", "types.Mail[0].name"),
        ("types/uint256", [], "typed_data_type", "types.uint256"),
        ("types/Mail[]", [], "typed_data_type", "types.Mail[]"),
        ("types/", [], "typed_data_type", "types."),
        ("types/Person", ..., "typed_data_type", "types.Mail[0].type"),
        ("primaryType", "Letter", "typed_data_type", "primaryType"),
        ("primaryType", "Mail[]", "typed_data_type", "primaryType"),
        ("primaryType", "uint256", "typed_data_type", "primaryType"),
        ("primaryType", None, "typed_data_malformed", "primaryType"),
        ("domain", [], "typed_data_value", "domain"),
        ("domain", None, "typed_data_value", "domain"),
        ("domain/name", ..., "typed_data_missing_field", "domain.name"),
        ("domain/salt", "0x" + "00" * 32, "typed_data_unknown_field", "domain.salt"),
        ("domain/chainId", "one", "typed_data_value", "domain.chainId"),
        ("types/EIP712Domain/0/name", "title", "typed_data_domain", "types.EIP712Domain[0]"),
        ("types/EIP712Domain/2/type", "uint64", "typed_data_domain", "types.EIP712Domain[2]"),
        ("types/EIP712Domain/3/name", "salt", "typed_data_domain", "types.EIP712Domain[3]"),
        ("message", None, "typed_data_value", "message"),
        ("message", [], "typed_data_value", "message"),
        ("message", {}, "typed_data_missing_field", "message.from"),
        ("message/contents", ..., "typed_data_missing_field", "message.contents"),
        ("message/cc", 1, "typed_data_unknown_field", "message.cc"),
        ("message/to/name", ..., "typed_data_missing_field", "message.to.name"),
        ("message/to/nick", "x", "typed_data_unknown_field", "message.to.nick"),
        ("message/to/wallet", "0x", "typed_data_value", "message.to.wallet"),
    ],
)
def test_malformed_typed_data_says_what_is_wrong_and_where(path, value, code, field):
    assert refused(change(path, value)) == (code, field)


def test_a_domain_type_out_of_order_is_refused():
    fields = MAIL["types"]["EIP712Domain"]
    swapped = change("types/EIP712Domain", [fields[1], fields[0], *fields[2:]])
    assert refused(swapped) == ("typed_data_domain", "types.EIP712Domain[1]")
    assert refused(change("types/EIP712Domain", [fields[0], *fields])) == (
        "typed_data_type",
        "types.EIP712Domain[1].name",
    )


def test_the_place_within_arrays_is_named():
    typed_data = one(
        "U[2][]", [[{"y": 1}, {"y": 2}], [{"y": 3}, {"y": 300}]], U=[{"name": "y", "type": "uint8"}]
    )
    assert refused(typed_data) == ("typed_data_value", "message.x[1][1].y")


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (b"", "typed_data_malformed", None),
        (b"{", "typed_data_malformed", None),
        (b"\xff", "typed_data_malformed", None),
        (b"\xef\xbb\xbf{}", "typed_data_malformed", None),
        (b"{} {}", "typed_data_malformed", None),
        (b"[]", "typed_data_malformed", None),
        (b'"{}"', "typed_data_malformed", None),
        (b"{}", "typed_data_missing_field", "types"),
        (b'{"types":{},"types":{}}', "typed_data_malformed", "types"),
        (b'{"types":{},"\\u0074ypes":{}}', "typed_data_malformed", "types"),
        (b'{"message":{"a":[{"b":1,"b":1}]}}', "typed_data_malformed", "message.a[0].b"),
        (b'{"message":"\\ud800"}', "typed_data_malformed", None),
        (b'{"message":{"$serde_json::private::Number":"1"}}', "typed_data_missing_field", "types"),
        (b'{"message":{"$serde_json::private::RawValue":"1"}}', "typed_data_missing_field", "types"),
        (b'{"message":01}', "typed_data_malformed", None),
        (b'{"message":NaN}', "typed_data_malformed", None),
        (b"[" * 100 + b"]" * 100, "typed_data_too_large", "[0]" * 48),
        (b'{"a":' * 100_000, "typed_data_too_large", None),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "typed_data_too_large", ".".join(["a"] * 48)),
        (b" " * (2**17 + 1), "typed_data_too_large", None),
    ],
)
def test_text_that_is_not_such_json_is_refused(raw, code, field):
    assert refused(raw)[0] == code
    if code != "typed_data_malformed" or field is not None:
        assert refused(raw)[1] == field


def test_too_many_types_are_refused():
    typed_data = one("uint8", 1, **{f"T{i}": [] for i in range(127)})
    assert refused(typed_data) == ("typed_data_too_large", "types")


def test_a_task_asks_for_one_digest_and_leaves_the_message_out():
    task = evm_typed_data_task(json.dumps(MAIL).encode(), PUBLIC_KEY)
    assert ([digest.hex() for digest in task.digests], task.tweaks, task.inputs) == ([MAIL_DIGEST], None, [])
    assert task.summary["domain"] == {**MAIL["domain"], "chainId": "1"}
    assert task.summary["from"] == ACCOUNT.address
    assert set(task.summary) == {
        "from",
        "primary_type",
        "encoded_type",
        "domain",
        "domain_separator",
        "message_hash",
    }


@given(st.one_of(st.binary(max_size=300), st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)))
def test_messages_have_the_digest_of_eth_account(message):
    details = evm_message_digest(message)
    assert details["digest"] == _hash_eip191_message(encode_defunct(message))
    assert details["validator"] is None
    if details["text"] is not None:
        assert details["text"].encode() == message


@given(st.binary(max_size=300), addresses)
def test_data_for_a_validator_has_the_digest_of_eth_account(message, validator):
    details = evm_message_digest(message, validator)
    assert details["digest"] == _hash_eip191_message(encode_intended_validator(validator, message))
    assert details["validator"] == to_checksum_address(validator)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("", True),
        ("I♥SF\n\tdone\r\n", True),
        ("👨‍👩‍👧", True),
        ("bell\x07", False),
        ("c1 \x85", False),
        ("del\x7f", False),
        ("pay \u202e001$", False),
        ("zero\u200bwidth", False),
        ("\ufeffmark", False),
        ("tag\U000e0041", False),
    ],
)
def test_text_is_shown_only_where_it_shows_as_it_is(message, shown):
    assert evm_message_digest(message.encode())["text"] == (message if shown else None)
    assert evm_message_digest(b"\xff" + message.encode())["text"] is None


def test_messages_are_bounded():
    evm_message_digest(bytes(2**17))
    with pytest.raises(PayloadError) as caught:
        evm_message_digest(bytes(2**17 + 1))
    assert caught.value.code == "evm_too_large"
    with pytest.raises(PayloadError) as caught:
        evm_message_digest(b"", bytes(19))
    assert (caught.value.code, caught.value.field) == ("evm_invalid", "validator")


def test_the_task_of_a_message_shows_its_text():
    task = evm_message_task(b"hello", PUBLIC_KEY)
    assert task.digests == [_hash_eip191_message(encode_defunct(b"hello"))]
    assert task.summary == {"from": ACCOUNT.address, "length": 5, "text": "hello", "validator": None}
    task = evm_message_task(b"\xff", PUBLIC_KEY, bytes(20))
    assert task.summary == {
        "from": ACCOUNT.address,
        "length": 1,
        "text": None,
        "validator": to_checksum_address(bytes(20)),
    }
