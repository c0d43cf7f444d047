"""Delegated access at the enclave's own door: a developer, a user's device that approves, and the delegate's server."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from typing import Any

import msgspec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from protocol import delegation as d
from protocol import hybrid
from protocol import messages as m
from protocol.binding import commit_context, delegate_context, reshare_context
from protocol.envelope.messages import Done, OutboxEvent
from protocol.wallets import ENCLAVE_PARTY, WalletInfo
from tests.support.door import Door, User, administrators, now_ms
from tests.support.manifests import EVERYTHING, environment, layer
from tests.support.world import ENVIRONMENT, MANIFEST, Host, solana_message
from threshold import KeyShare, ecdsa_begin, frost_begin, reshare_start
from threshold.payload import evm_message_digest, solana_address

ENDPOINT = "https://hooks.app.example/cosigner"
APP = "Robot"
CREATED, REVOKED, SIGNATURE = (
    "wallet.delegation.created",
    "wallet.delegation.revoked",
    "wallet.delegation.signature",
)
ALLOWS_DELEGATION = (
    *EVERYTHING,
    {"name": "delegation", "ruleType": "allow", "operations": ["delegate", "reshare", "refresh"]},
)
ANY_PAYLOAD = layer(EVERYTHING[0], name="signer").encode()


_made: dict[int, hybrid.DecryptionKey] = {}


def developer_key(number: int = 1) -> hybrid.DecryptionKey:
    """A developer's private key, made once."""
    if number not in _made:
        _made[number] = hybrid.DecryptionKey.generate(2048)
    return _made[number]


def public_der(number: int = 1) -> bytes:
    """Its public half."""
    pem = developer_key(number).public("any").pem
    return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key(number: int = 1, state: str = "active") -> d.DeveloperKey:
    return d.DeveloperKey(kid=f"key-{number}", public_key=public_der(number), state=state)


def settings(*keys: d.DeveloperKey, **changes: Any) -> d.DelegationSettings:
    """Settings that allow delegated access."""
    members: dict[str, Any] = {
        "enabled": True,
        "prompt_users_on_sign_in": True,
        "requires_delegation": False,
        "app": APP,
        "endpoint": ENDPOINT,
        "keys": list(keys or [key()]),
    }
    return d.DelegationSettings(**(members | changes))


async def started(host: Host | None = None, **changes: Any) -> Host:
    """A host with an enclave whose environment ``sandbox`` allows delegated access, as far as its rules go."""
    host = host or Host()
    first = environment("sandbox", **({"policy": layer(*ALLOWS_DELEGATION)} | changes))
    host.manifest = msgspec.structs.replace(MANIFEST, environments=[first, MANIFEST.environments[1]])
    await host.start_enclave()
    return host


async def configure(
    asker: User, wanted: d.DelegationSettings | None = None, *, version: int = 0, new_secret: bool = False
) -> d.DelegationConfigured:
    """Two administrators approve settings, which ``asker`` brings."""
    request = d.SetDelegationSettings(wanted or settings(), version, new_secret)
    evidence = asker.authorize(request, by=None, approvals=administrators(request, asker=asker.user_id))
    return await asker.door.call(request, d.DelegationConfigured, authorization=evidence)


def events(host: Host, name: str) -> list[OutboxEvent]:
    """What developers would be told by now, of one name."""
    return [event for event in host.storage.events.values() if event.name == name]


def data_of(event: OutboxEvent) -> dict[str, Any]:
    return json.loads(event.data)


def terms(wallet: WalletInfo, **changes: Any) -> d.DelegationTerms:
    members: dict[str, Any] = {
        "share_set_id": str(uuid.uuid4()),
        "app": APP,
        "rules": ANY_PAYLOAD,
        "expires_at": now_ms() + 3_600_000,
        "kid": "key-1",
        "key_hash": hashlib.sha256(public_der(1)).digest(),
    }
    return d.DelegationTerms(**(members | changes))


