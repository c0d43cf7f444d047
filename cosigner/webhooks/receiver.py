"""All of it in the right order: signature, form, envelope, inbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import envelope, events, signature
from .envelope import DecryptionKey
from .events import Event
from .inbox import Inbox, Result
from .signature import Headers


class Receiver:
    """Takes webhooks. Blocks: SQLite, RSA, and KMS where the inbox's sealer asks it.

    :param secret: the webhook's secret, or several while one replaces another.
    :param keys: the developer's decryption key, or keys by ``kid``.
    :param tolerance: seconds that a signed time may be off; ``None`` takes webhooks without one.
    """

    def __init__(
        self,
        secret: str | Sequence[str],
        keys: DecryptionKey | Mapping[str, DecryptionKey],
        inbox: Inbox,
        *,
        tolerance: float | None = 300,
    ) -> None:
        self._secret = secret
        self._keys = keys
        self._inbox = inbox
        self._tolerance = tolerance

    def receive(self, headers: Headers, raw_body: bytes) -> tuple[Event, Result]:
        """Handle one request. When it returns, what it changed is durable: answer 200.

        :returns: the event, and ``new``, ``repeated`` (handled before), or ``late`` (it tells of a delegation that was revoked since).
        :raises WebhookRefused: answer its ``status``; nothing was changed.
        :raises StoreError: answer 500; nothing was changed, and the webhook comes again.
        """
        signature.verify(self._secret, headers, raw_body, tolerance=self._tolerance)
        event = events.parse(raw_body)
        if event.event_name == events.CREATED:
            created = events.created(event)
            return event, self._inbox.create(event, created, envelope.open_created(created, self._keys))
        if event.event_name == events.REVOKED:
            return event, self._inbox.revoke(event, events.revoked(event))
        return event, self._inbox.note(event)
