"""A developer's own HTTPS endpoint (``docs/spec/backups.md``): PUT, GET and DELETE of a name, GET of the list, with a bearer token."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from typing import Annotated, ClassVar, Final

import httpx
import msgspec
from msgspec import Meta

from protocol.envelope.errors import Culprit

from .http import MAX_JSON, OCTETS, Answer, Http, Sleep, check_base, is_busy
from .interface import (
    MAX_BACKUP,
    MAX_NAMES,
    LocationError,
    check_blob,
    check_name,
    is_name,
    missing,
    refused,
    too_large,
    unauthorized,
)
from .secrets import Token

_KEPT: Final = frozenset({httpx.codes.OK, httpx.codes.CREATED, httpx.codes.NO_CONTENT})
_UNAUTHORIZED: Final = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})


class _Names(msgspec.Struct):
    names: Annotated[list[str], Meta(max_length=1000)]
    more: bool


class EndpointLocation:
    """An endpoint at ``url``; a name follows the URL after a slash.

    :raises LocationError: ``location_refused``: the URL is neither https nor of this machine.
    """

    kind: ClassVar[str] = "endpoint"

    def __init__(
        self, url: str, token: Token, *, tls: ssl.SSLContext | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._base = check_base(url) + "/"
        self._token = token
        self._http = Http("The endpoint", tls=tls, sleep=sleep)

    async def put(self, name: str, blob: bytes) -> None:
        answer = await self._ask("PUT", check_name(name), content=check_blob(blob))
        if answer.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            raise too_large(Culprit.STORAGE)
        if answer.status not in _KEPT:
            raise self._refusal(answer)

    async def get(self, name: str) -> bytes:
        answer = await self._ask("GET", check_name(name), limit=MAX_BACKUP)
        if answer.status == httpx.codes.NOT_FOUND:
            raise missing(self._http.place)
        if answer.status != httpx.codes.OK:
            raise self._refusal(answer)
        return self._http.backup(answer)

    async def delete(self, name: str) -> None:
        answer = await self._ask("DELETE", check_name(name))
        if answer.status not in _KEPT and answer.status != httpx.codes.NOT_FOUND:
            raise self._refusal(answer)

    async def names(self) -> list[str]:
        found: list[str] = []
        more = True
        while more:
            answer = await self._ask("GET", "", query={"after": found[-1] if found else ""})
            if answer.status != httpx.codes.OK:
                raise self._refusal(answer)
            page = self._http.json(answer, _Names)
            together = found[-1:] + page.names
            in_order = all(one < other for one, other in itertools.pairwise(together))
            if not in_order or not all(map(is_name, page.names)) or (page.more and not page.names):
                raise refused("The endpoint's list is not one of names in ascending order.")
            found += page.names
            if len(found) > MAX_NAMES:
                raise refused(f"The endpoint lists more than {MAX_NAMES} names.")
            more = page.more
        return found

    async def _ask(
        self,
        method: str,
        name: str,
        *,
        query: dict[str, str] | None = None,
        content: bytes | None = None,
        limit: int = MAX_JSON,
    ) -> Answer:
        headers = {"authorization": f"Bearer {self._token.reveal()}"}  # RFC 6750 §2.1
        if content is not None:
            headers["content-type"] = OCTETS
        return await self._http.retrying(
            lambda: self._http.exchange(
                method, self._base + name, query=query, headers=headers, content=content, limit=limit
            ),
            is_busy,
        )

    def _refusal(self, answer: Answer) -> LocationError:
        if answer.status in _UNAUTHORIZED:
            return unauthorized(self._http.place, "Put a valid token into the token file.")
        return refused(f"The endpoint refuses: HTTP {answer.status}.")