@dataclasses.dataclass
class Approval:
    """The user's device between the steps of the ceremony. Each step is one request; a test can stop between any two.

    :ivar shares: the user's own new ones, and ``share`` that of the device. :ivar delegated: the delegate's, which only this device ever sees.
    """

    user: User
    wallet: WalletInfo
    terms: d.DelegationTerms
    key: int = 1
    share: KeyShare | None = None
    delegated: KeyShare | None = None

    @classmethod
    def of(cls, user: User, wallet_id: str, **changes: Any) -> Approval:
        wallet = user.wallets[wallet_id]
        return cls(user, wallet, terms(wallet, **changes))

    async def begin(self, **changes: Any) -> None:
        """The action that the user approves."""
        old = self.user.shares[self.wallet.wallet_id]
        self._own, own1 = self._start(old, self.wallet.share_set_id, "reshare", self.wallet.parties)
        self._theirs, theirs1 = self._start(old, self.terms.share_set_id, "delegate", 2)
        members: dict[str, Any] = {
            "wallet_id": self.wallet.wallet_id,
            "epoch": self.wallet.epoch,
            "terms": self.terms,
            "dealer": 1,
            "threshold": 2,
            "parties": self.wallet.parties,
            "message1": own1[1],
            "delegate_message1": theirs1[1],
        }
        authorize = changes.pop("authorize", None)
        request = d.BeginDelegation(**(members | changes))
        if authorize is not None:
            evidence = authorize(request)
        else:
            evidence = self.user.authorize(request) if self.user.passkey_id else None
        self.begun = await self.user.door.call(request, d.DelegationBegun, authorization=evidence)

    def _start(self, old: KeyShare, share_set_id: str, purpose: str, parties: int) -> Any:
        context = reshare_context(
            transcript=self.user.door.transcript,
            environment=ENVIRONMENT,
            wallet_id=self.wallet.wallet_id,
            share_set_id=share_set_id,
            purpose=purpose,
            epoch=self.wallet.epoch + 1,
        )
        return reshare_start([old], [1, 2], _others(parties), 2, parties, context)

    async def finish(self) -> d.DelegationStored:
        begun = self.begun
        own, own2 = self._own.advance({2: begun.message1})
        others = _others(self.wallet.parties)
        own, confirmations = own.advance(
            {(2, party): message for party, message in zip(others, begun.messages2, strict=True)}
        )
        theirs, theirs2 = self._theirs.advance({2: begun.delegate_message1})
        theirs, their_confirmations = theirs.advance({(2, 1): begun.delegate_message2})
        request = d.FinishDelegation(
            wallet_id=self.wallet.wallet_id,
            share_set_id=self.terms.share_set_id,
            message2=own2[1, 2],
            confirmations=[confirmations[party] for party in others],
            delegate_message2=theirs2[1, 2],
            delegate_confirmation=their_confirmations[1],
        )
        self.stored = await self.user.door.call(request, d.DelegationStored)
        self.shares = own.confirm({2: self.stored.confirmation})
        self.share = self.shares[1]
        self.delegated = theirs.confirm({2: self.stored.delegate_confirmation})[1]
        return self.stored

    def commit_request(self, **changes: Any) -> d.CommitDelegation:
        assert self.share is not None
        assert self.delegated is not None
        content = json.dumps({"walletId": self.wallet.wallet_id, "secretShare": "this device alone knows"})
        members: dict[str, Any] = {
            "wallet_id": self.wallet.wallet_id,
            "share_set_id": self.terms.share_set_id,
            "epoch": self.stored.wallet.epoch,
            "proofs": [
                self.shares[party].prove(_committing(self.stored.wallet, self.stored.confirmation))
                for party in _others(self.wallet.parties)
            ],
            "delegate_proof": self.delegated.prove(
                _committing(self.stored.delegate, self.stored.delegate_confirmation)
            ),
            "encrypted_share": developer_key(self.key).public(f"key-{self.key}").encrypt(content.encode()),
        }
        return d.CommitDelegation(**(members | changes))

    async def commit(self, request: d.CommitDelegation | None = None) -> m.WalletReply:
        reply = await self.user.door.call(request or self.commit_request(), m.WalletReply)
        self.settle(reply)
        return reply

    def settle(self, reply: m.WalletReply) -> None:
        """The user's new share counts."""
        assert self.share is not None
        self.user.shares[self.wallet.wallet_id] = self.share
        self.user.wallets[self.wallet.wallet_id] = reply.wallet

    async def run(self) -> Delegate:
        """All of it."""
        await self.begin()
        await self.finish()
        await self.commit()
        return self.delegate()

    def delegate(self) -> Delegate:
        """The developer's server, which got the webhook. The share came to it encrypted, which is not what these tests are about."""
        assert self.delegated is not None
        event = next(
            event
            for event in events(self.user.host, CREATED)
            if (data_of(event)["walletId"], data_of(event)["shareSetId"])
            == (self.wallet.wallet_id, self.terms.share_set_id)
        )
        envelope = hybrid.parse(data_of(event)["encryptedWalletApiKey"])
        api_key = developer_key(self.key).decrypt(envelope).decode()
        return Delegate(
            self.user.host, self.stored.delegate, self.delegated, api_key, user_id=self.user.user_id
        )


