"""Google Drive: tokens that expire, its errors, two files of one name, pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosigner.backups.locations import LocationError, SecretFile, Token
from cosigner.backups.locations.google_drive import GoogleDriveLocation
from cosigner.backups.locations.oauth import FixedToken, RefreshingToken
from protocol.envelope.errors import Culprit, Reaction
from tests.cosigner.backups import drive_server
from tests.cosigner.backups.drive_server import DriveServer
from tests.cosigner.backups.places import Clock, Place, drive, refused, run, secret_file
from tests.support.local_server import Received, Reply

JSON = {"content-type": "application/json"}


@pytest.fixture
def server() -> Iterator[DriveServer]:
    made = DriveServer()
    with made.running():
        yield made


@pytest.fixture
def place(server: DriveServer, tmp_path: Path) -> Place:
    return drive(server, tmp_path)


def paths(server: DriveServer) -> list[str]:
    return [f"{request.method} {request.path}" for request in server.requests]


# --- what is sent ----------------------------------------------------------------------------------------------------------


def test_a_first_backup_is_created_and_a_second_one_updates_it(place: Place, server: DriveServer) -> None:
    run(place.location.put("a", b"one"))
    (file,) = server.files.values()
    assert (file.name, file.content) == ("a.backup", b"one")
    assert paths(server) == ["POST /token", "GET /drive/v3/files", "POST /upload/drive/v3/files"]
    server.requests.clear()
    run(place.location.put("a", b"two"))
    assert paths(server) == ["GET /drive/v3/files", f"PATCH /upload/drive/v3/files/{file.id}"]
    server.requests.clear()
    assert run(place.location.get("a")) == b"two"
    assert paths(server) == ["GET /drive/v3/files", f"GET /drive/v3/files/{file.id}"]
    server.requests.clear()
    run(place.location.delete("a"))
    assert paths(server) == ["GET /drive/v3/files", f"DELETE /drive/v3/files/{file.id}"]


def test_other_files_of_the_app_are_left_alone(place: Place, server: DriveServer) -> None:
    for name in ("settings.json", "a", "A.backup", "a.backup.backup", "x.backup "):
        server.add(name, b"theirs")
    run(place.location.put("a", b"mine"))
    assert run(place.location.names()) == ["a"]
    run(place.location.delete("a"))
    assert len(server.files) == 5


# --- two files of one name -------------------------------------------------------------------------------------------------


def test_the_newest_of_several_counts_whatever_their_order(place: Place, server: DriveServer) -> None:
    for content, modified in ((b"older", 10), (b"newest", 30), (b"old", 20), (b"oldest", 1)):
        server.add("a.backup", content, modified=modified)
    assert run(place.location.get("a")) == b"newest"
    assert run(place.location.names()) == ["a"]


def test_of_equally_new_ones_the_greatest_id_counts(place: Place, server: DriveServer) -> None:
    for number in range(4):
        server.add("a.backup", b"backup %d" % number, modified=7)
    assert run(place.location.get("a")) == b"backup 3"


def test_the_next_write_leaves_one(place: Place, server: DriveServer) -> None:
    kept = [server.add("a.backup", b"x", modified=modified).id for modified in (3, 9, 5)][1]
    other = server.add("b.backup", b"another's", modified=1)
    run(place.location.put("a", b"new"))
    assert set(server.files) == {kept, other.id}
    assert server.files[kept].content == b"new"


def test_a_lost_answer_to_a_creation_leaves_two_and_one_counts(place: Place, server: DriveServer) -> None:
    run(place.location.names())

    def lose(request: Received) -> Reply:
        server.handle(request)
        return Reply(200, b"half", promised=1000)

    server.interventions.extend([lambda _: None, lose])
    run(place.location.put("a", b"one"))
    assert [file.content for file in server.files.values()] == [b"one", b"one"]
    assert run(place.location.get("a")) == b"one"
    run(place.location.put("a", b"two"))
    assert [file.content for file in server.files.values()] == [b"two"]


def test_deleting_deletes_all_of_them(place: Place, server: DriveServer) -> None:
    for number in range(8):
        server.add("a.backup", b"x", modified=number)
    run(place.location.delete("a"))
    assert server.files == {}


def test_another_names_content(place: Place, server: DriveServer) -> None:
    """A search that also finds files of other names: they are not taken for the one that was asked for."""
    other = server.add("b.backup", b"another's", modified=99)
    listed = Reply.of({"files": [other.resource()]})
    run(place.location.names())
    server.next(listed)
    assert refused(place.location.get("a")).code == "backup_missing"
    server.next(listed)
    run(place.location.put("a", b"mine"))
    assert other.content == b"another's"
    server.next(listed)
    run(place.location.delete("a"))
    assert other.id in server.files


def test_a_file_that_vanishes_between_two_requests(place: Place, server: DriveServer) -> None:
    gone = server.add("a.backup", b"old")
    listed = Reply.of({"files": [gone.resource()]})
    run(place.location.names())
    del server.files[gone.id]
    server.next(listed)
    assert refused(place.location.get("a")).code == "backup_missing"
    server.next(listed)
    run(place.location.delete("a"))
    server.next(listed)
    run(place.location.put("a", b"new"))
    assert [file.content for file in server.files.values()] == [b"new"]


@pytest.mark.parametrize(
    "change", [{"size": "4"}, {"sha256Checksum": "00" * 32}, {"name": "b.backup"}, {"size": ""}]
)
def test_a_backup_that_was_not_kept_as_sent_is_reported(
    place: Place, server: DriveServer, change: dict[str, str]
) -> None:
    run(place.location.names())
    resource = {**server.add("a.backup", b"backup").resource(), **change}
    for works in (1, 2):  # found and updated, or created
        server.interventions.append(lambda _: None)
        server.next(Reply.of(resource))
        assert refused(place.location.put("a", b"backup")).code == "location_refused", works
        server.files.clear()


# --- tokens ----------------------------------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_once_and_the_request_sent_again(
    place: Place, server: DriveServer
) -> None:
    run(place.location.put("a", b"one"))
    server.expire()
    server.requests.clear()
    assert run(place.location.get("a")) == b"one"
    assert [path for path in paths(server) if "token" in path] == ["POST /token"]
    assert paths(server)[:3] == ["GET /drive/v3/files", "POST /token", "GET /drive/v3/files"]


def test_a_token_that_expires_in_the_middle_of_an_upload(place: Place, server: DriveServer) -> None:
    run(place.location.names())

    def expire(_: Received) -> Reply | None:
        server.expire()
        return None

    server.interventions.extend([lambda _: None, expire])
    run(place.location.put("a", b"one"))
    assert [file.content for file in server.files.values()] == [b"one"]


def test_a_new_token_that_is_not_accepted_either(place: Place, server: DriveServer) -> None:
    run(place.location.names())
    server.requests.clear()
    handle = server.handle

    def stubborn(request: Received) -> Reply:
        return handle(request) if request.path == "/token" else drive_server.error(401, "authError")

    server.handle = stubborn  # type: ignore[method-assign]
    error = refused(place.location.get("a"))
    assert (error.code, error.culprit, error.reaction) == (
        "location_unauthorized",
        Culprit.CLIENT,
        Reaction.ABORT,
    )
    assert paths(server) == ["GET /drive/v3/files", "POST /token", "GET /drive/v3/files"]


def test_a_refresh_token_that_was_taken_back(place: Place, server: DriveServer) -> None:
    server.refresh_token_good = False
    assert refused(place.location.get("a")).code == "location_unauthorized"


def test_several_requests_renew_one_token_once(place: Place, server: DriveServer) -> None:
    import asyncio

    run(place.location.put("a", b"one"))
    server.expire()
    server.requests.clear()

    async def together() -> list[bytes]:
        return await asyncio.gather(*(place.location.get("a") for _ in range(5)))

    assert run(together()) == [b"one"] * 5
    assert paths(server).count("POST /token") == 1


def test_a_fixed_token_is_used_as_it_is(server: DriveServer) -> None:
    server.access_tokens.add("SECRET.fixed")
    location = GoogleDriveLocation(FixedToken(Token("SECRET.fixed")), api=server.url, sleep=Clock())
    run(location.put("a", b"one"))
    assert run(location.get("a")) == b"one"
    server.expire()
    assert refused(location.get("a")).code == "location_unauthorized"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Reply.of({"error": "invalid_client"}, 401), "location_unauthorized"),
        (Reply.of({"error": "unauthorized_client"}, 400), "location_unauthorized"),
        (Reply.of({"error": "invalid_request"}, 400), "location_refused"),
        (Reply.of({"error": "SECRET words"}, 400), "location_refused"),
        (Reply.of({"access_token": "SECRET", "token_type": "mac"}), "location_refused"),
        (Reply.of({"access_token": "SECRET\nx: y", "token_type": "Bearer"}), "location_refused"),
        (Reply.of({"access_token": "", "token_type": "Bearer"}), "location_refused"),
        (Reply.of({"access_token": 5, "token_type": "Bearer"}), "location_refused"),
        (Reply.of({"token_type": "Bearer"}), "location_refused"),
        (Reply(200, b"access_token=SECRET", {"content-type": "text/plain"}), "location_refused"),
        (Reply(302, headers={"location": "http://127.0.0.1:1/"}), "location_refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value.body[:40]),
)
def test_answers_of_the_authorization_server(
    place: Place, server: DriveServer, answer: Reply, code: str
) -> None:
    server.next(answer)
    assert refused(place.location.get("a")).code == code
    assert len(server.requests) == 1


def test_the_authorization_server_may_be_busy(place: Place, server: DriveServer) -> None:
    server.next(Reply(503), Reply(429))
    assert run(place.location.names()) == []
    assert len(place.clock.pauses) == 2


@pytest.mark.parametrize(
    "content", ["", "{}", "[", '{"client_id": "SECRET"}', '{"client_id": 1}', "\xff", "SECRET"]
)
def test_credentials_of_another_form(server: DriveServer, tmp_path: Path, content: str) -> None:
    access = RefreshingToken(secret_file(tmp_path / "google.json", content), url=server.url + "/token")
    assert refused(access.token()).code == "location_unauthorized"
    assert server.requests == []


def test_credentials_of_googles_own_tools_have_members_more(server: DriveServer, tmp_path: Path) -> None:
    more = {
        "type": "authorized_user",
        "universe_domain": "googleapis.com",
        "account": "",
        **drive_server.CREDENTIALS,
    }
    access = RefreshingToken(
        secret_file(tmp_path / "google.json", json.dumps(more)), url=server.url + "/token"
    )
    assert run(access.token()).reveal() in server.access_tokens


def test_a_token_server_elsewhere_must_speak_tls(tmp_path: Path) -> None:
    with pytest.raises(LocationError) as caught:
        RefreshingToken(SecretFile(tmp_path / "x"), url="http://oauth2.googleapis.com/token")
    assert caught.value.code == "location_refused"


# --- errors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["rateLimitExceeded", "userRateLimitExceeded"])
def test_a_403_that_is_a_rate_limit_is_waited_for(place: Place, server: DriveServer, reason: str) -> None:
    run(place.location.put("a", b"one"))
    limited = drive_server.error(403, reason, "usageLimits")
    server.next(limited, limited)
    assert run(place.location.get("a")) == b"one"
    assert len(place.clock.pauses) == 2
    server.always(limited)
    assert refused(place.location.get("a")).code == "location_unavailable"


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (403, "insufficientPermissions", "location_unauthorized"),
        (403, "appNotAuthorizedToFile", "location_unauthorized"),
        (403, "storageQuotaExceeded", "location_refused"),
        (403, "dailyLimitExceeded", "location_refused"),
        (403, "domainPolicy", "location_refused"),
        (400, "badRequest", "location_refused"),
        (404, "notFound", "location_refused"),
    ],
)
def test_other_errors_are_named_and_not_tried_again(
    place: Place, server: DriveServer, status: int, reason: str, code: str
) -> None:
    run(place.location.names())
    server.requests.clear()
    server.next(drive_server.error(status, reason))
    error = refused(place.location.names())
    assert error.code == code
    assert len(server.requests) == 1
    if code == "location_refused":
        assert f"HTTP {status} {reason}." in error.message


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[" * 100_000, b'{"error": "invalid"}', b'{"error": {"errors": 5}}', b"\xff"]
)
def test_an_error_of_another_form_is_refused_by_its_status(
    place: Place, server: DriveServer, body: bytes
) -> None:
    run(place.location.names())
    server.next(Reply(403, body, JSON))
    assert refused(place.location.names()).message == "Google Drive refuses: HTTP 403."


def test_a_reason_with_terminal_commands_is_not_repeated(place: Place, server: DriveServer) -> None:
    run(place.location.names())
    server.next(drive_server.error(403, "\x1b[2Jquota"))
    assert refused(place.location.names()).message == "Google Drive refuses: HTTP 403."
