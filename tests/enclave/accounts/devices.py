"""An environment's accounts over a hostile storage, and people with telephones: real keys, passkeys and JWTs."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import uuid
from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from enclave.accounts import recovery
from enclave.accounts.directory import Directory
from enclave.accounts.entry import Entry
from enclave.accounts.ownership import Wallets
from enclave.accounts.registration import Asking
from enclave.accounts.second_factors import SecondFactors
from enclave.accounts.service import Accounts
from enclave.accounts.user import Evidence
from enclave.authn.logins import Logins
from enclave.authn.session_keys import proof_digest
from enclave.manifest import (
    Administrator,
    Environment,
    LifecycleRules,
    RecoveryRules,
    RelyingParty,
    TrustedIssuer,
)
from protocol.accounts import (
    AddCredential,
    KeyLogin,
    Login,
    NewKey,
    NewServiceAccount,
    Recover,
    RecoverySubject,
    SessionAuth,
    SetRecoveryKey,
)
from simulator.authenticator import Authenticator
from tests.enclave.accounts.hostile import ENVIRONMENT, KEY_ARN, Hands, HostileStorage, records
from tests.enclave.accounts.users import DAY, HERE, NOW
from tests.enclave.authn.tokens import CLAIMS, ISSUER, key_set, signer

RP = RelyingParty(
    rp_id="app.example", origins=["https://app.example"], user_verification="required", attestation="none"
)
OTHER_ISSUER = "https://other.example"
_subjects = itertools.count(1)


def issuer(name: str) -> TrustedIssuer:
    return TrustedIssuer(
        issuer=name,
        audiences=["cosigner"],
        environment="sandbox",
        algorithms=["ES256"],
        jwks=key_set(signer("ES256", name.removeprefix("https://"))),
        url="",
        ca_pem="",
        grace_s=0,
        scopes=["user:basic"],
        forbidden_scopes=["requiresAdditionalAuth"],
    )


def environment(
    *, time_lock_s: int = 0, gate: Administrator | None = None, passkeys: bool = True
) -> Environment:
    return Environment(
        id=ENVIRONMENT,
        kms_key_arn=KEY_ARN,
        key_policy="pinned",
        issuers=[issuer(ISSUER), issuer(OTHER_ISSUER)],
        relying_party=RP if passkeys else None,
        administrators=[],
        quorum=0,
        session_lifetime_s=7 * DAY // 1000,
        step_up={},
        policy="",
        recovery=RecoveryRules(time_lock_s=time_lock_s, gate=gate),
        lifecycle=LifecycleRules(max_epoch_age_s=0, backup="optional"),
        delegation=None,
    )


class Clock:
    """Time as a test has it."""

    def __init__(self) -> None:
        self.now = NOW

    def now_ms(self) -> int:
        return self.now


class Challenges:
    """One session's challenges; at most three."""

    def __init__(self) -> None:
        self._until: dict[bytes, int] = {}

    def add(self, value: bytes, *, until: int, now: int) -> bool:
        if len(self._until) >= 3:
            return False
        self._until[value] = until
        return True

    def take(self, value: bytes, *, now: int) -> bool:
        until = self._until.pop(value, None)
        return until is not None and until > now


def session() -> Asking:
    """A session that somebody has opened."""
    return Asking(transcript=os.urandom(32), challenges=Challenges())


def asking_here() -> Asking:
    """The one session of whoever needs no more."""
    return Asking(transcript=HERE, challenges=Challenges())


async def no_dial(*_: object) -> None:
    raise AssertionError


class AtOnce:
    """An :class:`Entry` whose requests are carried out as soon as they have verified; in the enclave the log comes in between."""

    def __init__(self, entry: Entry) -> None:
        self.steps = entry
        self.authenticate = entry.authenticate

    async def login(self, asking: Asking, request: Login):
        return await (await self.steps.login(asking, request)).commit()

    async def key_login(self, asking: Asking, request: KeyLogin):
        return await (await self.steps.key_login(asking, request)).commit()

    async def recover(self, asking: Asking, request: Recover):
        return await (await self.steps.recover(asking, request)).commit()


