"""The service's storage, as its client sees it: a host that misbehaves, and names that are locators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cosigner.backups.locations import LocationError
from cosigner.backups.locations.service import ServiceLocation
from protocol.envelope.errors import Culprit, Reaction
from tests.cosigner.backups.places import Clock, refused, run
from tests.support.local_server import LocalServer, Received, Reply, Silent

LOCATOR = "0a" * 32
OCTETS = {"content-type": "application/octet-stream"}


class Host(LocalServer):
    """The host's routes, for requests of exactly their form."""

    def handle(self, request: Received) -> Reply:
        assert request.path == f"/v1/backups/{LOCATOR}"
        assert request.query == {"environment": "sandbox"}
        assert "authorization" not in request.headers
        match request.method:
            case "PUT":
                assert request.headers["content-type"] == "application/octet-stream"
                return Reply(204)
            case "GET":
                return Reply(200, b"a backup", OCTETS)
            case "DELETE":
                return Reply(204)
        raise AssertionError("no such method")


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    with made.running():
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def location(host: Host, clock: Clock) -> ServiceLocation:
    return ServiceLocation(host.url + "/", "sandbox", sleep=clock)


def problem(status: int, code: str) -> Reply:
    reply = Reply.of({"code": code, "detail": "SECRET \x1b[2J words", "status": status}, status)
    reply.headers["content-type"] = "application/problem+json"
    return reply


def test_requests_have_the_form_of_the_specification(host: Host, location: ServiceLocation) -> None:
    run(location.put(LOCATOR, b"x"))
    assert run(location.get(LOCATOR)) == b"a backup"
    run(location.delete(LOCATOR))
    assert [request.method for request in host.requests] == ["PUT", "GET", "DELETE"]


@pytest.mark.parametrize(
    "name", ["a", "0a" * 31, "0A" * 32, "0g" * 32, "0a" * 33, "0a" * 31 + "/.", "0a" * 31 + "%0"]
)
def test_a_name_that_is_no_locator_is_not_sent(host: Host, location: ServiceLocation, name: str) -> None:
    for work in (location.put(name, b"x"), location.get(name), location.delete(name)):
        assert refused(work).code == "location_refused"
    assert host.requests == []


def test_no_slot_is_a_refusal_for_a_write_and_a_missing_backup_for_a_read(
    host: Host, location: ServiceLocation
) -> None:
    host.always(problem(404, "backup_unknown"))
    assert refused(location.put(LOCATOR, b"x")).code == "location_refused"
    assert refused(location.get(LOCATOR)).code == "backup_missing"
    run(location.delete(LOCATOR))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (problem(413, "body_too_large"), "backup_too_large"),
        (problem(409, "backup_exhausted"), "location_refused"),
        (problem(400, "locator_malformed"), "location_refused"),
        (Reply(200, b"", OCTETS), "location_refused"),
        (Reply(201), "location_refused"),
        (Reply(302, headers={"location": "/"}), "location_refused"),
        (Reply(400, b"[" * 100_000, {"content-type": "application/problem+json"}), "location_refused"),
        (Reply(400, b"<html>", {"content-type": "text/html"}), "location_refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}-{len(value.body)}",
)
def test_refusals_keep_their_code_and_none_of_their_words(
    host: Host, location: ServiceLocation, reply: Reply, code: str
) -> None:
    host.next(reply)
    error = refused(location.put(LOCATOR, b"x"))
    assert (error.code, error.reaction) == (code, Reaction.ABORT)
    assert error.message.isprintable()
    if reply.headers.get("content-type") == "application/problem+json" and code == "location_refused":
        assert error.culprit is Culprit.HOST


def test_a_write_that_another_overtook_may_be_made_again(host: Host, location: ServiceLocation) -> None:
    host.next(problem(409, "backup_conflict"))
    error = refused(location.put(LOCATOR, b"x"))
    assert (error.code, error.reaction) == ("location_unavailable", Reaction.RETRY)
    assert len(host.requests) == 1  # the caller decides


def test_a_host_that_is_busy_is_asked_again(host: Host, location: ServiceLocation, clock: Clock) -> None:
    limited = problem(429, "rate_limited")
    limited.headers["retry-after"] = "1"
    host.next(limited, problem(503, "storage_unavailable"))
    run(location.put(LOCATOR, b"x"))
    assert len(clock.pauses) == 2
    host.always(problem(503, "storage_unavailable"))
    assert refused(location.get(LOCATOR)).code == "location_unavailable"


def test_hostile_answers_to_a_read(host: Host, location: ServiceLocation) -> None:
    elsewhere = Silent()
    with elsewhere.running():
        for reply, code in (
            (Reply(200, bytes(65537), OCTETS), "backup_too_large"),
            (Reply(200, b"x", {"content-type": "text/html"}), "location_refused"),
            (Reply(200, b"", OCTETS), "location_refused"),
            (Reply(307, headers={"location": elsewhere.url}), "location_refused"),
            (Reply(200, b"x", {**OCTETS, "content-encoding": "br"}), "location_refused"),
        ):
            host.next(reply)
            assert refused(location.get(LOCATOR)).code == code
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("url", "environment"),
    [("", "a"), ("host.test", "a"), ("ftp://host.test", "a"), ("http://", "a"), ("http://a:x", "a")]
    + [("http://host.test", ""), ("http://host.test", "../a"), ("http://host.test", "A")],
)
def test_a_service_that_cannot_be_is_refused(url: str, environment: str) -> None:
    with pytest.raises(LocationError) as caught:
        ServiceLocation(url, environment)
    assert caught.value.code == "location_refused"
