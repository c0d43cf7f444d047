"""A record of shares whose seals have verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from protocol.chains import ECDSA_SUITE
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.wallets import ENCLAVE_PARTY, WalletInfo
from threshold import derive_public_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enclave.authorization.permits import Permit
    from threshold import KeyShare

    from .forms import EpochFacts, ShareSetHeader

T = TypeVar("T")


class OpenedWallet:
    """A share set, as one revision of its record has it. Its facts are free to read, its shares are not.

    :ivar header: as sealed.
    :ivar current: the epoch that signs; of a share set that is all new, the one that waits; of a retired one, the last.
    :ivar pending: the epoch that waits to be committed, if there is one.
    """

    __slots__ = ("_pending_share", "_require_newest", "_share", "current", "header", "pending")

    def __init__(
        self,
        header: ShareSetHeader,
        share: KeyShare | None,
        pending: KeyShare | None,
        require_newest: Callable[[OpenedWallet], None],
    ) -> None:
        self.header = header
        self._require_newest = require_newest
        self._share = share
        self._pending_share = pending
        self.pending: EpochFacts | None = header.pending
        self.current: EpochFacts = _present(header.active or header.pending)

    @property
    def wallet(self) -> WalletInfo:
        """The public facts of the current epoch."""
        return self.current.wallet

    @property
    def confirmation(self) -> bytes:
        """See :class:`.forms.EpochFacts`."""
        return self.current.confirmation

    @property
    def creator(self) -> str:
        """See :class:`.forms.ShareSetHeader`."""
        return self.header.creator

    @property
    def revision(self) -> int:
        """Of the record: what the next write expects."""
        return self.header.revision

    @property
    def retired(self) -> bool:
        """Whether its shares are destroyed."""
        return self.header.retired_at is not None

    def require_live(self) -> None:
        """Refuse what has no active share.

        :raises CosignerError: ``wallet_retired``; ``reshare_pending``: the share set is new, and waits to be committed.
        """
        if self.retired:
            raise deleted()
        if self.header.active is None:
            raise CosignerError(
                "reshare_pending",
                "These shares wait to be committed; they do not sign before.",
                culprit=Culprit.CLIENT,
            )

    def require_epoch(self, epoch: int) -> None:
        """Refuse any other epoch than the current one.

        :raises CosignerError: ``epoch_stale`` (storage serves an older epoch than it must have), ``epoch_superseded`` (the client does
            not know the newest epoch).
        """
        if self.wallet.epoch < epoch:
            raise stale()
        if self.wallet.epoch > epoch:
            raise superseded(self.wallet.epoch, epoch)

    def facts_of(self, epoch: int) -> EpochFacts:
        """Those of the current epoch, or of the one that waits.

        :raises CosignerError: ``epoch_stale``, ``epoch_superseded``.
        """
        if self.pending is not None and self.pending.wallet.epoch == epoch:
            return self.pending
        self.require_epoch(epoch)
        return self.current

    def require_party(self, party: int, epoch: int | None = None) -> None:
        """That a party of this share set is not the enclave.

        :param epoch: the current one, if not given.
        :raises CosignerError: ``party_refused``, and as :meth:`facts_of`.
        """
        wallet = self.wallet if epoch is None else self.facts_of(epoch).wallet
        if party == ENCLAVE_PARTY or party > wallet.parties:
            raise CosignerError(
                "party_refused",
                f"Party {party} is not one of the client's: those are 1 to {wallet.parties}, without {ENCLAVE_PARTY}.",
                culprit=Culprit.CLIENT,
            )

    def public_key(self, path: list[int]) -> bytes:
        """The key that signs at a path: the group public key, or the one derived from it.

        :raises CosignerError: as :meth:`require_live`.
        :raises ThresholdError: ``invalid_path``, ``wrong_suite``.
        """
        if not path:
            return self.wallet.public_key
        share = self._public(self.wallet.epoch)
        if self.wallet.suite == ECDSA_SUITE:
            return derive_public_key(self.wallet.public_key, share.chain_code, path)
        return share.derive(path).group_public_key

    def verify_proofs(self, epoch: int, context: bytes, proofs: Iterable[tuple[int, bytes]]) -> None:
        """That other parties hold their shares of an epoch, the current or the pending one.

        :param proofs: party and proof.
        :raises CosignerError: as :meth:`facts_of` and :meth:`require_live`.
        :raises ThresholdError: ``invalid_proof``.
        """
        share = self._public(epoch)
        for party, proof in proofs:
            share.verify_proof(party, context, proof)

    def release(self, permit: Permit) -> KeyShare:
        """The active share, if it still is that: the host may have held a request up since the record was opened.

        :raises PermitError: the permit is spent, or for another wallet.
        :raises CosignerError: as :meth:`require_live`; ``epoch_superseded``.
        """
        permit.spend(environment=self.header.environment, wallet_id=self.header.wallet_id)
        self.require_live()
        self._require_newest(self)
        return _present(self._share)

    def both_shares(self) -> tuple[KeyShare | None, KeyShare | None]:
        """The active and the pending share, for the vault, which seals them anew. Nobody else calls this."""
        return self._share, self._pending_share

    def _public(self, epoch: int) -> KeyShare:
        """A share of an epoch, of which the caller uses what is public."""
        if self.facts_of(epoch) is self.pending:
            return _present(self._pending_share)
        self.require_live()
        return _present(self._share)


def stale() -> CosignerError:
    """Storage serves less than it must have."""
    return CosignerError(
        "epoch_stale",
        "The host's storage serves an older state of this wallet than it must have.",
        culprit=Culprit.STORAGE,
        reaction=Reaction.RETRY,
    )


def superseded(newest: int, epoch: int) -> CosignerError:
    """A share's epoch is over."""
    return CosignerError(
        "epoch_superseded",
        f"The wallet's shares are at epoch {newest}; the share of epoch {epoch} is no longer valid.",
        culprit=Culprit.CLIENT,
    )


def deleted() -> CosignerError:
    """A share set is retired."""
    return CosignerError(
        "wallet_retired",
        "This wallet was deleted: its shares are destroyed. Only its public facts are left.",
        culprit=Culprit.CLIENT,
    )


def _present(value: T | None) -> T:
    """What the header's form, and unsealing, have seen to."""
    if value is None:
        msg = "this record holds no such share"
        raise RuntimeError(msg)
    return value
