"""What is asked, in the words of rules; and what rules or checks say against it, in the words of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enclave import faults
from policy import PolicyError, summary_of
from policy.rendering import headline
from protocol import accounts as a
from protocol import delegation as d
from protocol import lifecycle as life
from protocol import messages as m
from protocol.envelope.errors import CosignerError, Culprit
from threshold.payload import solana_address

if TYPE_CHECKING:
    from enclave.signing import Signing
    from enclave.vault import OpenedWallet
    from policy import Deny, Summary
    from protocol.envelope.messages import Message

_CHAINS: Final = {"ethereum": "EVM", "solana": "SVM", "bitcoin": "BTC"}
_MAX_REASON: Final = 1000


def as_error(error: Exception) -> CosignerError:
    """Whatever a check raised, in one vocabulary."""
    match error:
        case CosignerError():
            return error
        case PolicyError():
            return CosignerError("policy_denied", str(error)[:_MAX_REASON], culprit=Culprit.CLIENT)
        case _:
            return faults.translate(error).error()


def wallet_ruled(request: Message) -> str | None:
    """The wallet whose own layers judge a request. A wallet that is only being made has none."""
    match request:
        case (
            m.Sign(wallet_id=wallet_id)
            | m.SignEcdsa(wallet_id=wallet_id)
            | a.HandOver(wallet_id=wallet_id)
            | life.BeginReshare(wallet_id=wallet_id)
            | life.ExportShare(wallet_id=wallet_id)
            | life.OpenBackup(wallet_id=wallet_id)
            | d.BeginDelegation(wallet_id=wallet_id)
        ):
            return wallet_id
        case a.SetPolicy(layer="wallet" | "signer", subject=subject):
            return subject.split(":")[0]
        case _:
            return None


def chain_of(request: Message, opened: OpenedWallet | None) -> str:
    """The chain as rules name it; empty where an action is about none."""
    if isinstance(request, m.BeginDkg | life.ImportWallet):
        return _CHAINS.get(request.chain, "")
    return "" if opened is None else _CHAINS[opened.wallet.chain]


def summary(signed: Signing | None) -> Summary | None:
    """What the payload does, in the words of rules."""
    if signed is None:
        return None
    wallet = signed.opened.wallet
    address = solana_address(wallet.public_key) if wallet.chain == "solana" else ""
    return summary_of(signed.kind, signed.task.details, wallet=address, network=wallet.network)


def refusal(decision: Deny) -> CosignerError:
    """A denial as the client gets it: the reason in a sentence or two. The whole tree stands in the log."""
    code = decision.code if decision.code in {"factor_required", "approval_required"} else "policy_denied"
    verdict, *why = (" ".join(line.split()) for line in headline(decision))
    reason = "; ".join([verdict.removeprefix("DENY "), *why]) + "."
    needs: tuple[str, ...] = ()
    if code == "factor_required":
        needs = decision.missing_factors
    elif code == "approval_required":
        needs = tuple(dict.fromkeys(name for missing in decision.missing_approvals for name in missing.of))
    return CosignerError(code, reason[:_MAX_REASON], culprit=Culprit.CLIENT, needs=needs)
