"""Delegated signing by the names of Dynamic's Python SDK, and what that lacks: transactions, typed data, revocation.

Names, keywords and results are those of ``dynamic-wallet-sdk``. What differs: there is no API key of the developer's server, because the
wallet's own key and the share vouch; where the enclave is, and which enclave is trusted, comes from a client configuration; and what is
signed is worked out from the payload, never from a digest.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from protocol.envelope.errors import CosignerError, Culprit

from ..config import ClientConfig  # noqa: TID252
from ..delegation import DelegatedShare  # noqa: TID252
from ..evm import typed_data_json, unsigned_transaction  # noqa: TID252
from .client import DelegatedWallet

if TYPE_CHECKING:
    from types import TracebackType

    from ..signed import EthereumSignature  # noqa: TID252

_C = TypeVar("_C", bound="_DelegatedClient")

_MOST_WALLETS: Final = 1024  # whose sessions are kept open
_CHAINS: Final = {"EVM": "ethereum", "SVM": "solana"}


class _DelegatedClient:
    """Wallets of one chain that users have delegated to this developer."""

    chain_name: ClassVar[str]

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._wallets: OrderedDict[tuple[str, str, bytes], DelegatedWallet] = OrderedDict()
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every session."""
        while self._wallets:
            _, wallet = self._wallets.popitem()
            await wallet.__aexit__(None, None, None)

    async def wallet(
        self, wallet_id: str, wallet_api_key: str, key_share: str | bytes | Mapping[str, Any]
    ) -> DelegatedWallet:
        """The wallet that an API key and a share are for. Its session stays open for the next call.

        :raises CosignerError: ``delegated_share_malformed``, ``environment_mismatch``, ``wallet_missing``, ``chain_unsupported``.
        """
        share = DelegatedShare.parse(key_share)
        if share.wallet_id != wallet_id:
            raise CosignerError(
                "wallet_missing",
                f"This share is of wallet {share.wallet_id}, not of {wallet_id}.",
                culprit=Culprit.CLIENT,
            )
        name = (wallet_id, share.share_set_id, hashlib.sha256(wallet_api_key.encode()).digest())
        async with self._opening:
            found = self._wallets.get(name)
            if found is None:
                found = self._wallets[name] = DelegatedWallet(self._config, share, wallet_api_key)
            self._wallets.move_to_end(name)
            if len(self._wallets) > _MOST_WALLETS:
                _, oldest = self._wallets.popitem(last=False)
                await oldest.__aexit__(None, None, None)
        if (await found.wallet()).chain != _CHAINS[self.chain_name]:
            raise _wrong_chain(self.chain_name)
        return found


class DelegatedEvmClient(_DelegatedClient):
    """For wallets of Ethereum and all EVM chains."""

    chain_name = "EVM"


class DelegatedSvmClient(_DelegatedClient):
    """For wallets of Solana."""

    chain_name = "SVM"


async def create_delegated_evm_client(
    environment_id: str,
    api_key: str | None = None,  # noqa: ARG001  (Dynamic's SDK takes it here)
    *,
    base_api_url: str | None = None,
    config: ClientConfig | None = None,
) -> DelegatedEvmClient:
    """A client for delegated EVM wallets.

    :param api_key: Dynamic's server API key; this service has none, and does not look at it.
    :param base_api_url: the host's URL, in the place of the configuration's.
    :param config: by default what ``$COSIGNER_CONFIG`` or ``.cosigner/client.json`` says.
    :raises CosignerError: ``config_missing``, ``config_invalid``, ``environment_mismatch``.
    """
    return _create(DelegatedEvmClient, environment_id, base_api_url, config)


async def create_delegated_svm_client(
    environment_id: str,
    api_key: str | None = None,  # noqa: ARG001  (Dynamic's SDK takes it here)
    *,
    base_api_url: str | None = None,
    config: ClientConfig | None = None,
) -> DelegatedSvmClient:
    """A client for delegated Solana wallets; as :func:`create_delegated_evm_client`."""
    return _create(DelegatedSvmClient, environment_id, base_api_url, config)


