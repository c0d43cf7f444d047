"""``cosigner policy get``, ``policy set``, ``approve``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import policy
from policy import phrases
from protocol.accounts import SetPolicy
from protocol.envelope.errors import CosignerError, Culprit
from protocol.intents import subject_of
from protocol.messages import (
    EvmMessagePayload,
    EvmTransactionPayload,
    EvmTypedDataPayload,
    PsbtPayload,
    SolanaPayload,
)

from .. import approvals  # noqa: TID252
from ..config import ClientConfig  # noqa: TID252
from . import opening
from .inputs import evm_transaction_from, psbt_from, read_file, solana_message_from
from .moments import when

if TYPE_CHECKING:
    from protocol.accounts import LayerName, PolicyLayer
    from protocol.messages import EvmPayload, Payload, Request

    from .output import Output

_NO_LAYER = bytes(32)


async def policy_get(options: argparse.Namespace, output: Output) -> None:
    """``cosigner policy get``."""
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave"):
            layer = await client.get_policy(options.layer, options.subject)
    _show(output, layer, canonical=options.canonical)


async def policy_set(options: argparse.Namespace, output: Output) -> None:
    """``cosigner policy set``."""
    content = b"" if options.remove else layer_from(read_file(options.file), options.layer)
    async with opening.client(options, output) as client:
        with output.step("Replacing the layer"):
            layer = await client.set_policy(
                options.layer, content, subject=options.subject, **opening.given(options)
            )
    _show(output, layer, canonical=False)


async def approve_signing(options: argparse.Namespace, output: Output) -> None:
    """``cosigner approve signing``."""
    payload = _payload(options, read_file(options.file))
    request = approvals.signing_request(options.wallet, payload, options.path)
    await approve(options, output, request)


async def approve_policy(options: argparse.Namespace, output: Output) -> None:
    """``cosigner approve policy``."""
    content = layer_from(read_file(options.file), options.layer)
    request = SetPolicy(
        layer=options.layer,
        subject=options.subject,
        expected=bytes.fromhex(options.replaces),
        content=content,
    )
    await approve(options, output, request)


async def approve(options: argparse.Namespace, output: Output, request: Request) -> None:
    """Write an approval of a request that somebody else will make, as an administrator or as the user who is logged in."""
    if options.administrator is not None:
        key = opening.key_from(options)
        if key is None:
            raise CosignerError(
                "key_missing", "An administrator approves with their key: --key FILE.", culprit=Culprit.CLIENT
            )
        draft = approvals.draft(
            request,
            environment=ClientConfig.load(options.config).environment,
            subject=subject_of(request, ""),
            lifetime=options.lifetime,
        )
        signed = approvals.by_administrator(draft, options.administrator, key)
    else:
        async with opening.client(options, output) as client:
            signed = await client.approve(request, lifetime=options.lifetime)
    try:
        options.out.write_bytes(approvals.encode(signed))
    except OSError as error:
        raise opening.unwritable(options.out, error) from None
    output.result(
        {"approver": signed.approver, "expires_at": when(signed.expires_at), "file": str(options.out)},
        [
            f"Approved by {signed.approver}, once, until {when(signed.expires_at)}.",
            f"Whoever asks hands {options.out} in: --approval {options.out}",
        ],
    )


def layer_from(raw: bytes, name: LayerName) -> bytes:
    """A layer in its canonical form, from a file of that layer alone, or of a whole policy.

    :raises CosignerError: ``policy_…``: it is neither.
    """
    try:
        try:
            layer = policy.read_layer(raw)
        except policy.PolicyError as error:
            layers = {} if error.field != "layer" else {one.name: one for one in policy.parse(raw).layers}
            if name not in layers:
                raise
            layer = layers[name]
    except policy.PolicyError as error:
        where = f"{error.field}: " if error.field else ""
        raise CosignerError(error.code, where + error.message, culprit=Culprit.CLIENT) from None
    if layer.name != name:
        raise CosignerError(
            "policy_value", f"The file is of the {layer.name}'s layer.", culprit=Culprit.CLIENT
        )
    return policy.layer_bytes(layer)


def _show(output: Output, layer: PolicyLayer, *, canonical: bool) -> None:
    absent = layer.hash == _NO_LAYER
    data = {
        "layer": layer.layer,
        "subject": layer.subject,
        "version": layer.version,
        "hash": layer.hash.hex(),
        "content": layer.content.decode(),
    }
    name = f"{layer.layer} {layer.subject}".rstrip()
    if absent:
        output.result(data, [f"{name}: no layer is in force."])
        return
    if canonical:
        output.result(data, [layer.content.decode()])
        return
    words = phrases.layer_in_words(policy.parse_layer(layer.content))
    output.result(data, [f"{name}, version {layer.version}", f"hash  {layer.hash.hex()}", *words])


def _payload(options: argparse.Namespace, content: bytes) -> Payload | EvmPayload:
    match options.chain, options.kind:
        case "solana", "tx":
            return SolanaPayload(solana_message_from(content))
        case "bitcoin", "tx":
            return PsbtPayload(psbt_from(content))
        case "ethereum", "tx":
            return EvmTransactionPayload(evm_transaction_from(content))
        case "ethereum", "message":
            return EvmMessagePayload(content, None)
        case "ethereum", _:
            return EvmTypedDataPayload(content)
    raise CosignerError("usage", "Only Ethereum wallets sign messages.", culprit=Culprit.CLIENT)
