"""What a Bitcoin transaction does."""

from __future__ import annotations

from . import facts as f
from .addresses import BTC
from .assets import Coin
from .facts import Facts, Party
from .summary import BitcoinTransaction


def transaction(summary: BitcoinTransaction) -> Facts:
    """What the wallet loses is its inputs less its change, so the fee counts, and inputs of others do not."""
    facts = Facts(BTC, network=summary.network)
    change = sum(output.amount for output in summary.outputs if output.ours)
    facts.add(Coin(BTC, None, None), max(summary.spent - change, 0))
    for output in summary.outputs:
        if output.ours:
            continue
        if output.address is None:
            facts.recipients.append(Party(f"script:{output.script.hex()}"))
            facts.conceal(f.SCRIPT, output.script.hex()[:80])
        else:
            facts.recipients.append(Party(output.address))
    return facts
