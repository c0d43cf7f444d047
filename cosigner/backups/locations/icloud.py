"""iCloud by CloudKit Web Services: one record for each backup, its content an asset, in the user's private database.

Sources, all of Apple's "CloudKit Web Services Reference": "Composing Web Service Requests" (URLs, tokens and their duration), "Modifying
Records", "Fetching Records by Record Name", "Fetching Records Using a Query", "Uploading Assets", "Types and Dictionaries", "Error Codes".

The container needs the record type ``CosignerBackup`` with the field ``content`` of type Asset, and for listing a queryable index on
``recordName``. A web authentication token is good for one request; the answer brings the next one, in a header that CloudKit JS reads
and the reference does not name. It is stored before anything else happens with the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from typing import Annotated, Any, ClassVar, Final, Protocol

import httpx
import msgspec
from msgspec import Meta

from protocol.envelope.errors import Culprit

from .http import JSON, MAX_JSON, OCTETS, Answer, Http, Sleep, check_base, is_busy, is_loopback
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
    unavailable,
)
from .secrets import Token

API: Final = "https://api.apple-cloudkit.com"
RECORD_TYPE: Final = "CosignerBackup"
FIELD: Final = "content"
ASSET_HOST: Final = ".icloud-content.com"
_NEXT_TOKEN: Final = "x-apple-cloudkit-web-auth-token"  # noqa: S105  (a header's name)
_CONTAINER: Final = re.compile(r"iCloud\.[A-Za-z0-9.-]{1,248}\Z")
_FILE_NAME: Final = "${f}"  # in a download URL, for the name that a browser would save it under
_PAGE: Final = 200  # "Data Size Limits": records in a response
_LOGIN: Final = "Sign in to iCloud again, and put the new web authentication token into its file."

# "Error Codes".
_LOGIN_CODES: Final = frozenset({"AUTHENTICATION_FAILED", "AUTHENTICATION_REQUIRED"})  # 401, 421
_BUSY_CODES: Final = frozenset({"THROTTLED", "TRY_AGAIN_LATER", "INTERNAL_ERROR", "CONFLICT"})
_MISSING_CODE: Final = "NOT_FOUND"
_KNOWN_CODE: Final = re.compile(r"[A-Z_]{1,64}\Z")


class WebToken(Protocol):
    """Where the user's web authentication token is kept (:class:`cosigner.backups.locations.SecretFile`)."""

    def token(self) -> Token: ...

    def replace(self, token: Token) -> None: ...


class _Error(msgspec.Struct, rename="camel"):
    """:ivar retry_after: seconds, where waiting helps."""

    server_error_code: str
    retry_after: Annotated[int, Meta(ge=0)] = 0


class _UploadToken(msgspec.Struct, rename="camel"):
    record_name: str
    field_name: str
    url: Annotated[str, Meta(max_length=8192)]


class _UploadTokens(msgspec.Struct):
    tokens: Annotated[list[_UploadToken], Meta(min_length=1, max_length=1)]


class _Uploaded(msgspec.Struct, rename="camel"):
    """The asset dictionary goes into the record as it came: its checksums and keys are CloudKit's business."""

    single_file: dict[str, str | int]


class _Asset(msgspec.Struct):
    size: int
    download_url: Annotated[str, Meta(max_length=8192)] = msgspec.field(name="downloadURL")


class _AssetField(msgspec.Struct):
    value: _Asset


class _Fields(msgspec.Struct):
    content: _AssetField | None = None


class _Record(msgspec.Struct, rename="camel"):
    """A record dictionary, or a record fetch error dictionary."""

    record_name: str = ""
    record_type: str = ""
    fields: _Fields | None = None
    server_error_code: str = ""


class _Records(msgspec.Struct, rename="camel"):
    records: Annotated[list[_Record], Meta(max_length=1000)]
    continuation_marker: Annotated[str, Meta(max_length=65536)] = ""


