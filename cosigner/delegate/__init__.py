"""A delegate's server: it signs for a user, within what the user approved, until revoked (``docs/spec/delegation.md`` §6).

:class:`DelegatedWallet` signs what :class:`cosigner.AsyncClient` signs. The functions have the names of Dynamic's Python SDK:

>>> client = await create_delegated_evm_client("sandbox")                               # doctest: +SKIP
>>> await delegated_sign_message(client, wallet_id=…, wallet_api_key=…, key_share=…, message="gm", chain_name="EVM")  # doctest: +SKIP
"""

from __future__ import annotations

from .client import DelegatedWallet
from .dynamic import (
    DelegatedEvmClient,
    DelegatedSvmClient,
    create_delegated_evm_client,
    create_delegated_svm_client,
    delegated_sign_message,
    delegated_sign_transaction,
    delegated_sign_typed_data,
    revoke_delegation,
)

__all__ = [
    "DelegatedEvmClient",
    "DelegatedSvmClient",
    "DelegatedWallet",
    "create_delegated_evm_client",
    "create_delegated_svm_client",
    "delegated_sign_message",
    "delegated_sign_transaction",
    "delegated_sign_typed_data",
    "revoke_delegation",
]
