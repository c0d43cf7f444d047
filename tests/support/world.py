"""An enclave in this process, behind a host that a test can turn hostile, and clients that know nothing of it.

Everything between client and enclave is real: attestation, channel, ceremonies, sealing. Replaced are the sockets (``tests/e2e`` has
those), and KMS (``tests/enclave/test_kms.py`` and ``test_boot.py`` have it).
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attestation import TrustPolicy
from cosigner import AsyncClient, ClientConfig, ShareStore
from cosigner.errors import HostError
from cosigner.evidence import Evidence
from cosigner.transport import Traffic
from enclave.app import assemble
from enclave.credentials import Credentials
from enclave.key_policy import Measurement, Verdict
from enclave.manifest import MANIFEST_PCR, KmsEndpoint, Manifest, expected_pcr
from enclave.storage import StorageConflictError
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from protocol.envelope.limits import MAX_LOG_HEADS
from protocol.envelope.messages import (
    Attest,
    Attested,
    AwsCredentials,
    ChainHead,
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
    SignedEntry,
)
from protocol.envelope.segments import entry_hash
from simulator.measure import measurements
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki
from tests.support.manifests import environment, token

ENVIRONMENT = "sandbox"
OTHER_ENVIRONMENT = "live"
PASSPHRASE = b"correct horse battery staple"
PKI = NitroPki.ephemeral()
MEASUREMENTS = measurements()
MANIFEST = Manifest(
    version=1,
    environments=[
        environment(name, kms_key_arn=f"arn:aws:kms:us-east-1:111122223333:key/{name}")
        for name in (ENVIRONMENT, OTHER_ENVIRONMENT)
    ],
    kms=KmsEndpoint(region="us-east-1", host="kms.us-east-1.amazonaws.com", port=443, ca_pem=""),
)
CREDENTIALS = AwsCredentials(access_key_id="ASIATEST", secret_access_key="not-a-secret", session_token="")
POLICY = TrustPolicy(
    roots=frozenset({PKI.root_sha256}),
    pcrs={
        index: frozenset({value})
        for index, value in {**MEASUREMENTS, MANIFEST_PCR: expected_pcr(MANIFEST.encode())}.items()
    },
)


class MemoryStorage:
    """The host's storage, with what a host could do to it.

    :ivar records: key to (epoch, value).
    :ivar history: every (key, epoch, value) ever put.
    :ivar lies: answers to give instead of the truth.
    :ivar before_put: called before a put takes effect; may raise.
    :ivar after_put: called after it took effect; may raise (the answer is lost).
    :ivar log: what was appended to the logs of decisions, by chain.
    :ivar before_append: called before entries are appended; may raise.
    :ivar after_append: called after they were; may raise (the answer is lost).
    """

    def __init__(self) -> None:
        self.records: dict[str, tuple[int, bytes]] = {}
        self.history: list[tuple[str, int, bytes]] = []
        self.events: dict[str, OutboxEvent] = {}
        self.lies: dict[str, Found | None] = {}
        self.before_put: Callable[[str], None] = lambda key: None
        self.after_put: Callable[[str], None] = lambda key: None
        self.log: dict[bytes, list[SignedEntry]] = {}
        self.before_append: Callable[[], None] = lambda: None
        self.after_append: Callable[[], None] = lambda: None

    async def get(self, key: str) -> Found | None:
        await asyncio.sleep(0)
        if key in self.lies:
            return self.lies[key]
        record = self.records.get(key)
        return None if record is None else Found(epoch=record[0], value=record[1])

    async def put(
        self, key: str, value: bytes, *, expected: int, epoch: int, event: OutboxEvent | None = None
    ) -> None:
        await asyncio.sleep(0)
        self.before_put(key)
        current = self.records.get(key, (0, b""))[0]
        if current != expected:
            raise StorageConflictError(current)
        self.records[key] = (epoch, value)
        self.history.append((key, epoch, value))
        if event is not None:
            self.events.setdefault(event.event_id, event)
        self.after_put(key)

    async def append_log(self, chain: bytes, first: int, entries: Sequence[SignedEntry]) -> None:
        await asyncio.sleep(0)
        self.before_append()
        kept = self.log.setdefault(chain, [])
        assert first <= len(kept)
        kept[first:] = entries
        self.after_append()

    async def chain_heads(self, chain: bytes) -> list[ChainHead]:
        return [
            ChainHead(
                chain=other,
                sequence=len(entries) - 1,
                hash=entry_hash(entries[-1].entry),
                signature=entries[-1].signature,
            )
            for other, entries in self.log.items()
            if other != chain
        ][-MAX_LOG_HEADS:]


class MemoryKms:
    """Wraps data keys under a table of its own; stands for AWS KMS where a test is not about it."""

    def __init__(self) -> None:
        self._keys: dict[bytes, tuple[str, dict[str, str], bytes]] = {}
        self.verdict = Verdict.PINNED

    def judge_key(self, key_arn: str, *, ours: Measurement, accept_editable: bool) -> Verdict:
        return self.verdict

    def generate_data_key(self, key_arn: str, context: dict[str, str]) -> tuple[bytes, bytearray]:
        ciphertext, key = os.urandom(48), os.urandom(32)
        self._keys[ciphertext] = (key_arn, dict(context), key)
        return ciphertext, bytearray(key)

    def decrypt_data_key(self, key_arn: str, ciphertext: bytes, context: dict[str, str]) -> bytearray:
        arn, bound, key = self._keys[ciphertext]
        assert (arn, bound) == (key_arn, context)
        return bytearray(key)


class EnclaveInProcess:
    """One boot of an enclave. Requests go in and out as encoded frames, as over a link."""

    def __init__(self, storage: MemoryStorage, kms: MemoryKms) -> None:
        self.nsm = FakeNsm(PKI, measurements=MEASUREMENTS)

        async def connect(_: Manifest) -> MemoryKms:
            return kms

        rooms = assemble(self.nsm, storage, credentials=Credentials(), connect=connect, dial=nowhere)
        self.server, self.boot = rooms.server, rooms.boot
        self.sessions, self.environments = rooms.sessions, rooms.environments
        self.clock = rooms.clock

    async def ask(self, request: LinkRequest) -> LinkReply:
        raw = cbor.encode(LinkRequestFrame(id=7, body=request))
        frame = cbor.decode(raw, LinkRequestFrame, culprit=Culprit.HOST)
        reply = cbor.encode(LinkReplyFrame(id=frame.id, body=await self.server.handle(frame.body)))
        return cbor.decode(reply, LinkReplyFrame, culprit=Culprit.ENCLAVE).body


def nowhere(host: str, port: int) -> socket.socket:
    """The issuers' keys stand in the manifest; nobody is dialed."""
    raise OSError(host, port)


