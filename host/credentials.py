"""Where the AWS credentials for the enclave come from: a file, or botocore's chain on the instance.

The sources are asked again and again; newer credentials are what differs from those handed in before. EC2 has newer ones for an instance's
role at least five minutes before the old ones expire (EC2 User Guide, "Retrieve security credentials from instance metadata"), and the
host asks the metadata service itself every time: botocore's own schedule may first look some seconds after the end of the old ones, since
it believes credentials with little time left to live for up to 20 minutes. Whoever writes the file must write it in time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.messages import AwsCredentials

from .config import FileCredentials, InstanceCredentials
from .errors import HostError

_MAX_FILE: Final = 64 << 10
_INSTANCE_ROLE: Final = "iam-role"  # botocore's name of the provider


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for AWS.

    :ivar expires_at: seconds since 1970, ``None`` if the source does not say.
    """

    aws: AwsCredentials
    expires_at: float | None

    def __repr__(self) -> str:
        return "<Credentials redacted>"


class CredentialSource(Protocol):
    """Something that has credentials."""

    async def fetch(self) -> Credentials:
        """The credentials that are valid now.

        :raises HostError: ``credentials_unavailable`` or ``credentials_expired``.
        """


def source_of(section: FileCredentials | InstanceCredentials) -> CredentialSource:
    """The source that the configuration names."""
    return FileSource(Path(section.path)) if isinstance(section, FileCredentials) else InstanceSource()


class _File(msgspec.Struct, frozen=True):
    """What AWS's ``credential_process`` prints; members that it does not name are ignored, as its specification has it."""

    Version: Annotated[int, Meta(ge=1, le=1)]
    AccessKeyId: Annotated[str, Meta(min_length=1, max_length=128)]
    SecretAccessKey: Annotated[str, Meta(min_length=1, max_length=256)]
    SessionToken: Annotated[str, Meta(max_length=4096)] = ""
    Expiration: Annotated[dt.datetime, Meta(tz=True)] | None = None


class FileSource:
    """Credentials in a JSON file: ``Version`` 1, ``AccessKeyId``, ``SecretAccessKey``, optionally ``SessionToken``, ``Expiration``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self) -> Credentials:
        try:
            with self._path.open("rb") as file:
                content = msgspec.json.decode(file.read(_MAX_FILE), type=_File, strict=True)
        except OSError as error:
            raise _unavailable(f"{self._path} cannot be read: {error.strerror}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):  # its text could quote the file
            raise _unavailable(
                f"{self._path} does not have the form that credential_process prints"
            ) from None
        expires_at = None if content.Expiration is None else content.Expiration.timestamp()
        if expires_at is not None and expires_at <= dt.datetime.now(dt.UTC).timestamp():
            raise HostError(
                "credentials_expired",
                f"The credentials in {self._path} have expired; whoever writes that file must renew it.",
                culprit=Culprit.HOST,
                reaction=Reaction.RETRY,
            )
        aws = AwsCredentials(
            access_key_id=content.AccessKeyId,
            secret_access_key=content.SecretAccessKey,
            session_token=content.SessionToken,
        )
        return Credentials(aws, expires_at)


class InstanceSource:
    """Credentials by botocore's ordinary chain: environment, shared files, container, instance metadata."""

    def __init__(self) -> None:
        self._session: Any = None
        self._credentials: Any = None

    async def fetch(self) -> Credentials:
        return await asyncio.to_thread(self._fetch)

    def _fetch(self) -> Credentials:
        import botocore.session  # noqa: PLC0415  (slow to import, and needed with this source only)
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        try:
            if self._session is None:
                self._session = botocore.session.get_session()
            if self._credentials is None or self._credentials.method == _INSTANCE_ROLE:
                found = self._session.get_component("credential_provider").load_credentials()
                self._credentials = (
                    found or self._credentials
                )  # a moment without metadata service loses nothing
            if self._credentials is None:
                raise _unavailable(
                    "AWS's chain found none: give the instance a role, or set credentials.source to file"
                )
            frozen = self._credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise _unavailable(f"AWS's chain failed ({type(error).__name__})") from None
        if not frozen.access_key or not frozen.secret_key:
            raise _unavailable("AWS's chain gave incomplete ones")
        aws = AwsCredentials(
            access_key_id=frozen.access_key,
            secret_access_key=frozen.secret_key,
            session_token=frozen.token or "",
        )
        return Credentials(
            aws, None
        )  # of other providers than the instance's role, botocore renews them in time


def _unavailable(reason: str) -> HostError:
    return HostError(
        "credentials_unavailable",
        f"There are no AWS credentials for the enclave: {reason}.",
        culprit=Culprit.HOST,
        reaction=Reaction.RETRY,
    )
