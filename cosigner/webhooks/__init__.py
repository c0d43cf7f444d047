"""For developers whose app signs for its users: receive webhooks safely (``docs/spec/webhooks.md``).

>>> from cosigner.webhooks import Inbox, LocalSealer, Receiver
>>> receiver = Receiver(secret, keys, Inbox(path, sealer), tolerance=300)      # doctest: +SKIP
>>> receiver.receive(request.headers, raw_body)                                # doctest: +SKIP
"""

from .envelope import DecryptionKey, EncryptionKey, Envelope, Opened, open_created
from .errors import WebhookRefused
from .events import CREATED, PING, REVOKED, SIGNATURE, Created, Event, Revoked, created, parse, revoked
from .inbox import Delegation, Inbox, Result
from .receiver import Receiver
from .sealing import KmsSealer, LocalSealer, Sealer
from .signature import verify

__all__ = [
    "CREATED",
    "PING",
    "REVOKED",
    "SIGNATURE",
    "Created",
    "DecryptionKey",
    "Delegation",
    "EncryptionKey",
    "Envelope",
    "Event",
    "Inbox",
    "KmsSealer",
    "LocalSealer",
    "Opened",
    "Receiver",
    "Result",
    "Revoked",
    "Sealer",
    "WebhookRefused",
    "created",
    "open_created",
    "parse",
    "revoked",
    "verify",
]
