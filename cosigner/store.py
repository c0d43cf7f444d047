"""The user's shares at rest: one file for each wallet, sealed under a passphrase (``docs/spec/seal.md`` §4).

A directory holds ``store.cbor`` (Argon2id parameters, RFC 9106, and a check value) and for each wallet ``ID.share``. A share that the
enclave has not yet confirmed lies in ``ID.pending``; ``ID.share`` is written in full before ``ID.pending`` goes. The session key of a
user of an environment lies in ``ENVIRONMENT.USER.session``.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from protocol.accounts import Recover, UserId
from protocol.accounts import SessionKey as SessionKeyBytes
from protocol.actions import Milliseconds
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.names import EnvironmentId
from protocol.wallets import CLIENT_PARTY, PartyId, WalletInfo
from threshold import SealingKey, ThresholdError

from .errors import StoreError
from .receipts import SUFFIX as RECEIPT_SUFFIX
from .session_keys import RegisteredKey, SessionKey

if TYPE_CHECKING:
    from threshold import DkgRound3, KeyShare

    from .receipts import Receipt

_F = TypeVar("_F")
_Version = tuple[int, int, int]  # of a file: inode, size, time of change in nanoseconds

_MAX_FILE: Final = 64 << 10
_CHECK: Final = b"cosigner/store-check/v1"
_SALT_LENGTH: Final = 16
_MAX_PASSPHRASE: Final = 1024  # bytes; what the native core accepts
_MISSING: Final = {
    "store_missing": "There is no share store in {1}. Create a wallet first: cosigner wallet create.",
    "wallet_missing": "There is no share of wallet {0} in {1}; `cosigner wallet list` shows those there are.",
    "session_missing": "There is no session key in {1}. Log in: cosigner login.",
}
_WALLET_ID: Final = re.compile(r"[0-9a-f-]{36}\Z")  # and of users
_ENVIRONMENT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")


class KdfParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Argon2id parameters; the defaults are RFC 9106 §4's second recommendation."""

    salt: Annotated[bytes, Meta(min_length=_SALT_LENGTH, max_length=_SALT_LENGTH)]
    algorithm: Annotated[str, Meta(pattern=r"^argon2id\Z")] = "argon2id"
    memory_kib: Annotated[int, Meta(ge=19 << 10, le=1 << 20)] = 64 << 10
    iterations: Annotated[int, Meta(ge=1, le=16)] = 3
    parallelism: Annotated[int, Meta(ge=1, le=16)] = 4

    def derive(self, passphrase: bytes) -> SealingKey:
        return SealingKey.from_passphrase(
            passphrase, self.salt, self.memory_kib, self.iterations, self.parallelism
        )


class StoreFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``store.cbor``."""

    version: Annotated[int, Meta(ge=1, le=1)]
    kdf: KdfParameters
    check: Annotated[bytes, Meta(max_length=256)]


class ShareHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the seal of a share file is bound to."""

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    party: PartyId
    wallet: WalletInfo


class ShareFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ID.share`` and ``ID.pending``."""

    header: ShareHeader
    sealed: Annotated[bytes, Meta(min_length=1, max_length=16384)]


class SessionHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the seal of a session key is bound to.

    :ivar registered_at: by this device's clock; ``expires_at``: by the enclave's.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    user_id: UserId
    session_key: SessionKeyBytes
    registered_at: Milliseconds
    expires_at: Milliseconds


class SessionFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ENVIRONMENT.USER.session``: the private half of a session key, sealed as bytes."""

    header: SessionHeader
    sealed: Annotated[bytes, Meta(min_length=1, max_length=256)]


class RecoveryHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recovery that waits for its time lock: what was asked for, which must be asked for again word by word."""

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    not_before: Milliseconds
    request: Recover


class RecoveryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ENVIRONMENT.USER.recovery``: the private half of the session key that the recovery will bring, sealed as bytes."""

    header: RecoveryHeader
    sealed: Annotated[bytes, Meta(min_length=1, max_length=256)]


@dataclass(frozen=True)
class StoredWallet:
    """A wallet of the store; nothing secret."""

    environment: str
    info: WalletInfo
    pending: bool


