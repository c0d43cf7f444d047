"""Deciding on a payload offline, with the code that the enclave decides with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import policy
from protocol.envelope.errors import CosignerError, Culprit
from threshold import payload

CHAINS: Final = {"ethereum": "EVM", "solana": "SVM", "bitcoin": "BTC"}


def summary_of(kind: str, content: bytes, *, public_key: bytes | None, network: str) -> policy.Summary:
    """What a payload does.

    :param kind: as in :func:`threshold.tasks.signing_task`.
    :param public_key: the key that signs. Solana messages do without: the fee payer is then taken for the wallet. EVM payloads need none.
    :param network: of Bitcoin.
    :raises PayloadError: the payload is not well formed, or asks for nothing of this wallet.
    :raises CosignerError: ``public_key_missing``.
    """
    details: Mapping[str, Any]
    wallet = ""
    match kind:
        case "evm_transaction":
            details = cast("Mapping[str, Any]", payload.evm_transaction_inspect(content))
        case "evm_message":
            details = cast("Mapping[str, Any]", payload.evm_message_digest(content))
        case "evm_typed_data":
            details = cast("Mapping[str, Any]", payload.evm_typed_data_inspect(content))
        case "solana_text":
            details = {"text": payload.solana_text_inspect(content)}
        case "solana_message":
            details = cast("Mapping[str, Any]", payload.solana_inspect(content))
            wallet = details["fee_payer"] if public_key is None else payload.solana_address(public_key)
        case _:
            if public_key is None:
                raise CosignerError(
                    "public_key_missing",
                    "Which outputs are change depends on the wallet: name it with --wallet or --public-key.",
                    culprit=Culprit.CLIENT,
                )
            details = cast("Mapping[str, Any]", payload.psbt_inspect(content, public_key, network))
    return policy.summary_of(kind, details, wallet=wallet, network=network)
