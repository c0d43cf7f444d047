"""Keys fetched over TLS that ends in the enclave: from the issuer's simulator through a tunnel port, and from servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from enclave.authn.jwks_fetching import FRESH_MS, RETRY_MS, KeyFetcher
from enclave.authn.logins import Logins
from enclave.tunnel import Tunnel
from protocol.envelope.address import Address
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from simulator.pki import TlsAuthority
from tests.enclave.authn.tokens import CLAIMS, ISSUER, NOW_MS, key_set, signer, trusted
from tests.support.tunnel_port import TunnelPort

HOST = "issuer.example"
URL = f"https://{HOST}/keys?v=1"


class Server:
    """An HTTPS server of one answer, with a certificate of its own authority.

    :ivar answer: status line, headers and body, as bytes; or ``None`` to close at once.
    :ivar requests: what was asked.
    """

    def __init__(self, state: Path, name: str = HOST) -> None:
        self.authority = TlsAuthority.open(state)
        issued = self.authority.server((name,))
        pem = state / f"{name}.pem"
        pem.write_bytes(issued.key_pem + issued.pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self.answer: bytes | None = None
        self.pause_s = 0.0
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def keys(self, *signers) -> None:
        self.reply(key_set(*signers).encode())

    def reply(self, body: bytes, status: str = "200 OK", headers: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.answer = head.encode() + body

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(raw, server_side=True) as connection:
                    connection.settimeout(5)
                    self.requests.append(connection.recv(65536))
                    for byte in (
                        [self.answer or b""] if not self.pause_s else [bytes([b]) for b in self.answer or b""]
                    ):
                        connection.sendall(byte)
                        time.sleep(self.pause_s)
            except OSError:
                raw.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.close()


@contextmanager
def dialled(server: Server, tmp_path: Path):
    with TunnelPort(str(tmp_path / "tunnel"), server.port) as port:
        yield Tunnel(Address.parse(f"unix:{tmp_path}/tunnel")).dial, port


def issuer(server: Server, **changes):
    fields = {"jwks": "", "url": URL, "ca_pem": server.authority.pem.decode(), "grace_s": 3600}
    return trusted(**{**fields, **changes})


def test_keys_are_fetched_from_the_named_host_and_path_through_the_tunnel(server, tmp_path):
    server.keys(signer("ES256", "two"))
    with dialled(server, tmp_path) as (dial, port):
        keys = asyncio.run(KeyFetcher(issuer(server), dial).current(NOW_MS))
    assert keys.find("two").algorithm == "ES256"
    assert port.destinations == [(HOST, 443)]
    assert server.requests[0].startswith(b"GET /keys?v=1 HTTP/1.1\r\nHost: issuer.example\r\n")


def test_a_url_may_name_a_port(server, tmp_path):
    server.keys(signer("ES256", "two"))
    with dialled(server, tmp_path) as (dial, port):
        asyncio.run(KeyFetcher(issuer(server, url=f"https://{HOST}:8443/k"), dial).current(NOW_MS))
    assert port.destinations == [(HOST, 8443)]


def test_a_login_with_fetched_keys(server, tmp_path):
    server.keys(signer("ES256", "two"))
    with dialled(server, tmp_path) as (dial, _):
        logins = Logins([issuer(server), trusted(issuer="https://pinned.example")], dial)
        token = signer("ES256", "two").token()
        assert asyncio.run(logins.verify(token, now_ms=NOW_MS)).subject == "alice"
        pinned = signer().token({**CLAIMS, "iss": "https://pinned.example"})
        assert asyncio.run(logins.verify(pinned, now_ms=NOW_MS)).issuer == "https://pinned.example"
        with pytest.raises(CosignerError) as caught:
            asyncio.run(logins.verify(signer().token({**CLAIMS, "iss": "https://else"}), now_ms=NOW_MS))
        assert caught.value.code == "issuer_unknown"


def test_pinned_keys_do_not_speak_for_an_issuer_whose_keys_are_fetched(server, tmp_path):
    server.keys(signer("ES256", "two"))
    with dialled(server, tmp_path) as (dial, _):
        pinned = trusted(issuer="https://pinned.example", jwks=key_set(signer("RS256", "one")))
        logins = Logins([issuer(server), pinned], dial)
        theirs = signer("ES256", "two").token({**CLAIMS, "iss": "https://pinned.example"})
        for token in (signer("RS256", "one").token(), theirs):
            with pytest.raises(CosignerError) as caught:
                asyncio.run(logins.verify(token, now_ms=NOW_MS))
            assert caught.value.code == "jwt_invalid"


# --- rotation and rate -----------------------------------------------------------------------------------------------------


def test_an_unknown_kid_fetches_the_set_again_but_not_twice_in_half_a_minute(server, tmp_path):
    async def scenario(dial):
        fetcher = KeyFetcher(issuer(server), dial)
        server.keys(signer("ES256", "old"))
        await fetcher.current(NOW_MS, kid="old")
        server.keys(signer("ES256", "old"), signer("ES256", "new"))
        soon = await fetcher.current(NOW_MS + RETRY_MS - 1, kid="new")
        assert soon.find("new") is None
        assert len(server.requests) == 1
        later = await fetcher.current(NOW_MS + RETRY_MS, kid="new")
        assert later.find("new") is not None
        assert len(server.requests) == 2
        for number in range(50):  # made-up names cannot drive requests
            await fetcher.current(NOW_MS + RETRY_MS + 1, kid=f"made-up-{number}")
        assert len(server.requests) == 2

    with dialled(server, tmp_path) as (dial, _):
        asyncio.run(scenario(dial))


def test_a_known_kid_fetches_nothing_while_the_set_is_fresh(server, tmp_path):
    async def scenario(dial):
        fetcher = KeyFetcher(issuer(server), dial)
        server.keys(signer("ES256", "old"))
        await fetcher.current(NOW_MS, kid="old")
        await fetcher.current(NOW_MS + FRESH_MS - 1, kid="old")
        assert len(server.requests) == 1
        server.keys(signer("ES256", "new"))
        keys = await fetcher.current(NOW_MS + FRESH_MS, kid="old")
        assert keys.find("old") is None  # what the issuer takes away is gone
        assert len(server.requests) == 2

    with dialled(server, tmp_path) as (dial, _):
        asyncio.run(scenario(dial))


def test_many_at_once_fetch_once(server, tmp_path):
    async def scenario(dial):
        fetcher = KeyFetcher(issuer(server), dial)
        await asyncio.gather(*(fetcher.current(NOW_MS, kid="two") for _ in range(20)))

    server.keys(signer("ES256", "two"))
    with dialled(server, tmp_path) as (dial, _):
        asyncio.run(scenario(dial))
    assert len(server.requests) == 1


def test_an_outage_is_bridged_for_the_grace_and_no_longer(server, tmp_path):
    async def scenario(dial):
        fetcher = KeyFetcher(issuer(server, grace_s=3600), dial)
        server.keys(signer("ES256", "two"))
        await fetcher.current(NOW_MS)
        server.reply(b"", "503 Service Unavailable")
        end = NOW_MS + FRESH_MS + 3_600_000
        assert (await fetcher.current(end, kid="two")).find("two") is not None
        assert len(server.requests) == 2  # it was tried
        with pytest.raises(CosignerError) as caught:
            await fetcher.current(end + 1, kid="two")
        assert caught.value.code == "issuer_unavailable"
        assert (caught.value.culprit, caught.value.reaction) == (Culprit.NETWORK, Reaction.RETRY)
        server.keys(signer("ES256", "two"))
        assert (await fetcher.current(end + RETRY_MS)).find("two") is not None

    with dialled(server, tmp_path) as (dial, _):
        asyncio.run(scenario(dial))


# --- what is not accepted --------------------------------------------------------------------------------------------------


def unavailable(server, tmp_path, **changes):
    async def scenario(dial):
        fetcher = KeyFetcher(issuer(server, **changes), dial)
        with pytest.raises(CosignerError) as caught:
            await fetcher.current(NOW_MS)
        assert caught.value.code == "issuer_unavailable"

    with dialled(server, tmp_path) as (dial, _):
        asyncio.run(scenario(dial))


def test_another_authoritys_certificate_is_refused(server, tmp_path):
    server.keys(signer("ES256", "two"))
    (tmp_path / "foreign").mkdir()
    foreign = TlsAuthority.open(tmp_path / "foreign").pem.decode()
    unavailable(server, tmp_path, ca_pem=foreign)
    assert not server.requests


def test_the_public_authorities_do_not_vouch_for_a_private_one(server, tmp_path):
    server.keys(signer("ES256", "two"))
    unavailable(server, tmp_path, ca_pem="")
    assert not server.requests


def test_another_hosts_certificate_is_refused(server, tmp_path):
    server.keys(signer("ES256", "two"))
    unavailable(server, tmp_path, url="https://other.example/keys")
    assert not server.requests


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary", "204 No Content", "404 Not Found", "500 No"]
)
def test_redirects_and_refusals_are_not_followed(server, tmp_path, status):
    server.reply(key_set(signer("ES256", "two")).encode(), status, "Location: https://evil.example/\r\n")
    unavailable(server, tmp_path)
    assert len(server.requests) == 1


def test_an_endless_answer_is_cut_off(server, tmp_path):
    server.answer = b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (1 << 20)
    unavailable(server, tmp_path)


def test_an_answer_of_one_byte_at_a_time_is_ended_by_the_deadline(server, tmp_path):
    server.reply(b" " * 10_000)
    server.pause_s = 0.05  # each byte comes well within a socket's timeout; all of them would take minutes

    async def scenario(dial):
        fetcher = KeyFetcher(issuer(server), dial, timeout_s=1)
        with pytest.raises(CosignerError):
            await asyncio.wait_for(fetcher.current(NOW_MS), 60)

    with dialled(server, tmp_path) as (dial, _):
        asyncio.run(scenario(dial))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
    ],
)
def test_an_answer_that_is_none_is_refused(server, tmp_path, answer):
    server.answer = answer
    unavailable(server, tmp_path)


def test_half_of_a_set_is_refused(server, tmp_path):
    body = key_set(signer("ES256", "two"), signer("ES256", "three")).encode()
    server.answer = b"HTTP/1.1 200 OK\r\n\r\n" + body[: len(body) // 2]
    unavailable(server, tmp_path)


def test_a_set_with_a_weak_or_private_key_keeps_the_one_before(server, tmp_path):
    async def scenario(dial):
        fetcher = KeyFetcher(issuer(server), dial)
        server.keys(signer("ES256", "two"))
        await fetcher.current(NOW_MS)
        server.reply(json.dumps({"keys": [{**signer("ES256", "evil").jwk, "d": "AQ"}]}).encode())
        keys = await fetcher.current(NOW_MS + FRESH_MS, kid="evil")
        assert keys.find("evil") is None
        assert keys.find("two") is not None

    with dialled(server, tmp_path) as (dial, _):
        asyncio.run(scenario(dial))


def test_a_host_without_a_tunnel_is_an_outage(server):
    def dial(*_):
        raise ConnectionRefusedError

    with pytest.raises(CosignerError) as caught:
        asyncio.run(KeyFetcher(issuer(server), dial).current(NOW_MS))
    assert caught.value.code == "issuer_unavailable"


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "https://",
        "https://user:word@issuer.example/",
        "https://@issuer.example/",
        "https://issuer.example/#keys",
        "https://issuer.example:port/",
        "https://issuer.example:0/",
        "https://issuer.example:99999/",
        "https://Issuer_1.example/",
        "https://[::1]/",
    ],
)
def test_a_url_that_cannot_be_used_refuses_the_manifest(server, url):
    with pytest.raises(CosignerError) as caught:
        KeyFetcher(issuer(server, url=url), lambda *_: None)
    assert caught.value.code == "manifest_invalid"


def test_authorities_that_are_none_refuse_the_manifest(server):
    with pytest.raises(CosignerError) as caught:
        KeyFetcher(issuer(server, ca_pem="-----BEGIN CERTIFICATE-----"), lambda *_: None)
    assert caught.value.code == "manifest_invalid"


def test_nothing_of_an_answer_is_logged(server, tmp_path, capsys):
    server.reply(b"secret words")
    unavailable(server, tmp_path)
    logged = capsys.readouterr().err
    assert "issuer_keys_not_fetched" in logged
    assert "secret" not in logged
    assert ISSUER not in logged