class ShareStore:
    """An unlocked share store."""

    def __init__(self, directory: Path, key: SealingKey) -> None:
        self._directory = directory
        self._key = key
        self._opened: dict[str, tuple[_Version | None, KeyShare, StoredWallet]] = {}

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether a store was made there."""
        return (directory / "store.cbor").exists()

    @classmethod
    def create(cls, directory: Path, passphrase: bytes) -> ShareStore:
        """Make a new store, readable by its owner only. Of two that try at once, one succeeds.

        :param passphrase: 1 to 1024 bytes.
        :raises StoreError: ``store_exists``, ``store_incomplete``, ``passphrase_length``, ``store_unwritable``.
        """
        if cls.exists(directory):
            raise _store_exists(directory)
        if any(any(directory.glob(f"*.{kind}")) for kind in ("share", "pending")):
            raise StoreError(
                "store_incomplete",
                f"{directory} holds shares but no store.cbor, without which no passphrase opens them; restore that file.",
            )
        kdf = KdfParameters(salt=os.urandom(_SALT_LENGTH))
        key = _derive(kdf, passphrase)
        check = key.seal_bytes(_CHECK, cbor.encode(kdf))
        with _writing(directory):
            _make_directory(directory)
            try:
                _write(
                    directory / "store.cbor",
                    cbor.encode(StoreFile(version=1, kdf=kdf, check=check)),
                    exclusive=True,
                )
            except FileExistsError:
                raise _store_exists(directory) from None
        return cls(directory, key)

    @classmethod
    def unlock(cls, directory: Path, passphrase: bytes) -> ShareStore:
        """Open an existing store.

        :raises StoreError: ``store_missing``, ``store_malformed``, ``passphrase_length``, ``passphrase_wrong``.
        """
        parsed = _read(directory / "store.cbor", StoreFile, missing="store_missing")
        key = _derive(parsed.kdf, passphrase)
        try:
            key.open_bytes(parsed.check, cbor.encode(parsed.kdf))
        except ThresholdError:
            raise StoreError("passphrase_wrong", f"The passphrase does not open {directory}.") from None
        return cls(directory, key)

    @staticmethod
    def wallets(directory: Path) -> list[StoredWallet]:
        """The wallets of a store, as their headers name them: no seal is opened, and a damaged file is left out.

        Needs no passphrase. Whoever can write the files can change what is read here; :meth:`load` opens the seal.
        """
        active = {path.stem: path for path in directory.glob("*.share")}
        # A crash between writing ID.share and removing ID.pending leaves both; the share counts.
        pending = {path.stem: path for path in directory.glob("*.pending") if path.stem not in active}
        found = []
        for path in sorted([*active.values(), *pending.values()]):
            with contextlib.suppress(StoreError):
                header = _read(path, ShareFile, missing="wallet_missing").header
                found.append(StoredWallet(header.environment, header.wallet, path.suffix == ".pending"))
        return found

    def save_pending(self, environment: str, state: DkgRound3, wallet: WalletInfo) -> None:
        """Store durably what becomes the share once the enclave has confirmed the transcript.

        :raises StoreError: ``store_unwritable``.
        """
        header = ShareHeader(version=1, environment=environment, party=CLIENT_PARTY, wallet=wallet)
        sealed = self._key.seal_unconfirmed(state, cbor.encode(header))
        self._save(header, sealed, "pending")

    def pending(self, wallet_id: str) -> StoredWallet:
        """The public facts of a pending wallet.

        :raises StoreError: ``wallet_missing``, ``store_malformed``.
        """
        header = _read(self._path(wallet_id, "pending"), ShareFile, missing="wallet_missing").header
        return StoredWallet(header.environment, header.wallet, pending=True)

    def activate(self, wallet_id: str, confirmations: dict[int, bytes]) -> None:
        """The other parties confirmed: the pending share counts from now on.

        :raises StoreError: ``wallet_missing``, ``store_malformed``, ``share_rejected``, ``store_unwritable``.
        :raises ThresholdError: ``confirmation_mismatch``.
        """
        stored = _read(self._path(wallet_id, "pending"), ShareFile, missing="wallet_missing")
        associated = cbor.encode(stored.header)
        try:
            state = self._key.open_unconfirmed(stored.sealed, associated)
        except ThresholdError:
            raise _share_rejected(wallet_id) from None
        share = state.confirm(confirmations)
        self._save(stored.header, self._key.seal_share(share, associated), "share")
        self.discard_pending(wallet_id)

    def discard_pending(self, wallet_id: str) -> None:
        """Remove a pending share: it became active, or the enclave refused its counterpart for good."""
        with _writing(self._directory), contextlib.suppress(FileNotFoundError):
            self._path(wallet_id, "pending").unlink()
            _sync(self._directory)

    def load(self, wallet_id: str) -> tuple[KeyShare, StoredWallet]:
        """Open the share of a wallet. One that was opened before is not opened again while its file is the same.

        :raises StoreError: ``wallet_missing``, ``store_malformed``, ``share_rejected``.
        """
        path = self._path(wallet_id, "share")
        version = _version(path)
        known = self._opened.get(wallet_id)
        if known is None or known[0] != version:
            known = version, *self._open(wallet_id, path)
            self._opened[wallet_id] = known
        return known[1:]

    @staticmethod
    def sessions(directory: Path) -> list[SessionHeader]:
        """The session keys of a store, newest first, as their headers name them; as :meth:`wallets` this needs no passphrase."""
        found = []
        for path in directory.glob("*.session"):
            with contextlib.suppress(StoreError):
                found.append(_read(path, SessionFile, missing="session_missing").header)
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
        stored = _read(path, SessionFile, missing="session_missing")
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
        with _writing(self._directory):
            _write(
                self._user_path(environment, registered.user_id, "session"),
                cbor.encode(SessionFile(header=header, sealed=sealed)),
            )

    def discard_session_key(self, environment: str, user_id: str) -> None:
        """Remove a session key.

        :raises StoreError: ``store_unwritable``.
        """
        with _writing(self._directory), contextlib.suppress(FileNotFoundError):
            self._user_path(environment, user_id, "session").unlink()
            _sync(self._directory)

    def save_recovery(self, environment: str, request: Recover, key: SessionKey, not_before: int) -> None:
        """Keep what completes a recovery after its time lock.

        :raises StoreError: ``store_unwritable``.
        """
        header = RecoveryHeader(version=1, environment=environment, not_before=not_before, request=request)
        sealed = self._key.seal_bytes(key.scalar(), cbor.encode(header))
        with _writing(self._directory):
            _write(
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
        stored = _read(path, RecoveryFile, missing="session_missing")
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
        with _writing(self._directory), contextlib.suppress(FileNotFoundError):
            self._user_path(environment, user_id, "recovery").unlink()
            _sync(self._directory)

    def keep_receipt(self, receipt: Receipt) -> None:
        """Keep a receipt for good. One that is there already stays as it is.

        :raises StoreError: ``store_unwritable``.
        """
        directory = self._directory / "receipts" / receipt.subject.replace(":", "_")
        with _writing(directory), contextlib.suppress(FileExistsError):
            _make_directory(directory)
            _write(directory / receipt.file_name, receipt.encode(), exclusive=True)

    @staticmethod
    def receipts(directory: Path, subject: str | None = None) -> list[Path]:
        """The receipts of a store, oldest first: of a wallet, a user or a layer (``LAYER_SUBJECT``), or all of them."""
        pattern = f"{'*' if subject is None else glob.escape(subject)}/*{RECEIPT_SUFFIX}"
        found = (directory / "receipts").glob(pattern)
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def _user_path(self, environment: str, user_id: str, kind: str) -> Path:
        if not _WALLET_ID.match(user_id) or not _ENVIRONMENT.match(environment):  # they become a file name
            raise StoreError("session_missing", f"{user_id!r} is not the id of a user.")
        return self._directory / f"{environment}.{user_id}.{kind}"

    def _open(self, wallet_id: str, path: Path) -> tuple[KeyShare, StoredWallet]:
        stored = _read(path, ShareFile, missing="wallet_missing")
        header = stored.header
        try:
            share = self._key.open_share(stored.sealed, cbor.encode(header))
        except ThresholdError:
            raise _share_rejected(wallet_id) from None
        facts = (share.suite, share.identifier, share.epoch, share.group_public_key, wallet_id)
        wallet = header.wallet
        if facts != (wallet.suite, CLIENT_PARTY, wallet.epoch, wallet.public_key, wallet.wallet_id):
            raise _share_rejected(wallet_id)
        return share, StoredWallet(header.environment, wallet, pending=False)

    def _save(self, header: ShareHeader, sealed: bytes, kind: str) -> None:
        with _writing(self._directory):
            _write(
                self._path(header.wallet.wallet_id, kind),
                cbor.encode(ShareFile(header=header, sealed=sealed)),
            )

    def _path(self, wallet_id: str, kind: str) -> Path:
        if not _WALLET_ID.match(wallet_id):  # it becomes a file name
            raise StoreError("wallet_missing", f"{wallet_id!r} is not the id of a wallet.")
        return self._directory / f"{wallet_id}.{kind}"


def _session_damaged(path: Path) -> StoreError:
    return StoreError(
        "session_key_damaged",
        f"{path} was altered, or belongs to another store. Remove it and log in again: cosigner login.",
    )


def _share_rejected(wallet_id: str) -> StoreError:
    return StoreError(
        "share_rejected",
        f"The file of wallet {wallet_id} was altered, or belongs to another wallet or store.",
    )


def _version(path: Path) -> _Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns


def _read(path: Path, kind: type[_F], *, missing: str) -> _F:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(missing, _MISSING[missing].format(path.stem, path.parent)) from None
    except OSError as error:
        raise StoreError("store_unreadable", f"Cannot read {path}: {error.strerror}.") from None
    try:
        return cbor.decode(raw, kind, limit=_MAX_FILE, culprit=Culprit.CLIENT)
    except ProtocolError:
        raise StoreError(
            "store_malformed", f"{path} is damaged, or was written by another version."
        ) from None


def _derive(kdf: KdfParameters, passphrase: bytes) -> SealingKey:
    if not 1 <= len(passphrase) <= _MAX_PASSPHRASE:
        raise StoreError("passphrase_length", f"A passphrase has 1 to {_MAX_PASSPHRASE} bytes.")
    return kdf.derive(passphrase)


def _store_exists(directory: Path) -> StoreError:
    return StoreError("store_exists", f"{directory} holds a share store already.")


def _make_directory(directory: Path) -> None:
    """Make a directory and its parents durably."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        _sync(path.parent)


def _write(path: Path, content: bytes, *, exclusive: bool = False) -> None:
    """Write durably and atomically: a crash leaves the old file or the new one.

    :param exclusive: raise :class:`FileExistsError` rather than replace a file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)
            temporary.unlink()
        else:
            temporary.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError("store_unwritable", f"Cannot write in {directory}: {error.strerror}.") from None
