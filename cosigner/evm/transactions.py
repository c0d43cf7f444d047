"""From a transaction as `web3.py` and `eth_account` write it to the bytes that are signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from threshold import PayloadError

from . import rlp, values
from .values import refuse

_Reader = Callable[[object, str], rlp.Item]

_NO_DEFAULT: Final = object()


def unsigned_transaction(transaction: Mapping[str, object]) -> bytes:
    """What :func:`threshold.payload.evm_transaction_inspect` takes, from a transaction's fields by their JSON-RPC names.

    Numbers are ``int`` or hexadecimal strings, bytes are bytes or hexadecimal strings. Defaults are those of `eth_account`:
    no receiver (which creates a contract), value 0, no data, no access list; a ``type`` that is missing follows from the fee
    fields. A chain id is required.

    :raises PayloadError: ``evm_transaction_field`` (``field`` names it), ``evm_type_unsupported``, ``evm_no_replay_protection``.
    """
    kind = transaction_type(transaction)
    readers = _FIELDS[kind]
    names = {name for name, _, _ in readers} | {"type"}
    for name in transaction:
        if name not in names:
            refuse(f"a transaction of type {kind} has no such field", str(name))
    items: list[rlp.Item] = []
    for name, read, default in readers:
        value = transaction.get(name, default)
        if value is _NO_DEFAULT or (name == "chainId" and value is None):
            _missing(name, kind)
        items.append(read(value, name))
    if kind == 0:
        # EIP-155: the chain id stands where v will be, r and s are empty.
        return rlp.encode([*items, 0, 0])
    return bytes([kind]) + rlp.encode(items)


def transaction_type(transaction: Mapping[str, object]) -> int:
    """The type, given or following from the fields as in `eth_account`: 0 to 4.

    :raises PayloadError: ``evm_type_unsupported``, ``evm_transaction_field``.
    """
    if "type" in transaction:
        kind = values.integer(transaction["type"], "type")
        if kind not in _FIELDS:
            raise PayloadError(
                "evm_type_unsupported", "Only transactions of types 0 to 4 are signed.", "type"
            )
        return kind
    if "gasPrice" in transaction and "accessList" in transaction:
        return 1
    if "maxFeePerGas" in transaction or "maxPriorityFeePerGas" in transaction:
        if "maxFeePerBlobGas" in transaction or "blobVersionedHashes" in transaction:
            return 3
        return 4 if "authorizationList" in transaction else 2
    return 0


def _missing(name: str, kind: int) -> None:
    if name == "chainId" and kind == 0:
        raise PayloadError(
            "evm_no_replay_protection",
            "Without a chain id (EIP-155) the transaction would be valid on every chain; it is not signed.",
            name,
        )
    refuse("the field is missing", name)


def _receiver(value: object, field: str) -> bytes:
    return b"" if value is None or value in ("", b"") else values.address(value, field)


def _access_list(value: object, field: str) -> list[rlp.Item]:
    items: list[rlp.Item] = []
    for index, entry in enumerate(values.sequence(value, field)):
        path = f"{field}[{index}]"
        access = values.members(entry, _ACCESS, path)
        keys = values.sequence(access["storageKeys"], f"{path}.storageKeys")
        items.append(
            [
                values.address(access["address"], f"{path}.address"),
                [values.word(key, f"{path}.storageKeys[{i}]") for i, key in enumerate(keys)],
            ]
        )
    return items


def _blob_hashes(value: object, field: str) -> list[rlp.Item]:
    hashes = [
        values.binary(entry, f"{field}[{index}]") for index, entry in enumerate(values.sequence(value, field))
    ]
    return list(hashes)


def _authorizations(value: object, field: str) -> list[rlp.Item]:
    items: list[rlp.Item] = []
    for index, given in enumerate(values.sequence(value, field)):
        path = f"{field}[{index}]"
        # eth_account's SignedSetCodeAuthorization is a pydantic model.
        dump = getattr(given, "model_dump", None)
        entry = values.members(given if dump is None else dump(by_alias=True), _AUTHORIZATION, path)
        numbers = {
            name: values.integer(entry[name], f"{path}.{name}")
            for name in ("chainId", "nonce", "yParity", "r", "s")
        }
        target = values.address(entry["address"], f"{path}.address")
        items.append(
            [
                numbers["chainId"],
                target,
                numbers["nonce"],
                numbers["yParity"],
                numbers["r"],
                numbers["s"],
            ]
        )
    return items


_ACCESS: Final = frozenset({"address", "storageKeys"})
_AUTHORIZATION: Final = frozenset({"chainId", "address", "nonce", "yParity", "r", "s"})

_Field = tuple[str, _Reader, object]

_CHAIN: Final[_Field] = ("chainId", values.integer, _NO_DEFAULT)
_NONCE: Final[_Field] = ("nonce", values.integer, _NO_DEFAULT)
_GAS_PRICE: Final[_Field] = ("gasPrice", values.integer, _NO_DEFAULT)
_CALL: Final[list[_Field]] = [
    ("gas", values.integer, _NO_DEFAULT),
    ("to", _receiver, None),
    ("value", values.integer, 0),
    ("data", values.binary, b""),
]
_ACCESS_LIST: Final[_Field] = ("accessList", _access_list, ())
_DYNAMIC: Final[list[_Field]] = [
    _CHAIN,
    _NONCE,
    ("maxPriorityFeePerGas", values.integer, _NO_DEFAULT),
    ("maxFeePerGas", values.integer, _NO_DEFAULT),
    *_CALL,
    _ACCESS_LIST,
]

# In the order of their encoding: EIP-155, EIP-2930, EIP-1559, EIP-4844, EIP-7702.
_FIELDS: Final[dict[int, list[_Field]]] = {
    0: [_NONCE, _GAS_PRICE, *_CALL, _CHAIN],
    1: [_CHAIN, _NONCE, _GAS_PRICE, *_CALL, _ACCESS_LIST],
    2: _DYNAMIC,
    3: [
        *_DYNAMIC,
        ("maxFeePerBlobGas", values.integer, _NO_DEFAULT),
        ("blobVersionedHashes", _blob_hashes, _NO_DEFAULT),
    ],
    4: [*_DYNAMIC, ("authorizationList", _authorizations, _NO_DEFAULT)],
}
