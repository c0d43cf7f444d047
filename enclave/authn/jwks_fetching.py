"""JWK sets fetched from an issuer's URL, over TLS that ends in this enclave.

A fetched set is as good as TLS to the issuer. The host can only keep it from arriving; then the last one stays good for the grace that
the manifest gives, and no longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from enclave import log
from enclave.tls import TlsError, client_context
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import HostName, Port

from .jwks import MAX_SET, IssuerKeys, parse_set

if TYPE_CHECKING:
    from enclave.manifest import TrustedIssuer

Dial = Callable[[str, int], socket.socket]
"""Open a byte tunnel to (host name, port). Blocking. Raises OSError."""

FRESH_MS: Final = 300_000  # a set is fetched again after that
RETRY_MS: Final = 30_000  # but never sooner than that after any attempt, whoever asks for whatever key
TIMEOUT_S: Final = 10.0  # for a whole answer, from the handshake to the last byte
_HTTPS: Final = 443
_OK: Final = 200


class KeyFetcher:
    """The keys of one issuer that has a URL. Safe for concurrent use within one event loop.

    :param dial: the way to the issuer's host, through the host's tunnel.
    :raises CosignerError: ``manifest_invalid``: the URL or the CAs cannot be used.
    """

    def __init__(self, issuer: TrustedIssuer, dial: Dial, *, timeout_s: float = TIMEOUT_S) -> None:
        self.issuer: Final = issuer
        try:
            self._host, self._port, self._target = _split(issuer.url)
            self._context = client_context(issuer.ca_pem or None)
        except (ValueError, TlsError) as error:
            raise CosignerError(
                "manifest_invalid",
                f"The keys of {issuer.issuer} cannot be fetched: {error}.",
                culprit=Culprit.HOST,
            ) from None
        self._dial = dial
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._keys: IssuerKeys | None = None
        self._fetched_ms = 0
        self._tried_ms: int | None = None

    async def current(self, now_ms: int, *, kid: str | None = None) -> IssuerKeys:
        """The issuer's keys, fetched anew where they are old, or do not know ``kid``; but never twice in :data:`RETRY_MS`.

        :param now_ms: by a clock that does not go back (:class:`.clock.Clock`).
        :raises CosignerError: ``issuer_unavailable``: none arrived, and the last ones are beyond the grace.
        """
        if self._wants_fetch(now_ms, kid):
            async with self._lock:  # whoever waited finds the work done
                if self._wants_fetch(now_ms, kid):
                    await self._refresh(now_ms)
        # From the last success on: as long as sets are fresh anyway, and then the grace.
        good_ms = FRESH_MS + self.issuer.grace_s * 1000
        if self._keys is None or now_ms - self._fetched_ms > good_ms:
            raise CosignerError(
                "issuer_unavailable",
                f"The keys of {self.issuer.issuer} cannot be fetched.",
                culprit=Culprit.NETWORK,
                reaction=Reaction.RETRY,
            )
        return self._keys

    def _wants_fetch(self, now_ms: int, kid: str | None) -> bool:
        if self._tried_ms is not None and now_ms - self._tried_ms < RETRY_MS:
            return False
        if self._keys is None or now_ms - self._fetched_ms >= FRESH_MS:
            return True
        return kid is not None and self._keys.find(kid) is None

    async def _refresh(self, now_ms: int) -> None:
        """Fetch, and keep the old keys when that fails."""
        try:
            raw = await asyncio.to_thread(self._fetch)
            found = parse_set(raw, self.issuer.algorithms, every=False)
        except (OSError, http.client.HTTPException, ValueError) as error:
            log.event("issuer_keys_not_fetched", kind=type(error).__name__)
        else:
            self._keys = IssuerKeys(self.issuer, found)
            self._fetched_ms = now_ms
        finally:
            self._tried_ms = now_ms  # not before: who comes while it runs waits for it

    def _fetch(self) -> bytes:
        """One GET on a connection of its own. Redirects are not followed: they would lead to hosts that nobody vouches for.

        :raises OSError: no tunnel, no TLS with this host, or too slow.
        :raises http.client.HTTPException: not HTTP.
        :raises ValueError: not the answer that was asked for, or too long.
        """
        tunnel = self._dial(self._host, self._port)
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._context)
        # A socket's timeout is for each read. Who sends a byte a second is ended by this; the copy, because TLS takes the socket over.
        handle = tunnel.dup()
        deadline = threading.Timer(self._timeout_s, _break, [handle])
        deadline.start()
        try:
            tunnel.settimeout(self._timeout_s)
            connection.sock = self._context.wrap_socket(tunnel, server_hostname=self._host)
            connection.request(
                "GET", self._target, headers={"Accept": "application/json", "Connection": "close"}
            )
            answer = connection.getresponse()
            if answer.status != _OK:
                raise ValueError(f"status {answer.status}")
            body = answer.read(MAX_SET + 1)
            if len(body) > MAX_SET:
                raise ValueError("too long")
            return body
        finally:
            deadline.cancel()
            deadline.join()
            connection.close()
            tunnel.close()
            handle.close()


def _break(tunnel: socket.socket) -> None:
    with contextlib.suppress(OSError):
        tunnel.shutdown(socket.SHUT_RDWR)


def _split(url: str) -> tuple[str, int, str]:
    """(host, port, request target) of an https URL that has nothing else.

    :raises ValueError: it is none, or its host or port is none that tunnels lead to.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or "@" in parts.netloc or parts.fragment:
        raise ValueError("not a plain https URL")
    host = msgspec.convert(parts.hostname, HostName)
    port = msgspec.convert(_HTTPS if parts.port is None else parts.port, Port)
    return host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
