"""A client at the enclave's own door: it speaks the protocol itself, well or badly, with nothing of ``cosigner`` in between.

What the host adds or spares is left out: records go to :meth:`enclave.server.Server.handle` as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
import uuid
from typing import Any, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol import accounts as a
from protocol import messages as m
from protocol.actions import Authorization, KeySignature, PasskeyAssertion, SignedApproval
from protocol.binding import dkg_context
from protocol.chains import CHAINS
from protocol.channel import ClientHandshake, HelloBinding, session_auth_digest
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import (
    Attest,
    Attested,
    Fault,
    OpenSession,
    Record,
    RecordReply,
    SessionOpened,
)
from protocol.intents import action_of, approval_of, subject_of
from simulator.authenticator import Authenticator
from tests.support.manifests import ADMINISTRATORS, ORIGIN, RP_ID, spki, token
from tests.support.world import ENVIRONMENT, Host
from threshold import KeyShare, dkg_start, ecdsa_begin, ecdsa_setup_begin, frost_begin

T = TypeVar("T")


class Refused(CosignerError):  # noqa: N818
    """A sealed refusal; ``receipt`` is what came with it."""

    def __init__(self, fault: Fault, receipt: Any) -> None:
        super().__init__(
            fault.code, fault.message, culprit=fault.culprit, reaction=fault.reaction, needs=fault.needs
        )
        self.receipt = receipt


def now_ms() -> int:
    return int(time.time() * 1000)


def p256_sign(key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class SessionKey:
    """A device's session key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    def sign(self, digest: bytes) -> bytes:
        return p256_sign(self._key, digest)

    def auth(self, user_id: str, *, issued_at: int | None = None) -> Any:
        """Evidence for a hello."""

        def make(binding: HelloBinding) -> a.SessionAuth:
            at = now_ms() if issued_at is None else issued_at
            digest = session_auth_digest(binding, user_id=user_id, session_key=self.public, issued_at=at)
            return a.SessionAuth(
                user_id=user_id, session_key=self.public, issued_at=at, signature=self.sign(digest)
            )

        return make


class Door:
    """One open session.

    :ivar last: the answer before, with its receipt.
    """

    def __init__(self, host: Host, channel: Any, ecdsa: Any) -> None:
        self.host = host
        self.channel = channel
        self.ecdsa = ecdsa
        self.transcript = channel.transcript
        self.last: m.Answer | None = None

    @classmethod
    async def open(
        cls, host: Host, *, environment: str = ENVIRONMENT, authenticate: Any = None, ecdsa: bool = False
    ) -> Door:
        attested = await host.ask(Attest(nonce=bytes(32)))
        assert isinstance(attested, Attested)
        setup, offer = ecdsa_setup_begin() if ecdsa else (None, None)
        handshake = ClientHandshake(attested.channel_key, environment, offer, authenticate)
        opened = await host.ask(OpenSession(hello=handshake.hello))
        assert isinstance(opened, SessionOpened)
        channel = handshake.finish(opened.hello)
        transfers = None
        if setup is not None:
            transfers = setup.finish(handshake.ecdsa_answer, channel.transcript)
        return cls(host, channel, transfers)

    async def call(
        self,
        request: Any,
        kind: type[T] | None = None,
        *,
        authorization: Authorization | None = None,
        key: bytes | None = None,
    ) -> T:
        """Send a request; a sealed fault is raised as :class:`Refused`."""
        record = self.channel.seal(cbor.encode(m.Call(request, authorization, key)))
        reply = await self.host.ask(Record(session_id=self.channel.session_id, record=record))
        assert isinstance(reply, RecordReply)
        answer = cbor.decode(self.channel.open(reply.record), m.Answer, culprit=Culprit.ENCLAVE)
        self.last = answer
        if isinstance(answer.reply, Fault):
            raise Refused(answer.reply, answer.receipt)
        assert kind is None or isinstance(answer.reply, kind), answer.reply
        return answer.reply


