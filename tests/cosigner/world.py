"""A client's world in one process: the enclave's own parts over a fake NSM, and between them a host that does what a test tells it.

The client speaks HTTP through :class:`httpx.MockTransport`, so that everything of ``cosigner`` runs as it does outside.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from attestation import TrustPolicy
from cosigner.client import AsyncClient, ClientOptions
from cosigner.config import ClientConfig
from cosigner.errors import AttestationRefused
from cosigner.identity import MemoryKeyring
from cosigner.session_keys import RegisteredKey, SessionKey, now_ms
from cosigner.store import ShareStore
from cosigner.transport import Transport
from enclave.app import assemble
from enclave.credentials import Credentials
from enclave.key_policy import Measurement, Verdict
from enclave.manifest import MANIFEST_PCR, KmsEndpoint, Manifest, expected_pcr
from enclave.server import Server
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from protocol.envelope.messages import (
    Attest,
    Attested,
    AwsCredentials,
    Done,
    Fault,
    Found,
    LinkReply,
    LinkReplyFrame,
    LinkRequest,
    LinkRequestFrame,
    OpenSession,
    OutboxEvent,
    Provision,
    Record,
    RecordReply,
    SessionOpened,
)
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki
from tests.support import world as other
from tests.support.manifests import environment, token
from threshold import SealingKey

ENVIRONMENT = "sandbox"
KEY_ARN = "arn:aws:kms:sim-region-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
MEASUREMENTS = {0: b"\x01" * 48, 1: b"\x02" * 48, 2: b"\x03" * 48}
MANIFEST = Manifest(
    version=1,
    environments=[
        environment(ENVIRONMENT, kms_key_arn=KEY_ARN),
    ],
    kms=KmsEndpoint(region="sim-region-1", host="kms.test", port=443, ca_pem=""),
).encode()

Forward = Callable[[httpx.Request], Awaitable[httpx.Response]]
Rule = Callable[[httpx.Request, Forward], Awaitable[httpx.Response]]
T = TypeVar("T")


class MemoryStorage(other.MemoryStorage):
    """The host's storage, honest, with a hook that runs after a write of a wallet's share.

    :ivar records: of wallets; what else the enclave keeps (data key, users, owners) is beside them, out of the tests' way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rest = other.MemoryStorage()

    async def get(self, key: str) -> Found | None:
        return await (super() if _is_share(key) else self.rest).get(key)

    async def put(
        self, key: str, value: bytes, *, expected: int, epoch: int, event: OutboxEvent | None = None
    ) -> None:
        place = super() if _is_share(key) else self.rest
        await place.put(key, value, expected=expected, epoch=epoch, event=event)


def _is_share(key: str) -> bool:
    return key.split("/")[2] == "wallets"


@dataclass
class Seen:
    """What went over the wire, as the host saw it.

    :ivar farewells: records that came after the test's own operation, when the client closes its session.
    """

    attestations: int = 0
    hellos: list[bytes] = field(default_factory=list)
    records: list[tuple[str, bytes]] = field(default_factory=list)
    farewells: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def sessions(self) -> list[str]:
        """The session ids of all records, each once, in order."""
        return list(dict.fromkeys(session for session, _ in self.records))


