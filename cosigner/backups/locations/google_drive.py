"""Google Drive, API version 3: the application data folder, which other apps do not see (scope ``drive.appdata``).

Sources, all of developers.google.com/drive: "Store application-specific data", "Upload file data", "Search for files and folders",
"Resolve errors", and the reference of ``files.create``, ``files.update``, ``files.list``, ``files.get``, ``files.delete``.

Names are not unique in Drive: two devices that create a name at once leave two files. The newest one counts, of equally new ones the one
with the greatest id; the next write removes the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import ssl
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Final

import httpx
import msgspec
from msgspec import Meta

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
    unauthorized,
)
from .oauth import TokenProvider
from .secrets import Token

API: Final = "https://www.googleapis.com"
SUFFIX: Final = ".backup"
_FOLDER: Final = "appDataFolder"
_FIELDS: Final = "id,name,modifiedTime,size,sha256Checksum"
_PAGE: Final = 100
_LOGIN: Final = "Log in to Google again."

# "Resolve errors": these reasons of a 403 ask for exponential back-off, as 429 and 5xx do.
_RATE_LIMITS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_LOGIN_REASONS: Final = frozenset({"authError", "insufficientPermissions", "appNotAuthorizedToFile"})
_KNOWN_REASON: Final = re.compile(r"[A-Za-z]{1,64}\Z")


class _File(msgspec.Struct, rename="camel"):
    """What is asked for of a file. ``size`` is an int64, and so a string in JSON."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}\Z")]  # it becomes a part of a path
    name: str
    modified_time: Annotated[datetime, Meta(tz=True)]
    size: str = ""
    sha256_checksum: str = ""


class _Page(msgspec.Struct, rename="camel"):
    files: Annotated[list[_File], Meta(max_length=1000)]
    next_page_token: str = ""


class _Reason(msgspec.Struct):
    reason: str = ""


class _ErrorBody(msgspec.Struct):
    errors: list[_Reason] = []


class _Error(msgspec.Struct):
    error: _ErrorBody