@dataclasses.dataclass
class User:
    """Somebody with a device: session key, perhaps a passkey and a raw key, and a share of each wallet.

    :ivar door: the session in use.
    """

    host: Host
    door: Door
    user_id: str
    session_key: SessionKey
    subject: str
    passkeys: Authenticator = dataclasses.field(default_factory=lambda: Authenticator(ORIGIN))
    passkey_id: bytes = b""
    raw_key: Ed25519PrivateKey | None = None
    shares: dict[str, KeyShare] = dataclasses.field(default_factory=dict)
    wallets: dict[str, m.WalletInfo] = dataclasses.field(default_factory=dict)

    @classmethod
    async def log_in(
        cls, host: Host, subject: str = "", *, environment: str = ENVIRONMENT, ecdsa: bool = False
    ) -> User:
        """A user who is new unless the subject is known, in a session of their own."""
        subject = subject or f"user-{uuid.uuid4()}"
        door, key = await Door.open(host, environment=environment, ecdsa=ecdsa), SessionKey()
        reply = await door.call(login_request(door, key, token(subject)), a.LoggedIn)
        return cls(host, door, reply.user_id, key, subject)

    async def reopen(self, *, environment: str = ENVIRONMENT, ecdsa: bool = False) -> Door:
        """Another session by the same session key."""
        self.door = await Door.open(
            self.host,
            environment=environment,
            authenticate=self.session_key.auth(self.user_id),
            ecdsa=ecdsa,
        )
        return self.door

    # --- evidence ------------------------------------------------------------------------------------------------------------

    def authorize(
        self,
        request: Any,
        *,
        by: str | None = "passkey",
        second: Any = None,
        approvals: list[SignedApproval] | None = None,
        door: Door | None = None,
        nonce: bytes | None = None,
        expires_at: int | None = None,
        **changes: Any,
    ) -> Authorization:
        """Evidence for a request: ``passkey``, ``key`` or none. ``changes`` alter the action before it is signed."""
        nonce = os.urandom(16) if nonce is None else nonce
        expires_at = now_ms() + 60_000 if expires_at is None else expires_at
        members = {
            "environment": ENVIRONMENT,
            "session": (door or self.door).transcript,
            "user_id": self.user_id,
            "nonce": nonce,
            "expires_at": expires_at,
        }
        digest = action_of(request, **(members | changes)).hash
        first: Any = None
        if by == "passkey":
            first = self.assertion(digest)
        elif by == "key":
            first = self.signature(digest)
        elif by is not None:
            first = by
        return Authorization(
            nonce=nonce, expires_at=expires_at, first=first, second=second, approvals=approvals or []
        )

    def assertion(self, digest: bytes, **changes: Any) -> PasskeyAssertion:
        return self.passkeys.get(digest, rp_id=RP_ID, allow=[self.passkey_id], **changes)

    def signature(self, digest: bytes) -> KeySignature:
        assert self.raw_key is not None
        return KeySignature(
            credential_id=hashlib.sha256(spki(self.raw_key)).digest(), signature=self.raw_key.sign(digest)
        )

    def approve(
        self, request: Any, *, asker: str, nonce: bytes | None = None, expires_at: int | None = None
    ) -> SignedApproval:
        """This user's approval of what ``asker`` is going to ask."""
        nonce = os.urandom(16) if nonce is None else nonce
        expires_at = now_ms() + 3_600_000 if expires_at is None else expires_at
        approval = approval_of(
            request,
            environment=ENVIRONMENT,
            subject=subject_of(request, asker),
            nonce=nonce,
            expires_at=expires_at,
        )
        evidence = self.assertion(approval.hash) if self.passkey_id else self.signature(approval.hash)
        return SignedApproval(
            approver=f"user:{self.user_id}", nonce=nonce, expires_at=expires_at, evidence=evidence
        )

    async def add_passkey(self, authorization: Authorization | None = None, name: str = "phone") -> bytes:
        """Register a passkey."""
        challenge = await self.door.call(a.BeginCredential(), a.CredentialChallenge)
        new = self.passkeys.create(challenge.challenge, rp_id=RP_ID, user_handle=challenge.user_handle)
        request = a.AddCredential(name=name, challenge=challenge.challenge, credential=new)
        if authorization is None and self.passkey_id:
            authorization = self.authorize(request)
        info = await self.door.call(request, a.CredentialInfo, authorization=authorization)
        self.passkey_id = self.passkey_id or info.credential_id
        return info.credential_id

    async def add_key(self, authorization: Authorization | None = None) -> bytes:
        """Register a raw key."""
        challenge = await self.door.call(a.BeginCredential(), a.CredentialChallenge)
        self.raw_key = Ed25519PrivateKey.generate()
        new = a.NewKey(
            algorithm="ed25519",
            public_key=spki(self.raw_key),
            proof=self.raw_key.sign(challenge.challenge),
        )
        request = a.AddCredential(name="key", challenge=challenge.challenge, credential=new)
        if authorization is None and self.passkey_id:
            authorization = self.authorize(request)
        return (await self.door.call(request, a.CredentialInfo, authorization=authorization)).credential_id

    # --- wallets -------------------------------------------------------------------------------------------------------------

    async def create(
        self, chain: str = "solana", *, authorize: Any = None, wallet_id: str | None = None
    ) -> m.WalletInfo:
        """Key generation with the enclave."""
        known = CHAINS[chain]
        network = known.networks[0]
        wallet_id = wallet_id or str(uuid.uuid4())
        context = dkg_context(
            transcript=self.door.transcript,
            environment=ENVIRONMENT,
            wallet_id=wallet_id,
            suite=known.suite,
            chain=chain,
            network=network,
        )
        round1, message1 = dkg_start(known.suite, 1, 2, 2, context)
        begin = m.BeginDkg(
            wallet_id=wallet_id,
            suite=known.suite,
            chain=chain,
            network=network,
            threshold=2,
            parties=2,
            message1=message1,
        )
        authorization = None if authorize is None else authorize(begin)
        begun = await self.door.call(begin, m.DkgBegun, authorization=authorization)
        round2, messages2 = round1.advance({2: begun.message1})
        round3, confirmation = round2.advance({2: begun.message2})
        finish = m.FinishDkg(wallet_id=wallet_id, message2=messages2[2], confirmation=confirmation)
        reply = await self.door.call(finish, m.WalletReply)
        self.shares[wallet_id] = round3.confirm({2: reply.confirmation})
        self.wallets[wallet_id] = reply.wallet
        return reply.wallet

    def sign_request(self, wallet_id: str, payload: Any) -> tuple[Any, m.Sign]:
        """A request for FROST signatures, and the nonces that go with it."""
        digests = 1
        share = self.shares[wallet_id]
        nonces, commitments = frost_begin(share, digests)
        return nonces, m.Sign(
            wallet_id=wallet_id,
            epoch=share.epoch,
            payload=payload,
            path=[],
            commitments=commitments,
            party=share.identifier,
        )

    async def sign(self, wallet_id: str, payload: Any, **call: Any) -> bytes:
        """One FROST signature, verified by the client's own share."""
        nonces, request = self.sign_request(wallet_id, payload)
        authorize = call.pop("authorize", None)
        if authorize is not None:
            call["authorization"] = authorize(request)
        signed = await self.door.call(request, m.Signed, **call)
        (signature,) = nonces.finish(
            self.shares[wallet_id], signed.digests, {2: (signed.commitments, signed.shares)}, None
        )
        return signature

    def ecdsa_request(self, wallet_id: str, payload: Any, digest: bytes) -> tuple[Any, m.SignEcdsa]:
        pending, message1 = ecdsa_begin(self.shares[wallet_id], self.door.ecdsa, digest, [], 2)
        share = self.shares[wallet_id]
        return pending, m.SignEcdsa(
            wallet_id=wallet_id,
            epoch=share.epoch,
            payload=payload,
            path=[],
            message1=message1,
            party=share.identifier,
        )


