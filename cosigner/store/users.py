"""What a share store keeps of users: session keys, recoveries that wait, receipts."""

from __future__ import annotations

import contextlib
import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocol.envelope import cbor
from threshold import ThresholdError

from ..errors import StoreError  # noqa: TID252
from ..receipts import SUFFIX as RECEIPT_SUFFIX  # noqa: TID252
from ..session_keys import RegisteredKey, SessionKey  # noqa: TID252
from .files import make_directory, read, remove, write, writing
from .formats import RecoveryFile, RecoveryHeader, SessionFile, SessionHeader

if TYPE_CHECKING:
    from protocol.accounts import Recover
    from threshold import SealingKey

    from ..receipts import Receipt  # noqa: TID252

_USER_ID: Final = re.compile(r"[0-9a-f-]{36}\Z")
_ENVIRONMENT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")


class UserFiles:
    """The part of :class:`cosigner.store.ShareStore` that is about users."""

    _directory: Path
    _key: SealingKey

    @staticmethod
    def sessions(directory: Path) -> list[SessionHeader]:
        """The session keys of a store, newest first, as their headers name them; as :meth:`wallets` this needs no passphrase."""
        found = []
        for path in directory.glob("*.session"):
            with contextlib.suppress(StoreError):
                found.append(read(path, SessionFile, missing="session_missing").header)
        return sorted(found, key=lambda header: (header.registered_at, header.user_id), reverse=True)

    def session_key(self, environment: str, user_id: str | None) -> RegisteredKey | None:
        """A user's session key, or that of whoever logged in last.

        :raises StoreError: ``store_malformed``, ``session_key_damaged``.
        """
        if user_id is None:
            here = [header for header in self.sessions(self._directory) if header.environment == environment]
            if not here:
                return None
            user_id = here[0].user_id
        path = self._user_path(environment, user_id, "session")
        if not path.exists():
            return None
        stored = read(path, SessionFile, missing="session_missing")
        header = stored.header
        try:
            key = SessionKey.from_scalar(self._key.open_bytes(stored.sealed, cbor.encode(header)))
        except (ThresholdError, ValueError):
            raise _session_damaged(path) from None
        if (header.environment, header.user_id, header.session_key) != (environment, user_id, key.public):
            raise _session_damaged(path)
        return RegisteredKey(user_id, key, header.registered_at, header.expires_at)

    def save_session_key(self, environment: str, registered: RegisteredKey) -> None:
        """Keep a session key, in place of the user's earlier one.

        :raises StoreError: ``store_unwritable``.
        """
        header = SessionHeader(
            version=1,
            environment=environment,
            user_id=registered.user_id,
            session_key=registered.key.public,
            registered_at=registered.registered_at,
            expires_at=registered.expires_at,
        )
        sealed = self._key.seal_bytes(registered.key.scalar(), cbor.encode(header))
        with writing(self._directory):
            write(
                self._user_path(environment, registered.user_id, "session"),
                cbor.encode(SessionFile(header=header, sealed=sealed)),
            )

    def discard_session_key(self, environment: str, user_id: str) -> None:
        """Remove a session key.

        :raises StoreError: ``store_unwritable``.
        """
        with writing(self._directory):
            remove(self._user_path(environment, user_id, "session"))

    def save_recovery(self, environment: str, request: Recover, key: SessionKey, not_before: int) -> None:
        """Keep what completes a recovery after its time lock.

        :raises StoreError: ``store_unwritable``.
        """
        header = RecoveryHeader(version=1, environment=environment, not_before=not_before, request=request)
        sealed = self._key.seal_bytes(key.scalar(), cbor.encode(header))
        with writing(self._directory):
            write(
                self._user_path(environment, request.user_id, "recovery"),
                cbor.encode(RecoveryFile(header=header, sealed=sealed)),
            )

    def recovery(self, environment: str, user_id: str) -> tuple[Recover, SessionKey, int] | None:
        """A recovery that waits: its request, its session key, and when the lock ends (milliseconds since 1970).

        :raises StoreError: ``store_malformed``, ``session_key_damaged``.
        """
        path = self._user_path(environment, user_id, "recovery")
        if not path.exists():
            return None
        stored = read(path, RecoveryFile, missing="session_missing")
        try:
            key = SessionKey.from_scalar(self._key.open_bytes(stored.sealed, cbor.encode(stored.header)))
        except (ThresholdError, ValueError):
            raise _session_damaged(path) from None
        request = stored.header.request
        if (stored.header.environment, request.user_id) != (environment, user_id):
            raise _session_damaged(path)
        return request, key, stored.header.not_before

    def discard_recovery(self, environment: str, user_id: str) -> None:
        """Forget a recovery: it was completed, or is not to be.

        :raises StoreError: ``store_unwritable``.
        """
        with writing(self._directory):
            remove(self._user_path(environment, user_id, "recovery"))

    def keep_receipt(self, receipt: Receipt) -> None:
        """Keep a receipt for good. One that is there already stays as it is.

        :raises StoreError: ``store_unwritable``.
        """
        directory = self._directory / "receipts" / receipt.subject.replace(":", "_")
        with writing(directory), contextlib.suppress(FileExistsError):
            make_directory(directory)
            write(directory / receipt.file_name, receipt.encode(), exclusive=True)

    @staticmethod
    def receipts(directory: Path, subject: str | None = None) -> list[Path]:
        """The receipts of a store, oldest first: of a wallet, a user or a layer (``LAYER_SUBJECT``), or all of them."""
        pattern = f"{'*' if subject is None else glob.escape(subject)}/*{RECEIPT_SUFFIX}"
        found = (directory / "receipts").glob(pattern)
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def _user_path(self, environment: str, user_id: str, kind: str) -> Path:
        if not _USER_ID.match(user_id) or not _ENVIRONMENT.match(environment):  # they become a file name
            raise StoreError("session_missing", f"{user_id!r} is not the id of a user.")
        return self._directory / f"{environment}.{user_id}.{kind}"


def _session_damaged(path: Path) -> StoreError:
    return StoreError(
        "session_key_damaged",
        f"{path} was altered, or belongs to another store. Remove it and log in again: cosigner login.",
    )
