"""The HTTP door: good requests, hostile requests, and what each is answered."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import gc
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from host.http_guard import GuardedProtocol
from protocol.envelope.limits import MAX_HELLO, MAX_RECORD
from tests.host.fake_enclave import CHANNEL_KEY, FakeEnclave
from tests.host.rig import FAST, OCTETS, RECORDS, Rig, running_host, short_folder, wait_until


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    timing = {**FAST, "body": 0.3, "header": 0.3}
    with running_host(FakeEnclave(), timing=timing) as running:
        yield running


@pytest.fixture
def http(rig: Rig) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=rig.url, timeout=20) as client:
        yield client


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = dict(response.json())
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"urn:cosigner:problem:{code}"
    assert problem["requestId"] == response.headers["x-request-id"]
    assert {"title", "detail", "culprit", "reaction"} <= problem.keys()
    return problem


def test_attestation_returns_document_and_channel_key(http: httpx.Client) -> None:
    nonce = bytes(range(32))
    response = http.get("/attestation", params={"nonce": nonce.hex()})
    assert response.status_code == 200
    body = response.json()
    assert base64.b64decode(body["document"]) == b"document over " + nonce
    assert base64.b64decode(body["channelKey"]) == CHANNEL_KEY
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "query",
    ["", "?nonce=", "?nonce=00", f"?nonce={'0' * 31}", f"?nonce={'00' * 65}", f"?nonce={'zz' * 16}"]
    + [f"?nonce={'00' * 16}&nonce={'11' * 16}", f"?nonce={'00' * 16}%0a", f"?nonce={'٠' * 32}"],
)
def test_a_malformed_nonce_is_refused(http: httpx.Client, query: str) -> None:
    assert_problem(http.get(f"/attestation{query}"), 400, "nonce_malformed")


def test_a_session_opens_and_carries_records(http: httpx.Client) -> None:
    opened = http.post("/v1/sessions", content=b"hello", headers=OCTETS)
    assert opened.status_code == 200
    assert opened.headers["content-type"] == "application/octet-stream"
    assert opened.content == b"answer to hello"
    session_id = opened.headers["x-session-id"]
    assert re.fullmatch("[0-9a-f]{32}", session_id)
    answer = http.post(f"/v1/sessions/{session_id}/records", content=b"abc", headers=OCTETS)
    assert (answer.status_code, answer.content) == (200, b"cba")


def test_the_largest_record_passes_and_one_byte_more_does_not(http: httpx.Client) -> None:
    body = bytes(1000) + b"\x01" * (MAX_RECORD - 1000)
    assert http.post(RECORDS, content=body, headers=OCTETS).content == body[::-1]
    assert_problem(http.post(RECORDS, content=body + b"\x00", headers=OCTETS), 413, "body_too_large")
    assert_problem(
        http.post("/v1/sessions", content=bytes(MAX_HELLO + 1), headers=OCTETS), 413, "body_too_large"
    )


def test_an_oversized_body_is_refused_before_it_is_read(rig: Rig) -> None:
    with raw_connection(rig) as sock:
        sock.sendall(head("content-length: 99999999999"))
        assert_refusal(sock, 413, "body_too_large")


def test_an_endless_chunked_body_is_refused_as_soon_as_it_is_too_long(rig: Rig) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with raw_connection(rig) as sock:
        sock.sendall(head("transfer-encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            for _ in range(1024):  # 64 MiB: far more than the host may read
                sock.sendall(chunk)
            pytest.fail("the host swallowed it all")
        with contextlib.suppress(ConnectionError):
            assert receive_all(sock).startswith(b"HTTP/1.1 413 ")


def test_a_slow_body_is_given_up_and_others_are_not_held_up(rig: Rig, http: httpx.Client) -> None:
    with raw_connection(rig) as sock:
        sock.sendall(head("content-length: 100") + b"x")
        assert http.post(RECORDS, content=b"abc", headers=OCTETS).content == b"cba"
        assert_refusal(sock, 408, "body_timeout")


def test_slow_headers_lose_their_connection(rig: Rig) -> None:
    with raw_connection(rig) as sock:
        sock.sendall(b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\nx-slow: ")
        assert receive_all(sock) == b""
    with raw_connection(rig) as silent:
        assert receive_all(silent) == b""


def test_endless_headers_are_refused(rig: Rig) -> None:
    with raw_connection(rig) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * (40 << 10))
        assert_refusal(sock, 431, "headers_too_large")


def test_endless_trailers_lose_their_connection(rig: Rig) -> None:
    with raw_connection(rig) as sock:
        sock.sendall(head("transfer-encoding: chunked") + b"1\r\nx\r\n0\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(2048):
                sock.sendall(b"x-trailer: " + b"a" * 16000 + b"\r\n")


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"]
    + [b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: 1e3\r\n\r\n"]
    + [b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"]
    + [b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"],
)
def test_bytes_that_are_not_http_get_a_problem_and_the_connection_closes(rig: Rig, garbage: bytes) -> None:
    with raw_connection(rig) as sock:
        sock.sendall(garbage)
        assert_refusal(sock, 400, "request_malformed")


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain; charset=utf-8", "application/octet"])
def test_a_wrong_content_type_is_refused(http: httpx.Client, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    assert_problem(http.post("/v1/sessions", content=b"x", headers=headers), 415, "content_type_unsupported")


def test_parameters_of_the_content_type_do_not_matter(http: httpx.Client) -> None:
    headers = {"content-type": "Application/Octet-Stream; q=1"}
    assert http.post(RECORDS, content=b"ab", headers=headers).content == b"ba"


def test_an_empty_body_is_refused(http: httpx.Client) -> None:
    assert_problem(http.post("/v1/sessions", content=b"", headers=OCTETS), 400, "body_empty")


@pytest.mark.parametrize(
    "session_id", ["1", "g" * 32, "A" * 32, "0" * 33, "%00" * 32, "..", "0" * 31 + "%0a"]
)
def test_a_malformed_session_id_is_refused(http: httpx.Client, session_id: str) -> None:
    response = http.post(f"/v1/sessions/{session_id}/records", content=b"x", headers=OCTETS)
    assert response.json()["code"] in {"session_id_malformed", "route_unknown"}
    assert response.status_code in {400, 404}


def test_an_unknown_session_is_not_found(http: httpx.Client) -> None:
    response = http.post(f"/v1/sessions/{'f' * 32}/records", content=b"x", headers=OCTETS)
    problem = assert_problem(response, 404, "session_unknown")
    assert problem["culprit"] == "client"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/sessions/", "/v2/sessions", "/metrics/", "/../etc/passwd"])
def test_an_unknown_path_is_a_problem(http: httpx.Client, path: str) -> None:
    assert_problem(http.get(path), 404, "route_unknown")


def test_a_wrong_method_is_a_problem_that_names_the_right_one(http: httpx.Client) -> None:
    response = http.get("/v1/sessions")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert_problem(http.request("DELETE", "/healthz"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("code", "culprit", "reaction", "status", "retry_after"),
    [
        ("record_rejected", "host", "retry", 409, None),
        ("message_malformed", "client", "abort", 400, None),
        ("message_too_large", "client", "abort", 413, None),
        ("hello_rejected", "client", "retry", 409, None),
        ("channel_key_unknown", "client", "retry", 409, None),
        ("environment_unknown", "client", "abort", 400, None),
        ("phase_illegal", "host", "retry", 503, "2"),
        ("code_of_the_future", "kms", "retry", 503, "2"),
        ("code_of_the_future", "enclave", "abort", 502, None),
        ("code_of_the_future", "client", "burn", 409, None),
        ("code_of_the_future", "client", "abort", 400, None),
    ],
)
def test_faults_of_the_enclave_keep_their_code(
    *, http: httpx.Client, code: str, culprit: str, reaction: str, status: int, retry_after: str | None
) -> None:
    response = http.post(RECORDS, content=f"fault:{code}:{culprit}:{reaction}".encode(), headers=OCTETS)
    problem = assert_problem(response, status, code)
    assert (problem["culprit"], problem["reaction"]) == (culprit, reaction)
    assert response.headers.get("retry-after") == retry_after


def test_a_sane_request_id_is_taken_over_and_another_is_not(http: httpx.Client) -> None:
    assert (
        http.get("/healthz", headers={"x-request-id": "trace-1.a_B"}).headers["x-request-id"] == "trace-1.a_B"
    )
    for bad in ["", "a b", "x" * 65, '"}', "é".encode().decode("latin-1")]:
        given = http.get("/healthz", headers=[(b"x-request-id", bad.encode("latin-1"))]).headers[
            "x-request-id"
        ]
        assert re.fullmatch("[0-9a-f]{16}", given)


def test_health_readiness_and_metrics(http: httpx.Client, rig: Rig) -> None:
    assert http.get("/healthz").json() == {"status": "up"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert {"ready": True, "state": "ready", "phase": "ready", "fault": None}.items() <= ready.json().items()
    text = http.get("/metrics").text
    assert 'cosigner_host_enclave_phase{phase="ready"} 1.0' in text
    assert 'cosigner_host_requests_total{route="/healthz",status="200"}' in text
    assert 'cosigner_host_enclave_counter{name="signatures"} 7.0' in text
    assert rig.metric("cosigner_host_enclave_sessions") == 3
    assert rig.metric("cosigner_host_body_bytes") == 0


def test_paths_of_clients_are_no_metric_labels(http: httpx.Client) -> None:
    http.get("/a-path-that-nobody-serves")
    text = http.get("/metrics").text
    assert "nobody-serves" not in text
    assert 'route="unknown",status="404"' in text


def test_neither_bodies_nor_ids_nor_credentials_are_logged(http: httpx.Client, rig: Rig) -> None:
    http.post(RECORDS, content=b"a-very-recognizable-record", headers=OCTETS)
    http.get("/attestation", params={"nonce": "ab" * 16})
    logged = rig.log.getvalue()
    assert "recognizable" not in logged
    assert "0" * 31 + "1" not in logged
    assert "abababab" not in logged
    assert "not-for-logs-secret" not in logged
    assert "AKIAFIRST" not in logged
    assert any(line["route"] == "/v1/sessions/{session_id}/records" for line in rig.events("request"))


def test_an_answer_leaves_the_socket_at_once(rig: Rig) -> None:
    """Nagle's algorithm is off on accepted connections: with it every answer waits for a delayed acknowledgement."""
    with raw_connection(rig) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")

        async def nodelay() -> set[int]:
            open_ones = [o for o in gc.get_objects() if isinstance(o, GuardedProtocol) and o in o.connections]
            return {
                o.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                for o in open_ones
            }

        assert rig.call(nodelay()) == {1}