@dataclass
class World:
    """One enclave's accounts; :meth:`restart` makes the next one's over the same storage."""

    environment: Environment = field(default_factory=environment)
    storage: HostileStorage = field(default_factory=HostileStorage)
    clock: Clock = field(default_factory=Clock)
    ended: list[tuple[str, frozenset[bytes]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        store = records(self.storage, monotonic=Hands())
        self.directory, self.wallets = Directory(store), Wallets(store)
        self.second_factors = SecondFactors(self.directory)
        rooms = {
            "directory": self.directory,
            "issuers": Logins(self.environment.issuers, no_dial),
            "clock": self.clock,
            "end_sessions": lambda user_id, keys: self.ended.append((user_id, keys)),
        }
        self.entry = AtOnce(Entry(self.environment, **rooms))
        self.accounts = Accounts(self.environment, wallets=self.wallets, **rooms)

    def token(self, subject: str, *, issuer: str = ISSUER, issued_at_ms: int | None = None, **claims) -> str:
        at = (self.clock.now if issued_at_ms is None else issued_at_ms) // 1000
        members = {**CLAIMS, "iss": issuer, "sub": subject, "iat": at, "nbf": at, "exp": at + 600, **claims}
        return signer("ES256", issuer.removeprefix("https://")).token(members)

    async def service_account(self, key: Signing, name: str = "robot"):
        asking = session()
        challenge = (await self.accounts.begin_credential(asking, None)).challenge
        request = NewServiceAccount(name=name, challenge=challenge, credential=key.registration(challenge))
        return await self.accounts.new_service_account(asking, request)


class Signing:
    """An Ed25519 key: a service account's, an offline recovery key, a release gate."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.credential_id = hashlib.sha256(self.public_key).digest()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def registration(self, challenge: bytes) -> NewKey:
        return NewKey(algorithm="ed25519", public_key=self.public_key, proof=self.sign(challenge))

    def administrator(self) -> Administrator:
        return Administrator(name="kyc", algorithm="ed25519", public_key=self.public_key)

    def login(self, asking: Asking, user_id: str, phone: Phone, **but) -> KeyLogin:
        digest = proof_digest(asking.transcript, phone.session_key)
        return msgspec.structs.replace(
            KeyLogin(
                user_id=user_id,
                credential_id=self.credential_id,
                signature=self.sign(digest),
                session_key=phone.session_key,
                proof=phone.sign(digest),
                lifetime=3600,
            ),
            **but,
        )


class Phone:
    """A device: a session key, and an authenticator."""

    def __init__(self, subject: str | None = None) -> None:
        self.subject = subject or f"user-{next(_subjects)}"
        self.authenticator = Authenticator(origin="https://app.example")
        self.new_session_key()

    def new_session_key(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.session_key = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
        )

    def sign(self, digest: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(digest, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def login(self, world: World, asking: Asking, *, previous: Phone | None = None, **but) -> Login:
        digest = proof_digest(asking.transcript, self.session_key)
        return msgspec.structs.replace(
            Login(
                jwt=world.token(self.subject),
                session_key=self.session_key,
                proof=self.sign(digest),
                previous=None if previous is None else previous.session_key,
                previous_proof=None if previous is None else previous.sign(digest),
                lifetime=86400,
            ),
            **but,
        )

    async def enter(self, world: World):
        """Log in with a JWT; whose session it is from then on."""
        asking = session()
        return (await world.entry.login(asking, self.login(world, asking))).actor

    def hello(self, user_id: str, digest: bytes, *, at: int) -> SessionAuth:
        return SessionAuth(
            user_id=user_id, session_key=self.session_key, issued_at=at, signature=self.sign(digest)
        )

    def passkey(self, challenge: bytes, user_id: str, exclude=()):
        return self.authenticator.create(
            challenge, rp_id="app.example", user_handle=uuid.UUID(user_id).bytes, exclude=exclude
        )

    async def add_passkey(self, world: World, actor, evidence: Evidence, name: str = "phone"):
        """Register a passkey of this device; what there is to know of it."""
        asking = session()
        begun = await world.accounts.begin_credential(asking, actor)
        new = self.passkey(begun.challenge, actor.user_id, begun.exclude)
        request = AddCredential(name=name, challenge=begun.challenge, credential=new)
        return await world.accounts.add_credential(asking, actor, request, evidence)

    async def recovery(
        self,
        world: World,
        user_id: str,
        key: Signing,
        *,
        asking=None,
        gate: Signing | None = None,
        signed=None,
    ):
        """A request for recovery to this device, and the session that it is of.

        :param signed: what the signatures say otherwise than the request.
        """
        asking = asking or session()
        challenge = (await world.accounts.begin_credential(asking, None)).challenge
        subject = RecoverySubject(
            version=1,
            environment=ENVIRONMENT,
            user_id=user_id,
            session=asking.transcript,
            challenge=challenge,
            name="new phone",
            credential=self.passkey(challenge, user_id),
            session_key=self.session_key,
        )
        digest = recovery.digest_of(msgspec.structs.replace(subject, **(signed or {})))
        return asking, Recover(
            user_id=subject.user_id,
            challenge=subject.challenge,
            name=subject.name,
            credential=subject.credential,
            session_key=subject.session_key,
            proof=self.sign(proof_digest(asking.transcript, subject.session_key)),
            signature=key.sign(digest),
            gate=None if gate is None else gate.sign(digest),
        )

    def asks_again(self, request: Recover) -> tuple[Asking, Recover]:
        """The same request in another session."""
        asking = session()
        proof = self.sign(proof_digest(asking.transcript, self.session_key))
        return asking, msgspec.structs.replace(request, proof=proof)


async def with_recovery_key(world: World, actor, evidence: Evidence) -> Signing:
    key = Signing()
    await world.accounts.set_recovery_key(
        actor, SetRecoveryKey(algorithm="ed25519", public_key=key.public_key), evidence
    )
    return key


def in_world(scenario):
    """A test with a world of its own."""

    def test():
        asyncio.run(scenario(World()))

    test.__name__ = scenario.__name__
    test.__doc__ = scenario.__doc__
    return test
