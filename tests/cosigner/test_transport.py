"""HTTP to a host that may answer anything: every answer is a result or a ``HostError`` with a code."""

import asyncio
import base64
import gzip
import json
import sys
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosigner.errors import CosignerError, HostError
from cosigner.transport import Traffic, Transport, _problem
from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.limits import MAX_FRAME
from tests.cosigner.world import Chunks, problem, streamed

Handler = Callable[[httpx.Request], httpx.Response]
SESSION = bytes(range(16))


def ask(
    handler: Handler, operation: Callable[[Transport], Awaitable[object]] = lambda t: t.open_session(b"hello")
) -> object:
    async def scenario() -> object:
        async def handle(request: httpx.Request) -> httpx.Response:
            return streamed(handler(request))

        http = httpx.AsyncClient(base_url="http://host.test", transport=httpx.MockTransport(handle))
        async with Transport("http://host.test", http=http) as transport:
            return await operation(transport)

    return asyncio.run(scenario())


def refused(handler: Handler, **more: Callable[[Transport], Awaitable[object]]) -> HostError:
    with pytest.raises(HostError) as caught:
        ask(handler, **more)
    return caught.value


def answer(response: httpx.Response) -> Handler:
    return lambda _: response


# --- what is sent ----------------------------------------------------------------------------------------------------------------


def test_requests_go_where_the_specification_says() -> None:
    seen: list[tuple[str, str, bytes, str | None]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, str(request.url), request.content, request.headers.get("content-type")))
        if request.url.path == "/attestation":
            return httpx.Response(200, json={"document": "ZG9j", "channelKey": "a2V5"})
        return httpx.Response(200, content=b"answer")

    async def everything(transport: Transport) -> list[object]:
        return [
            await transport.attestation(b"\x0a\xff"),
            await transport.open_session(b"hello"),
            await transport.record(SESSION, b"record"),
            await transport.ready(),
        ]

    assert ask(handle, everything) == [(b"doc", b"key"), b"answer", b"answer", b"answer"]
    octets = "application/octet-stream"
    assert seen == [
        ("GET", "http://host.test/attestation?nonce=0aff", b"", None),
        ("POST", "http://host.test/v1/sessions", b"hello", octets),
        ("POST", f"http://host.test/v1/sessions/{SESSION.hex()}/records", b"record", octets),
        ("GET", "http://host.test/readyz", b"", None),
    ]


def test_traffic_counts_the_bytes_of_bodies_also_of_failures() -> None:
    async def count(transport: Transport) -> Traffic:
        await transport.open_session(b"12345")
        before = transport.traffic.copy()
        with pytest.raises(HostError):
            await transport.record(SESSION, b"1234567")
        return transport.traffic.since(before)

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.content == b"12345" else 500, content=b"abc")

    assert ask(handle, count) == Traffic(sent=7, received=3)


def test_the_environments_proxies_and_credentials_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.test:3128")
    with_environment = Transport("http://host.test")
    try:
        assert with_environment._http.trust_env is False
        assert with_environment._http.headers["accept-encoding"] == "identity"
    finally:
        asyncio.run(with_environment.__aexit__(None, None, None))


# --- refusals --------------------------------------------------------------------------------------------------------------------


def test_a_problem_keeps_its_code_detail_culprit_and_reaction() -> None:
    error = refused(
        answer(problem(429, "too_many_requests", detail="Wait.", culprit="client", reaction="retry"))
    )
    assert (error.code, error.message) == ("too_many_requests", "Wait.")
    assert (error.culprit, error.reaction) == (Culprit.CLIENT, Reaction.RETRY)


def test_a_problem_with_a_code_alone_blames_the_host_and_may_be_retried() -> None:
    error = refused(answer(problem(503, "enclave_unavailable")))
    assert (error.code, error.message) == ("enclave_unavailable", "HTTP 503")
    assert (error.culprit, error.reaction) == (Culprit.HOST, Reaction.RETRY)


@pytest.mark.parametrize("status", [201, 204, 301, 304, 400, 401, 404, 418, 500, 502, 599])
def test_another_status_without_a_problem_is_malformed_and_named(status: int) -> None:
    error = refused(answer(httpx.Response(status, content=b"<html>Bad gateway</html>")))
    assert error.code == "host_answer_malformed"
    assert str(status) in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"\xff",
        b"{",
        b'{"code": "Not A Code"}',
        b'{"code": ""}',
        b'{"code": 5}',
        b'{"code": "x\\n"}',
        json.dumps({"code": "a" * 65}).encode(),
        json.dumps({"code": "x", "detail": "d" * 2049}).encode(),
        json.dumps({"code": "x", "culprit": "nobody"}).encode(),
        json.dumps({"code": "x", "reaction": "panic"}).encode(),
        json.dumps({"code": "x", "detail": None}).encode(),
        b"[" * 10_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_garbage_in_place_of_a_problem_is_malformed(body: bytes) -> None:
    error = refused(answer(httpx.Response(500, content=body)))
    assert error.code == "host_answer_malformed"