def test_many_clients_at_once_get_their_own_answers(rig: Rig) -> None:
    with httpx.Client(base_url=rig.url) as client, concurrent.futures.ThreadPoolExecutor(16) as pool:

        def exchange(number: int) -> bool:
            body = f"record {number}".encode()
            return client.post(RECORDS, content=body, headers=OCTETS).content == body[::-1]

        assert all(pool.map(exchange, range(200)))


def test_too_many_requests_at_the_enclave_are_told_to_come_back() -> None:
    held: list[tuple[Any, Any]] = []

    async def hold(fake: FakeEnclave, frame: Any, writer: Any) -> bool:
        if type(frame.body).__name__ != "Record":
            return False
        held.append((frame, writer))
        return True

    fake = FakeEnclave(on_request=hold)
    with running_host(fake, limits={"concurrency": 4}) as rig:
        with (
            httpx.Client(base_url=rig.url, timeout=20) as client,
            concurrent.futures.ThreadPoolExecutor() as pool,
        ):
            waiting = [pool.submit(client.post, RECORDS, content=b"x", headers=OCTETS) for _ in range(4)]
            wait_until(lambda: len(held) == 4)
            refused = client.post(RECORDS, content=b"x", headers=OCTETS)
            assert_problem(refused, 503, "host_busy")
            assert refused.headers["retry-after"] == "1"
            looks = fake.looks
            wait_until(lambda: fake.looks > looks + 2, what="the supervisor's own requests finding room")

            async def release() -> None:
                for frame, writer in held:
                    fake.reply(writer, frame.id, fake.answer(frame))

            rig.call(release())
            assert [future.result().status_code for future in waiting] == [200] * 4


