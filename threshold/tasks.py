"""From a payload to what gets signed. Both sides run this code on the payload itself and never trust the other's digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import payload as payloads
from .errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHAINS: Final = {
    "solana_message": "solana",
    "psbt": "bitcoin",
    "evm_transaction": "ethereum",
    "evm_message": "ethereum",
    "solana_text": "solana",
    "evm_typed_data": "ethereum",
}
_WEI: Final = (
    "value",
    "gas_price",
    "max_fee_per_gas",
    "max_priority_fee_per_gas",
    "max_fee_per_blob_gas",
    "max_fee",
)


@dataclass(frozen=True, slots=True)
class SigningTask:
    """The signatures that one payload asks of one wallet.

    :ivar digests: for each signature exactly the bytes it covers: the message for Ed25519, a 32-byte digest for secp256k1 suites.
    :ivar tweaks: for each signature the Taproot tweak (see :func:`threshold.frost_respond`), or ``None`` for other suites.
    :ivar inputs: for each signature the index of the PSBT input it belongs to; empty for other payloads.
    :ivar summary: what will happen if this is signed, for people; integers fit 64 bits.
    :ivar details: all that the payload's parser reported (:mod:`threshold.payload`), for policy.
    """

    digests: list[bytes]
    tweaks: list[bytes | None] | None
    inputs: list[int]
    summary: dict[str, object]
    details: Mapping[str, object]


def signing_task(
    kind: str, content: bytes, *, chain: str, public_key: bytes, network: str, validator: bytes | None = None
) -> SigningTask:
    """What a payload asks of a wallet.

    :param kind: ``solana_message``, ``solana_text``, ``psbt``, ``evm_transaction``, ``evm_message`` or ``evm_typed_data``.
    :param chain: the wallet's chain, ``solana``, ``bitcoin`` or ``ethereum``.
    :param public_key: the key that signs: the wallet's group public key, or one derived from it.
    :param network: the wallet's network, empty where its chain has none.
    :param validator: for ``evm_message`` of version 0, the validator's address, 20 bytes.
    :raises PayloadError: ``payload_wrong_chain``, or as the functions below.
    """
    require_chain(kind, chain)
    match kind:
        case "solana_message":
            return solana_task(content, public_key)
        case "solana_text":
            return solana_text_task(content, public_key)
        case "psbt":
            return psbt_task(content, public_key, network)
        case "evm_transaction":
            return evm_transaction_task(content, public_key)
        case "evm_message":
            return evm_message_task(content, public_key, validator)
        case _:
            return evm_typed_data_task(content, public_key)


def require_chain(kind: str, chain: str) -> None:
    """Refuse a payload that wallets of ``chain`` do not sign.

    :raises PayloadError: ``payload_wrong_chain``.
    """
    if _CHAINS.get(kind) != chain:
        raise PayloadError(
            "payload_wrong_chain", f"This is a wallet for {chain}; it cannot sign such a payload."
        )


def solana_task(message: bytes, public_key: bytes) -> SigningTask:
    """What a Solana message asks of the wallet with the 32-byte ``public_key``.

    :raises PayloadError: not a well-formed message, or ``solana_not_a_signer``: it needs no signature of this wallet.
    """
    details = payloads.solana_inspect(message)
    address = payloads.solana_address(public_key)
    if address not in details["required_signers"]:
        raise PayloadError(
            "solana_not_a_signer",
            f"The message needs signatures of {', '.join(details['required_signers'])}, but none of this wallet, {address}.",
        )
    summary: dict[str, object] = {name: value for name, value in details.items() if name != "signed_bytes"}
    return SigningTask(
        digests=[details["signed_bytes"]], tweaks=None, inputs=[], summary=summary, details=details
    )


def solana_text_task(message: bytes, public_key: bytes) -> SigningTask:
    """What a text asks of the Solana wallet with the 32-byte ``public_key``: a signature over its bytes.

    :raises PayloadError: ``solana_text_too_large``, ``solana_text_invalid``, ``solana_text_is_message``.
    """
    text = payloads.solana_text_inspect(message)
    summary: dict[str, object] = {
        "from": payloads.solana_address(public_key),
        "length": len(message),
        "text": text,
    }
    return SigningTask(digests=[message], tweaks=None, inputs=[], summary=summary, details={"text": text})


def psbt_task(psbt: bytes, public_key: bytes, network: str) -> SigningTask:
    """What a PSBT asks of the wallet with the 33-byte group public key ``public_key``.

    :raises PayloadError: not a well-formed PSBT, or one that this wallet must not or cannot sign.
    """
    details = payloads.psbt_inspect(psbt, public_key, network)
    ours = [entry for entry in details["inputs"] if entry["ours"]]
    summary: dict[str, object] = {
        "txid": details["txid"],
        "fee": details["fee"],
        "inputs": [
            {name: entry[name] for name in ("index", "txid", "vout", "amount", "ours")}
            for entry in details["inputs"]
        ],
        "outputs": details["outputs"],
    }
    return SigningTask(
        digests=[entry["sighash"] for entry in ours if entry["sighash"] is not None],
        tweaks=[entry["tweak"] for entry in ours],
        inputs=[entry["index"] for entry in ours],
        summary=summary,
        details=details,
    )


def evm_transaction_task(unsigned: bytes, public_key: bytes) -> SigningTask:
    """What an unsigned EVM transaction asks of the wallet with the 33-byte ``public_key``.

    In the summary amounts of more than 64 bits are decimal strings, and the data is left out but for its length.

    :raises PayloadError: not a well-formed unsigned transaction of types 0 to 4.
    """
    details = payloads.evm_transaction_inspect(unsigned)
    summary: dict[str, object] = {
        name: value for name, value in details.items() if name not in {"digest", "data"}
    }
    summary["from"] = payloads.evm_address(public_key)
    summary["data_length"] = len(details["data"])
    for name in _WEI:
        summary[name] = _decimal(summary[name])
    call = details["call"]
    if call is not None:
        summary["call"] = {**call, "amount": str(call["amount"])}
    summary["authorizations"] = [
        {**entry, "chain_id": str(entry["chain_id"])} for entry in details["authorizations"]
    ]
    return SigningTask(digests=[details["digest"]], tweaks=None, inputs=[], summary=summary, details=details)


def evm_message_task(message: bytes, public_key: bytes, validator: bytes | None = None) -> SigningTask:
    """What a message (EIP-191; version 0 with the 20 bytes of a ``validator``) asks of the wallet with the 33-byte ``public_key``.

    :raises PayloadError: ``evm_too_large``, ``evm_invalid``.
    """
    details = payloads.evm_message_digest(message, validator)
    summary: dict[str, object] = {
        "from": payloads.evm_address(public_key),
        "length": len(message),
        "text": details["text"],
        "validator": details["validator"],
    }
    return SigningTask(digests=[details["digest"]], tweaks=None, inputs=[], summary=summary, details=details)


def evm_typed_data_task(typed_data: bytes, public_key: bytes) -> SigningTask:
    """What typed data (EIP-712, JSON) asks of the wallet with the 33-byte ``public_key``.

    In the summary all integers are decimal strings; the message itself may be nested deeper than a summary can be, and is
    left out: :func:`threshold.payload.evm_typed_data_inspect` has it.

    :raises PayloadError: not well-formed typed data.
    """
    details = payloads.evm_typed_data_inspect(typed_data)
    summary: dict[str, object] = {
        "from": payloads.evm_address(public_key),
        "primary_type": details["primary_type"],
        "encoded_type": details["encoded_type"],
        "domain": {name: _decimal(value) for name, value in details["domain"].items()},
        "domain_separator": details["domain_separator"],
        "message_hash": details["message_hash"],
    }
    return SigningTask(digests=[details["digest"]], tweaks=None, inputs=[], summary=summary, details=details)


def _decimal(value: object) -> object:
    """An integer as text; anything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