def _others(parties: int) -> list[int]:
    return [party for party in range(1, parties + 1) if party != ENCLAVE_PARTY]


def _committing(wallet: WalletInfo, confirmation: bytes) -> bytes:
    return commit_context(
        environment=ENVIRONMENT,
        wallet_id=wallet.wallet_id,
        share_set_id=wallet.share_set_id,
        epoch=wallet.epoch,
        confirmation=confirmation,
    )


@dataclasses.dataclass
class Delegate:
    """The developer's server with what the webhook brought it.

    :ivar door: the session in use.
    """

    host: Host
    wallet: WalletInfo
    share: KeyShare
    api_key: str
    user_id: str
    door: Any = None

    def login(self, door: Door, **changes: Any) -> d.DelegateLogin:
        environment = changes.pop("environment", ENVIRONMENT)
        members: dict[str, Any] = {
            "wallet_id": self.wallet.wallet_id,
            "share_set_id": self.wallet.share_set_id,
            "api_key": self.api_key,
        }
        members |= changes
        context = delegate_context(
            transcript=door.transcript,
            environment=environment,
            wallet_id=members["wallet_id"],
            share_set_id=members["share_set_id"],
        )
        return d.DelegateLogin(**({"proof": self.share.prove(context)} | members))

    async def log_in(self, *, ecdsa: bool = False) -> d.DelegateLoggedIn:
        self.door = await Door.open(self.host, ecdsa=ecdsa)
        return await self.door.call(self.login(self.door), d.DelegateLoggedIn)

    def sign_request(self, payload: Any = None, **changes: Any) -> tuple[Any, m.Sign]:
        nonces, commitments = frost_begin(self.share, 1)
        members: dict[str, Any] = {
            "wallet_id": self.wallet.wallet_id,
            "epoch": self.wallet.epoch,
            "payload": payload or payment(self.wallet),
            "path": [],
            "commitments": commitments,
        }
        return nonces, m.Sign(**(members | changes))

    async def sign(self, payload: Any = None, **changes: Any) -> bytes:
        """One FROST signature, verified by the delegate's share."""
        nonces, request = self.sign_request(payload, **changes)
        signed = await self.door.call(request, m.Signed)
        (signature,) = nonces.finish(
            self.share, signed.digests, {2: (signed.commitments, signed.shares)}, None
        )
        return signature

    async def sign_message(self, text: bytes) -> bytes:
        """One ECDSA signature of a message (EIP-191)."""
        digest = evm_message_digest(text)["digest"]
        pending, message1 = ecdsa_begin(self.share, self.door.ecdsa, digest, [], 2)
        request = m.SignEcdsa(
            wallet_id=self.wallet.wallet_id,
            epoch=self.wallet.epoch,
            payload=m.EvmMessagePayload(text, None),
            path=[],
            message1=message1,
        )
        part = await self.door.call(request, m.EcdsaSigned)
        signature, recovery, _ = pending.finish(part.message2)
        return signature + bytes([27 + recovery])

    async def revoke(self) -> None:
        await self.door.call(d.RevokeDelegation(self.wallet.wallet_id, self.wallet.share_set_id), Done)


def payment(wallet: WalletInfo, lamports: int = 1) -> m.SolanaPayload:
    return m.SolanaPayload(message=solana_message(solana_address(wallet.public_key), lamports))


async def user_with_wallet(host: Host, chain: str = "solana") -> tuple[User, str]:
    """A user with a passkey and a wallet, where delegated access is configured."""
    user = await User.log_in(host, ecdsa=chain == "ethereum")
    await user.add_passkey()
    wallet = await user.create(chain)
    return user, wallet.wallet_id


async def delegated(
    host: Host, chain: str = "solana", *, log_in: bool = True, **changes: Any
) -> tuple[User, Delegate]:
    """A user whose wallet is delegated, and the delegate."""
    user, wallet_id = await user_with_wallet(host, chain)
    reply = await user.door.call(d.GetDelegationSettings(), d.DelegationSettingsReply)
    if not reply.version:
        await configure(user)
    delegate = await Approval.of(user, wallet_id, **changes).run()
    if log_in:
        await delegate.log_in(ecdsa=chain == "ethereum")
    return user, delegate
