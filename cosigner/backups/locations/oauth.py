"""Access tokens of OAuth 2.0 that renew themselves with a refresh token (RFC 6749 §6), as an installed program has them."""

from __future__ import annotations

import asyncio
import ssl
from typing import Annotated, Final, Protocol
from urllib.parse import urlencode

import httpx
import msgspec
from msgspec import Meta

from .http import JSON, Http, Sleep, check_base, is_busy
from .interface import LocationError, refused, unauthorized
from .secrets import SecretFile, Token

GOOGLE_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105  (an address)
_FORM: Final = "application/x-www-form-urlencoded"
_LOGIN: Final = "Log in there again, and put the new credentials into their file."
_Text = Annotated[str, Meta(min_length=1, max_length=8192)]


class TokenProvider(Protocol):
    """Where the access token comes from."""

    async def token(self) -> Token:
        """The token to try; may have expired."""

    async def renewed(self, stale: Token) -> Token:
        """Another one in place of ``stale``, which was not accepted.

        :raises LocationError: ``location_unauthorized``: there is none; ``location_unavailable``.
        """


class FixedToken:
    """An access token that somebody else keeps fresh."""

    def __init__(self, token: Token) -> None:
        self._token = token

    async def token(self) -> Token:
        return self._token

    async def renewed(self, stale: Token) -> Token:  # noqa: ARG002  (the only one there is)
        raise unauthorized("The location", _LOGIN)


class _Credentials(msgspec.Struct):
    client_id: _Text
    client_secret: _Text
    refresh_token: _Text

    def __repr__(self) -> str:
        return "<_Credentials>"


class _Granted(msgspec.Struct):
    """RFC 6749 §5.1."""

    access_token: _Text
    token_type: str

    def __repr__(self) -> str:
        return "<_Granted>"


class _Denied(msgspec.Struct):
    """RFC 6749 §5.2."""

    error: str


class RefreshingToken:
    """Access tokens got for a refresh token, one at a time.

    Google's refresh tokens stay the same for their whole life ("Using OAuth 2.0 for Mobile & Desktop Apps", "Refreshing an access
    token"): the credentials are read, never written.

    :param credentials: JSON with ``client_id``, ``client_secret`` and ``refresh_token``; read at every renewal, and not kept.
    """

    def __init__(
        self,
        credentials: SecretFile,
        *,
        url: str = GOOGLE_TOKEN_URL,
        tls: ssl.SSLContext | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._credentials = credentials
        self._url = check_base(url)
        self._http = Http("The authorization server", tls=tls, sleep=sleep)
        self._current: Token | None = None
        self._renewing = asyncio.Lock()

    async def token(self) -> Token:
        async with self._renewing:
            if self._current is None:
                self._current = await self._ask()
            return self._current

    async def renewed(self, stale: Token) -> Token:
        async with self._renewing:
            if self._current is None or self._current is stale:  # else another task was faster
                self._current = await self._ask()
            return self._current

    async def _ask(self) -> Token:
        try:
            credentials = msgspec.json.decode(self._credentials.read(), type=_Credentials)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise unauthorized(
                "The location",
                f"{self._credentials.path} is not JSON with client_id, client_secret and refresh_token.",
            ) from None
        form = urlencode(
            {
                "grant_type": "refresh_token",
                "refresh_token": credentials.refresh_token,
                "client_id": credentials.client_id,  # in the body: RFC 6749 §2.3.1, and what Google documents
                "client_secret": credentials.client_secret,
            }
        )
        answer = await self._http.retrying(
            lambda: self._http.exchange(
                "POST",
                self._url,
                headers={"content-type": _FORM, "accept": JSON},
                content=form.encode(),
            ),
            is_busy,
        )
        if answer.status != httpx.codes.OK:
            raise self._refusal(self._http.json(answer, _Denied).error)
        granted = self._http.json(answer, _Granted)
        if granted.token_type.lower() != "bearer":  # RFC 6749 §7.1: do not use a type that is not understood
            raise refused("The authorization server gives tokens of another type than Bearer.")
        try:
            return Token(granted.access_token)
        except ValueError:
            raise refused("The authorization server gives something that is no token.") from None

    def _refusal(self, error: str) -> LocationError:
        if error in {"invalid_grant", "invalid_client", "unauthorized_client"}:
            return unauthorized("The authorization server", _LOGIN)
        known = {"invalid_request", "unsupported_grant_type", "invalid_scope"}
        return refused(
            f"The authorization server refuses: {error if error in known else 'an unknown error'}."
        )
