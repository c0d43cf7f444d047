"""A developer's endpoint (``docs/spec/backups.md``), for requests of exactly that form."""

from __future__ import annotations

import re

from tests.support.local_server import LocalServer, Received, Reply

TOKEN = "SECRET.endpoint-token_~+/="
PATH = "/of/wallets"


class EndpointServer(LocalServer):
    """:ivar page: names in an answer to a list."""

    def __init__(self) -> None:
        super().__init__()
        self.backups: dict[str, bytes] = {}
        self.token = TOKEN
        self.page = 3

    def handle(self, request: Received) -> Reply:
        if request.headers["authorization"] != f"Bearer {self.token}":
            return Reply(401, headers={"www-authenticate": "Bearer"})
        if request.path == PATH + "/":
            return self._list(request)
        name = request.path.removeprefix(PATH + "/")
        assert re.fullmatch("[a-z0-9-]{1,128}", name), request.path
        assert request.raw_query == ""
        match request.method:
            case "PUT":
                assert request.headers["content-type"] == "application/octet-stream"
                assert 1 <= len(request.body) <= 65536
                status = 200 if name in self.backups else 201
                self.backups[name] = request.body
                return Reply(status)
            case "GET" if name in self.backups:
                return Reply(200, self.backups[name], {"content-type": "application/octet-stream"})
            case "DELETE" if self.backups.pop(name, None) is not None:
                return Reply(204)
            case "GET" | "DELETE":
                return Reply(404)
        raise AssertionError("no such method")

    def _list(self, request: Received) -> Reply:
        assert request.method == "GET"
        assert request.query.keys() == {"after"}
        names = sorted(name for name in self.backups if name > request.query["after"])
        return Reply.of({"names": names[: self.page], "more": len(names) > self.page})
