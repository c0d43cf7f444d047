"""The end of a delegation, whoever wants it (``docs/spec/delegation.md`` §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.actors import Delegated
from protocol.envelope.errors import CosignerError

from . import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from enclave.authn.clock import Clock
    from enclave.authorization.delegates import Delegates
    from enclave.authorization.permits import Permit
    from enclave.counters import Counters
    from enclave.vault import Vault
    from protocol.envelope.messages import OutboxEvent, SignedEntry

    from .book import Book
    from .events import Outbox
    from .record import Delegation, RevokedBy
    from .settings import Settings


class Ending:
    """Ends delegations of one environment.

    :param end_sessions: ends the sessions of a delegate.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        book: Book,
        delegates: Delegates,
        outbox: Outbox,
        vault: Vault,
        clock: Clock,
        counters: Counters,
        end_sessions: Callable[[str, frozenset[bytes]], None],
    ) -> None:
        self._settings = settings
        self._book = book
        self._delegates = delegates
        self._outbox = outbox
        self._vault = vault
        self._clock = clock
        self._counters = counters
        self._end_sessions = end_sessions

    async def end(self, permit: Permit, one: Delegation, by: RevokedBy, receipt: SignedEntry | None) -> None:
        """In this order: this enclave refuses the delegate, whatever the host stores; the delegation is over, and the developer is told, in
        one write; the enclave's share is destroyed. Asked for again it does what is left to do.

        :raises CosignerError: as :meth:`enclave.records.Records.write`; those of the vault.
        """
        wallet_id, share_set_id = one.wallet_id, one.share_set_id
        delegate = Delegated(wallet_id, share_set_id)
        self._delegates.shut_out(delegate)
        self._end_sessions(delegate.principal, frozenset({delegate.session_key}))
        to = (await self._settings.in_force()).subscription

        def event(over: Delegation) -> OutboxEvent | None:
            if to is None or over.api_key_hash is None:  # the developer has never heard of it
                return None
            return self._outbox.revoked(to, over, receipt)

        await self._book.change(
            wallet_id, share_set_id, lambda found: record.revoke(found, by, self._clock.now_ms()), event
        )
        await self._destroy(permit, wallet_id, share_set_id)
        self._counters["delegations_revoked"] += one.state == "active"

    async def end_all(
        self, permit: Permit, wallet_id: str, by: RevokedBy, receipt: SignedEntry | None
    ) -> None:
        """Revoke every delegation of a wallet that is deleted. What a crash leaves is done when the deletion is asked for again.

        :param permit: good for :data:`.book.MAX_LISTED` uses.
        """
        for one in await self._book.of(wallet_id):
            await self.end(permit, one, by, receipt)

    async def _destroy(self, permit: Permit, wallet_id: str, share_set_id: str) -> None:
        try:
            opened = await self._vault.open(wallet_id, share_set_id)
        except CosignerError as error:
            if error.code != "wallet_unknown":  # the enclave died before it stored that share
                raise
        else:
            await self._vault.retire(permit, opened, now_ms=self._clock.now_ms())