def test_redirects_are_not_followed() -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(307, headers={"location": "http://elsewhere.test/v1/sessions"})

    assert refused(handle).code == "host_answer_malformed"
    assert seen == ["http://host.test/v1/sessions"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"\xff",
        b'{"document": "ZG9j"}',
        b'{"channelKey": "a2V5"}',
        b'{"document": "ZG9j", "channelKey": ""}',
        b'{"document": "ZG9j", "channelKey": 5}',
        b'{"document": "not base64!", "channelKey": "a2V5"}',
        b'{"document": "ZG9", "channelKey": "a2V5"}',
        '{"document": "ZG9j", "channelKey": "ä"}'.encode(),
        b'{"document": "ZG9j", "channelKey": "a2V5"} trailing',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_an_attestation_of_another_form_is_malformed(body: bytes) -> None:
    error = refused(answer(httpx.Response(200, content=body)), operation=lambda t: t.attestation(b"nonce"))
    assert error.code == "host_answer_malformed"


@given(st.binary(max_size=300))
def test_any_bytes_are_an_attestation_or_malformed(body: bytes) -> None:
    error = refused(answer(httpx.Response(200, content=body)), operation=lambda t: t.attestation(b"nonce"))
    assert error.code == "host_answer_malformed"


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_document_and_key_come_as_the_host_gave_them(document: bytes, key: bytes) -> None:
    body = {
        "document": base64.b64encode(document).decode(),
        "channelKey": base64.b64encode(key + b"k").decode(),
    }
    got = ask(answer(httpx.Response(200, json=body)), lambda t: t.attestation(b"nonce"))
    assert got == (document, key + b"k")


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_end_is_cut_off(status: int) -> None:
    taken = 0

    def long() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 65536
            yield bytes(65536)

    error = refused(lambda _: httpx.Response(status, stream=Chunks(long())))
    assert error.code == "host_answer_too_large"
    assert taken <= 2 * MAX_FRAME + 2 * 65536


def test_compressed_answers_are_not_expanded() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Chunks([bomb]))
    assert ask(lambda _: response) == bomb


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("Connection refused"),
        httpx.ConnectTimeout(""),
        httpx.ReadTimeout(""),
        httpx.ReadError(""),
        httpx.WriteError("Broken pipe"),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.ProxyError("no"),
        httpx.UnsupportedProtocol("no"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_failures_of_the_network_say_who_was_asked_and_what_to_look_at(failure: httpx.HTTPError) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        raise failure

    error = refused(handle)
    assert (error.code, error.culprit, error.reaction) == (
        "host_unreachable",
        Culprit.NETWORK,
        Reaction.RETRY,
    )
    assert "http://host.test" in error.message
    assert "Is the stack running?" in error.message


def test_a_connection_that_breaks_in_the_middle_of_an_answer_is_a_failure() -> None:
    def broken() -> Iterator[bytes]:
        yield b"half of an"
        raise httpx.ReadError("")

    error = refused(lambda _: httpx.Response(200, stream=Chunks(broken())))
    assert error.code == "host_unreachable"


def test_nobody_there_is_a_failure_of_the_network() -> None:
    async def scenario() -> None:
        async with Transport("http://127.0.0.1:1") as transport:
            await transport.ready()

    with pytest.raises(HostError) as caught:
        asyncio.run(scenario())
    assert caught.value.code == "host_unreachable"


def test_an_impossible_url_is_named() -> None:
    with pytest.raises(CosignerError) as refused:
        Transport("http://a:x")
    assert refused.value.code == "api_url_invalid"


def test_the_hosts_words_carry_no_terminal_commands() -> None:
    error = _problem(500, b'{"code":"x","detail":"a\\u001b[2J\\r\\nThe enclave is attested\\u009b"}')
    assert error.message.isprintable()


def test_a_deeply_nested_answer_is_refused_even_where_a_library_raised_the_recursion_limit() -> None:
    """py_ecc, which eth_account imports, raises it to 100,000; then depth would overflow the C stack."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        for body in (b"[" * 1_000_000, b'{"x":' * 200_000):
            assert _problem(500, body).code == "host_answer_malformed"
    finally:
        sys.setrecursionlimit(limit)