def test_bodies_held_in_memory_are_bounded_together() -> None:
    with running_host(FakeEnclave(), limits={"body_bytes": 1 << 20}) as rig, contextlib.ExitStack() as stack:
        for _ in range(4):
            sock = stack.enter_context(raw_connection(rig))
            sock.sendall(head("content-length: 300000") + bytes(262_000))
        wait_until(lambda: rig.metric("cosigner_host_body_bytes") > 4 * 260_000)
        with httpx.Client(base_url=rig.url) as client:
            assert_problem(client.post(RECORDS, content=bytes(60_000), headers=OCTETS), 503, "host_busy")
        stack.close()
        wait_until(lambda: rig.metric("cosigner_host_body_bytes") == 0)


def test_an_address_that_sends_too_fast_is_limited_but_probes_are_not() -> None:
    with running_host(FakeEnclave(), limits={"requests_per_second": 0.001, "burst": 3}) as rig:
        with httpx.Client(base_url=rig.url) as client:
            statuses = [client.post(RECORDS, content=b"x", headers=OCTETS).status_code for _ in range(4)]
            assert statuses == [200, 200, 200, 429]
            limited = client.post(RECORDS, content=b"x", headers=OCTETS)
            assert_problem(limited, 429, "rate_limited")
            assert limited.headers["retry-after"] == "1"
            assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3


