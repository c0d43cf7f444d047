"""Attested sessions: verify the enclave, open a channel to exactly what was verified, exchange sealed records."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from attestation import AttestationError, CertificateCache
from attestation.errors import STEPS
from attestation.verify import verify
from protocol.binding import AttestedKeys
from protocol.channel import ClientHandshake, channel_key_hash
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError, Reaction
from protocol.envelope.messages import Done, Fault
from protocol.messages import Answer, Call, Close
from threshold import ThresholdError, ecdsa_setup_begin

from .errors import AttestationRefused, EnclaveRefused, HostError
from .identity import login_required

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from attestation import TrustPolicy, VerifiedAttestation
    from protocol.accounts import LoggedIn
    from protocol.actions import Authorization
    from protocol.binding import KeyPolicy
    from protocol.channel import Channel
    from protocol.envelope.messages import SignedEntry
    from protocol.messages import Reply, Request
    from threshold import EcdsaClientOt

    from .identity import Identity
    from .session_keys import RegisteredKey
    from .transport import Transport

T = TypeVar("T")

_NONCE_LENGTH: Final = 32
_MARGIN: Final = 30.0  # seconds before a session's end at which it is no longer used
_REOPEN: Final = frozenset(
    {
        "session_unknown",
        "channel_key_unknown",
        "record_rejected",
        "hello_rejected",
        "channel_exhausted",
        "session_burned",  # by another signature of this session
    }
)  # what a new session to a freshly attested enclave can cure
KEY_REFUSED: Final = frozenset({"session_key_rejected", "session_key_expired", "login_required"})
"""The session key opens nothing more; a login does."""


@dataclass(frozen=True)
class AttestedEnclave:
    """An enclave whose document satisfied the trust policy, with the channel key that the document vouches for.

    Channels are opened to nothing else. It cannot be made of a key that the verified document does not name.

    :ivar accept_editable_key_policy: whether an enclave is taken whose KMS keys somebody may open to other code.
    :raises AttestationRefused: ``attestation_keys_malformed``, ``attestation_channel_key_mismatch``,
        ``attestation_key_policy_unjudged`` (retry), ``attestation_key_policy_editable``.
    """

    attestation: VerifiedAttestation
    channel_key: bytes
    accept_editable_key_policy: bool = False

    def __post_init__(self) -> None:
        try:
            keys = AttestedKeys.decode(self.attestation.user_data or b"")
        except ProtocolError:
            raise AttestationRefused(
                "attestation_keys_malformed",
                "The enclave's attestation does not name its channel key in the form this client knows.",
                step="13: channel key",
            ) from None
        if keys.channel_key != channel_key_hash(self.channel_key):
            raise AttestationRefused(
                "attestation_channel_key_mismatch",
                "The host handed out a channel key that the enclave's attestation does not vouch for.",
                step="13: channel key",
            )
        if keys.key_policy == "unjudged":
            raise AttestationRefused(
                "attestation_key_policy_unjudged",
                "The enclave has not been given any data key yet, so it has not judged a key policy. Try again later.",
                step="14: key policy",
                reaction=Reaction.RETRY,
            )
        if keys.key_policy != "pinned" and not self.accept_editable_key_policy:
            raise AttestationRefused(
                "attestation_key_policy_editable",
                "The enclave says that somebody may change the policy of a KMS key and so let other code at the shares. "
                "If you trust whoever may, set trust.accept_editable_key_policy.",
                step="14: key policy",
            )

    @property
    def key_policy(self) -> KeyPolicy:
        """What the enclave found the policies of its KMS keys to be."""
        return AttestedKeys.decode(self.attestation.user_data or b"").key_policy

    @property
    def receipt_key(self) -> bytes:
        """The Ed25519 public key that signs this enclave's log of decisions."""
        return AttestedKeys.decode(self.attestation.user_data or b"").receipt_key


async def attest(
    transport: Transport,
    policy: TrustPolicy,
    cache: CertificateCache | None = None,
    *,
    accept_editable_key_policy: bool = False,
) -> AttestedEnclave:
    """Fetch and verify a fresh attestation document.

    :param accept_editable_key_policy: as of :class:`AttestedEnclave`.
    :raises AttestationRefused: the document does not satisfy ``policy``, or does not vouch for the channel key.
    :raises HostError: no document was to be had.
    """
    nonce = os.urandom(_NONCE_LENGTH)
    document, channel_key = await transport.attestation(nonce)
    try:
        verified = verify(document, policy=policy, at=datetime.now(UTC), nonce=nonce, cache=cache)
    except AttestationError as error:
        raise AttestationRefused(
            f"attestation_{error.code}",
            f"The enclave's attestation was refused: {error.message}. Nothing was sent to it.",
            step=f"{error.step}: {STEPS[error.step]}",
        ) from None
    return AttestedEnclave(verified, channel_key, accept_editable_key_policy)


