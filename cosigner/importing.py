"""Import: a key that existed before, split between this device and the enclave (``docs/spec/lifecycle.md`` §5).

Crash-safe as key generation is: the device's share is on disk, as *pending*, before the enclave is sent its own.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from protocol.binding import import_context
from protocol.chains import chain_for, default_network
from protocol.envelope.errors import CosignerError, Culprit
from protocol.lifecycle import ImportWallet
from protocol.messages import WalletReply
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, THRESHOLD, WalletInfo

from . import keygen

if TYPE_CHECKING:
    from threshold.device import SecretKey

    from .actions import Actions
    from .evidence import Given
    from .session import Session
    from .store import ShareStore

_PARTIES = 2
_FIRST_EPOCH = 1


async def deal(
    actions: Actions,
    store: ShareStore,
    key: SecretKey,
    *,
    chain: str,
    network: str | None = None,
    legacy_wallet_id: str = "",
    given: Given | None = None,
) -> WalletInfo:
    """Deal ``key`` out to this device and the enclave; returns when both shares are durably stored.

    :raises CosignerError: ``chain_unsupported``, ``network_unsupported``, ``suite_mismatch``; as :func:`cosigner.keygen.create`.
    """
    network = default_network(chain) if network is None else network
    known = chain_for(chain, network)
    if key.suite != known.suite:
        raise CosignerError(
            "suite_mismatch",
            f"A wallet for {chain} has a key of suite {known.suite}; this one is of {key.suite}.",
            culprit=Culprit.CLIENT,
        )
    wallet_id = str(uuid.uuid4())
    wallet = WalletInfo(
        wallet_id=wallet_id,
        share_set_id=wallet_id,
        suite=known.suite,
        chain=chain,
        network=network,
        epoch=_FIRST_EPOCH,
        threshold=THRESHOLD,
        parties=_PARTIES,
        public_key=key.public_key,
    )

    async def ceremony(session: Session) -> WalletInfo:
        context = import_context(
            transcript=session.transcript,
            environment=actions.environment,
            wallet_id=wallet_id,
            suite=known.suite,
            chain=chain,
            network=network,
        )
        state, confirmations, message1, messages2 = key.deal(THRESHOLD, _PARTIES, [CLIENT_PARTY], context)
        await asyncio.to_thread(store.save_pending, actions.environment, state, wallet)
        request = ImportWallet(
            wallet_id=wallet_id,
            suite=known.suite,
            chain=chain,
            network=network,
            threshold=THRESHOLD,
            parties=_PARTIES,
            legacy_wallet_id=legacy_wallet_id,
            message1=message1,
            message2=messages2[ENCLAVE_PARTY],
            confirmations=[confirmations[CLIENT_PARTY]],
        )
        answer = actions.perform(session, request, WalletReply, given=given)
        return await keygen.settle_answer(actions, store, wallet, answer)

    return await actions.run(ceremony)