Tamper = Callable[[bytes], bytes]


def untouched(data: bytes) -> bytes:
    return data


@dataclass
class Host:
    """The host between clients and the enclave, with a hand on everything it forwards.

    :ivar on_record, on_reply, on_hello, on_answer, on_document, on_channel_key: change bytes on their way.
    :ivar seen: every record and reply forwarded, as (session id, record, reply).
    """

    storage: MemoryStorage = field(default_factory=MemoryStorage)
    kms: MemoryKms = field(default_factory=MemoryKms)
    on_record: Tamper = untouched
    on_reply: Tamper = untouched
    on_hello: Tamper = untouched
    on_answer: Tamper = untouched
    on_document: Tamper = untouched
    on_channel_key: Tamper = untouched
    seen: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    enclave: EnclaveInProcess | None = None
    manifest: Manifest = MANIFEST

    async def start_enclave(self) -> EnclaveInProcess:
        """Boot an enclave (again); the one before is gone with all its memory."""
        self.enclave = EnclaveInProcess(self.storage, self.kms)
        await self.ask(Provision(manifest=self.manifest.encode(), credentials=CREDENTIALS))
        return self.enclave

    async def ask(self, request: LinkRequest) -> LinkReply:
        assert self.enclave is not None
        reply = await self.enclave.ask(request)
        if isinstance(reply, Fault):
            raise HostError(reply.code, reply.message, culprit=reply.culprit, reaction=reply.reaction)
        return reply

    async def record(self, session_id: bytes, record: bytes) -> bytes:
        reply = await self.ask(Record(session_id=session_id, record=self.on_record(record)))
        assert isinstance(reply, RecordReply)
        self.seen.append((session_id, record, reply.record))
        return self.on_reply(reply.record)


