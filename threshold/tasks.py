"""From a payload to what gets signed. Both sides run this code on the payload itself and never trust the other's digest."""

from __future__ import annotations

from dataclasses import dataclass

from . import payload as payloads
from .errors import PayloadError


@dataclass(frozen=True, slots=True)
class SigningTask:
    """The signatures that one payload asks of one wallet.

    :ivar digests: for each signature exactly the bytes it covers: the message for Ed25519, a 32-byte digest for secp256k1 suites.
    :ivar tweaks: for each signature the Taproot tweak (see :func:`threshold.frost_respond`), or ``None`` for Ed25519.
    :ivar inputs: for each signature the index of the PSBT input it belongs to; empty for Solana.
    :ivar summary: what will happen if this is signed, for people and for policy.
    """

    digests: list[bytes]
    tweaks: list[bytes | None] | None
    inputs: list[int]
    summary: dict[str, object]


def signing_task(kind: str, content: bytes, *, chain: str, public_key: bytes, network: str) -> SigningTask:
    """What a payload asks of a wallet.

    :param kind: ``solana_message`` or ``psbt``.
    :param chain: the wallet's chain, ``solana`` or ``bitcoin``.
    :param public_key: the wallet's group public key.
    :param network: the wallet's network, empty for Solana.
    :raises PayloadError: ``payload_wrong_chain``, or as :func:`solana_task` and :func:`psbt_task`.
    """
    match kind, chain:
        case "solana_message", "solana":
            return solana_task(content, public_key)
        case "psbt", "bitcoin":
            return psbt_task(content, public_key, network)
        case _:
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
    return SigningTask(digests=[details["signed_bytes"]], tweaks=None, inputs=[], summary=summary)


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
    )
