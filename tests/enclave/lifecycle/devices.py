"""A device as ``docs/spec/lifecycle.md`` §2.5 wants it, and an enclave that can die at any of its writes."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from msgspec.structs import replace

from protocol import lifecycle as life
from protocol import messages as m
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from tests.support.door import Refused, User
from tests.support.lives import Handover, handover, other_device, signs
from tests.support.world import Host
from threshold import KeyShare, SealingKey

_SEAL = SealingKey.from_data_key(bytes(range(1, 33)))


class Died(BaseException):
    """The enclave is gone, in the middle of whatever it did."""


@dataclasses.dataclass
class Kept:
    """What a device has stored of an epoch that is not settled: first the sealed state, then the shares."""

    state: bytes
    confirmation: bytes | None = None
    shares: dict[int, KeyShare] = dataclasses.field(default_factory=dict)


class Device:
    """A device with durable shares. Whatever it has in memory alone, :meth:`lose_memory` takes.

    :ivar epochs: the client's shares by epoch and party: of the epoch that counts, and of no other once all is settled.
    :ivar kept: of epochs that are not settled.
    """

    def __init__(self, host: Host, user: User, wallet: m.WalletInfo) -> None:
        self.host = host
        self.user = user
        self.wallet = wallet
        self.epochs: dict[int, dict[int, KeyShare]] = {1: {1: user.shares[wallet.wallet_id]}}
        self.kept: dict[int, Kept] = {}
        self.ceremony: Handover | None = None
        self.dies = False

    @property
    def epoch(self) -> int:
        """The one that the device believes to count."""
        return max(self.epochs)

    # --- what the device does, step by step ----------------------------------------------------------------------------------

    async def begin(self, purpose: str, parties: int, dealer: int = 1) -> None:
        """The first round trip; then the state is stored."""
        share = self.epochs[self.epoch][dealer]
        now_at = dataclasses.replace(self.user, wallets={self.wallet.wallet_id: self.info(self.epoch)})
        ceremony = handover(now_at, self.wallet.wallet_id, purpose, parties=parties, dealer=share)
        await ceremony.begin()
        self.ceremony = ceremony
        self.kept[self.epoch + 1] = Kept(_SEAL.seal_reshare(ceremony.round3, b"kept"))

    async def finish(self) -> None:
        """The second; then the shares are."""
        ceremony, self.ceremony = self.ceremony, None
        if ceremony is None:
            return
        kept = self.kept[self.epoch + 1]
        assert ceremony.finish is not None
        stored = await self.user.door.call(ceremony.finish, life.ReshareStored)
        kept.confirmation = stored.confirmation
        kept.shares = self.opened(kept, stored.confirmation)

    async def commit(self) -> None:
        """The third; then the old shares go."""
        kept = self.kept.get(self.epoch + 1)
        if kept is None or kept.confirmation is None:
            return
        request = self.commit_request(kept)
        reply = await self.user.door.call(request, m.WalletReply)
        self.take(reply.wallet.epoch)

    async def abort(self) -> None:
        """Give up what waits; only the answer makes the device forget it."""
        if self.epoch + 1 in self.kept:
            await self.user.door.call(
                life.AbortReshare(wallet_id=self.wallet.wallet_id, epoch=self.epoch + 1), m.WalletReply
            )
            del self.kept[self.epoch + 1]
            self.ceremony = None

    async def settle(self) -> None:
        """Ask which epoch counts, and leave nothing open."""
        reply = await self.read()
        self.ceremony = None
        nxt = self.epoch + 1
        kept = self.kept.get(nxt)
        if reply.wallet.epoch == nxt:
            assert kept is not None
            assert kept.shares
            self.take(nxt)
        elif reply.status.pending == nxt:
            if kept is not None and kept.shares:
                await self.commit()
            else:  # the answer that had the confirmation was lost
                self.kept.setdefault(nxt, Kept(b""))
                await self.abort()
        else:
            assert reply.wallet.epoch == self.epoch
            self.kept.pop(nxt, None)

    # --- what is true ----------------------------------------------------------------------------------------------------------

    async def read(self) -> m.WalletReply:
        return await self.user.door.call(m.GetWallet(wallet_id=self.wallet.wallet_id), m.WalletReply)

    async def signs(self) -> None:
        """Whatever was lost on the way: the device holds shares of the epoch that counts, and each of them signs."""
        wallet = (await self.read()).wallet
        assert wallet.public_key == self.wallet.public_key
        epoch = wallet.epoch
        shares = self.epochs[epoch] if epoch in self.epochs else self.kept[epoch].shares
        assert sorted(shares) == [party for party in range(1, wallet.parties + 1) if party != 2]
        for share in shares.values():
            await signs(other_device(self.user, share, wallet), wallet)

    # --- faults ------------------------------------------------------------------------------------------------------------------

    async def restart_enclave(self) -> None:
        """The enclave starts again over what storage has; all sessions are gone."""
        self.let_live()
        await self.host.start_enclave()
        await self.user.reopen()
        self.lose_memory()

    def lose_memory(self) -> None:
        self.ceremony = None

    def die_at(self, step: int, when: str, error: BaseException | type[BaseException] = Died) -> None:
        """The enclave dies at its ``step``-th durable write from now, before or after it took effect."""
        left = [step]
        self.dies = error is Died

        def strike(*_: object) -> None:
            left[0] -= 1
            if left[0] == -1:
                raise error

        def none(*_: object) -> None:
            return None

        storage = self.host.storage
        storage.before_put = storage.before_append = strike if when == "before" else none
        storage.after_put = storage.after_append = strike if when == "after" else none

    def let_live(self) -> None:
        self.die_at(-1, "before")

    async def survive(self, call: Any) -> bool:
        """Whether a step ended well; if the enclave died in it, it starts again."""
        try:
            await call
        except Died:
            await self.restart_enclave()
            return False
        except Refused as refused:
            if refused.code == "receipt_failed" and self.dies:  # it died in the task that writes the log
                await self.restart_enclave()
                return False
            if refused.code in {"session_unknown", "storage_unavailable", "receipt_failed"}:
                with contextlib.suppress(CosignerError):
                    await self.user.reopen()
                return False
            raise
        return True

    # --- small things ----------------------------------------------------------------------------------------------------------

    def info(self, epoch: int) -> m.WalletInfo:
        """The facts of an epoch, as the device has them."""
        share = self.epochs[epoch][1]
        return replace(self.wallet, epoch=epoch, parties=share.max_signers)

    def opened(self, kept: Kept, confirmation: bytes) -> dict[int, KeyShare]:
        return _SEAL.open_reshare(kept.state, b"kept").confirm({2: confirmation})

    def commit_request(self, kept: Kept) -> life.CommitReshare:
        epoch, parties = self.epoch + 1, kept.shares[1].max_signers
        done = handover(self.user, self.wallet.wallet_id, parties=parties, dealer=self.epochs[self.epoch][1])
        assert kept.confirmation is not None
        wallet = replace(self.wallet, epoch=epoch, parties=parties)
        done.stored = life.ReshareStored(wallet=wallet, confirmation=kept.confirmation)
        done.shares = kept.shares
        return done.commit_request()

    def take(self, epoch: int) -> None:
        """An epoch counts: older shares are dropped."""
        if epoch in self.kept:
            self.epochs = {epoch: self.kept.pop(epoch).shares}


def unavailable() -> CosignerError:
    """Storage that does not answer, or whose answer is lost."""
    return CosignerError("storage_unavailable", "lost", culprit=Culprit.STORAGE, reaction=Reaction.RETRY)


async def device(parties: int = 2, *, passkey: bool = False) -> Device:
    """A device with a wallet of so many parties.

    :param passkey: whether its user has one: to get more than one share they need it.
    """
    host = Host()
    await host.start_enclave()
    user = await User.log_in(host)
    if passkey:
        await user.add_passkey()
    made = Device(host, user, await user.create())
    if parties != 2:
        await made.begin("reshare", parties)
        await made.finish()
        await made.commit()
    return made