class ThroughHost:
    """What :class:`cosigner.transport.Transport` does, without HTTP."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.traffic = Traffic()

    async def __aexit__(self, *_: object) -> None:
        return None

    async def attestation(self, nonce: bytes) -> tuple[bytes, bytes]:
        reply = await self._host.ask(Attest(nonce=nonce))
        assert isinstance(reply, Attested)
        return self._host.on_document(reply.document), self._host.on_channel_key(reply.channel_key)

    async def open_session(self, hello: bytes) -> bytes:
        reply = await self._host.ask(OpenSession(hello=self._host.on_hello(hello)))
        assert isinstance(reply, SessionOpened)
        return self._host.on_answer(reply.hello)

    async def record(self, session_id: bytes, record: bytes) -> bytes:
        return await self._host.record(session_id, record)


def client(
    host: Host,
    directory: Path,
    *,
    policy: TrustPolicy = POLICY,
    environment: str = ENVIRONMENT,
    user: str | None = "alice",
    evidence: Evidence | None = None,
) -> AsyncClient:
    """A client with a share store in ``directory``, which logs in as ``user`` by itself; ``None``: not at all."""
    store = (
        ShareStore.unlock(directory, PASSPHRASE)
        if ShareStore.exists(directory)
        else ShareStore.create(directory, PASSPHRASE)
    )
    config = ClientConfig(api_url="http://host.invalid", environment=environment, policy=policy)
    provider = None if user is None else functools.partial(token, user)
    return AsyncClient(
        config,
        store,
        token_provider=provider,
        evidence=evidence,
        transport=ThroughHost(host),  # type: ignore[arg-type]
    )


def solana_message(address: str, lamports: int = 1) -> bytes:
    """A transfer from ``address`` to a fixed recipient, built by solders."""
    from solders.hash import Hash
    from solders.message import Message
    from solders.pubkey import Pubkey
    from solders.system_program import TransferParams, transfer

    payer = Pubkey.from_string(address)
    instruction = transfer(
        TransferParams(from_pubkey=payer, to_pubkey=Pubkey(bytes(range(32))), lamports=lamports)
    )
    return bytes(Message.new_with_blockhash([instruction], payer, Hash(bytes(32))))


def bitcoin_psbt(address: str, inputs: int = 1) -> bytes:
    """A spend of ``inputs`` outputs of ``address``, built by embit."""
    from embit.psbt import PSBT
    from embit.script import Script, address_to_scriptpubkey
    from embit.transaction import Transaction, TransactionInput, TransactionOutput

    ours = address_to_scriptpubkey(address)
    psbt = PSBT(
        Transaction(
            vin=[TransactionInput(bytes([index + 1]) * 32, index) for index in range(inputs)],
            vout=[TransactionOutput(5_000 * inputs, Script(b"\x00\x14" + bytes(20)))],
        )
    )
    for entry in psbt.inputs:
        entry.witness_utxo = TransactionOutput(6_000, ours)
    return psbt.serialize()


def verify_solana(message: bytes, signature: bytes, address: str) -> None:
    """By solders."""
    from solders.pubkey import Pubkey
    from solders.signature import Signature

    assert Signature.from_bytes(signature).verify(Pubkey.from_string(address), message)


def verify_bitcoin(psbt: bytes, transaction: bytes, address: str) -> None:
    """Every input, hashed by embit and verified by coincurve."""
    from coincurve import PublicKeyXOnly
    from embit.psbt import PSBT
    from embit.script import address_to_scriptpubkey
    from embit.transaction import Transaction

    ours = address_to_scriptpubkey(address)
    unsigned, final = PSBT.parse(psbt), Transaction.parse(transaction)
    values = [entry.witness_utxo.value for entry in unsigned.inputs]
    for index, spent in enumerate(final.vin):
        digest = unsigned.tx.sighash_taproot(index, script_pubkeys=[ours] * len(values), values=values)
        (signature,) = spent.witness.items
        assert PublicKeyXOnly(ours.data[2:]).verify(signature, digest)


def run(scenario: Callable[[], Awaitable[object]]) -> None:
    """Run an asynchronous scenario."""

    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(main())
