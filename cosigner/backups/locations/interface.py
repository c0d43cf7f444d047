"""What every location does, and the five ways in which it may fail."""

from __future__ import annotations

import re
from typing import ClassVar, Final, Protocol

from protocol.envelope.errors import CosignerError, Culprit, Reaction

MAX_BACKUP: Final = (
    64 << 10
)  # bytes; what the service's own storage holds (protocol.envelope.limits.MAX_STORED_VALUE)
MAX_NAMES: Final = 10_000  # that one location is listed with
_NAME: Final = re.compile(r"[a-z0-9-]{1,128}\Z")


class LocationError(CosignerError):
    """A location failed.

    - ``backup_missing``: it has nothing under that name.
    - ``location_unauthorized``: it does not let us in: the token expired, or is another's. Log in there again.
    - ``location_unavailable``: it did not answer, or not now. The same call may be made again.
    - ``location_refused``: it answered that it will not, or not in its own protocol's form.
    - ``backup_too_large``: more than :data:`MAX_BACKUP` bytes.

    No message names a token.
    """


class BackupLocation(Protocol):
    """A place that keeps blobs of 1 to 65,536 bytes by name. A name matches ``[a-z0-9-]{1,128}``.

    Every method raises :exc:`LocationError`, and may be called again after ``location_unavailable``.

    :cvar kind: "service", "file", "s3", "google_drive", "icloud" or "endpoint".
    """

    kind: ClassVar[str]

    async def put(self, name: str, blob: bytes) -> None:
        """Keep ``blob``, in place of what the name had before. Durable, as far as the location promises it, when this returns."""

    async def get(self, name: str) -> bytes:
        """What was put last under the name.

        :raises LocationError: ``backup_missing``.
        """

    async def delete(self, name: str) -> None:
        """Forget a name; one that is missing is fine."""

    async def names(self) -> list[str]:
        """All names, sorted."""


def is_name(text: str) -> bool:
    """Whether ``text`` has the form of a name."""
    return _NAME.match(text) is not None


def check_name(name: str) -> str:
    """The name, if it is one: nothing else becomes a part of a path, a URL or a query.

    :raises LocationError: ``location_refused``.
    """
    if not is_name(name):
        raise refused(
            "A backup's name has 1 to 128 of the characters a-z, 0-9 and -.", culprit=Culprit.CLIENT
        )
    return name


def check_blob(blob: bytes) -> bytes:
    """The blob, if its size is one that every location keeps.

    :raises LocationError: ``backup_too_large``, ``location_refused``.
    """
    if len(blob) > MAX_BACKUP:
        raise too_large(Culprit.CLIENT)
    if not blob:
        raise refused("A backup has at least one byte.", culprit=Culprit.CLIENT)
    return blob


def missing(place: str) -> LocationError:
    """Nothing is there under that name."""
    return LocationError(
        "backup_missing",
        f"{place} has no backup of that name.",
        culprit=Culprit.STORAGE,
        reaction=Reaction.ABORT,
    )


def unauthorized(place: str, remedy: str) -> LocationError:
    """The location does not let us in."""
    return LocationError(
        "location_unauthorized",
        f"{place} does not accept the credentials. {remedy}",
        culprit=Culprit.CLIENT,
        reaction=Reaction.ABORT,
    )


def unavailable(place: str, reason: str) -> LocationError:
    """The location may answer another time."""
    return LocationError(
        "location_unavailable",
        f"{place} cannot be used at the moment: {reason}.",
        culprit=Culprit.NETWORK,
        reaction=Reaction.RETRY,
    )


def refused(message: str, *, culprit: Culprit = Culprit.STORAGE) -> LocationError:
    """The location, or what it answered, or what it was asked, is no good."""
    return LocationError("location_refused", message, culprit=culprit, reaction=Reaction.ABORT)


def too_large(culprit: Culprit) -> LocationError:
    """More than a backup ever has."""
    return LocationError(
        "backup_too_large",
        f"A backup has at most {MAX_BACKUP} bytes.",
        culprit=culprit,
        reaction=Reaction.ABORT,
    )
