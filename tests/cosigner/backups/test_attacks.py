"""What a location, or somebody on the way to it, may try: every attack ends in an error, tells nobody a token, and is over soon."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosigner.backups.locations import LocationError, Token
from cosigner.backups.locations import http as module
from cosigner.backups.locations.endpoint import EndpointLocation
from cosigner.backups.locations.http import Http
from protocol.envelope.errors import Reaction
from simulator.kms import KmsSimulator
from tests.cosigner.backups.places import Clock, Place, refused, run
from tests.support.local_server import LocalServer, Received, Reply, Silent

OCTETS = {"content-type": "application/octet-stream"}
JSON = {"content-type": "application/json"}


def filled(place: Place) -> Place:
    run(place.location.put("a", b"a backup"))
    return place


def instead_of_backups(server: LocalServer, reply: Reply) -> None:
    """Answer with ``reply`` wherever a backup's bytes would be sent."""
    answer = server.handle

    def handle(request: Received) -> Reply:
        given = answer(request)
        return reply if given.headers.get("content-type") == OCTETS["content-type"] else given

    server.handle = handle  # type: ignore[method-assign]


def everything(place: Place) -> list[Callable[[], Any]]:
    location = place.location
    return [
        lambda: location.put("a", b"x"),
        lambda: location.get("a"),
        lambda: location.delete("a"),
        location.names,
    ]


def test_an_oversized_answer(served: Place) -> None:
    filled(served)
    instead_of_backups(served.server, Reply(200, bytes(65537), OCTETS))
    assert refused(served.location.get("a")).code == "backup_too_large"


def test_an_oversized_answer_that_is_no_backup(served: Place) -> None:
    filled(served)
    for work in everything(served):
        served.server.next(*[Reply(200, b"[" + b" " * (2 << 20), JSON)] * 2)
        assert refused(work()).code in {"location_refused", "backup_too_large"}
        served.server.interventions.clear()


