"""The enclave's door: frames from the host in, faults and replies out. Nothing that arrives here is trusted."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from protocol.envelope import cbor, frames
from protocol.envelope.errors import Culprit, ProtocolError, Reaction
from protocol.envelope.messages import (
    Attest,
    Done,
    Fault,
    LinkReply,
    LinkReplyFrame,
    LinkRequest,
    LinkRequestFrame,
    OpenSession,
    Provision,
    Record,
    RecordReply,
    SessionOpened,
    Status,
    StatusReply,
    UpdateCredentials,
)
from protocol.messages import (
    Answer,
    BeginDkg,
    Call,
    Close,
    FinishDkg,
    GetWallet,
    Reply,
    Request,
    Sign,
    SignEcdsa,
)
from threshold import ThresholdError, ecdsa_setup_respond

from . import faults, log, signing, wallets
from .burns import FAILED_CHECK, Burns
from .sessions import session_gone
from .work import compute

if TYPE_CHECKING:
    from .boot import Boot
    from .credentials import Credentials
    from .environments import Environments
    from .identity import Identity
    from .sessions import Session, Sessions
    from .vault import Vault

MAX_IN_FLIGHT: Final = 512  # requests of one host connection that may be under way at once


class Server:
    """Answers link requests; one instance for each enclave."""

    def __init__(
        self,
        *,
        boot: Boot,
        identity: Identity,
        sessions: Sessions,
        credentials: Credentials,
        environments: Environments,
    ) -> None:
        self._boot = boot
        self._identity = identity
        self._sessions = sessions
        self._credentials = credentials
        self._environments = environments
        self._counters = {
            "records": 0,
            "refused": 0,
            "sessions_opened": 0,
            "wallets_created": 0,
            "signed": 0,
            "burned": 0,
        }
        self._burns = Burns()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one host connection until it ends. A frame that does not parse ends it: the stream cannot be trusted to be in step."""
        slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while (raw := await frames.read(reader, culprit=Culprit.HOST)) is not None:
                frame = cbor.decode(raw, LinkRequestFrame, culprit=Culprit.HOST)
                await slots.acquire()
                task = asyncio.create_task(self._reply(frame, writer, slots))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except ProtocolError as error:
            log.event("link_refused", code=error.code)
        except OSError:
            log.event("link_lost")
        finally:
            if tasks:
                await asyncio.wait(tasks)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _reply(
        self, frame: LinkRequestFrame, writer: asyncio.StreamWriter, slots: asyncio.Semaphore
    ) -> None:
        try:
            reply = await self.handle(frame.body)
            if not writer.is_closing():
                writer.write(frames.pack(cbor.encode(LinkReplyFrame(id=frame.id, body=reply))))
                await writer.drain()
        except OSError:
            log.event("link_lost")
        finally:
            slots.release()

    async def handle(self, request: LinkRequest) -> LinkReply:
        """Carry out one link request; every error becomes a :class:`Fault`."""
        try:
            self._boot.require_legal(request)
            return await self._dispatch(request)
        except Exception as error:  # noqa: BLE001  (the edge: whatever happened, the host gets a stable code and nothing else)
            self._counters["refused"] += 1
            return faults.translate(error)

    async def _dispatch(self, request: LinkRequest) -> LinkReply:
        match request:
            case Record(session_id=session_id, record=record):
                return RecordReply(await self._record(self._sessions.get(session_id), record))
            case Attest(nonce=nonce):
                return await self._identity.attest(nonce)
            case OpenSession(hello=hello):
                return await self._open_session(hello)
            case Provision(manifest=manifest, credentials=credentials):
                self._credentials.update(credentials)
                await self._boot.provision(manifest)
                return Done()
            case UpdateCredentials(credentials=credentials):
                self._credentials.update(credentials)
                return Done()
            case Status():
                return StatusReply(
                    phase=self._boot.phase.value,
                    reason=self._boot.reason[:1024],
                    sessions=len(self._sessions),
                    counters=dict(self._counters),
                )

    async def _open_session(self, hello: bytes) -> SessionOpened:
        received = self._identity.key_for(hello).open_hello(hello)
        self._environments.vault(received.environment)
        offered = received.ecdsa_setup
        ecdsa = None if offered is None else await compute(ecdsa_setup_respond, offered)
        session, answer = self._sessions.open(received, ecdsa)
        self._counters["sessions_opened"] += 1
        return SessionOpened(session_id=session.channel.session_id, hello=answer)

    async def _record(self, session: Session, record: bytes) -> bytes:
        """Open a record, carry its request out, seal the reply. A record that does not open changes nothing."""
        async with session.lock:
            if session.closed:
                raise session_gone()
            plaintext = session.channel.open(record)
            self._counters["records"] += 1
            try:
                call = cbor.decode(plaintext, Call, culprit=Culprit.CLIENT)
                reply = await self._carry_out(session, call.request)
            except Exception as error:  # noqa: BLE001  (the edge of the channel: the client gets a sealed fault)
                self._counters["refused"] += 1
                reply = faults.translate(error)
            if reply_burns(reply):
                # Before any answer leaves: the transfers are gone, and so is the session (signing.md §2).
                self._sessions.close(session)
                raise session_gone()
            return session.channel.seal(cbor.encode(Answer(reply)))

    async def _carry_out(self, session: Session, request: Request) -> Reply:
        vault = self._environments.vault(session.environment)
        match request:
            case Sign():
                signed = await signing.sign(vault, request)
                self._counters["signed"] += len(signed.shares)
                return signed
            case SignEcdsa():
                return await self._sign_ecdsa(session, vault, request)
            case BeginDkg():
                return await wallets.begin_dkg(session, request)
            case FinishDkg():
                reply = await wallets.finish_dkg(session, vault, request)
                self._counters["wallets_created"] += 1
                return reply
            case GetWallet():
                return await wallets.get_wallet(vault, request)
            case Close():
                self._sessions.close(session)
                return Done()

    async def _sign_ecdsa(self, session: Session, vault: Vault, request: SignEcdsa) -> Reply:
        try:
            signed = await signing.sign_ecdsa(session, vault, self._burns, request)
        except ThresholdError as error:
            if error.code == FAILED_CHECK:
                self._counters["burned"] += 1
                log.event("session_burned", code=error.code, environment=session.environment)
            raise
        self._counters["signed"] += 1
        return signed


def reply_burns(reply: Reply) -> bool:
    """Whether a reply reports a failure after which the session must not answer any more."""
    return isinstance(reply, Fault) and reply.reaction is Reaction.BURN
