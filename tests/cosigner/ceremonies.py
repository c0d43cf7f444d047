"""Key generation between two parties in this process, without anything of the network."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

from protocol.chains import CHAINS
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, WalletInfo
from threshold import DkgRound3, KeyShare, dkg_start


@dataclass(frozen=True)
class Ceremony:
    """A ceremony of which the client awaits the enclave's confirmation."""

    state: DkgRound3
    wallet: WalletInfo
    confirmations: dict[int, bytes]
    enclave_share: KeyShare


def ceremony(chain: str = "solana", *, context: bytes | None = None) -> Ceremony:
    suite, network = CHAINS[chain].suite, CHAINS[chain].networks[0]
    context = context or os.urandom(32)
    client1, to_enclave1 = dkg_start(suite, CLIENT_PARTY, 2, 2, context)
    enclave1, to_client1 = dkg_start(suite, ENCLAVE_PARTY, 2, 2, context)
    client2, to_enclave2 = client1.advance({ENCLAVE_PARTY: to_client1})
    enclave2, to_client2 = enclave1.advance({CLIENT_PARTY: to_enclave1})
    client3, ours = client2.advance({ENCLAVE_PARTY: to_client2[CLIENT_PARTY]})
    enclave3, theirs = enclave2.advance({CLIENT_PARTY: to_enclave2[ENCLAVE_PARTY]})
    wallet_id = str(uuid.uuid4())
    wallet = WalletInfo(
        wallet_id=wallet_id,
        share_set_id=wallet_id,
        suite=suite,
        chain=chain,
        network=network,
        epoch=1,
        threshold=2,
        parties=2,
        public_key=client3.group_public_key,
    )
    share = enclave3.confirm({CLIENT_PARTY: ours})
    return Ceremony(client3, wallet, {ENCLAVE_PARTY: theirs}, share)
