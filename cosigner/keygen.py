"""Making a wallet: distributed key generation with the enclave, crash-safe on the client's side.

The client's share is on disk, as *pending*, before the message is sent on whose receipt the enclave stores its own. So there is no
moment at which the enclave has a wallet whose other share could be lost. :func:`resume` settles what a crash left pending.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from protocol.binding import dkg_context
from protocol.chains import chain_for, default_network
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.messages import BeginDkg, DkgBegun, FinishDkg, WalletReply
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, WalletInfo
from threshold import dkg_start

from . import settling
from .errors import EnclaveRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .actions import Actions
    from .evidence import Given
    from .session import Session
    from .store import ShareStore

_THRESHOLD, _PARTIES = 2, 2
_FIRST_EPOCH = 1


async def create(
    actions: Actions,
    store: ShareStore,
    *,
    chain: str,
    network: str | None = None,
    given: Given | None = None,
) -> WalletInfo:
    """Create a wallet for ``chain``; returns when both shares are durably stored.

    :raises CosignerError: ``chain_unsupported``, ``network_unsupported``; whatever host or enclave refused. Where the outcome is not
        known, the pending share is kept and :func:`resume` can settle it.
    """
    environment = actions.environment
    network = default_network(chain) if network is None else network
    known = chain_for(chain, network)

    async def ceremony(session: Session) -> WalletInfo:
        wallet_id = str(uuid.uuid4())
        context = dkg_context(
            transcript=session.transcript,
            environment=environment,
            wallet_id=wallet_id,
            suite=known.suite,
            chain=chain,
            network=network,
        )
        round1, message1 = dkg_start(known.suite, CLIENT_PARTY, _THRESHOLD, _PARTIES, context)
        begun = await actions.perform(
            session,
            BeginDkg(
                wallet_id=wallet_id,
                suite=known.suite,
                chain=chain,
                network=network,
                threshold=_THRESHOLD,
                parties=_PARTIES,
                message1=message1,
            ),
            DkgBegun,
            given=given,
        )
        round2, messages2 = round1.advance({ENCLAVE_PARTY: begun.message1})
        round3, confirmation = round2.advance({ENCLAVE_PARTY: begun.message2})
        wallet = WalletInfo(
            wallet_id=wallet_id,
            share_set_id=wallet_id,
            suite=known.suite,
            chain=chain,
            network=network,
            epoch=_FIRST_EPOCH,
            threshold=_THRESHOLD,
            parties=_PARTIES,
            public_key=round3.group_public_key,
        )
        await asyncio.to_thread(store.save_pending, environment, round3, wallet)
        finish = FinishDkg(wallet_id=wallet_id, message2=messages2[ENCLAVE_PARTY], confirmation=confirmation)
        return await settle_answer(actions, store, wallet, session.call(finish, WalletReply))

    return await actions.run(ceremony)


async def settle_answer(
    actions: Actions, store: ShareStore, wallet: WalletInfo, answer: Awaitable[WalletReply]
) -> WalletInfo:
    """Settle a pending wallet by the answer to the request that makes it: of key generation, or of an import.

    :raises CosignerError: the enclave refused for good, and the pending share is gone; else as :func:`ask_after`.
    """
    try:
        reply = await answer
    except CosignerError as error:
        if isinstance(error, EnclaveRefused) and error.reaction is not Reaction.RETRY:
            await asyncio.to_thread(store.discard_pending, wallet.wallet_id)
            raise
        # The enclave may or may not have stored its share. Ask, rather than begin again.
        return await ask_after(actions, store, wallet, cause=error)
    await settle_pending(store, wallet, reply)
    return wallet


async def resume(actions: Actions, store: ShareStore, wallet: WalletInfo) -> WalletInfo | None:
    """Settle a pending wallet: active if the enclave has it; ``None``, and still pending, if it does not know it.

    A pending share is never removed here: that the enclave does not know a wallet rests on what the host's storage told it.

    :raises CosignerError: the enclave could not be asked; the wallet stays pending.
    :raises ThresholdError: ``confirmation_mismatch``: the enclave saw another transcript; the wallet stays pending.
    """
    try:
        return await ask_after(actions, store, wallet, cause=None)
    except EnclaveRefused as error:
        if error.code != "wallet_unknown":
            raise
        return None


async def ask_after(
    actions: Actions, store: ShareStore, wallet: WalletInfo, *, cause: CosignerError | None
) -> WalletInfo:
    """Ask the enclave whether it has a wallet whose share is pending here, and make that share active if so.

    :param cause: what left it open; ``None``: nothing just now.
    :raises CosignerError: ``wallet_pending``: the enclave could not be asked, either.
    """
    try:
        reply = await settling.ask(actions, wallet.wallet_id)
    except CosignerError as error:
        if cause is None:
            raise
        raise CosignerError(
            "wallet_pending",
            f"It is not known whether the enclave stored wallet {wallet.wallet_id} ({cause.message}). The share is kept; "
            "`cosigner wallet list --resume` settles it.",
            culprit=error.culprit,
            reaction=Reaction.RETRY,
        ) from error
    await settle_pending(store, wallet, reply)
    return wallet


async def settle_pending(store: ShareStore, ours: WalletInfo, theirs: WalletReply) -> None:
    """Make the pending share active if the enclave confirmed the same transcript and the same wallet."""
    if ours != theirs.wallet:
        raise CosignerError(
            "wallet_mismatch",
            "The enclave stored another wallet under this id than the one that was generated; the share stays pending.",
            culprit=Culprit.ENCLAVE,
        )
    await asyncio.to_thread(store.activate, ours.wallet_id, {ENCLAVE_PARTY: theirs.confirmation})
