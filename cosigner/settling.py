"""What this device and the enclave know of a wallet's newest shares, brought to agree (``docs/spec/lifecycle.md`` §4).

The device is the coordinator of a two-phase commit. What it has *decided* lies in its store before the enclave is told to commit, and from
then on there is no way but forward: the enclave is told again until it has committed. What it has not decided counts for nothing, and
the enclave's half of it may be aborted at any time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.lifecycle import AbortReshare, CommitReshare
from protocol.messages import GetWallet, WalletReply

from .errors import EnclaveRefused
from .store.shares import share_outdated

if TYPE_CHECKING:
    from .actions import Actions
    from .session import Session
    from .store import NextHeader, ShareStore


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
    reply = await ask(actions, wallet_id)
    newest, waiting = await asyncio.to_thread(_known, store, wallet_id)
    if reply.wallet.epoch < newest:
        raise _rolled_back(reply.wallet.epoch, newest)
    for kind, decided in waiting:
        if await _settle_one(actions, store, decided, kind, reply):
            return await ask(actions, wallet_id)
    if any(decided.wallet.epoch <= reply.wallet.epoch for _, decided in waiting):
        await asyncio.to_thread(store.discard_next, wallet_id)  # another device's newer shares count
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
    await asyncio.to_thread(store.adopt, wallet.wallet_id, kind)


async def abort(actions: Actions, wallet_id: str, epoch: int) -> None:
    """Have the enclave drop shares that nobody has decided on."""
    await actions.act(AbortReshare(wallet_id=wallet_id, epoch=epoch), WalletReply)


async def _settle_one(
    actions: Actions, store: ShareStore, decided: NextHeader, kind: str, reply: WalletReply
) -> bool:
    """Whether the decided share has become the active one."""
    wallet_id, epoch = decided.wallet.wallet_id, decided.wallet.epoch
    if reply.wallet.epoch >= epoch:
        if (reply.wallet, reply.confirmation) != (decided.wallet, decided.confirmation):
            return False
        await asyncio.to_thread(store.adopt, wallet_id, kind)
        return True
    if reply.status.pending != epoch:
        return False  # the enclave does not know it, or the host hides it: the old share goes on signing
    try:
        await commit(actions, store, decided, kind)
    except EnclaveRefused as error:
        if error.code not in {"reshare_unknown", "invalid_proof"}:
            raise
        return False  # what waits there is another device's
    return True


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
