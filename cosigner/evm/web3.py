"""A middleware for ``AsyncWeb3``, whose own signing middleware does not await its account. Needs `web3` (``cosigner[evm]``).

For the synchronous ``Web3``, give a :class:`~cosigner.evm.CosignerAccount` to web3's ``SignAndSendRawMiddlewareBuilder``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from web3 import AsyncWeb3, Web3
from web3._utils.async_transactions import async_fill_nonce, async_fill_transaction_defaults
from web3.middleware.base import Web3MiddlewareBuilder
from web3.middleware.signing import format_transaction
from web3.types import RPCEndpoint

from .account import AsyncCosignerAccount


class _SignAndSendRaw(Web3MiddlewareBuilder):
    _account: AsyncCosignerAccount

    @staticmethod
    def build(w3: AsyncWeb3[Any] | Web3, *args: Any, **kwargs: Any) -> _SignAndSendRaw:  # noqa: ANN401, ARG004  (web3's signature)
        middleware = _SignAndSendRaw(w3)
        middleware._account = kwargs["account"]
        return middleware

    async def async_request_processor(self, method: RPCEndpoint, params: Any) -> Any:  # noqa: ANN401  (web3's signature)
        if method != "eth_sendTransaction" or not isinstance(self._w3, AsyncWeb3):
            return method, params
        transaction = format_transaction(params[0])
        if transaction.get("from") != self._account.address:
            return method, params
        filled = await async_fill_transaction_defaults(self._w3, transaction)
        filled = await async_fill_nonce(self._w3, filled)
        signed = await self._account.sign_transaction(filled)
        return RPCEndpoint("eth_sendRawTransaction"), [signed.raw_transaction.to_0x_hex()]


def sign_and_send_raw(account: AsyncCosignerAccount) -> Callable[[AsyncWeb3[Any]], Web3MiddlewareBuilder]:
    """A middleware that signs the transactions that ``account`` sends.

    >>> w3.middleware_onion.inject(sign_and_send_raw(account), layer=0)     # doctest: +SKIP
    """
    return partial(_SignAndSendRaw.build, account=account)