async def delegated_sign_message(
    client: DelegatedEvmClient | DelegatedSvmClient,
    *,
    wallet_id: str,
    wallet_api_key: str,
    key_share: str | bytes | Mapping[str, Any],
    message: str,
    chain_name: str,
    is_formatted: bool = False,
) -> str:
    """Sign a text: for EVM as ``personal_sign`` (EIP-191) does, for Solana as a wallet adapter's ``signMessage`` does.

    :param message: the text; with ``is_formatted`` its bytes in hexadecimal, as Dynamic's SDK takes it. It is never a digest.
    :returns: ``0x`` and 65 bytes (EVM) or 64 bytes (Solana) in hexadecimal.
    :raises CosignerError: ``chain_unsupported``.
    :raises PayloadError: for Solana: bytes that are no text, or that are a transaction's message.
    :raises EnclaveRefused: ``policy_denied``, ``delegation_refused`` (unknown, revoked, expired).
    """
    _require_chain(client, chain_name)
    content = _hexadecimal(message) if is_formatted else message.encode()
    wallet = await client.wallet(wallet_id, wallet_api_key, key_share)
    if client.chain_name == "SVM":
        return "0x" + (await wallet.sign_solana_text(wallet_id, content)).signature.hex()
    return _signature(await wallet.sign_evm_message(wallet_id, content))


async def delegated_sign_typed_data(
    client: DelegatedEvmClient,
    *,
    wallet_id: str,
    wallet_api_key: str,
    key_share: str | bytes | Mapping[str, Any],
    typed_data: Mapping[str, Any],
) -> str:
    """Sign typed data (EIP-712) as ``eth_signTypedData_v4`` takes it.

    :returns: ``0x`` and 65 bytes in hexadecimal.
    """
    _require_chain(client, "EVM")
    wallet = await client.wallet(wallet_id, wallet_api_key, key_share)
    content = typed_data_json(full_message=dict(typed_data))
    return _signature(await wallet.sign_evm_typed_data(wallet_id, content))


async def delegated_sign_transaction(
    client: DelegatedEvmClient | DelegatedSvmClient,
    *,
    wallet_id: str,
    wallet_api_key: str,
    key_share: str | bytes | Mapping[str, Any],
    transaction: Mapping[str, Any] | bytes,
) -> str:
    """Sign a transaction; nothing is broadcast.

    :param transaction: for EVM its fields by their JSON-RPC names, of types 0 to 4, or the unsigned bytes; for Solana the serialized
        message (legacy or version 0).
    :returns: for EVM ``0x`` and the raw transaction; for Solana the signed transaction in base64, or, while signatures of others are
        missing, this wallet's signature in base64.
    :raises PayloadError: not well formed; it says what and where.
    """
    wallet = await client.wallet(wallet_id, wallet_api_key, key_share)
    if client.chain_name == "EVM":
        unsigned = (
            unsigned_transaction(transaction) if isinstance(transaction, Mapping) else bytes(transaction)
        )
        signed = await wallet.sign_evm_transaction(wallet_id, unsigned)
        return "0x" + (signed.transaction or b"").hex()
    if isinstance(transaction, Mapping):
        raise CosignerError(
            "payload_unsupported",
            "A Solana transaction is given as its message's bytes.",
            culprit=Culprit.CLIENT,
        )
    done = await wallet.sign_solana(wallet_id, bytes(transaction))
    return base64.b64encode(done.transaction or done.signature).decode()


async def revoke_delegation(
    client: DelegatedEvmClient | DelegatedSvmClient,
    *,
    wallet_id: str,
    wallet_api_key: str,
    key_share: str | bytes | Mapping[str, Any],
) -> None:
    """Give a delegation up. Nothing signs with this share afterwards."""
    wallet = await client.wallet(wallet_id, wallet_api_key, key_share)
    await wallet.revoke()


def _create(kind: type[_C], environment_id: str, base_api_url: str | None, config: ClientConfig | None) -> _C:
    found = config or ClientConfig.load()
    if found.environment != environment_id:
        raise CosignerError(
            "environment_mismatch",
            f"The configuration is for environment {found.environment!r}, not {environment_id!r}.",
            culprit=Culprit.CLIENT,
        )
    if base_api_url is not None:
        found = dataclasses.replace(found, api_url=base_api_url.rstrip("/"))
    return kind(found)


def _require_chain(client: _DelegatedClient, chain_name: str) -> None:
    if chain_name != client.chain_name:
        raise _wrong_chain(client.chain_name)


def _wrong_chain(chain_name: str) -> CosignerError:
    return CosignerError(
        "chain_unsupported", f"This client signs for wallets of chain {chain_name}.", culprit=Culprit.CLIENT
    )


def _signature(signed: EthereumSignature) -> str:
    return "0x" + signed.signature.hex()


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise CosignerError(
            "input_malformed", "A formatted message is hexadecimal.", culprit=Culprit.CLIENT
        ) from None
