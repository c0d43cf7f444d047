"""All issuers of an environment: finds the right one's keys, fetches them where it must, and verifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import jwt
from .jwks import IssuerKeys
from .jwks_fetching import KeyFetcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enclave.manifest import TrustedIssuer

    from .jwks_fetching import Dial


class Logins:
    """The issuers that an environment trusts.

    :param dial: the way to issuers whose keys are fetched.
    :raises CosignerError: ``manifest_invalid``: an issuer's keys, URL or CAs are not acceptable.
    """

    def __init__(self, issuers: Sequence[TrustedIssuer], dial: Dial) -> None:
        self._pinned = [IssuerKeys(issuer) for issuer in issuers if not issuer.url]
        self._fetchers = {issuer.issuer: KeyFetcher(issuer, dial) for issuer in issuers if issuer.url}

    async def verify(self, token: str, *, now_ms: int) -> jwt.VerifiedLogin:
        """Verify a JWT.

        :raises CosignerError: ``jwt_invalid``, ``jwt_expired``, ``issuer_unknown``, ``issuer_unavailable``.
        """
        parsed = jwt.parse(token)
        fetcher = self._fetchers.get(parsed.issuer)
        known = self._pinned if fetcher is None else [await fetcher.current(now_ms, kid=parsed.kid)]
        return jwt.verify(token, known, now_ms=now_ms)
