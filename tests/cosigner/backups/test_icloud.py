"""iCloud: one token for one request, its errors, content on another host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cosigner.backups.locations import LocationError, SecretFile, Token
from cosigner.backups.locations.icloud import ICloudLocation
from protocol.envelope.errors import Culprit, Reaction
from tests.cosigner.backups import cloudkit_server
from tests.cosigner.backups.cloudkit_server import BASE, CloudKitServer
from tests.cosigner.backups.places import Place, icloud, refused, run, secret_file
from tests.support.local_server import Received, Reply, Silent

OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture
def server() -> Iterator[CloudKitServer]:
    made = CloudKitServer()
    with made.running():
        yield made


@pytest.fixture
def place(server: CloudKitServer, tmp_path: Path) -> Place:
    return icloud(server, tmp_path)


def operations(server: CloudKitServer) -> list[str]:
    return [request.path.removeprefix(BASE).partition("/u0")[0] for request in server.requests]


def test_a_backup_goes_up_in_two_steps_and_into_a_record(place: Place, server: CloudKitServer) -> None:
    run(place.location.put("a", b"one"))
    assert operations(server) == ["assets/upload", "/upload", "records/modify"]
    server.requests.clear()
    assert run(place.location.get("a")) == b"one"
    assert [request.method for request in server.requests] == ["POST", "GET"]
    assert server.requests[1].path.endswith("/a")  # in place of ${f}


# --- tokens ----------------------------------------------------------------------------------------------------------------


def test_every_request_has_the_token_of_the_answer_before(
    place: Place, server: CloudKitServer, tmp_path: Path
) -> None:
    run(place.location.put("a", b"one"))
    for _ in range(3):
        run(place.location.get("a"))
    run(place.location.names())
    sent = [
        request.query["ckWebAuthToken"] for request in server.requests if request.raw_query.startswith("ck")
    ]
    assert len(sent) == len(set(sent)) == 6
    assert (tmp_path / "web-token").read_text().strip() == server.token
    assert (tmp_path / "web-token").stat().st_mode & 0o777 == 0o600


def test_another_process_goes_on_with_the_token_that_the_first_one_stored(
    place: Place, server: CloudKitServer, tmp_path: Path
) -> None:
    run(place.location.put("a", b"one"))
    again = ICloudLocation(
        cloudkit_server.CONTAINER,
        api_token=Token(cloudkit_server.API_TOKEN),
        web_token=SecretFile(tmp_path / "web-token"),
        api=server.url,
    )
    assert run(again.get("a")) == b"one"


def test_requests_at_once_take_turns(place: Place, server: CloudKitServer) -> None:
    async def together() -> list[bytes]:
        await asyncio.gather(*(place.location.put(f"a{number}", b"%d" % number) for number in range(5)))
        return await asyncio.gather(*(place.location.get(f"a{number}") for number in range(5)))

    assert run(together()) == [b"%d" % number for number in range(5)]


def test_a_session_that_is_over_asks_for_a_new_login(place: Place, server: CloudKitServer) -> None:
    run(place.location.put("a", b"one"))
    server.expire()
    for work in (
        place.location.get("a"),
        place.location.put("a", b"x"),
        place.location.delete("a"),
        place.location.names(),
    ):
        error = refused(work)
        assert (error.code, error.culprit, error.reaction) == (
            "location_unauthorized",
            Culprit.CLIENT,
            Reaction.ABORT,
        )
        assert "oauth_token" not in error.message


def test_a_lost_answer_takes_the_token_with_it(place: Place, server: CloudKitServer) -> None:
    """The request was carried out and its token is spent; the next one must not be taken for something else than a lost login."""
    run(place.location.put("a", b"one"))

    def lose(request: Received) -> Reply:
        server.handle(request)
        return Reply(200, b"half", promised=1000)

    server.interventions.append(lose)
    assert refused(place.location.get("a")).code == "location_unauthorized"


def test_a_new_token_is_kept_even_with_an_error(place: Place, server: CloudKitServer, tmp_path: Path) -> None:
    run(place.location.names())
    server.token = "54__SECRET-after+an/error=="
    error = cloudkit_server.error(400, "BAD_REQUEST")
    error.headers["X-Apple-CloudKit-Web-Auth-Token"] = server.token
    server.next(error)
    assert refused(place.location.names()).code == "location_refused"
    assert (tmp_path / "web-token").read_text().strip() == server.token
    assert run(place.location.names()) == []


def test_a_busy_answer_may_bring_a_new_token_for_the_next_attempt(
    place: Place, server: CloudKitServer
) -> None:
    run(place.location.names())
    server.token = "54__SECRET-after+being/busy=="
    busy = cloudkit_server.error(503, "TRY_AGAIN_LATER", retryAfter=1)
    busy.headers["X-Apple-CloudKit-Web-Auth-Token"] = server.token
    server.next(busy)
    assert run(place.location.names()) == []


def test_the_service_says_how_long_to_wait(place: Place, server: CloudKitServer) -> None:
    server.next(cloudkit_server.error(429, "THROTTLED", retryAfter=17))
    assert run(place.location.names()) == []
    assert place.clock.pauses == [17]
    server.next(cloudkit_server.error(503, "TRY_AGAIN_LATER", retryAfter=86400))
    assert refused(place.location.names()).code == "location_unavailable"
    for odd in (-1, 0, "1", 1.5, None):
        server.next(cloudkit_server.error(503, "TRY_AGAIN_LATER", retryAfter=odd))
        assert run(place.location.names()) == []


def test_a_token_that_cannot_be_kept_is_reported(
    place: Place, server: CloudKitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    error = refused(place.location.names())
    assert (error.code, error.culprit) == ("location_refused", Culprit.CLIENT)
    assert "No space left" in error.message


def test_a_header_that_is_no_token_is_refused(place: Place, server: CloudKitServer, tmp_path: Path) -> None:
    before = (tmp_path / "web-token").read_text()
    answer = Reply.of({"records": []})
    answer.headers["X-Apple-CloudKit-Web-Auth-Token"] = "two words"
    server.next(answer)
    assert refused(place.location.names()).code == "location_refused"
    assert (tmp_path / "web-token").read_text() == before


def test_tokens_reach_apple_alone(place: Place, server: CloudKitServer) -> None:
    run(place.location.put("a", b"one"))
    run(place.location.get("a"))
    content = [request for request in server.requests if not request.path.startswith(BASE)]
    assert len(content) == 2
    for request in content:
        assert "SECRET" not in f"{request}"


# --- errors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "server_code", "code"),
    [
        (401, "AUTHENTICATION_FAILED", "location_unauthorized"),
        (421, "AUTHENTICATION_REQUIRED", "location_unauthorized"),
        (403, "ACCESS_DENIED", "location_refused"),
        (413, "QUOTA_EXCEEDED", "location_refused"),
        (404, "ZONE_NOT_FOUND", "location_refused"),
        (400, "BAD_REQUEST", "location_refused"),
        (412, "VALIDATING_REFERENCE_ERROR", "location_refused"),
        (500, "INTERNAL_ERROR", "location_unavailable"),
        (429, "THROTTLED", "location_unavailable"),
        (503, "TRY_AGAIN_LATER", "location_unavailable"),
        (409, "CONFLICT", "location_unavailable"),
    ],
)
def test_errors_of_the_service(
    place: Place, server: CloudKitServer, status: int, server_code: str, code: str
) -> None:
    server.always(cloudkit_server.error(status, server_code))
    error = refused(place.location.get("a"))
    assert error.code == code
    assert len(server.requests) == (5 if code == "location_unavailable" else 1)


@pytest.mark.parametrize(
    ("server_code", "code"),
    [
        ("QUOTA_EXCEEDED", "location_refused"),
        ("ACCESS_DENIED", "location_refused"),
        ("AUTHENTICATION_REQUIRED", "location_unauthorized"),
        ("THROTTLED", "location_unavailable"),
        ("NOT_FOUND", "location_refused"),
    ],
)
def test_errors_of_one_record_in_an_answer_that_is_200(
    place: Place, server: CloudKitServer, server_code: str, code: str
) -> None:
    failed = Reply.of(
        {"records": [{"recordName": "a", "serverErrorCode": server_code, "reason": "SECRET words"}]}
    )
    server.interventions.extend([lambda _: None, lambda _: None, lambda _: failed])
    assert refused(place.location.put("a", b"x")).code == code
    if server_code != "NOT_FOUND":
        server.next(failed)
        assert refused(place.location.delete("a")).code == code
        server.next(failed)
        assert refused(place.location.get("a")).code == code


def test_a_code_with_terminal_commands_is_not_repeated(place: Place, server: CloudKitServer) -> None:
    server.next(cloudkit_server.error(400, "\x1b[2J"))
    assert refused(place.location.names()).message == "iCloud refuses: HTTP 400."


# --- what iCloud names -----------------------------------------------------------------------------------------------------


def test_another_names_content(place: Place, server: CloudKitServer) -> None:
    """An answer about another record than was asked for, in each step."""
    run(place.location.put("a", b"one"))
    run(place.location.put("b", b"another's"))
    other = Reply.of({"records": [server.dictionary(server.records["b"])]})
    server.next(other)
    assert refused(place.location.get("a")).code == "location_refused"
    server.next(other)
    assert refused(place.location.delete("a")).code == "location_refused"
    for wrong in ({"recordName": "b", "fieldName": "content"}, {"recordName": "a", "fieldName": "other"}):
        server.next(Reply.of({"tokens": [{**wrong, "url": server.url + "/upload/u0"}]}))
        assert refused(place.location.put("a", b"x")).code == "location_refused"
    server.records["a"].kind = "Users"
    assert refused(place.location.get("a")).code == "location_refused"
    assert run(place.location.names()) == ["b"]


ELSEWHERE = [
    "http://cvws.icloud-content.com/x",
    "https://evil.example/x",
    "https://icloud-content.com.evil.example/x",
    "https://evilicloud-content.com/x",
    "https://cvws.icloud-content.com:8443/x",
    "https://user@cvws.icloud-content.com/x",
    "https://cvws.icloud-content.com@evil.example/x",
    "file:///etc/passwd",
    "//cvws.icloud-content.com/x",
    "",
    "https://cvws.icloud-content.com\\@evil.example/",
    "https://[::1/",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_content_on_a_host_that_is_not_apples(place: Place, server: CloudKitServer, url: str) -> None:
    run(place.location.put("a", b"one"))
    record = server.dictionary(server.records["a"])
    record["fields"]["content"]["value"]["downloadURL"] = url
    server.next(Reply.of({"records": [record]}))
    assert refused(place.location.get("a")).code == "location_refused"
    server.next(Reply.of({"tokens": [{"recordName": "a", "fieldName": "content", "url": url}]}))
    assert refused(place.location.put("a", b"x")).code == "location_refused"


def test_apples_hosts_are_let_through_and_this_machine_only_for_a_server_on_it(
    place: Place, tmp_path: Path
) -> None:
    apple = ICloudLocation(
        cloudkit_server.CONTAINER, api_token=Token("x"), web_token=secret_file(tmp_path / "t", "x")
    )
    for url in ("https://cvws.icloud-content.com/B/x/a?o=1&e=2", "https://p01-x.icloud-content.com:443/x"):
        assert apple._asset_url(url) == url
    for url in [*ELSEWHERE, "http://127.0.0.1:1/x", "https://localhost/x", "https://[::1]/x"]:
        with pytest.raises(LocationError):
            apple._asset_url(url)
    local: Any = place.location
    assert local._asset_url("http://127.0.0.1:1/x")


def test_a_redirect_of_an_upload(place: Place, server: CloudKitServer) -> None:
    elsewhere = Silent()
    with elsewhere.running():
        server.interventions.extend(
            [lambda _: None, lambda _: Reply(307, headers={"location": elsewhere.url})]
        )
        assert refused(place.location.put("a", b"one")).code == "location_refused"
    assert elsewhere.requests == []
    assert server.records == {}


@pytest.mark.parametrize("size", [2, 4, 0, -1, 65537])
def test_a_record_that_says_another_size(place: Place, server: CloudKitServer, size: int) -> None:
    run(place.location.put("a", b"one"))
    server.records["a"].asset["size"] = size
    assert refused(place.location.get("a")).code == "location_refused"


def test_an_upload_of_which_less_was_kept(place: Place, server: CloudKitServer) -> None:
    server.interventions.extend(
        [lambda _: None, lambda _: Reply.of({"singleFile": {"size": 2, "receipt": "x"}})]
    )
    assert refused(place.location.put("a", b"one")).code == "location_refused"
    assert server.records == {}


def test_a_write_that_fails_after_the_upload_leaves_the_old_backup(
    place: Place, server: CloudKitServer
) -> None:
    run(place.location.put("a", b"old"))
    server.interventions.extend(
        [lambda _: None, lambda _: None, lambda _: cloudkit_server.error(413, "QUOTA_EXCEEDED")]
    )
    assert refused(place.location.put("a", b"new")).code == "location_refused"
    assert run(place.location.get("a")) == b"old"


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_download_that_is_refused_may_be_tried_again_with_a_new_url(
    place: Place, server: CloudKitServer, status: int
) -> None:
    """Download URLs expire."""
    run(place.location.put("a", b"one"))
    server.interventions.extend([lambda _: None, lambda _: Reply(status)])
    error = refused(place.location.get("a"))
    assert (error.code, error.reaction) == ("location_unavailable", Reaction.RETRY)
    assert run(place.location.get("a")) == b"one"


@pytest.mark.parametrize(
    "container", ["", "iCloud.", "com.example", "iCloud.a/b", "iCloud.a?x=", "iCloud.../x", "iCloud.é"]
)
def test_a_container_of_another_form(tmp_path: Path, container: str) -> None:
    for environment in ("production", "staging", "", "../x"):
        with pytest.raises(LocationError) as caught:
            ICloudLocation(
                container if environment == "production" else "iCloud.com.example",
                environment=environment,
                api_token=Token("x"),
                web_token=SecretFile(tmp_path / "x"),
            )
        assert caught.value.code == "location_refused"