def test_an_endless_answer_is_cut_off_where_no_valid_one_ends() -> None:
    """The server sends for as long as anybody reads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sent = 0

        def serve() -> None:
            nonlocal sent
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\r\n")
                try:
                    while sent < 1 << 30:
                        sent += connection.send(bytes(65536))
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        error = refused(EndpointLocation(url, Token("SECRET")).get("a"))
        thread.join()
    assert error.code == "backup_too_large"
    assert sent < 1 << 26


def test_an_answer_that_drips_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXCHANGE_SECONDS", 0.3)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n")
                try:
                    while not over.wait(0.02):
                        connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        error = refused(Http("There").exchange("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        over.set()
        thread.join()
    assert (error.code, error.reaction) == ("location_unavailable", Reaction.RETRY)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host(served: Place, status: int) -> None:
    """It is not followed: neither a token nor a backup goes where the answer points."""
    filled(served)
    elsewhere = Silent()
    with elsewhere.running():
        for work in everything(served):
            served.server.always(Reply(status, headers={"location": elsewhere.url + "/drive/v3/files"}))
            assert refused(work()).code == "location_refused"
            served.server.interventions.clear()
    assert elsewhere.requests == []


def test_a_redirect_of_the_content_alone(served: Place) -> None:
    filled(served)
    elsewhere = Silent()
    with elsewhere.running():
        instead_of_backups(served.server, Reply(302, headers={"location": elsewhere.url + "/a"}))
        assert refused(served.location.get("a")).code == "location_refused"
    assert elsewhere.requests == []


@pytest.mark.parametrize("kind", ["text/html", "application/json", "multipart/related; boundary=x", ""])
def test_a_wrong_content_type(served: Place, kind: str) -> None:
    filled(served)
    instead_of_backups(served.server, Reply(200, b"a backup", {"content-type": kind} if kind else {}))
    assert refused(served.location.get("a")).code == "location_refused"


def test_a_page_where_json_is_due(served: Place) -> None:
    """A captive portal answers 200 to everything."""
    filled(served)
    portal = Reply(200, b"<html>Welcome to our hotel</html>", {"content-type": "text/html"})
    served.server.always(portal)
    for work in (served.location.get("a"), served.location.names()):
        assert refused(work).code == "location_refused"


def test_good_json_under_another_content_type(served: Place) -> None:
    filled(served)
    answer = served.server.handle

    def handle(request: Received) -> Reply:
        reply: Reply = answer(request)
        if request.path != "/token":
            reply.headers["content-type"] = "text/javascript"
        return reply

    served.server.handle = handle
    assert refused(served.location.names()).code == "location_refused"


def test_an_empty_backup(served: Place) -> None:
    filled(served)
    instead_of_backups(served.server, Reply(200, b"", OCTETS))
    assert refused(served.location.get("a")).code == "location_refused"


def test_a_compressed_answer_is_not_expanded(served: Place) -> None:
    filled(served)
    instead_of_backups(
        served.server, Reply(200, b"\x1f\x8b" + bytes(100), {**OCTETS, "content-encoding": "gzip"})
    )
    assert refused(served.location.get("a")).code == "location_refused"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"files": 5}',
        b'{"names": ["a"]}',
        b'{"records": [{}]}',
        b"[" * 5000,
    ]
    + [b'{"files": [{"id": "../../x", "name": "a.backup", "modifiedTime": "2026-01-01T00:00:00.000Z"}]}']
    + [
        b'{"names": ["b", "a"], "more": false}',
        b'{"names": ["../a"], "more": false}',
        b'{"names": [], "more": true}',
    ]
    + [b'{"records": [{"recordName": "a", "recordType": "Users"}]}', b'{"names": ["a", "a"], "more": false}'],
    ids=lambda body: repr(body[:30]),
)
def test_json_of_another_form(served: Place, body: bytes) -> None:
    filled(served)
    served.server.always(Reply(200, body, JSON))
    assert refused(served.location.names()).code == "location_refused"


def test_lists_without_end(served: Place) -> None:
    endless = {
        "google_drive": lambda: {"files": [], "nextPageToken": "more"},
        "icloud": lambda: {"records": [], "continuationMarker": "more"},
        "endpoint": _growing(),
    }[served.location.kind]
    served.server.handle = lambda request: (
        Reply.of({"access_token": "t", "token_type": "Bearer"})
        if request.path == "/token"
        else Reply.of(endless())
    )
    assert refused(served.location.names()).code == "location_refused"
    assert len(served.server.requests) < 1000


def _growing() -> Callable[[], object]:
    names = iter(range(1 << 30))
    return lambda: {"names": [f"n{next(names):010}" for _ in range(900)], "more": True}


# --- failures --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again_later_and_later(served: Place, status: int) -> None:
    filled(served)
    served.server.next(Reply(status), Reply(status), Reply(status))
    assert run(served.location.get("a")) == b"a backup"
    first, second, third = served.clock.pauses
    assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4


def test_a_server_that_stays_busy_is_left_alone_after_five_attempts(served: Place) -> None:
    filled(served)
    for work in everything(served):
        before = len(served.server.requests)
        served.server.always(Reply(503))
        error = refused(work())
        assert (error.code, error.reaction) == ("location_unavailable", Reaction.RETRY)
        assert len(served.server.requests) == before + 5
        served.server.interventions.clear()


def test_the_server_says_how_long(served: Place) -> None:
    filled(served)
    served.server.next(Reply(429, headers={"retry-after": "17"}))
    assert run(served.location.get("a")) == b"a backup"
    assert served.clock.pauses == [17]
    served.server.next(Reply(503, headers={"retry-after": "86400"}))
    assert refused(served.location.get("a")).code == "location_unavailable"
    assert served.clock.pauses == [17]
    served.server.next(Reply(503, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    assert run(served.location.get("a")) == b"a backup"


def test_a_connection_that_breaks_is_tried_again(served: Place) -> None:
    filled(served)
    served.server.next(Reply(200, b"half", JSON, promised=100))
    assert run(served.location.get("a")) == b"a backup"
    assert len(served.clock.pauses) == 1


@pytest.mark.parametrize("status", [400, 402, 405, 409, 410, 418, 451])
def test_any_other_refusal_is_one(served: Place, status: int) -> None:
    filled(served)
    for work in everything(served):
        served.server.always(Reply(status, b"SECRET words", {"content-type": "text/plain"}))
        error = refused(work())
        assert (error.code, error.reaction) == ("location_refused", Reaction.ABORT)
        served.server.interventions.clear()


# --- secrets ---------------------------------------------------------------------------------------------------------------


def test_no_token_is_logged(served: Place, caplog: pytest.LogCaptureFixture) -> None:
    """httpx's client would log whole URLs; CloudKit's have tokens in them."""
    caplog.set_level(logging.INFO)
    filled(served)
    assert run(served.location.get("a")) == b"a backup"
    assert run(served.location.names()) == ["a"]
    served.server.next(Reply(400), Reply(400))
    refused(served.location.get("a"))
    assert "SECRET" not in caplog.text


def test_requests_carry_no_cookies_and_go_through_no_proxy(
    served: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Silent()
    with elsewhere.running():
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, elsewhere.url)
        filled(served)
        served.server.next(Reply(503, headers={"set-cookie": "track=me"}))
        assert run(served.location.get("a")) == b"a backup"
    assert elsewhere.requests == []
    assert not any("cookie" in request.headers for request in served.server.requests)
    assert {request.headers["accept-encoding"] for request in served.server.requests} == {"identity"}


@pytest.mark.parametrize(
    "url",
    [
        "http://backups.example/",
        "ftp://backups.example",
        "backups.example",
        "",
        "https://",
        "https:///path",
        "//x",
    ]
    + [
        "https://user:password@backups.example/",
        "https://backups.example/?token=x",
        "https://backups.example/#x",
    ]
    + [
        "http://127.0.0.1.example/",
        "http://localhost.example/",
        "file:///etc/passwd",
        "https://a:b:c/",
        "http://[::2]/",
    ],
)
def test_a_url_that_is_neither_https_nor_of_this_machine(url: str) -> None:
    with pytest.raises(LocationError) as caught:
        EndpointLocation(url, Token("SECRET"))
    assert caught.value.code == "location_refused"
    assert "password" not in str(caught.value)


def test_urls_of_this_machine_may_be_http() -> None:
    for url in (
        "http://127.0.0.1:1/x",
        "http://localhost/x/",
        "http://[::1]:1/",
        "https://backups.example/of/alice",
    ):
        EndpointLocation(url, Token("SECRET"))


def test_nobody_listening() -> None:
    clock = Clock()
    error = refused(EndpointLocation("http://127.0.0.1:1/", Token("SECRET"), sleep=clock).get("a"))
    assert (error.code, error.reaction) == ("location_unavailable", Reaction.RETRY)
    assert len(clock.pauses) == 4


def test_a_certificate_that_no_authority_of_this_machine_signed(tmp_path: Path) -> None:
    """Any HTTPS server will do; this one has an authority of its own."""
    with KmsSimulator(tmp_path) as server:
        location = EndpointLocation(server.url, Token("SECRET"), sleep=Clock())
        assert refused(location.get("a")).code == "location_unavailable"
        trusting = ssl.create_default_context(cadata=server.ca_pem.decode())
        location = EndpointLocation(server.url, Token("SECRET"), tls=trusting, sleep=Clock())
        assert refused(location.get("a")).code == "backup_missing"  # it answered
