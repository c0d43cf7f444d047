"""Whose sessions this device opens: logging in, keeping the session key, renewing it (``docs/spec/authorization.md`` §1)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from protocol.accounts import Jwt, KeyLogin, LoggedIn, Login
from protocol.envelope.errors import CosignerError, Culprit

from .session_keys import RegisteredKey, SessionKey, now_ms, proof_digest

if TYPE_CHECKING:
    from .keys import SigningKey
    from .session import Session

TokenProvider = Callable[[], str | Awaitable[str]]
DEFAULT_LIFETIME: Final = 30 * 86400  # seconds wished for; the environment shortens it
_OVERLAP: Final = 60.0  # seconds that an old key must still be good for to vouch for a new one


class Keyring(Protocol):
    """Where a session key lies between runs."""

    def session_key(self, environment: str, user_id: str | None) -> RegisteredKey | None:
        """The key of a user; of whoever logged in last, if none is named."""

    def save_session_key(self, environment: str, registered: RegisteredKey) -> None:
        """Keep a key, in place of the user's earlier one."""

    def discard_session_key(self, environment: str, user_id: str) -> None:
        """Forget the user's key."""


class Identity:
    """A user of one environment on this device.

    :param keyring: keeps the session key; without one it lives as long as this object.
    :param user_id: which user's key to use; by default that of whoever logged in last.
    :param token_provider: gives a valid JWT whenever one is needed; without it only :meth:`log_in` logs in.
    :param service_key: in place of a JWT: the key of the service account ``user_id``.
    :param lifetime: seconds wished for; at least 60.
    """

    def __init__(
        self,
        environment: str,
        keyring: Keyring | None = None,
        *,
        user_id: str | None = None,
        token_provider: TokenProvider | None = None,
        service_key: SigningKey | None = None,
        lifetime: int = DEFAULT_LIFETIME,
    ) -> None:
        if service_key is not None and user_id is None:
            msg = "a service account logs in under its user_id"
            raise ValueError(msg)
        self._environment = environment
        self._keyring = keyring if keyring is not None else MemoryKeyring()
        self._user_id = user_id
        self._token_provider = token_provider
        self._service_key = service_key
        self._lifetime = lifetime
        self._current: RegisteredKey | None = None

    @property
    def can_log_in(self) -> bool:
        """Whether a login takes nobody's help."""
        return self._token_provider is not None or self._service_key is not None

    async def registered(self) -> RegisteredKey | None:
        """The session key in use, expired or not."""
        if self._current is None:
            self._current = await asyncio.to_thread(
                self._keyring.session_key, self._environment, self._user_id
            )
        return self._current

    async def log_in(self, session: Session, jwt: str | None = None, *, chain: bool = True) -> LoggedIn:
        """Register a fresh session key in ``session``, which is nobody's, and make it the one in use.

        Where there is one that is still good, the new one is chained to it and takes its place.

        :param jwt: by default what the token provider gives, or the service account's key vouches.
        :param chain: ``False``: without the old key, which the enclave does not know any more.
        :raises EnclaveRefused: ``jwt_invalid``, ``jwt_expired``, ``issuer_unknown``, ``evidence_invalid``, ``session_key_rejected``.
        :raises CosignerError: ``login_required``: there is neither a token nor a way to get one.
        """
        key = SessionKey.generate()
        digest = proof_digest(session.transcript, key.public)
        request = await self._request(key, digest, jwt, chain=chain)
        logged_in = await session.call(request, LoggedIn)
        await self.adopt(
            RegisteredKey(
                user_id=logged_in.user_id,
                key=key,
                registered_at=now_ms(),
                expires_at=logged_in.session_key_expires_at,
            )
        )
        return logged_in

    async def adopt(self, registered: RegisteredKey) -> None:
        """From now on this is the key in use."""
        self._user_id = registered.user_id
        self._current = registered
        await asyncio.to_thread(self._keyring.save_session_key, self._environment, registered)

    async def forget(self) -> None:
        """Remove the session key from this device: it opens nothing more, or is not to."""
        registered = await self.registered()
        self._current = None
        if registered is not None:
            await asyncio.to_thread(self._keyring.discard_session_key, self._environment, registered.user_id)

    async def _request(
        self, key: SessionKey, digest: bytes, jwt: str | None, *, chain: bool
    ) -> Login | KeyLogin:
        if jwt is None and self._service_key is not None and self._user_id is not None:
            return KeyLogin(
                user_id=self._user_id,
                credential_id=self._service_key.credential_id,
                signature=self._service_key.sign(digest),
                session_key=key.public,
                proof=key.sign(digest),
                lifetime=self._lifetime,
            )
        jwt = await self._token() if jwt is None else jwt.strip()
        old = await self.registered() if chain else None
        if old is not None and old.expired(within=_OVERLAP):
            old = None
        try:
            msgspec.convert(jwt, Jwt)
        except msgspec.ValidationError:
            raise CosignerError(
                "jwt_invalid",
                "This is not a JWT: three parts of base64url text with dots between them, 8192 characters at most.",
                culprit=Culprit.CLIENT,
            ) from None
        return Login(
            jwt=jwt,
            session_key=key.public,
            proof=key.sign(digest),
            previous=None if old is None else old.key.public,
            previous_proof=None if old is None else old.key.sign(digest),
            lifetime=self._lifetime,
        )

    async def _token(self) -> str:
        if self._token_provider is None:
            raise login_required("This device has no session key that is good.")
        token = self._token_provider()
        return (await token if inspect.isawaitable(token) else token).strip()


def login_required(why: str) -> CosignerError:
    """Nobody is logged in, and what to do about it."""
    return CosignerError(
        "login_required",
        f"{why} Log in: `cosigner login`, or AsyncClient.login(jwt), or give the client a token_provider.",
        culprit=Culprit.CLIENT,
    )


class MemoryKeyring:
    """A keyring that lasts as long as this process."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], RegisteredKey] = {}

    def session_key(self, environment: str, user_id: str | None) -> RegisteredKey | None:
        """As :meth:`Keyring.session_key`."""
        if user_id is not None:
            return self._keys.get((environment, user_id))
        here = [key for (where, _), key in self._keys.items() if where == environment]
        return max(here, key=lambda key: key.registered_at, default=None)

    def save_session_key(self, environment: str, registered: RegisteredKey) -> None:
        """As :meth:`Keyring.save_session_key`."""
        self._keys[environment, registered.user_id] = registered

    def discard_session_key(self, environment: str, user_id: str) -> None:
        """As :meth:`Keyring.discard_session_key`."""
        self._keys.pop((environment, user_id), None)
