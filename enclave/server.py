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
from protocol.messages import Answer, Call, Close
from threshold import ecdsa_setup_respond

from . import faults, log
from .authorization.granted import DeniedError
from .sessions import ASKING, session_gone
from .work import compute

if TYPE_CHECKING:
    from .boot import Boot
    from .burns import Burns
    from .counters import Counters
    from .credentials import Credentials
    from .environments import Environments
    from .identity import Identity
    from .realm import Realm
    from .sessions import Session, Sessions

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
        environments: Environments[Realm],
        burns: Burns,
        counters: Counters,
    ) -> None:
        self._boot = boot
        self._identity = identity
        self._sessions = sessions
        self._credentials = credentials
        self._environments = environments
        self._burns = burns
        self._counters = counters

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
                    counters={**self._counters, "burned": self._burns.total},
                )

    async def _open_session(self, hello: bytes) -> SessionOpened:
        received = self._identity.key_for(hello).open_hello(hello)
        realm = self._environments.in_service(received.environment)
        login = (
            None if received.auth is None else await realm.doorway.by_hello(received.auth, received.binding)
        )
        offered = received.ecdsa_setup
        ecdsa = None if offered is None else await compute(ecdsa_setup_respond, offered)
        session, answer = self._sessions.open(received, ecdsa, login)
        self._counters["sessions_opened"] += 1
        return SessionOpened(session_id=session.channel.session_id, hello=answer)

    async def _record(self, session: Session, record: bytes) -> bytes:
        """Open a record, carry its request out, seal the reply. A record that does not open changes nothing."""
        async with session.lock:
            if session.closed:
                raise session_gone()
            plaintext = session.channel.open(record)
            self._counters["records"] += 1
            realm = self._environments.in_service(session.environment)
            ASKING.set(session)  # in this task's context alone
            closing = False
            try:
                call = cbor.decode(plaintext, Call, culprit=Culprit.CLIENT)
                closing = isinstance(call.request, Close)
                answer = await realm.answer(session, call)
            except Exception as error:  # noqa: BLE001  (the edge of the channel: the client gets a sealed fault)
                self._counters["refused"] += 1
                fault = faults.translate(error)
                if fault.reaction is Reaction.BURN:
                    # Before any answer leaves: the transfers are gone, and so is the session (signing.md §2).
                    self._sessions.close(session)
                answer = cbor.encode(Answer(fault, error.receipt if isinstance(error, DeniedError) else None))
            if session.closed and not closing:
                raise session_gone()  # burnt, or its session key was revoked while this was under way
            self._sessions.end_if_doomed(session)
            return session.channel.seal(answer)
