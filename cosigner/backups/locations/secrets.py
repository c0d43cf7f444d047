"""Tokens of locations: read from files that options or the environment name, never from arguments, and shown nowhere."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from protocol.envelope.errors import Culprit

from .interface import LocationError, refused, unauthorized
from .regular import read_regular, sync_folder

_MAX_FILE: Final = 16 << 10
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]{1,8192}\Z")


class Token:
    """A secret text. It has no ``repr``, cannot be compared, hashed or pickled; :meth:`reveal` is the only way to it."""

    __slots__ = ("_text",)
    __hash__ = None  # type: ignore[assignment]  # a hash would be a way to compare

    def __init__(self, text: str) -> None:
        if not _PRINTABLE.match(text):
            msg = "a token has 1 to 8192 printable ASCII characters"
            raise ValueError(msg)
        self._text = text

    def reveal(self) -> str:
        """The text, for the request that carries it."""
        return self._text

    def __repr__(self) -> str:
        return "<Token>"

    def __eq__(self, other: object) -> bool:
        msg = "tokens are not compared"
        raise TypeError(msg)

    def __reduce__(self) -> NoReturn:
        msg = "tokens are not pickled"
        raise TypeError(msg)


@dataclass(frozen=True)
class SecretFile:
    """A file with a secret, readable by its owner only."""

    path: Path

    def read(self) -> bytes:
        """Its content, 1 to 16,384 bytes.

        :raises LocationError: ``location_unauthorized``.
        """
        try:
            content, status = read_regular(self.path, _MAX_FILE)
        except OSError as error:
            raise _unusable(self.path, f"cannot be read ({error.strerror})") from None
        if status.st_mode & 0o077:
            raise _unusable(self.path, "can be read by other users of this machine; chmod it to 600")
        if content is None or not 0 < len(content) <= _MAX_FILE:
            raise _unusable(self.path, f"is not a file of 1 to {_MAX_FILE} bytes")
        return content

    def token(self) -> Token:
        """Its content as a token; white space around it does not count.

        :raises LocationError: ``location_unauthorized``.
        """
        with contextlib.suppress(ValueError):  # UnicodeDecodeError included
            return Token(self.read().decode("ascii").strip())
        raise _unusable(self.path, "does not hold a token")

    def replace(self, token: Token) -> None:
        """Put another token into it, durably: a crash leaves the old or the new one.

        :raises LocationError: ``location_refused``.
        """
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(token.reveal().encode() + b"\n")
                    file.flush()
                    os.fsync(descriptor)
                temporary.replace(self.path)
                sync_folder(self.path.parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        except OSError as error:
            raise refused(
                f"The location gave a new token, and it cannot be kept in {self.path}: {error.strerror}. Log in there again.",
                culprit=Culprit.CLIENT,
            ) from None


def _unusable(path: Path, reason: str) -> LocationError:
    return unauthorized("The location", f"{path} {reason}.")


@dataclass(frozen=True)
class LocationSecrets:
    """The files with the secrets of locations. Each is needed by its location only.

    :ivar endpoint_token: the bearer token of the developer's own endpoint.
    :ivar google: OAuth credentials of the form that Google's tools write for a user: JSON with ``client_id``, ``client_secret`` and
        ``refresh_token``.
    :ivar icloud_api_token: of the CloudKit container.
    :ivar icloud_web_token: of the user's session; CloudKit gives another one with every answer, and the file is rewritten.
    """

    endpoint_token: SecretFile | None = None
    google: SecretFile | None = None
    icloud_api_token: SecretFile | None = None
    icloud_web_token: SecretFile | None = None

    VARIABLES = {  # noqa: RUF012  (constant, no field: not annotated)
        "endpoint_token": "COSIGNER_BACKUP_TOKEN_FILE",
        "google": "COSIGNER_GOOGLE_CREDENTIALS_FILE",
        "icloud_api_token": "COSIGNER_ICLOUD_API_TOKEN_FILE",
        "icloud_web_token": "COSIGNER_ICLOUD_WEB_TOKEN_FILE",
    }

    @classmethod
    def named(
        cls, options: Mapping[str, Path | None] | None = None, environment: Mapping[str, str] = os.environ
    ) -> LocationSecrets:
        """The files that ``options`` name, by the names of the members, and for the others those that the environment names."""
        given = dict(options or {})
        named = {
            member: given.get(member) or (Path(text) if (text := environment.get(variable)) else None)
            for member, variable in cls.VARIABLES.items()
        }
        return cls(**{member: SecretFile(path) for member, path in named.items() if path is not None})
