"""CloudKit Web Services, as far as Apple's reference goes, for requests of exactly that form; content lies at this server, too."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from tests.support.local_server import LocalServer, Received, Reply

CONTAINER = "iCloud.com.example.wallet"
API_TOKEN = "SECRET0api1token"
BASE = f"/database/1/{CONTAINER}/production/private/"
RECORD_TYPE = "CosignerBackup"
OPERATIONS = ("records/modify", "records/lookup", "records/query", "assets/upload")


@dataclass
class Record:
    name: str
    asset: dict[str, Any]
    kind: str = RECORD_TYPE


def error(status: int, code: str, **more: Any) -> Reply:
    """ "Error Codes", in the form of "Record Fetch Error Dictionary"."""
    return Reply.of(
        {"uuid": "0-1", "serverErrorCode": code, "reason": "SECRET words of the server", **more}, status
    )


class CloudKitServer(LocalServer):
    """One user's private database.

    :ivar token: the one web authentication token that is good, for one request.
    :ivar page: records in an answer to a query.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, Record] = {}
        self.contents: dict[str, bytes] = {}
        self.page = 3
        self.rotations = 0
        self.token = self._another()
        self._uploads: dict[str, str] = {}

    def _another(self) -> str:
        self.rotations += 1
        return (
            f"54__SECRET{self.rotations}+/{base64.b64encode(bytes([self.rotations % 256]) * 31).decode()}=="
        )

    def expire(self) -> None:
        """The session is over."""
        self.token = self._another()

    def handle(self, request: Received) -> Reply:
        if request.path.startswith("/upload/"):
            return self._receive(request)
        if request.path.startswith("/content/"):
            return self._send(request)
        assert request.method == "POST"
        operation = request.path.removeprefix(BASE)
        assert operation in OPERATIONS, request.path
        # "To URL encode the ckWebAuthToken string, replace '+' with '%2B', '/' with '%2F', and '=' with '%3D'."
        assert not set("+/") & set(request.raw_query), request.raw_query
        assert request.raw_query.count("=") == 2
        assert request.query.keys() == {"ckAPIToken", "ckWebAuthToken"}
        assert request.query["ckAPIToken"] == API_TOKEN
        if request.query["ckWebAuthToken"] != self.token:
            sign_in = "https://idmsa.apple.com/IDMSWebAuth/auth?oauth_token=SECRET"
            return error(421, "AUTHENTICATION_REQUIRED", redirectURL=sign_in)
        body = request.json()
        reply: Reply = getattr(self, "_" + operation.replace("/", "_"))(body)
        self.token = self._another()
        reply.headers["X-Apple-CloudKit-Web-Auth-Token"] = self.token
        return reply

    def _assets_upload(self, body: Any) -> Reply:
        (wanted,) = body["tokens"]
        name = wanted["recordName"]
        assert body == {"tokens": [{"recordName": name, "recordType": RECORD_TYPE, "fieldName": "content"}]}
        self._uploads[f"u{len(self._uploads)}"] = name
        path = f"/upload/u{len(self._uploads) - 1}"
        return Reply.of({"tokens": [{"recordName": name, "fieldName": "content", "url": self.url + path}]})

    def _receive(self, request: Received) -> Reply:
        assert request.method == "POST"
        assert request.headers["content-type"] == "application/octet-stream"
        assert request.raw_query == ""  # nobody's token
        assert request.path.removeprefix("/upload/") in self._uploads
        checksum = base64.urlsafe_b64encode(b"\x01" + hashlib.sha1(request.body).digest()).decode()
        self.contents[checksum] = request.body
        asset = {
            "wrappingKey": "d3JhcHBpbmc=",
            "fileChecksum": checksum,
            "receipt": f"receipt-{checksum}",
            "referenceChecksum": "cmVmZXJlbmNl",
            "size": len(request.body),
        }
        return Reply.of({"singleFile": asset})

    def _records_modify(self, body: Any) -> Reply:
        (operation,) = body.pop("operations")
        assert body == {}
        record = operation["record"]
        name = record["recordName"]
        if operation == {"operationType": "forceDelete", "record": {"recordName": name}}:
            if name not in self.records:
                return Reply.of(
                    {"records": [{"recordName": name, "serverErrorCode": "NOT_FOUND", "reason": "none"}]}
                )
            del self.records[name]
            return Reply.of({"records": [{"recordName": name, "deleted": True}]})
        asset = record["fields"]["content"]["value"]
        assert operation == {
            "operationType": "forceUpdate",
            "record": {
                "recordName": name,
                "recordType": RECORD_TYPE,
                "fields": {"content": {"value": asset}},
            },
        }
        # "Asset Dictionary": for the private database all of these are required.
        assert asset.keys() == {"wrappingKey", "fileChecksum", "receipt", "referenceChecksum", "size"}
        assert asset["receipt"] == f"receipt-{asset['fileChecksum']}"
        assert asset["size"] == len(self.contents[asset["fileChecksum"]])
        self.records[name] = Record(name, asset)
        return Reply.of({"records": [self.dictionary(self.records[name])]})

    def _records_lookup(self, body: Any) -> Reply:
        (wanted,) = body["records"]
        name = wanted["recordName"]
        assert body == {"records": [{"recordName": name}], "desiredKeys": ["content"]}
        record = self.records.get(name)
        if record is None:
            return Reply.of(
                {"records": [{"recordName": name, "serverErrorCode": "NOT_FOUND", "reason": "none"}]}
            )
        return Reply.of({"records": [self.dictionary(record)]})

    def _records_query(self, body: Any) -> Reply:
        start = int(body.pop("continuationMarker", "marker-0").removeprefix("marker-"))
        assert body == {"query": {"recordType": RECORD_TYPE}, "resultsLimit": 200, "desiredKeys": []}
        found = [record for _, record in sorted(self.records.items()) if record.kind == RECORD_TYPE]
        answer: dict[str, Any] = {
            "records": [
                {**self.dictionary(record), "fields": {}} for record in found[start : start + self.page]
            ]
        }
        if start + self.page < len(found):
            answer["continuationMarker"] = f"marker-{start + self.page}"
        return Reply.of(answer)

    def dictionary(self, record: Record) -> dict[str, Any]:
        """ "Record Dictionary", "Asset Dictionary"."""
        checksum = record.asset["fileChecksum"]
        asset = {
            "fileChecksum": checksum,
            "size": record.asset["size"],
            "downloadURL": f"{self.url}/content/{checksum}/${{f}}?key=value",
        }
        return {
            "recordName": record.name,
            "recordType": record.kind,
            "recordChangeTag": "k1",
            "created": {"timestamp": 1, "userRecordName": "_1", "deviceID": "2"},
            "deleted": False,
            "fields": {"content": {"value": asset, "type": "ASSETID"}},
        }

    def _send(self, request: Received) -> Reply:
        assert request.method == "GET"
        assert request.query == {"key": "value"}
        assert "authorization" not in request.headers
        checksum, name = request.path.removeprefix("/content/").split("/")
        assert name in self.records
        return Reply(200, self.contents[checksum], {"content-type": "application/octet-stream"})