class GoogleDriveLocation:
    """The application data folder of the user whose access tokens ``access`` gives.

    :param api: another server than Google's, for tests.
    """

    kind: ClassVar[str] = "google_drive"

    def __init__(
        self,
        access: TokenProvider,
        *,
        api: str = API,
        tls: ssl.SSLContext | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._access = access
        self._files = f"{check_base(api)}/drive/v3/files"
        self._uploads = f"{check_base(api)}/upload/drive/v3/files"
        self._http = Http("Google Drive", tls=tls, sleep=sleep)

    async def put(self, name: str, blob: bytes) -> None:
        file_name = check_name(name) + SUFFIX
        check_blob(blob)
        files = await self._find(file_name)
        kept = await self._update(files[0].id, blob) if files else None
        if kept is None:
            kept = await self._create(file_name, blob)
        checksum = kept.sha256_checksum
        if (
            kept.name != file_name
            or kept.size != str(len(blob))
            or checksum not in {"", hashlib.sha256(blob).hexdigest()}
        ):
            raise refused("Google Drive kept something else than it was given.")
        for other in files[1:]:
            await self._remove(other.id)

    async def get(self, name: str) -> bytes:
        found = await self._find(check_name(name) + SUFFIX)
        if not found:
            raise missing(self._http.place)
        answer = await self._ask(
            "GET", f"{self._files}/{found[0].id}", query={"alt": "media"}, limit=MAX_BACKUP
        )
        if answer.status == httpx.codes.NOT_FOUND:
            raise missing(self._http.place)
        self._expect(answer, httpx.codes.OK)
        return self._http.backup(answer)

    async def delete(self, name: str) -> None:
        for file in await self._find(check_name(name) + SUFFIX):
            await self._remove(file.id)

    async def names(self) -> list[str]:
        files = await self._list(f"'{_FOLDER}' in parents and trashed = false")
        found = {file.name.removesuffix(SUFFIX) for file in files if file.name.endswith(SUFFIX)}
        return sorted(name for name in found if is_name(name))

    # --- methods of the API ---

    async def _find(self, file_name: str) -> list[_File]:
        """The files of that name, the one that counts first. The name needs no escaping: check_name let no quote through."""
        files = await self._list(f"name = '{file_name}' and '{_FOLDER}' in parents and trashed = false")
        same = [file for file in files if file.name == file_name]
        return sorted(same, key=lambda file: (file.modified_time, file.id), reverse=True)

    async def _list(self, search: str) -> list[_File]:
        """``files.list``. A page may be short, or empty, before the last one."""
        found: list[_File] = []
        query = {
            "spaces": _FOLDER,
            "q": search,
            "fields": f"nextPageToken,files({_FIELDS})",
            "pageSize": str(_PAGE),
        }
        for _ in range(2 * MAX_NAMES // _PAGE):
            answer = await self._ask("GET", self._files, query=query)
            self._expect(answer, httpx.codes.OK)
            page = self._http.json(answer, _Page)
            found += page.files
            if not page.next_page_token:
                return found
            query["pageToken"] = page.next_page_token
        raise refused("Google Drive's list of files does not end.")

    async def _create(self, file_name: str, blob: bytes) -> _File:
        """``files.create`` by multipart upload (RFC 2387): metadata first, then the content."""
        boundary = secrets.token_hex(16)
        while boundary.encode() in blob:  # RFC 2046 §5.1.1; never in this universe
            boundary = secrets.token_hex(16)
        metadata = json.dumps({"name": file_name, "parents": [_FOLDER], "mimeType": OCTETS})
        content = (
            (
                f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n"
                f"--{boundary}\r\nContent-Type: {OCTETS}\r\n\r\n"
            ).encode()
            + blob
            + f"\r\n--{boundary}--\r\n".encode()
        )
        answer = await self._ask(
            "POST",
            self._uploads,
            query={"uploadType": "multipart", "fields": _FIELDS},
            headers={"content-type": f"multipart/related; boundary={boundary}"},
            content=content,
        )
        self._expect(answer, httpx.codes.OK)
        return self._http.json(answer, _File)

    async def _update(self, file_id: str, blob: bytes) -> _File | None:
        """``files.update`` by simple upload; ``None`` if somebody deleted the file just now."""
        answer = await self._ask(
            "PATCH",
            f"{self._uploads}/{file_id}",
            query={"uploadType": "media", "fields": _FIELDS},
            headers={"content-type": OCTETS},
            content=blob,
        )
        if answer.status == httpx.codes.NOT_FOUND:
            return None
        self._expect(answer, httpx.codes.OK)
        return self._http.json(answer, _File)

    async def _remove(self, file_id: str) -> None:
        """``files.delete``, for good: what lies in the application data folder has no trash."""
        answer = await self._ask("DELETE", f"{self._files}/{file_id}")
        if answer.status != httpx.codes.NOT_FOUND:
            self._expect(answer, httpx.codes.NO_CONTENT)

    # --- requests ---

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limit: int = MAX_JSON,
    ) -> Answer:
        """One request, with back-off where Drive asks for it; a token that is not accepted is renewed once."""

        async def attempt(token: Token) -> Answer:
            bearer = {"authorization": f"Bearer {token.reveal()}", **(headers or {})}
            return await self._http.retrying(
                lambda: self._http.exchange(
                    method, url, query=query, headers=bearer, content=content, limit=limit
                ),
                lambda answer: is_busy(answer) or bool(_RATE_LIMITS & self._reasons(answer)),
            )

        token = await self._access.token()
        answer = await attempt(token)
        if answer.status == httpx.codes.UNAUTHORIZED:
            answer = await attempt(await self._access.renewed(token))
        return answer

    def _expect(self, answer: Answer, status: int) -> None:
        """Go on if Drive did as it was asked.

        :raises LocationError: it did not.
        """
        if answer.status != status:
            raise self._refusal(answer)

    def _refusal(self, answer: Answer) -> LocationError:
        reasons = self._reasons(answer)
        if answer.status == httpx.codes.UNAUTHORIZED or reasons & _LOGIN_REASONS:
            return unauthorized(self._http.place, _LOGIN)
        known = sorted(reason for reason in reasons if _KNOWN_REASON.match(reason))
        return refused(f"Google Drive refuses: HTTP {answer.status} {', '.join(known)}".rstrip() + ".")

    def _reasons(self, answer: Answer) -> set[str]:
        """The reasons of a 4xx ("Resolve errors"); none where the answer is something else."""
        if not httpx.codes.is_client_error(answer.status):
            return set()
        try:
            return {error.reason for error in self._http.json(answer, _Error).error.errors}
        except LocationError:
            return set()