def test_too_many_connections_are_closed() -> None:
    with running_host(FakeEnclave(), limits={"connections": 3}) as rig, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(raw_connection(rig)) for _ in range(6)]
        refused = 0
        for sock in socks:
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                refused += not sock.recv(1)
                continue
            refused += 1
        assert refused >= 3


def test_the_api_also_listens_on_a_unix_socket() -> None:
    with short_folder() as folder:
        with running_host(FakeEnclave(), ready=False, listen=f"unix:{folder}/api.sock") as rig:
            transport = httpx.HTTPTransport(uds=f"{folder}/api.sock")
            with httpx.Client(transport=transport, base_url="http://host") as client:
                assert client.get("/healthz").status_code == 200
            assert rig.url == f"unix:{folder}/api.sock"
        assert not (folder / "api.sock").exists()


@contextlib.contextmanager
def raw_connection(rig: Rig) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", rig.port), timeout=20) as sock:
        yield sock


def head(*headers: str) -> bytes:
    lines = [f"POST {RECORDS} HTTP/1.1", "host: x", "content-type: application/octet-stream", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def receive_all(sock: socket.socket) -> bytes:
    received = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            chunk = sock.recv(65536)
        except ConnectionResetError:
            return received
        if not chunk:
            return received
        received += chunk
    raise AssertionError("the connection stayed open")


def assert_refusal(sock: socket.socket, status: int, code: str) -> None:
    """One whole problem, then the end of the connection."""
    received = receive_all(sock)
    top, _, body = received.partition(b"\r\n\r\n")
    assert top.startswith(f"HTTP/1.1 {status} ".encode()), received[:200]
    assert b"connection: close" in top
    assert b"content-type: application/problem+json" in top
    assert json.loads(body)["code"] == code