class OneDataKey:
    """KMS as far as a client's world needs it: one data key, released to whoever asks."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def judge_key(self, key_arn: str, *, ours: Measurement, accept_editable: bool) -> Verdict:
        return Verdict.EDITABLE if accept_editable else Verdict.PINNED

    def generate_data_key(self, key_arn: str, context: dict[str, str]) -> tuple[bytes, bytearray]:
        return b"ciphertext", bytearray(self._key)

    def decrypt_data_key(self, key_arn: str, ciphertext: bytes, context: dict[str, str]) -> bytearray:
        return bytearray(self._key)


async def honest(request: httpx.Request, forward: Forward) -> httpx.Response:
    return await forward(request)


class World:
    """An enclave and its host.

    :ivar rule: what the host does with a request; :func:`honest` by default.
    :ivar keyring: holds the session key of a user who has logged in already, unless ``user`` is ``None``: every session is opened in one
        round trip.
    :ivar accept_editable_key_policy: of the clients' configuration.
    """

    def __init__(
        self,
        *,
        measurements: dict[int, bytes] | None = None,
        clock: Any = None,
        user: str | None = "alice",
        manifest: bytes = MANIFEST,
    ) -> None:
        self.pki = NitroPki.ephemeral()
        self.storage = MemoryStorage()
        self.seen = Seen()
        self.rule: Rule = honest
        self.accept_editable_key_policy = False
        self._measurements = measurements or MEASUREMENTS
        self._clock = {} if clock is None else {"clock": clock}
        self._data_key = os.urandom(32)
        self._server: Server | None = None
        self._leaving = False
        self._manifest = manifest
        self._user = user
        self.keyring = MemoryKeyring()

    def restart(self) -> None:
        """The enclave loses its memory; storage and KMS stay."""
        self._server = None

    async def ask(self, request: LinkRequest) -> LinkReply:
        """What goes over the link, through its real encoding."""
        server = self._server or await self._boot()
        frame = cbor.decode(
            cbor.encode(LinkRequestFrame(id=1, body=request)), LinkRequestFrame, culprit=Culprit.HOST
        )
        reply = LinkReplyFrame(id=1, body=await server.handle(frame.body))
        return cbor.decode(cbor.encode(reply), LinkReplyFrame, culprit=Culprit.ENCLAVE).body

    async def _boot(self) -> Server:
        nsm = FakeNsm(self.pki, measurements=self._measurements, **self._clock)

        async def connect(_: Manifest) -> OneDataKey:
            return OneDataKey(self._data_key)

        self._server = assemble(
            nsm, self.storage, credentials=Credentials(), connect=connect, dial=other.nowhere
        ).server
        credentials = AwsCredentials(access_key_id="A", secret_access_key="S", session_token="")
        assert await self.ask(Provision(self._manifest, credentials)) == Done()
        return self._server

    # --- the host ------------------------------------------------------------------------------------------------------------

    def transport(self) -> Transport:
        """A client's way to this host."""

        async def handle(request: httpx.Request) -> httpx.Response:
            return streamed(await self.rule(request, self._forward))

        http = httpx.AsyncClient(base_url="http://host.test", transport=httpx.MockTransport(handle))
        return Transport("http://host.test", http=http)

    async def _forward(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.strip("/").split("/")
        match request.method, *path:
            case "GET", "attestation":
                self.seen.attestations += 1
                reply = await self.ask(Attest(bytes.fromhex(request.url.params["nonce"])))
            case "POST", "v1", "sessions":
                self.seen.hellos.append(request.content)
                reply = await self.ask(OpenSession(request.content))
            case "POST", "v1", "sessions", session_id, "records":
                seen = self.seen.farewells if self._leaving else self.seen.records
                seen.append((session_id, request.content))
                reply = await self.ask(Record(bytes.fromhex(session_id), request.content))
            case _:
                raise AssertionError(f"no such route: {request.method} {request.url}")
        return as_http(reply)

    # --- the client ----------------------------------------------------------------------------------------------------------

    def config(self, **changes: Any) -> ClientConfig:
        pcrs = {**MEASUREMENTS, MANIFEST_PCR: expected_pcr(self._manifest)}
        policy = {
            "roots": frozenset({self.pki.root_sha256}),
            "pcrs": {index: frozenset({value}) for index, value in pcrs.items()},
        }
        return ClientConfig(
            "http://host.test",
            ENVIRONMENT,
            TrustPolicy(**(policy | changes)),
            accept_editable_key_policy=self.accept_editable_key_policy,
        )

    def client(
        self, store: ShareStore | None = None, *, options: ClientOptions | None = None, **changes: Any
    ) -> AsyncClient:
        defaults: ClientOptions = {"keyring": self.keyring, "transport": self.transport()}
        return AsyncClient(self.config(**changes), store, **{**defaults, **(options or {})})

    async def log_in(self) -> None:
        """The user's session key is registered, and put into the keyring; not seen by the host that tests look at."""
        if self._user is None or self.keyring.session_key(ENVIRONMENT, None) is not None:
            return
        unseen, rule, editable = self.seen, self.rule, self.accept_editable_key_policy
        self.seen, self.rule, self.accept_editable_key_policy = Seen(), honest, True
        pcrs = {**self._measurements, MANIFEST_PCR: expected_pcr(self._manifest)}
        try:
            async with self.client(
                pcrs={index: frozenset({value}) for index, value in pcrs.items()}
            ) as client:
                await client.login(token(self._user))
        except AttestationRefused:  # nobody can log in there; clients find that out
            nobody = RegisteredKey(str(uuid.uuid4()), SessionKey.generate(), now_ms(), now_ms() + 3_600_000)
            self.keyring.save_session_key(ENVIRONMENT, nobody)
        finally:
            self.seen, self.rule, self.accept_editable_key_policy = unseen, rule, editable

    def run(
        self,
        operation: Callable[[AsyncClient], Awaitable[T]],
        store: ShareStore | None = None,
        *,
        options: ClientOptions | None = None,
        **changes: Any,
    ) -> T:
        """Run an operation with a client of its own, which remembers nothing of earlier ones but the session key."""

        async def scenario() -> T:
            await self.log_in()
            async with self.client(store, options=options, **changes) as client:
                try:
                    return await operation(client)
                finally:
                    self._leaving = True

        self._leaving = False
        return asyncio.run(scenario())

    @contextmanager
    def misbehaving(self, rule: Rule) -> Iterator[None]:
        """The host follows ``rule`` for a while."""
        self.rule, before = rule, self.rule
        try:
            yield
        finally:
            self.rule = before


class Chunks(httpx.AsyncByteStream):
    """A body that arrives in pieces."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def streamed(response: httpx.Response) -> httpx.Response:
    """The same answer, not yet read, as it is when it comes from a socket."""
    if isinstance(response.stream, Chunks):
        return response
    return httpx.Response(response.status_code, headers=response.headers, stream=Chunks([response.content]))


def as_http(reply: LinkReply) -> httpx.Response:
    match reply:
        case Attested(document=document, channel_key=key):
            return attestation_body(document, key)
        case SessionOpened(hello=hello):
            return httpx.Response(200, content=hello)
        case RecordReply(record=record):
            return httpx.Response(200, content=record)
        case Fault(code=code, message=message, culprit=culprit, reaction=reaction):
            return problem(503, code, detail=message, culprit=culprit.value, reaction=reaction.value)
    raise AssertionError(reply)


def attestation_body(document: bytes, channel_key: bytes) -> httpx.Response:
    encoded = {
        "document": base64.b64encode(document).decode(),
        "channelKey": base64.b64encode(channel_key).decode(),
    }
    return httpx.Response(200, json=encoded)


def problem(status: int, code: str, **more: str) -> httpx.Response:
    body = json.dumps({"type": "about:blank", "status": status, "code": code, **more})
    return httpx.Response(status, content=body, headers={"content-type": "application/problem+json"})


def record_number(request: httpx.Request) -> int | None:
    """Which record of its session a request carries: 0 is the first; ``None`` for other requests."""
    return int.from_bytes(request.content[:8], "big") if request.url.path.endswith("/records") else None


def open_store(directory: Path, key: bytes = b"k" * 32) -> ShareStore:
    """A store under a fixed key rather than a passphrase, which takes a tenth of a second each time."""
    return ShareStore(directory, SealingKey.from_data_key(key))
