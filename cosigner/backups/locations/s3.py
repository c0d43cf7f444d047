"""An S3 bucket, or what is below a prefix of one (extra ``cosigner[s3]``).

Credentials come by botocore's ordinary chain. Needed: s3:PutObject, s3:GetObject, s3:DeleteObject, and s3:ListBucket, without which S3
does not tell a missing object from a forbidden one.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

from protocol.envelope.errors import Culprit

from .http import OCTETS, check_base
from .interface import (
    MAX_BACKUP,
    MAX_NAMES,
    LocationError,
    check_blob,
    check_name,
    is_name,
    missing,
    refused,
    too_large,
    unauthorized,
    unavailable,
)

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
except ImportError as error:
    raise refused(
        "Backups in S3 need boto3, the extra `s3` of this package: pip install 'cosigner[s3]'.",
        culprit=Culprit.CLIENT,
    ) from error

_T = TypeVar("_T")

_BUCKET: Final = re.compile(
    r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z"
)  # S3 User Guide, "General purpose bucket naming rules"
_PREFIX: Final = re.compile(r"([A-Za-z0-9_-]+/)*\Z")
_REGION: Final = re.compile(r"[a-z0-9-]{1,32}\Z")
_PAGE: Final = 1000
_TIMEOUT: Final = 20.0  # seconds
_ATTEMPTS: Final = 5

# S3 API Reference, "Error responses".
_MISSING: Final = frozenset({"NoSuchKey", "404"})
_UNAUTHORIZED: Final = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_BUSY: Final = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
)


class S3Location:
    """Objects ``PREFIX`` + name.

    :param prefix: empty, or ending in ``/``.
    :param region: else botocore's ordinary chain names it. :param endpoint: another server than AWS's.
    """

    kind: ClassVar[str] = "s3"

    def __init__(
        self, bucket: str, prefix: str = "", *, region: str | None = None, endpoint: str | None = None
    ) -> None:
        known = _BUCKET.match(bucket) and _PREFIX.match(prefix) and (region is None or _REGION.match(region))
        if not known:
            raise refused(
                "That is not the name of a bucket, a prefix ending in /, and a region.",
                culprit=Culprit.CLIENT,
            )
        self._bucket = bucket
        self._prefix = prefix
        self._place = f"The bucket {bucket}"
        try:
            self._client: Any = boto3.session.Session().client(  # boto3 makes its classes at run time
                "s3",
                region_name=region,
                endpoint_url=None if endpoint is None else check_base(endpoint),
                config=Config(
                    connect_timeout=_TIMEOUT,
                    read_timeout=_TIMEOUT,
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise refused(
                f"{self._place} cannot be used: {type(error).__name__}.", culprit=Culprit.CLIENT
            ) from None

    async def put(self, name: str, blob: bytes) -> None:
        put = functools.partial(
            self._client.put_object,
            Key=self._prefix + check_name(name),
            Body=check_blob(blob),
            ContentType=OCTETS,
            ChecksumAlgorithm="SHA256",
        )
        await self._run(lambda: put(Bucket=self._bucket))

    async def get(self, name: str) -> bytes:
        key = self._prefix + check_name(name)
        return await self._run(lambda: self._get(key))

    async def delete(self, name: str) -> None:
        key = self._prefix + check_name(name)
        await self._run(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    async def names(self) -> list[str]:
        return await self._run(self._names)

    async def _run(self, work: Callable[[], _T]) -> _T:
        failure: LocationError
        try:
            return await asyncio.to_thread(work)
        except ClientError as error:
            failure = self._translate(error)
        except (NoCredentialsError, PartialCredentialsError):
            failure = unauthorized(
                self._place, "There are no AWS credentials: set a profile, or the environment's variables."
            )
        except BotoCoreError as error:
            failure = unavailable(self._place, type(error).__name__)
        raise failure  # outside of the handler: botocore's exceptions hold requests

    def _translate(self, error: ClientError) -> LocationError:
        """AWS's words name accounts and roles; its codes do not."""
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _MISSING:
            return missing(self._place)
        if code in _UNAUTHORIZED or status in {401, 403}:
            return unauthorized(
                self._place, f"AWS says {_word(code)}; check the profile and the bucket's policy."
            )
        if code == "EntityTooLarge":
            return too_large(Culprit.STORAGE)
        if code in _BUSY or status >= 500 or status == 429:  # noqa: PLR2004
            return unavailable(self._place, _word(code))
        return refused(f"{self._place} refuses: {_word(code)}.")

    # --- in a thread ---

    def _get(self, key: str) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket, Key=key)
        with answer["Body"] as body:
            blob: bytes = body.read(MAX_BACKUP + 1)
        if len(blob) > MAX_BACKUP:
            raise too_large(Culprit.STORAGE)
        if not blob:
            raise refused(f"{self._place} holds an empty backup of that name.")
        return blob

    def _names(self) -> list[str]:
        """The names below the prefix. S3 lists in the order of UTF-8 bytes, a page of at most 1,000 at a time."""
        found: list[str] = []
        more: dict[str, str] = {}
        for _ in range(MAX_NAMES // _PAGE + 1):
            page = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/", MaxKeys=_PAGE, **more
            )
            keys = (item["Key"].removeprefix(self._prefix) for item in page.get("Contents", []))
            found += [name for name in keys if is_name(name)]
            if not page.get("IsTruncated"):
                return sorted(found)
            more = {"ContinuationToken": page["NextContinuationToken"]}
        raise refused(f"{self._place} lists more than {MAX_NAMES} objects; give a prefix of its own.")


def _word(code: str) -> str:
    return code if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", code) else "an error"