async def service_account(user: User, name: str = "desk") -> User:
    """A service account that administrators approved, in a session of its own. ``user`` is who asks for it."""
    challenge = await user.door.call(a.BeginCredential(), a.CredentialChallenge)
    key = Ed25519PrivateKey.generate()
    new = a.NewKey(algorithm="ed25519", public_key=spki(key), proof=key.sign(challenge.challenge))
    request = a.NewServiceAccount(name=name, challenge=challenge.challenge, credential=new)
    evidence = user.authorize(request, by=None, approvals=administrators(request, asker=user.user_id))
    made = await user.door.call(request, a.ServiceAccount, authorization=evidence)
    door, session_key = await Door.open(user.host), SessionKey()
    account = User(user.host, door, made.user_id, session_key, name, raw_key=key)
    await door.call(key_login_request(account, door, session_key), a.LoggedIn)
    return account


def login_request(
    door: Door, key: SessionKey, jwt: str, *, renews: SessionKey | None = None, **changes: Any
) -> a.Login:
    """A login in this session; with an older session key it renews that."""
    digest = key_digest(door, key)
    members = {
        "jwt": jwt,
        "session_key": key.public,
        "proof": key.sign(digest),
        "previous": None if renews is None else renews.public,
        "previous_proof": None if renews is None else renews.sign(digest),
        "lifetime": 3600,
    }
    return a.Login(**(members | changes))


