"""What an EVM payload does. Five functions that move or approve tokens are known; every other call is blind."""

from __future__ import annotations

from typing import Final

from . import facts as f
from .abi import function
from .addresses import EVM
from .assets import Coin
from .calldata import CalldataError, decode_call
from .facts import Facts, Party
from .summary import EvmMessage, EvmTransaction, EvmTypedData

# The least amount that a widely used token (COMP, UNI: uint96) takes for "without limit".
UNLIMITED: Final = (1 << 96) - 1

_TRANSFER: Final = function("transfer(address,uint256)")
_TRANSFER_FROM: Final = function("transferFrom(address,address,uint256)")
_APPROVE: Final = function("approve(address,uint256)")
_INCREASE: Final = function("increaseAllowance(address,uint256)")
_FOR_ALL: Final = function("setApprovalForAll(address,bool)")
_KNOWN: Final = {
    entry.selector: entry for entry in (_TRANSFER, _TRANSFER_FROM, _APPROVE, _INCREASE, _FOR_ALL)
}


def transaction(summary: EvmTransaction) -> Facts:
    """A transaction. The fee counts as the chain's own coin: whoever sets the price of gas can give all of it away."""
    facts = Facts(EVM, chain_id=summary.chain_id)
    facts.add(Coin(EVM, summary.chain_id, None), summary.value + summary.max_fee)
    if summary.to is None:
        facts.conceal(
            f.CONTRACT_CREATION, "the code of a new contract", f.TOKENS, "A new contract can pay anybody."
        )
    elif not summary.data:
        facts.recipients.append(Party(summary.to))
    else:
        facts.call = (summary.to, summary.data)
        facts.callees.append(summary.to)
        _call(facts, summary.chain_id, summary.to, summary.data)
    if summary.authorizations:
        facts.callees += summary.authorizations
        facts.conceal(
            f.AUTHORIZATION,
            ", ".join(summary.authorizations),
            f.EVERYTHING,
            "Code that an account is told to run can pay anybody.",
        )
    return facts


def message(summary: EvmMessage) -> Facts:
    """A message: valid on every chain, for whoever accepts it."""
    why = "What is done with a message is not known."
    if summary.validator is None:
        return Facts.opaque(EVM, f.MESSAGE, why)
    return Facts.opaque(EVM, f.VALIDATOR_MESSAGE, why, summary.validator)


def typed_data(summary: EvmTypedData) -> Facts:
    """Typed data: often an order or a permit, so worth as much as a transaction."""
    contract = () if summary.verifying_contract is None else (summary.verifying_contract,)
    facts = Facts.opaque(EVM, f.TYPED_DATA, "What a contract does with typed data is not known.", *contract)
    facts.chain_id = summary.chain_id
    facts.typed_data = summary
    return facts


def _call(facts: Facts, chain_id: int, to: str, data: bytes) -> None:
    known = _KNOWN.get(data[:4])
    try:
        arguments = None if known is None else decode_call(known, data)
    except CalldataError:
        arguments = None
    if arguments is None:
        facts.conceal(
            f.CALL, f"0x{data[:4].hex()}", f.TOKENS, "The arguments of the call are not understood."
        )
        return
    token = Coin(EVM, chain_id, to)
    match known, arguments:
        case entry, [str(spender), bool(approved)] if entry is _FOR_ALL:
            facts.recipients.append(Party(spender, via=to))
            if approved:
                facts.conceal(f.UNLIMITED_APPROVAL, spender, f.TOKENS)
        case _, [str(spender), int(amount)]:
            facts.recipients.append(Party(spender, via=to))
            facts.add(token, amount)
            if known is not _TRANSFER and amount >= UNLIMITED:
                facts.conceal(f.UNLIMITED_APPROVAL, spender)
        case _, [str(owner), str(receiver), int(amount)]:
            facts.others.append(owner)
            facts.recipients.append(Party(receiver, via=to))
            facts.add(token, amount)
