"""EVM transactions by `eth_account`, and what is left of them without their signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import rlp
from eth_account import Account
from eth_keys import keys
from hypothesis import strategies as st

KEY = keys.PrivateKey(bytes(range(1, 33)))
ACCOUNT = Account.from_key(KEY)
PUBLIC_KEY = KEY.public_key.to_compressed_bytes()


@dataclass
class Signed:
    """A transaction signed by `eth_account`, and its parts."""

    raw: bytes
    unsigned: bytes
    hash: bytes
    signature: bytes
    recovery_id: int


def sign(transaction: dict[str, Any]) -> Signed:
    """Let `eth_account` sign, then take the signature off with an RLP library."""
    signed = ACCOUNT.sign_transaction(transaction)
    raw = bytes(signed.raw_transaction)
    if raw[0] >= 0xC0:
        fields = rlp.decode(raw)
        chain_id = (signed.v - 35) // 2
        unsigned = rlp.encode([*fields[:6], chain_id, b"", b""])
        recovery_id = (signed.v - 35) % 2
    else:
        unsigned = raw[:1] + rlp.encode(rlp.decode(raw[1:])[:-3])
        recovery_id = signed.v
    signature = signed.r.to_bytes(32, "big") + signed.s.to_bytes(32, "big")
    return Signed(raw, unsigned, bytes(signed.hash), signature, recovery_id)


def uint(bits: int) -> st.SearchStrategy[int]:
    """Numbers of all lengths up to ``bits``, with the least and the greatest."""
    lengths = st.integers(0, bits).flatmap(lambda n: st.integers(0, 2**n - 1))
    return st.one_of(st.sampled_from([0, 1, 2**bits - 1]), lengths)


addresses = st.binary(min_size=20, max_size=20)
words = st.binary(min_size=32, max_size=32)
calldata = st.one_of(st.just(b""), st.binary(max_size=80), st.binary(min_size=250, max_size=300))
access_lists = st.lists(
    st.fixed_dictionaries(
        {
            "address": addresses.map(lambda raw: "0x" + raw.hex()),
            "storageKeys": st.lists(words.map(lambda raw: "0x" + raw.hex()), max_size=3),
        }
    ),
    max_size=3,
)
_call = {"gas": uint(64), "value": uint(256), "data": calldata, "nonce": uint(64)}
_chain = {"chainId": uint(63)}
_price = {"gasPrice": uint(128)}
_fees = {"maxFeePerGas": uint(128), "maxPriorityFeePerGas": uint(128)}
_anywhere = {"to": st.one_of(st.just(b""), addresses)}
_somewhere = {"to": addresses}


def authorization(values: tuple[int, bytes, int, bytes]) -> dict[str, Any]:
    """A signed authorization in the form of JSON-RPC."""
    chain_id, address, nonce, key = values
    signed = Account.from_key(key).sign_authorization(
        {"chainId": chain_id, "address": "0x" + address.hex(), "nonce": nonce}
    )
    return {
        "chainId": chain_id,
        "address": "0x" + address.hex(),
        "nonce": nonce,
        "yParity": signed.y_parity,
        "r": signed.r,
        "s": signed.s,
    }


_keys = st.integers(1, 2**128).map(lambda n: n.to_bytes(32, "big"))
_authorizations = st.lists(
    st.tuples(uint(64), addresses, uint(64), _keys).map(authorization), min_size=1, max_size=2
)
_hashes = st.lists(st.binary(min_size=31, max_size=31).map(lambda raw: b"\x01" + raw), min_size=1, max_size=3)

legacy = st.fixed_dictionaries({**_chain, **_price, **_call, **_anywhere})
eip2930 = st.fixed_dictionaries(
    {"type": st.just(1), **_chain, **_price, **_call, **_anywhere, "accessList": access_lists}
)
eip1559 = st.fixed_dictionaries(
    {"type": st.just(2), **_chain, **_fees, **_call, **_anywhere, "accessList": access_lists}
)
eip4844 = st.fixed_dictionaries(
    {
        "type": st.just(3),
        **_chain,
        **_fees,
        **_call,
        **_somewhere,
        "accessList": access_lists,
        "maxFeePerBlobGas": uint(128),
        "blobVersionedHashes": _hashes,
    }
)
eip7702 = st.fixed_dictionaries(
    {
        "type": st.just(4),
        **_chain,
        **_fees,
        **_call,
        **_somewhere,
        "accessList": access_lists,
        "authorizationList": _authorizations,
    }
)
transactions = st.one_of(legacy, eip2930, eip1559, eip4844, eip7702)
