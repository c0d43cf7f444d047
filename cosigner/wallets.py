"""A wallet as callers see it: its public facts and its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from threshold.payload import bitcoin_address, evm_address, solana_address

if TYPE_CHECKING:
    from protocol.wallets import WalletInfo


@dataclass(frozen=True)
class Wallet:
    """A wallet's public facts.

    :ivar address: as its chain writes it.
    :ivar public_key: 32 bytes (Ed25519) or 33 (secp256k1, the Taproot internal key).
    :ivar parties: how many shares there are; any two sign.
    """

    wallet_id: str
    chain: str
    network: str
    suite: str
    address: str
    public_key: bytes
    epoch: int
    parties: int = 2

    @classmethod
    def of(cls, info: WalletInfo) -> Wallet:
        """The public facts of ``info``, with the address worked out."""
        return cls(
            wallet_id=info.wallet_id,
            chain=info.chain,
            network=info.network,
            suite=info.suite,
            address=address_of(info.chain, info.network, info.public_key),
            public_key=info.public_key,
            epoch=info.epoch,
            parties=info.parties,
        )


def address_of(chain: str, network: str, public_key: bytes) -> str:
    """The address of a public key, as its chain writes it."""
    match chain:
        case "solana":
            return solana_address(public_key)
        case "bitcoin":
            return bitcoin_address(public_key, network)
        case _:
            return evm_address(public_key)
