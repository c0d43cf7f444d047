"""``cosigner policy``: decide offline, and show policies. Exit codes: 0 allowed, 1 denied, 2 there is nothing to decide."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Final

import policy
from policy import phrases, rendering
from policy.fields import time as parse_time
from policy.fields import written_time
from protocol.envelope.errors import CosignerError, Culprit
from threshold import PayloadError

from ..policies import CHAINS, summary_of  # noqa: TID252
from .inputs import evm_transaction_from, psbt_from, read_file, solana_message_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.wallets import WalletInfo

    from .output import Output

_ALLOWED: Final = 0
_DENIED: Final = 1
_UNDECIDED: Final = 2


async def policy_check(options: argparse.Namespace, output: Output) -> int:
    """``cosigner policy check``."""
    return _or_undecided(lambda: _check(options, output), output)


async def policy_show(options: argparse.Namespace, output: Output) -> int:
    """``cosigner policy show``."""
    return _or_undecided(lambda: _show(options, output), output)


def _or_undecided(work: Callable[[], int], output: Output) -> int:
    """Input that cannot be judged is neither allowed nor denied, and must not look like a denial."""
    try:
        return work()
    except policy.PolicyError as error:
        where = f"{error.field}: " if error.field else ""
        output.error(CosignerError(error.code, where + error.message, culprit=Culprit.CLIENT))
    except PayloadError as error:
        output.error(CosignerError(error.code, str(error), culprit=Culprit.CLIENT))
    except CosignerError as error:
        output.error(error)
    return _UNDECIDED


def _check(options: argparse.Namespace, output: Output) -> int:
    rules = policy.parse(read_file(options.file))
    usage = policy.Usage() if options.usage is None else policy.Usage.decode(read_file(options.usage).strip())
    action = policy.Action(
        operation=options.operation,
        at=options.at if options.at is not None else int(time.time()),
        chain=CHAINS[options.chain],
        signer=options.signer,
        factors=frozenset(options.factor),
        approvals=frozenset(options.approved_by),
    )
    decision = policy.decide(action, _summary(options), rules, usage)
    data = {"policy": policy.policy_hash(rules).hex(), "at": written_time(action.at)}
    lines = [
        *rendering.lines(decision),
        "",
        f"policy {data['policy']}",
        f"at     {data['at']}",
    ]
    if options.chain == "solana" and options.wallet is None and options.public_key is None:
        lines.append("note   the fee payer was taken for the wallet")
    if isinstance(decision, policy.Allow) and options.save_usage is not None:
        charged = usage.expire(action.at).charge(decision.charges, action.at)
        _write(options, charged.encode())
    output.result(rendering.tree(decision) | data, lines)
    return _ALLOWED if isinstance(decision, policy.Allow) else _DENIED


def _show(options: argparse.Namespace, output: Output) -> int:
    rules = policy.parse(read_file(options.file))
    canonical = policy.policy_bytes(rules).decode()
    data = {
        "policy": policy.policy_hash(rules).hex(),
        "canonical": canonical,
        "layers": {layer.name: policy.layer_hash(layer).hex() for layer in rules.layers},
    }
    output.result(data, [canonical] if options.canonical else phrases.policy_in_words(rules))
    return _ALLOWED


def _summary(options: argparse.Namespace) -> policy.Summary | None:
    if options.operation != "sign":
        if options.against is not None:
            raise CosignerError("usage", f"{options.operation} has no payload.", culprit=Culprit.CLIENT)
        return None
    if options.against is None:
        raise CosignerError("usage", "Name what is to be signed: --against FILE.", culprit=Culprit.CLIENT)
    if options.chain != "ethereum" and options.kind != "tx":
        raise CosignerError("usage", "Only Ethereum wallets sign messages.", culprit=Culprit.CLIENT)
    info = _wallet(options)
    content = read_file(options.against)
    match options.chain, options.kind:
        case "solana", _:
            kind, content = "solana_message", solana_message_from(content)
        case "bitcoin", _:
            kind, content = "psbt", psbt_from(content)
        case _, "tx":
            kind, content = "evm_transaction", evm_transaction_from(content)
        case _, "message":
            kind = "evm_message"
        case _:
            kind = "evm_typed_data"
    return summary_of(
        kind,
        content,
        public_key=options.public_key if info is None else info.public_key,
        network=options.network if info is None else info.network,
    )


def _wallet(options: argparse.Namespace) -> WalletInfo | None:
    """A wallet of this device, whose public key and network are no secret."""
    if options.wallet is None:
        return None
    from .commands import stored_wallet  # noqa: PLC0415  (commands import the client, which a check offline can do without)

    info = stored_wallet(options).info
    if info.chain != options.chain:
        raise CosignerError("usage", f"This is a wallet for {info.chain}.", culprit=Culprit.CLIENT)
    return info


def _write(options: argparse.Namespace, content: bytes) -> None:
    try:
        options.save_usage.write_bytes(content + b"\n")
    except OSError as error:
        raise CosignerError(
            "output_unwritable",
            f"Cannot write {options.save_usage}: {error.strerror}.",
            culprit=Culprit.CLIENT,
        ) from None


def moment(text: str) -> int:
    """``2026-01-31T12:00:00Z``, or seconds since 1970; for argparse.

    :raises ValueError: neither.
    """
    if text.isascii() and text.isdecimal() and len(text) <= 11:  # noqa: PLR2004
        return int(text)
    try:
        return parse_time(text, "--at")
    except policy.PolicyError:
        raise ValueError(text) from None


def public_key(text: str) -> bytes:
    """A public key of 32 or 33 bytes in hexadecimal; for argparse.

    :raises ValueError: it is none.
    """
    raw = bytes.fromhex(text)
    if len(raw) not in {32, 33}:
        raise ValueError(text)
    return raw
