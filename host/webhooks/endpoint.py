"""An environment's endpoint as a place to send to: judged names and addresses, a few connections that are kept, a bound on time."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Final

from host.errors import HostError
from protocol.envelope.errors import Culprit, Reaction

from . import ssrf
from .connection import AnswerError, Connection
from .ssrf import Rules, Target

_MAX_ADDRESSES: Final = 4
_MAX_AGE: Final = 60.0  # seconds; then the name is asked for again

Resolve = Callable[[str, int], Awaitable[list[str]]]


def resolver(executor: Executor) -> Resolve:
    """Names by the operating system, on threads of their own: one that hangs must not hold up the host."""

    async def resolve(host: str, port: int) -> list[str]:
        look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(executor, look_up)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    return resolve


class Endpoint:
    """Sends to one endpoint; whoever holds it bounds how many at once.

    :param timeout: seconds for one attempt, from the look-up of the name to the answer's status.
    """

    def __init__(self, *, rules: Rules, tls: ssl.SSLContext, resolve: Resolve, timeout: float) -> None:
        self._rules = rules
        self._tls = tls
        self._resolve = resolve
        self._timeout = timeout
        self._idle: list[Connection] = []
        self._looking_up: tuple[Target, asyncio.Future[list[str]]] | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """One attempt; the answer's status, whatever it is.

        :raises HostError: ``webhook_url_refused``, ``webhook_address_refused``, ``webhook_failed`` (no answer).
        """
        target = ssrf.target(url, self._rules)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(target, body, headers)
        except TimeoutError:
            raise _failed(f"no answer within {self._timeout:g} s") from None
        except AnswerError as error:
            raise _failed(str(error)) from None
        except ssl.SSLError as error:
            raise _failed(
                f"TLS: {getattr(error, 'verify_message', '') or error.reason or 'failed'}"
            ) from None
        except socket.gaierror:
            raise _failed("its name has no address") from None
        except OSError as error:
            raise _failed(error.strerror or type(error).__name__) from None

    async def close(self) -> None:
        """Close what is open."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> int:
        connection = await self._kept(target)
        if connection is not None:
            try:
                return await self._over(connection, body, headers)
            except AnswerError as error:
                if not error.untouched:
                    raise  # else the other side had closed it in the meantime: once more, over a new one
        return await self._over(await self._fresh(target), body, headers)

    async def _over(self, connection: Connection, body: bytes, headers: Mapping[str, str]) -> int:
        try:
            return await connection.post(body, headers)
        finally:
            if connection.usable:
                self._idle.append(connection)
            else:
                await connection.close()

    async def _kept(self, target: Target) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.target == target and now - connection.opened_at < _MAX_AGE:
                return connection
            await connection.close()
        return None

    async def _fresh(self, target: Target) -> Connection:
        addresses = ssrf.judge(await self._addresses(target), self._rules)
        failure: OSError = OSError(None, "no address")
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                async with asyncio.timeout(self._timeout / min(len(addresses), _MAX_ADDRESSES)):
                    return await Connection.open(address, target, self._tls)
            except ssl.SSLError:
                raise
            except OSError as error:  # TimeoutError is one
                failure = error
        raise failure

    async def _addresses(self, target: Target) -> list[str]:
        """One look-up at a time, and those who come meanwhile wait for it: a name server that hangs takes one thread, not all."""
        known = self._looking_up
        if known is None or known[1].done() or known[0] != target:
            looking_up = asyncio.ensure_future(self._resolve(target.host, target.port))
            looking_up.add_done_callback(lambda done: done.cancelled() or done.exception())
            known = self._looking_up = (target, looking_up)
        return await asyncio.shield(known[1])


def _failed(reason: str) -> HostError:
    return HostError(
        "webhook_failed",
        f"The endpoint did not take the message: {reason}.",
        culprit=Culprit.NETWORK,
        reaction=Reaction.RETRY,
    )
