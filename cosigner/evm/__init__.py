"""Ethereum accounts whose key is shared with an enclave, for `eth_account` and `web3.py` users.

:class:`CosignerAccount` stands where a :class:`eth_account.signers.local.LocalAccount` stands; :class:`AsyncCosignerAccount`
has the same methods as coroutines. Both need the extra ``cosigner[evm]`` and are imported on first use; everything else here
needs nothing but this package.

>>> account = CosignerAccount(sign, public_key)                                         # doctest: +SKIP
>>> w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0) # doctest: +SKIP
>>> account.sign_transaction({"to": …, "value": 10**18, …}).raw_transaction             # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .payloads import (
    AsyncEvmSigner,
    EvmMessage,
    EvmPayload,
    EvmSignature,
    EvmSigner,
    EvmTransaction,
    EvmTypedData,
)
from .transactions import unsigned_transaction
from .typed_data import typed_data_json

if TYPE_CHECKING:
    from .account import AsyncCosignerAccount, CosignerAccount

__all__ = [
    "AsyncCosignerAccount",
    "AsyncEvmSigner",
    "CosignerAccount",
    "EvmMessage",
    "EvmPayload",
    "EvmSignature",
    "EvmSigner",
    "EvmTransaction",
    "EvmTypedData",
    "typed_data_json",
    "unsigned_transaction",
]


def __getattr__(name: str) -> object:
    if name in {"AsyncCosignerAccount", "CosignerAccount"}:
        from . import account  # noqa: PLC0415  (needs eth_account, which is an extra)

        return getattr(account, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