def key_login_request(account: User, door: Door, key: SessionKey) -> a.KeyLogin:
    """A login of a service account in this session."""
    signed = account.signature(key_digest(door, key))
    return a.KeyLogin(
        user_id=account.user_id,
        credential_id=signed.credential_id,
        signature=signed.signature,
        session_key=key.public,
        proof=key.sign(key_digest(door, key)),
        lifetime=3600,
    )


async def recovery_request(
    door: Door, user_id: str, offline: Ed25519PrivateKey, key: SessionKey, *, name: str = "new phone"
) -> a.Recover:
    """A recovery to a new passkey and session key, asked for in this session."""
    challenge = await door.call(a.BeginCredential(), a.CredentialChallenge)
    new = Authenticator(ORIGIN).create(challenge.challenge, rp_id=RP_ID, user_handle=challenge.user_handle)
    subject = a.RecoverySubject(
        version=1,
        environment=ENVIRONMENT,
        user_id=user_id,
        session=door.transcript,
        challenge=challenge.challenge,
        name=name,
        credential=new,
        session_key=key.public,
    )
    return a.Recover(
        user_id=user_id,
        challenge=challenge.challenge,
        name=name,
        credential=new,
        session_key=key.public,
        proof=key.sign(key_digest(door, key)),
        signature=offline.sign(hashlib.sha256(a.RECOVERY_LABEL + cbor.encode(subject)).digest()),
        gate=None,
    )


def key_digest(door: Door, key: SessionKey) -> bytes:
    """What a session key signs to enter by this session."""
    return hashlib.sha256(a.SESSION_KEY_LABEL + door.transcript + key.public).digest()


def administrators(request: Any, *names: str, asker: str, **changes: Any) -> list[SignedApproval]:
    """Approvals of administrators."""
    found = []
    for name in names or ("ada", "bea"):
        members = {"nonce": os.urandom(16), "expires_at": now_ms() + 3_600_000}
        approval = approval_of(
            request,
            **({"environment": ENVIRONMENT, "subject": subject_of(request, asker)} | members | changes),
        )
        key = ADMINISTRATORS[name]
        evidence = KeySignature(
            credential_id=hashlib.sha256(spki(key)).digest(), signature=key.sign(approval.hash)
        )
        found.append(
            SignedApproval(
                approver=f"administrator:{name}",
                nonce=approval.nonce,
                expires_at=approval.expires_at,
                evidence=evidence,
            )
        )
    return found