class ICloudLocation:
    """The private database of the user whose web authentication token ``web_token`` keeps.

    :param container: its identifier, ``iCloud.`` and more. :param environment: ``production`` or ``development``.
    :param api: another server than Apple's, for tests; then assets may lie on this machine.
    """

    kind: ClassVar[str] = "icloud"

    def __init__(
        self,
        container: str,
        *,
        api_token: Token,
        web_token: WebToken,
        environment: str = "production",
        api: str = API,
        tls: ssl.SSLContext | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if not _CONTAINER.match(container) or environment not in {"production", "development"}:
            raise refused(
                "A CloudKit container is named iCloud.…, its environment production or development.",
                culprit=Culprit.CLIENT,
            )
        self._database = f"{check_base(api)}/database/1/{container}/{environment}/private"
        self._local = is_loopback(httpx.URL(api).host)
        self._api_token = api_token
        self._web_token = web_token
        self._http = Http("iCloud", tls=tls, sleep=sleep)
        self._one_by_one = asyncio.Lock()  # a token is good for one request

    async def put(self, name: str, blob: bytes) -> None:
        asset = await self._upload(check_name(name), check_blob(blob))
        # forceUpdate creates the record if there is none ("Operation Type Values").
        record = {"recordName": name, "recordType": RECORD_TYPE, "fields": {FIELD: {"value": asset}}}
        await self._modify("forceUpdate", record)

    async def get(self, name: str) -> bytes:
        answer = await self._ask(
            "records/lookup", {"records": [{"recordName": check_name(name)}], "desiredKeys": [FIELD]}
        )
        record = self._one(answer, name)
        if record.server_error_code == _MISSING_CODE:
            raise missing(self._http.place)
        if record.server_error_code:
            raise self._refusal(record.server_error_code)
        content = None if record.fields is None else record.fields.content
        if record.record_type != RECORD_TYPE or content is None:
            raise refused("The record of that name in iCloud is no backup.")
        return await self._download(name, content.value)

    async def delete(self, name: str) -> None:
        await self._modify("forceDelete", {"recordName": check_name(name)})

    async def names(self) -> list[str]:
        found: list[str] = []
        body: dict[str, Any] = {
            "query": {"recordType": RECORD_TYPE},
            "resultsLimit": _PAGE,
            "desiredKeys": [],
        }
        for _ in range(2 * MAX_NAMES // _PAGE):
            page = self._http.json(await self._ask("records/query", body), _Records)
            if any(record.record_type != RECORD_TYPE for record in page.records):
                raise refused("iCloud lists records that were not asked for.")
            found += [record.record_name for record in page.records if is_name(record.record_name)]
            if not page.continuation_marker:
                return sorted(set(found))
            body["continuationMarker"] = page.continuation_marker
        raise refused("iCloud's list of records does not end.")

    # --- steps ---

    async def _upload(self, name: str, blob: bytes) -> dict[str, str | int]:
        """Ask where to, then send the bytes there; the asset dictionary for the record's field ("Uploading Assets")."""
        wanted = {"recordName": name, "recordType": RECORD_TYPE, "fieldName": FIELD}
        (given,) = self._http.json(
            await self._ask("assets/upload", {"tokens": [wanted]}), _UploadTokens
        ).tokens
        if (given.record_name, given.field_name) != (name, FIELD):
            raise refused("iCloud takes the backup for another record.")
        url = self._asset_url(given.url)
        answer = await self._http.retrying(
            lambda: self._http.exchange("POST", url, headers={"content-type": OCTETS}, content=blob), is_busy
        )
        if answer.status != httpx.codes.OK:
            raise refused(f"iCloud does not take the backup: HTTP {answer.status}.")
        asset = self._http.json(answer, _Uploaded).single_file
        if asset.get("size") != len(blob):
            raise refused("iCloud kept something else than it was given.")
        return asset

    async def _download(self, name: str, asset: _Asset) -> bytes:
        url = self._asset_url(asset.download_url.replace(_FILE_NAME, name))
        answer = await self._http.retrying(
            lambda: self._http.exchange("GET", url, headers={"accept": OCTETS}, limit=MAX_BACKUP), is_busy
        )
        if answer.status != httpx.codes.OK:
            raise unavailable(self._http.place, f"the download ends with HTTP {answer.status}")
        blob = self._http.backup(answer)
        if len(blob) != asset.size:
            raise refused("iCloud gives a backup of another size than its record says.")
        return blob

    async def _modify(self, operation: str, record: dict[str, Any]) -> None:
        body = {"operations": [{"operationType": operation, "record": record}]}
        result = self._one(await self._ask("records/modify", body), record["recordName"])
        if result.server_error_code and not (
            operation == "forceDelete" and result.server_error_code == _MISSING_CODE
        ):
            raise self._refusal(result.server_error_code)

    def _one(self, answer: Answer, name: str) -> _Record:
        """The one record of an answer, or its error.

        :raises LocationError: ``location_refused``: it is another record.
        """
        records = self._http.json(answer, _Records).records
        if len(records) != 1 or records[0].record_name != name:
            raise refused("iCloud answers about another record than it was asked for.")
        return records[0]

    def _asset_url(self, url: str) -> str:
        """The URL, if the bytes of a backup may go there and come from there: to iCloud's content hosts, over TLS, nowhere else."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        apples = parsed.scheme == "https" and parsed.host.endswith(ASSET_HOST) and parsed.port in {None, 443}
        if not (apples or (self._local and is_loopback(parsed.host))) or parsed.userinfo:
            raise refused("iCloud names another host than its own for the content of a backup.")
        return url

    # --- requests ---

    async def _ask(self, operation: str, body: dict[str, Any]) -> Answer:
        """POST of JSON; the answer of an operation that did not fail as a whole.

        :raises LocationError: it did.
        """
        content = json.dumps(body).encode()
        async with self._one_by_one:
            answer = await self._http.retrying(lambda: self._once(operation, content), self._again)
        if answer.status == httpx.codes.OK:
            return answer
        raise self._refusal(self._error(answer).server_error_code, answer.status)

    async def _once(self, operation: str, content: bytes) -> Answer:
        answer = await self._http.exchange(
            "POST",
            f"{self._database}/{operation}",
            # "Accessing CloudKit Using an API Token"; the values are percent-encoded, + and / and = included.
            query={
                "ckAPIToken": self._api_token.reveal(),
                "ckWebAuthToken": self._web_token.token().reveal(),
            },
            headers={"content-type": JSON, "accept": JSON},
            content=content,
            limit=MAX_JSON,
        )
        following = answer.headers.get(_NEXT_TOKEN, "")
        if following:
            try:
                token = Token(following)
            except ValueError:
                raise refused("iCloud gives something that is no token.") from None
            self._web_token.replace(token)
        return answer

    def _again(self, answer: Answer) -> bool:
        error = self._error(answer)
        if error.retry_after:
            answer.headers.setdefault("retry-after", str(error.retry_after))
        return is_busy(answer) or error.server_error_code in _BUSY_CODES

    def _error(self, answer: Answer) -> _Error:
        """The error dictionary of an answer; one without a code where it is none."""
        if answer.status != httpx.codes.OK:
            with contextlib.suppress(LocationError):
                return self._http.json(answer, _Error)
        return _Error("")

    def _refusal(self, code: str, status: int = 0) -> LocationError:
        if code in _LOGIN_CODES or status in {401, 421}:
            return unauthorized(self._http.place, _LOGIN)
        if code in _BUSY_CODES:
            return unavailable(self._http.place, code)
        known = code if _KNOWN_CODE.match(code) else f"HTTP {status}"
        return refused(f"iCloud refuses: {known}.")
