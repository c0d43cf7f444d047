"""Google Drive's API version 3 and its token endpoint, as far as their documentation goes, for requests of exactly that form."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from tests.support.local_server import LocalServer, Received, Reply

CREDENTIALS = {
    "client_id": "client-7.apps.googleusercontent.com",
    "client_secret": "SECRET-of-the-client",
    "refresh_token": "1//SECRET+refresh/token",
}
FIELDS = "id,name,modifiedTime,size,sha256Checksum"
BY_NAME = re.compile(r"name = '([a-z0-9.-]+)' and 'appDataFolder' in parents and trashed = false")
ALL = "'appDataFolder' in parents and trashed = false"
FILE_PATH = re.compile(r"(/upload)?/drive/v3/files/([A-Za-z0-9_-]+)")


@dataclass
class DriveFile:
    id: str
    name: str
    content: bytes
    modified: int

    def resource(self) -> dict[str, Any]:
        minutes, seconds = divmod(self.modified, 60)
        return {
            "id": self.id,
            "name": self.name,
            "modifiedTime": f"2026-01-01T00:{minutes:02}:{seconds:02}.{self.modified % 1000:03}Z",
            "size": str(len(self.content)),
            "sha256Checksum": hashlib.sha256(self.content).hexdigest(),
        }


def error(status: int, reason: str, domain: str = "global") -> Reply:
    """ "Resolve errors": the two levels of an error."""
    entry = {"domain": domain, "reason": reason, "message": "SECRET words of the server"}
    return Reply.of({"error": {"code": status, "message": "words", "errors": [entry]}}, status)


class DriveServer(LocalServer):
    """One user's Drive.

    :ivar page: files in a page at most; a page may be empty though others follow, as the reference says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, DriveFile] = {}
        self.page = 3
        self.access_tokens: set[str] = set()
        self.refresh_token_good = True
        self._issued = 0
        self._clock = 0

    def expire(self) -> None:
        """No access token is good any longer."""
        self.access_tokens.clear()

    def add(self, name: str, content: bytes, *, modified: int | None = None) -> DriveFile:
        """A file that another program, or another device, wrote."""
        self._clock += 1
        made = DriveFile(
            f"id-{self._clock:03}_x", name, content, self._clock if modified is None else modified
        )
        self.files[made.id] = made
        return made

    def handle(self, request: Received) -> Reply:
        if request.path == "/token":
            return self._token(request)
        scheme, _, token = request.headers["authorization"].partition(" ")
        assert scheme == "Bearer"
        if token not in self.access_tokens:
            return error(401, "authError")
        assert "cookie" not in request.headers
        match request.method, request.path:
            case "GET", "/drive/v3/files":
                return self._list(request)
            case "POST", "/upload/drive/v3/files":
                return self._create(request)
        upload, file_id = FILE_PATH.fullmatch(request.path).groups()  # type: ignore[union-attr]
        file = self.files.get(file_id)
        if file is None:
            return error(404, "notFound")
        match request.method, upload:
            case "GET", None:
                assert request.query == {"alt": "media"}
                return Reply(200, file.content, {"content-type": "application/octet-stream"})
            case "DELETE", None:
                assert (request.raw_query, request.body) == ("", b"")
                del self.files[file_id]
                return Reply(204)
            case "PATCH", "/upload":
                assert request.query == {"uploadType": "media", "fields": FIELDS}
                assert request.headers["content-type"] == "application/octet-stream"
                self._clock += 1
                file.content, file.modified = request.body, self._clock
                return Reply.of(file.resource())
        raise AssertionError("no such method")

    def _token(self, request: Received) -> Reply:
        """RFC 6749 §6, §5.1, §5.2."""
        assert request.method == "POST"
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert request.raw_query == ""
        assert "authorization" not in request.headers
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        assert form == {"grant_type": "refresh_token", **CREDENTIALS}
        if not self.refresh_token_good:
            return Reply.of({"error": "invalid_grant", "error_description": "SECRET words"}, 400)
        self._issued += 1
        token = f"ya29.SECRET-access-{self._issued}"
        self.access_tokens.add(token)
        scope = "https://www.googleapis.com/auth/drive.appdata"
        return Reply.of({"access_token": token, "expires_in": 3599, "token_type": "Bearer", "scope": scope})

    def _list(self, request: Received) -> Reply:
        query = request.query
        start = int(query.pop("pageToken", "page-0").removeprefix("page-"))
        search = query.pop("q")
        assert query == {
            "spaces": "appDataFolder",
            "fields": f"nextPageToken,files({FIELDS})",
            "pageSize": "100",
        }
        name = BY_NAME.fullmatch(search)
        assert name or search == ALL, search
        found = [file for file in self.files.values() if not name or file.name == name[1]]
        some = (
            [] if start == 1 else found[max(start - 1, 0) * self.page :][: self.page]
        )  # the second page is empty
        body: dict[str, Any] = {"files": [file.resource() for file in some]}
        if self.page < len(found) and start * self.page < len(found):
            body["nextPageToken"] = f"page-{start + 1}"
        return Reply.of(body)

    def _create(self, request: Received) -> Reply:
        """ "Perform a multipart upload": two parts, metadata first; RFC 2046 §5.1.1 for their borders."""
        assert request.query == {"uploadType": "multipart", "fields": FIELDS}
        kind = re.fullmatch(
            r"multipart/related; boundary=([A-Za-z0-9'()+_,./:=?-]{1,70})", request.headers["content-type"]
        )
        assert kind, request.headers["content-type"]
        border = b"--" + kind[1].encode()
        assert request.body.count(border) == 3
        before, first, second, after = request.body.split(border)
        assert (before, after) == (b"", b"--\r\n")
        top, _, metadata = first.partition(b"\r\n\r\n")
        assert top == b"\r\nContent-Type: application/json; charset=UTF-8"
        assert metadata.endswith(b"\r\n")
        given = json.loads(metadata)
        assert given == {
            "name": given["name"],
            "parents": ["appDataFolder"],
            "mimeType": "application/octet-stream",
        }
        top, _, content = second.partition(b"\r\n\r\n")
        assert top == b"\r\nContent-Type: application/octet-stream"
        assert content.endswith(b"\r\n")
        return Reply.of(self.add(given["name"], content[:-2]).resource())
