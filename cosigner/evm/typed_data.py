"""From typed data as `eth_account` takes it to the JSON that is signed.

Values are written by their types: bytes in hexadecimal, text for ``bytes`` and ``bytesN`` as its UTF-8, fixed bytes padded at
their end. Whatever does not fit its type is left as it is, for the parser to refuse it by its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from threshold import PayloadError

_DOMAIN: Final = "EIP712Domain"
_DOMAIN_FIELDS: Final = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
    {"name": "salt", "type": "bytes32"},
]
_FIXED_BYTES: Final = re.compile(r"bytes([1-9][0-9]?)")
_HEX: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")

Types = Mapping[str, Sequence[Mapping[str, str]]]


def typed_data_json(
    domain_data: Mapping[str, Any] | None = None,
    message_types: Types | None = None,
    message_data: Mapping[str, Any] | None = None,
    full_message: Mapping[str, Any] | None = None,
) -> bytes:
    """What :func:`threshold.payload.evm_typed_data_inspect` takes, from the arguments of `eth_account`'s ``encode_typed_data``:
    either the first three, or ``full_message`` alone, whose ``primaryType`` may be missing.

    :raises ValueError: neither or both forms are given.
    :raises PayloadError: ``typed_data_malformed``, ``typed_data_type``, ``typed_data_value``.
    """
    parts = (domain_data, message_types, message_data)
    if full_message is None:
        if domain_data is None or message_types is None or message_data is None:
            msg = "give domain_data, message_types and message_data, or full_message"
            raise ValueError(msg)
        full_message = {"types": message_types, "domain": domain_data, "message": message_data}
    elif any(part is not None for part in parts):
        msg = "give either full_message or the other three, not both"
        raise ValueError(msg)
    whole = dict(full_message)
    types = whole.get("types")
    if not _is_types(types):
        raise PayloadError(
            "typed_data_malformed", "a mapping of names to lists of members is expected", "types"
        )
    primary = whole.setdefault("primaryType", _primary_type(types) if "primaryType" not in whole else None)
    if "domain" in whole:
        domain_types = types if _DOMAIN in types else {_DOMAIN: _DOMAIN_FIELDS}
        whole["domain"] = _by_type(domain_types, _DOMAIN, whole["domain"])
    if "message" in whole and isinstance(primary, str):
        whole["message"] = _by_type(types, primary, whole["message"])
    try:
        return json.dumps(
            whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_unknown
        ).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise PayloadError("typed_data_value", f"the typed data is not JSON: {error}") from None


def _is_types(types: object) -> TypeGuard[Types]:
    return isinstance(types, Mapping) and all(
        isinstance(members, Sequence)
        and all(isinstance(member, Mapping) and {"name", "type"} <= member.keys() for member in members)
        for members in types.values()
    )


def _primary_type(types: Types) -> str:
    """The one type that no other refers to."""
    own = set(types) - {_DOMAIN}
    used = {
        base
        for name in own
        for member in types[name]
        if (base := str(member["type"]).partition("[")[0]) != name
    }
    roots = own - used
    if len(roots) != 1:
        raise PayloadError(
            "typed_data_type", "the primary type does not follow from the types; name it", "primaryType"
        )
    return roots.pop()


def _by_type(types: Types, kind: str, value: Any) -> Any:  # noqa: ANN401  (values of any type)
    if kind.endswith("]"):
        element = kind[: kind.rindex("[")] if "[" in kind else kind[:-1]
        return (
            [_by_type(types, element, item) for item in value] if isinstance(value, list | tuple) else value
        )
    if kind in types:
        if not isinstance(value, Mapping):
            return value
        of = {member["name"]: member["type"] for member in types[kind]}
        return {name: _by_type(types, of[name], item) if name in of else item for name, item in value.items()}
    if kind.startswith("bytes"):
        return _bytes(kind, value)
    if kind == "address" and isinstance(value, bytes | bytearray):
        return "0x" + value.hex()
    return value


def _bytes(kind: str, value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        if not value.startswith("0x"):
            value = value.encode()
        elif _HEX.fullmatch(value):
            value = bytes.fromhex(value[2:])
    if not isinstance(value, bytes | bytearray):
        return value
    fixed = _FIXED_BYTES.fullmatch(kind)
    return "0x" + (value.ljust(int(fixed[1]), b"\0") if fixed else value).hex()


def _unknown(value: object) -> object:
    """Mappings and bytes that the standard library does not know, such as web3's ``AttributeDict``."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes | bytearray):
        return "0x" + value.hex()
    msg = f"a {type(value).__name__} cannot be written"
    raise TypeError(msg)
