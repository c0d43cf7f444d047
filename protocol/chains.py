"""Which suite serves which chain, and the networks whose address formats it knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .envelope.errors import Culprit, ProtocolError

ECDSA_SUITE: Final = "ecdsa-secp256k1"  # the one whose sessions need base oblivious transfers


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that wallets can be made for.

    :ivar networks: the first is the default; ``("",)`` where addresses are the same everywhere.
    """

    name: str
    suite: str
    networks: tuple[str, ...]


CHAINS: Final = {
    chain.name: chain
    for chain in (
        Chain("solana", "frost-ed25519", ("",)),
        Chain("bitcoin", "frost-secp256k1-tr", ("mainnet", "testnet", "signet", "regtest")),
        Chain("ethereum", ECDSA_SUITE, ("",)),
    )
}


def chain_for(name: str, network: str, *, suite: str | None = None) -> Chain:
    """Look a chain up.

    :raises ProtocolError: ``chain_unsupported`` (also for a suite that is not the chain's), ``network_unsupported``.
    """
    chain = CHAINS.get(name)
    if chain is None or suite not in {None, chain.suite}:
        raise ProtocolError(
            "chain_unsupported",
            f"There are no wallets for chain {name!r}{f' with suite {suite!r}' if suite else ''}; "
            f"known chains: {', '.join(CHAINS)}.",
            culprit=Culprit.CLIENT,
        )
    if network not in chain.networks:
        known = ", ".join(repr(network) for network in chain.networks)
        raise ProtocolError(
            "network_unsupported",
            f"Chain {name!r} has no network {network!r}; known: {known}.",
            culprit=Culprit.CLIENT,
        )
    return chain


def default_network(name: str) -> str:
    """The network of a chain's wallets when the caller names none.

    :raises ProtocolError: ``chain_unsupported``.
    """
    chain = CHAINS.get(name)
    return chain.networks[0] if chain else chain_for(name, "").networks[0]
