"""What this device and the enclave know of a wallet's newest shares, brought to agree (``docs/spec/lifecycle.md`` §4).

The device is the coordinator of a two-phase commit. What it has *decided* lies in its store before the enclave is told to commit, and from
then on there is no way but forward: the enclave is told again until it has committed. What it has not decided counts for nothing, and
the enclave's half of it may be aborted at any time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from protocol.envelope.errors import CosignerError, Culprit
from protocol.lifecycle import AbortReshare, CommitReshare
from protocol.messages import GetWallet, WalletReply

from .errors import EnclaveRefused, StoreError
from .store.shares import share_outdated

if TYPE_CHECKING:
    from .actions import Actions
    from .session import Session
    from .store import NextHeader, ShareStore

_ANOTHERS: Final = frozenset({"reshare_unknown", "invalid_proof", "parties_wrong_count"})
"""How the enclave refuses to commit a device's shares where another device's wait."""


async def ask(actions: Actions, wallet_id: str) -> WalletReply:
    """What the enclave has of a wallet; not compared with anything.

    :raises EnclaveRefused: ``wallet_unknown``, ``sealed_record_rejected``, ``epoch_stale``.
    """

    async def once(session: Session) -> WalletReply:
        return await session.call(GetWallet(wallet_id), WalletReply)

    return await actions.run(once)


async def settle(actions: Actions, store: ShareStore, wallet_id: str) -> WalletReply:
    """Ask the enclave, finish what this device has decided, and remember the newest epoch.

    Afterwards the device's active share is the newest one it can have. It need not be the wallet's: :meth:`ShareStore.load` says so.

    :raises CosignerError: ``epoch_stale``: the enclave was given an older record than this device has seen; ``wallet_mismatch``.
    """
    # First what this device knows: it may learn more while the answer is on its way, which then is no rollback.
    newest, waiting = await asyncio.to_thread(_known, store, wallet_id)
    reply = await ask(actions, wallet_id)
    if reply.wallet.epoch < newest:
        raise _rolled_back(reply.wallet.epoch, newest)
    for kind, decided in waiting:
        if await _settle_one(actions, store, decided, kind, reply):
            return await ask(actions, wallet_id)
    for kind, decided in waiting:
        if decided.wallet.epoch <= reply.wallet.epoch:  # another device's newer shares count
            await asyncio.to_thread(store.discard, decided, kind)
    if reply.wallet.epoch > newest:
        await asyncio.to_thread(store.observe, actions.environment, wallet_id, reply.wallet.epoch)
    return reply


async def commit(actions: Actions, store: ShareStore, decided: NextHeader, kind: str = "next") -> None:
    """Have the enclave commit what this device has decided; the new share counts from then on.

    :raises CosignerError: whatever the enclave or the host refused. What was decided stays, for :func:`settle`.
    """
    wallet = decided.wallet
    request = CommitReshare(wallet_id=wallet.wallet_id, epoch=wallet.epoch, proofs=decided.proofs)
    reply = await actions.act(request, WalletReply)
    if (reply.wallet, reply.confirmation) != (wallet, decided.confirmation):
        raise CosignerError(
            "wallet_mismatch",
            "The enclave committed other shares than this device asked for; the device keeps both of its own.",
            culprit=Culprit.ENCLAVE,
        )
    await _adopt(store, decided, kind)


async def _adopt(store: ShareStore, decided: NextHeader, kind: str) -> None:
    """The decided share becomes the active one. Another call or program on this device may have done that a moment ago."""
    wallet = decided.wallet
    try:
        await asyncio.to_thread(store.adopt, wallet.wallet_id, kind)
    except StoreError as error:
        if error.code != "wallet_missing":
            raise
        if await asyncio.to_thread(store.newest, wallet.wallet_id) < wallet.epoch:
            raise


async def abort(actions: Actions, wallet_id: str, epoch: int) -> None:
    """Have the enclave drop shares that nobody has decided on."""
    await actions.act(AbortReshare(wallet_id=wallet_id, epoch=epoch), WalletReply)


async def _settle_one(
    actions: Actions, store: ShareStore, decided: NextHeader, kind: str, reply: WalletReply
) -> bool:
    """Whether something has changed: the decided share has become the active one, or was given up."""
    epoch = decided.wallet.epoch
    if reply.wallet.epoch >= epoch:
        if (reply.wallet, reply.confirmation) != (decided.wallet, decided.confirmation):
            return False
        await _adopt(store, decided, kind)
        return True
    if reply.status.pending != epoch:
        return False  # the enclave does not know it, or the host hides it: the old share goes on signing
    try:
        await commit(actions, store, decided, kind)
    except EnclaveRefused as error:
        if error.code == "backup_required":
            await give_up(actions, store, decided, kind)
        elif error.code in _ANOTHERS:
            return False
        else:
            raise
    return True


async def give_up(actions: Actions, store: ShareStore, decided: NextHeader, kind: str = "next") -> None:
    """The enclave's rules do not let these shares count, and never will: nobody can back them up any more. The old share goes on signing.

    :raises CosignerError: as :func:`abort`; :func:`settle` tries it again.
    """
    wallet = decided.wallet
    if kind == "next":
        await asyncio.to_thread(store.set_aside, wallet.wallet_id)
    await abort(actions, wallet.wallet_id, wallet.epoch)


def _known(store: ShareStore, wallet_id: str) -> tuple[int, list[tuple[str, NextHeader]]]:
    """The newest epoch that this device knows of, and what it has decided that is not settled."""
    kinds = [(kind, store.decided(wallet_id, kind)) for kind in ("next", "aside")]
    return store.newest(wallet_id), [(kind, decided) for kind, decided in kinds if decided is not None]


def _rolled_back(theirs: int, newest: int) -> CosignerError:
    return CosignerError(
        "epoch_stale",
        f"The enclave has epoch {theirs} of this wallet, but this device knows epoch {newest}: its storage was rolled back.",
        culprit=Culprit.STORAGE,
    )


async def outdated(actions: Actions, store: ShareStore, wallet_id: str, epoch: int) -> CosignerError | None:
    """The enclave says that a share's epoch is over: remember the newest, and say what to do; ``None``: it is not over at all."""
    newest = (await settle(actions, store, wallet_id)).wallet.epoch
    return share_outdated(wallet_id, epoch, newest) if newest > epoch else None