@dataclass(frozen=True)
class Exchanged(Generic[T]):
    """An answer.

    :ivar receipt: what the enclave's log says of the decision, where it made one; not checked yet.
    """

    reply: T
    receipt: SignedEntry | None


class Session:
    """An open channel. Calls are sent one after another: records have a strict order.

    :ivar user_id: whose session it is, by its session key; ``None``: nobody's, until a login.
    """

    def __init__(
        self,
        transport: Transport,
        channel: Channel,
        enclave: AttestedEnclave,
        ecdsa: EcdsaClientOt | None = None,
        user_id: str | None = None,
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._lock = asyncio.Lock()
        self._deadline = time.monotonic() + channel.lifetime - _MARGIN
        self._lost = False
        self.enclave = enclave
        self.transcript: Final = channel.transcript
        self.ecdsa: Final = ecdsa
        self.user_id = user_id

    @classmethod
    async def open(
        cls,
        transport: Transport,
        enclave: AttestedEnclave,
        environment: str,
        *,
        ecdsa: bool = False,
        registered: RegisteredKey | None = None,
    ) -> Session:
        """Handshake with a verified enclave.

        :param ecdsa: exchange the base oblivious transfers as well, without another round trip.
        :param registered: the session key that makes it a user's session, without another round trip either; without it the
            session is nobody's, and good for logging in alone.
        :raises CosignerError: ``hello_rejected``, ``channel_key_unknown``, ``environment_unknown``, ``session_key_rejected``,
            ``session_key_expired``, or a failure of the host.
        :raises ThresholdError: the enclave's base oblivious transfers are not valid.
        """
        setup, offer = ecdsa_setup_begin() if ecdsa else (None, None)
        handshake = ClientHandshake(
            enclave.channel_key,
            environment,
            offer,
            authenticate=None if registered is None else registered.authenticate,
        )
        answer = await transport.open_session(handshake.hello)
        channel = handshake.finish(answer)
        transfers = None
        if setup is not None and handshake.ecdsa_answer is not None:
            transfers = setup.finish(handshake.ecdsa_answer, channel.transcript)
        return cls(transport, channel, enclave, transfers, None if registered is None else registered.user_id)

    @property
    def usable(self) -> bool:
        """Whether another call may be made."""
        return (
            not self._lost and time.monotonic() < self._deadline and (self.ecdsa is None or self.ecdsa.alive)
        )

    async def call(self, request: Request, kind: type[T] | tuple[type[T], ...]) -> T:
        """Send a request; return its reply, which must be of type ``kind``.

        :raises EnclaveRefused: the enclave's sealed refusal.
        :raises CosignerError: anything else; the session is not usable afterwards.
        """
        return (await self.exchange(request, kind)).reply

    async def exchange(
        self,
        request: Request,
        kind: type[T] | tuple[type[T], ...],
        *,
        authorization: Authorization | None = None,
        idempotency_key: bytes | None = None,
    ) -> Exchanged[T]:
        """As :meth:`call`, with evidence for this very request, and with what the log says of it.

        :param kind: the type of the reply, or the types that it may be of.
        :param idempotency_key: 16 to 32 bytes: the same key and request again get the same reply again.
        """
        async with self._lock:
            if self._lost:
                raise _session_lost()
            try:
                call = Call(request, authorization, idempotency_key)
                record = self._channel.seal(cbor.encode(call))
                answer = await self._transport.record(self._channel.session_id, record)
                plaintext = self._channel.open(answer)
            except BaseException:
                self._lost = True  # without the answer nobody knows where the enclave's counters are
                raise
        decoded = cbor.decode(plaintext, Answer, culprit=Culprit.ENCLAVE)
        reply: Reply = decoded.reply
        if isinstance(reply, Fault):
            raise EnclaveRefused(
                reply.code,
                reply.message,
                culprit=reply.culprit,
                reaction=reply.reaction,
                receipt=decoded.receipt,
                needs=reply.needs,
            )
        if not isinstance(reply, kind):
            raise ProtocolError(
                "reply_unexpected",
                "The enclave answered another question than was asked.",
                culprit=Culprit.ENCLAVE,
            )
        return Exchanged(reply, decoded.receipt)


class SessionKeeper:
    """Keeps one session of a user open, and replaces it when it is lost.

    The attestation is verified anew for every session, unless ``reuse`` seconds have not passed since the last verification.

    :param identity: whose sessions these are. Where it can log in by itself it does so when there is no session key that is good, and
        renews one that is about to expire.
    """

    def __init__(
        self,
        transport: Transport,
        policy: TrustPolicy,
        environment: str,
        identity: Identity,
        *,
        accept_editable_key_policy: bool = False,
        reuse: float = 60.0,
    ) -> None:
        self._transport = transport
        self._policy = policy
        self._accept_editable = accept_editable_key_policy
        self._environment = environment
        self._identity = identity
        self._reuse = reuse
        self._certificates = CertificateCache()
        self._enclave: AttestedEnclave | None = None
        self._verified_at = float("-inf")
        self._session: Session | None = None
        self._ecdsa = False
        self._opening = asyncio.Lock()

    async def enclave(self, *, fresh: bool = False) -> AttestedEnclave:
        """The verified enclave; verified again when that is too long ago, or when ``fresh``."""
        now = time.monotonic()
        if fresh or self._enclave is None or now - self._verified_at > self._reuse:
            self._enclave = await attest(
                self._transport,
                self._policy,
                self._certificates,
                accept_editable_key_policy=self._accept_editable,
            )
            self._verified_at = now
        return self._enclave

    async def session(self, *, ecdsa: bool = False) -> Session:
        """The user's open session, opened now if need be.

        :param ecdsa: it must have oblivious transfers; every later session has them then, too.
        :raises CosignerError: ``login_required``: there is no session key that is good, and no way to get one without a person.
        """
        async with self._opening:
            self._ecdsa = self._ecdsa or ecdsa
            session = self._session
            if session is None or not session.usable or (self._ecdsa and session.ecdsa is None):
                # One that only lacks the transfers is left to what is under way in it, and to its end.
                session = await self._open()
                self._session = session
            return session

    async def log_in(self, jwt: str | None = None) -> LoggedIn:
        """Log in, in a new session that is the user's from then on.

        :param jwt: by default the identity's own way.
        :raises CosignerError: as :meth:`cosigner.identity.Identity.log_in`, and of opening a session.
        """
        async with self._opening:
            self._session, logged_in = await self._log_in(jwt)
            return logged_in

    async def anonymous(self) -> Session:
        """A session that is nobody's, for recovery; never the one that is kept open."""
        return await Session.open(self._transport, await self.enclave(), self._environment)

    def adopt(self, session: Session, user_id: str) -> None:
        """A session that has become the user's is the one to use."""
        session.user_id = user_id
        self._session = session

    async def run(self, operation: Callable[[Session], Awaitable[T]], *, ecdsa: bool = False) -> T:
        """Run ``operation`` in a session; once more in a new one if the session was lost on the way, or its key is good no more.

        The operation must build its one-shot states inside, so that a second run uses none of the first.
        """
        try:
            return await operation(await self.session(ecdsa=ecdsa))
        except EnclaveRefused as error:
            if error.code not in KEY_REFUSED:
                raise
        except (CosignerError, ThresholdError) as error:
            if error.code not in _REOPEN:
                raise
        self.forget()
        return await operation(await self.session(ecdsa=ecdsa))

    async def _open(self) -> Session:
        registered = await self._identity.registered()
        automatic = self._identity.can_log_in
        if registered is None or registered.expired():
            if automatic:
                return (await self._log_in(None))[0]
            raise login_required(
                "Nobody is logged in on this device."
                if registered is None
                else "The session key has expired."
            )
        if automatic and registered.worn:
            return (await self._log_in(None))[0]
        try:
            return await self._handshake(registered)
        except CosignerError as error:
            if error.code not in KEY_REFUSED:
                raise
            # The host says this, or the enclave through it: a lie costs a login, and the key stays until a login replaces it.
            if not automatic:
                raise login_required(
                    f"The enclave does not take this device's session key ({error.message})"
                ) from error
        return (await self._log_in(None, chain=False))[0]

    async def _handshake(self, registered: RegisteredKey | None) -> Session:
        return await Session.open(
            self._transport,
            await self.enclave(),
            self._environment,
            ecdsa=self._ecdsa,
            registered=registered,
        )

    async def _log_in(self, jwt: str | None, *, chain: bool = True) -> tuple[Session, LoggedIn]:
        session = await self._handshake(None)
        try:
            logged_in = await self._identity.log_in(session, jwt, chain=chain)
        except EnclaveRefused as error:
            if not chain or error.code not in KEY_REFUSED:
                raise
            # The old key was revoked meanwhile; the token alone vouches as well.
            logged_in = await self._identity.log_in(session, jwt, chain=False)
        session.user_id = logged_in.user_id
        return session, logged_in

    async def close(self) -> None:
        """Tell the enclave that the session is no longer needed; whether it hears that does not matter."""
        session, self._session = self._session, None
        if session is not None and session.usable:
            with contextlib.suppress(CosignerError):
                await session.call(Close(), Done)

    def forget(self) -> None:
        """Drop the session and the verified enclave; both are renewed at the next use."""
        self._session = None
        self._enclave = None


def _session_lost() -> HostError:
    return HostError("session_unknown", "The session was lost; a new one must be opened.")
