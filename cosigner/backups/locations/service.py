"""The service's own storage: ``/v1/backups/{locator}`` of the host (``docs/spec/backups.md``).

A name here is a locator: the enclave derives it and gives it to the authenticated user alone. Whoever knows it may use the slot.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Annotated, ClassVar, Final

import httpx
import msgspec
from msgspec import Meta

from protocol.envelope.backups import is_environment, is_locator
from protocol.envelope.errors import Culprit

from .http import MAX_JSON, OCTETS, Answer, Http, Sleep, is_busy
from .interface import MAX_BACKUP, LocationError, check_blob, missing, refused, too_large, unavailable

_PROBLEM: Final = "application/problem+json"


class _Problem(msgspec.Struct):
    code: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]


class ServiceLocation:
    """The host's storage.

    :param api_url: the host's, as for every other request; http is allowed as it is there, where a proxy or a mock stack has it.
    """

    kind: ClassVar[str] = "service"

    def __init__(
        self,
        api_url: str,
        environment: str,
        *,
        tls: ssl.SSLContext | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        try:
            parsed = httpx.URL(api_url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in {"http", "https"} or not parsed.host or not is_environment(environment):
            raise refused(
                "The service's storage needs the URL of a host and the name of an environment.",
                culprit=Culprit.CLIENT,
            )
        self._base = f"{api_url.rstrip('/')}/v1/backups/"
        self._environment = environment
        self._http = Http("The service's storage", tls=tls, sleep=sleep)

    async def put(self, name: str, blob: bytes) -> None:
        answer = await self._ask("PUT", name, check_blob(blob))
        if answer.status == httpx.codes.NOT_FOUND:
            raise refused("The service has no slot open for this backup: begin the backup anew.")
        self._expect(answer, httpx.codes.NO_CONTENT)

    async def get(self, name: str) -> bytes:
        answer = await self._ask("GET", name)
        if answer.status == httpx.codes.NOT_FOUND:
            raise missing(self._http.place)
        self._expect(answer, httpx.codes.OK)
        return self._http.backup(answer)

    async def delete(self, name: str) -> None:
        answer = await self._ask("DELETE", name)
        if answer.status != httpx.codes.NOT_FOUND:
            self._expect(answer, httpx.codes.NO_CONTENT)

    async def names(self) -> list[str]:
        """Not to be had: the host knows hashes of locators only. The enclave names a wallet's backups.

        :raises LocationError: ``location_refused``, always.
        """
        raise refused(
            "The service lists no backups over HTTP; the wallet's own list names them.",
            culprit=Culprit.CLIENT,
        )

    async def _ask(self, method: str, name: str, content: bytes | None = None) -> Answer:
        if not is_locator(name):
            raise refused("A backup's name at the service is its locator.", culprit=Culprit.CLIENT)
        return await self._http.retrying(
            lambda: self._http.exchange(
                method,
                self._base + name,
                query={"environment": self._environment},
                headers={} if content is None else {"content-type": OCTETS},
                content=content,
                limit=MAX_BACKUP if content is None else MAX_JSON,
            ),
            is_busy,
        )

    def _expect(self, answer: Answer, status: int) -> None:
        """Go on if the host did as it was asked.

        :raises LocationError: it did not.
        """
        if answer.status == status:
            return
        if answer.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            raise too_large(Culprit.CLIENT)
        raise self._refusal(answer)

    def _refusal(self, answer: Answer) -> LocationError:
        code = ""
        if answer.media_type == _PROBLEM:
            try:
                code = msgspec.json.decode(answer.body, type=_Problem).code
            except (msgspec.MsgspecError, UnicodeDecodeError):
                code = ""
        if code == "backup_conflict":
            return unavailable(self._http.place, "another request changed this backup at the same moment")
        return refused(
            f"The service's storage refuses: {code or f'HTTP {answer.status}'}.", culprit=Culprit.HOST
        )
