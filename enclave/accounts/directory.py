"""Where users are found and changed: by id, and by the logins that are theirs.

A login is a user's when two records agree: the index names the user, and the user's record lists the login. Neither alone is believed,
so that no order of crashes gives a login to two users, or a user to a login that was unlinked.

=========  ==========================================  ============================================================
change     order of writes                             after a crash in between
=========  ==========================================  ============================================================
first      the user's record, then the index           a record that nobody finds; the next login makes another
login
link       the index, then the user's record           the login is nobody's; linking or logging in takes it again
unlink     the user's record, then the index           the login is nobody's already
=========  ==========================================  ============================================================
"""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from enclave.records import RecordConflictError, Records, Versioned
from protocol.accounts import UserId
from protocol.actions import Milliseconds
from protocol.envelope.errors import CosignerError, Culprit, Reaction

from . import logins
from .user import Evidence, LinkedLogin, LoginId, UserKind, UserRecord, new_user, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.envelope.messages import OutboxEvent

USERS: Final = "users"
LOGINS: Final = "logins"
CLAIM_MS: Final = 60_000  # how long a login is reserved for a link that another enclave has begun
_ATTEMPTS: Final = 4


class LoginIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose a login is, if that user's record says so, too.

    :ivar user_id: ``None``: nobody's any more.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    login_id: LoginId
    user_id: UserId | None
    changed_at: Milliseconds


def _nobody_is_told(_: UserRecord, __: UserRecord) -> None:
    return None


class Directory:
    """The users of one environment.

    :param tell: what developers are told of a change from one record to another; the host keeps it in the same write as the change.
    """

    def __init__(
        self,
        records: Records,
        tell: Callable[[UserRecord, UserRecord], OutboxEvent | None] = _nobody_is_told,
    ) -> None:
        self._records = records
        self._tell = tell

    async def get(self, user_id: str) -> UserRecord | None:
        """A user's record.

        :raises CosignerError: as :meth:`enclave.records.Records.read`.
        """
        found = await self._read(user_id)
        return None if found is None else found.value

    async def require(self, user_id: str) -> UserRecord:
        """A user's record.

        :raises CosignerError: ``user_unknown``, and as :meth:`get`.
        """
        found = await self.get(user_id)
        if found is None:
            raise _unknown()
        return found

    async def by_login(self, login_id: str) -> UserRecord | None:
        """Whose a login is.

        :raises CosignerError: as :meth:`get`; ``epoch_stale``: the user of a login is gone.
        """
        index = await self._records.read(LOGINS, login_id, LoginIndex)
        return None if index is None else await self._owner(index.value)

    async def change(self, user_id: str, transition: Callable[[UserRecord], UserRecord]) -> UserRecord:
        """Read, change, and durably write a user's record. What the transition leaves as it was is not written.

        :param transition: pure; called again with the newer record if another enclave was first.
        :raises CosignerError: what the transition raises; ``user_unknown``, ``user_conflict`` (others were first, again and again), and
            as :meth:`enclave.records.Records.write`.
        """
        return (await self.change_and_compare(user_id, transition))[1]

    async def change_and_compare(
        self, user_id: str, transition: Callable[[UserRecord], UserRecord]
    ) -> tuple[UserRecord, UserRecord]:
        """:meth:`change`, with the record as it was beside the one that took its place."""
        async with self._records.lock(USERS, user_id):
            for _ in range(_ATTEMPTS):
                found = await self._read(user_id)
                if found is None:
                    raise _unknown()
                changed = transition(found.value)
                if changed == found.value:
                    return found.value, changed
                try:
                    await self._records.write(
                        USERS,
                        user_id,
                        changed,
                        expected=found.revision,
                        event=self._tell(found.value, changed),
                    )
                except RecordConflictError:
                    continue
                return found.value, changed
        raise conflict()

    async def create(
        self,
        kind: UserKind,
        *,
        name: str,
        now_ms: int,
        complete: Callable[[UserRecord], UserRecord],
    ) -> UserRecord:
        """Make a user without logins.

        :param complete: what the record holds from the start.
        """
        return await self._create(complete(new_user(str(uuid.uuid4()), kind=kind, name=name, now_ms=now_ms)))

    async def _create(self, user: UserRecord) -> UserRecord:
        try:
            await self._records.write(USERS, user.user_id, user, expected=0)
        except RecordConflictError:
            raise conflict() from None
        return user

    async def expect(self, login: LinkedLogin, *, now_ms: int) -> tuple[UserRecord, bool]:
        """The user of a login, or, if it is nobody's, the user whom :meth:`log_in` may make for it; and whether it is that one.

        :raises CosignerError: as :meth:`by_login`; ``user_conflict``.
        """
        async with self._records.lock(LOGINS, login.login_id):  # what another request writes, is written
            index = await self._records.read(LOGINS, login.login_id, LoginIndex)
            owner = None if index is None else await self._owner(index.value)
        if owner is not None:
            return owner, False
        self._require_unclaimed(index, now_ms=now_ms, claimant=None)
        return _newcomer(str(uuid.uuid4()), login, now_ms), True

    async def log_in(
        self, login: LinkedLogin, *, now_ms: int, user_id: str | None = None
    ) -> tuple[UserRecord, bool]:
        """The user of a login, made now if it is nobody's; and whether it was.

        :param user_id: what a new user is called; as :meth:`expect` says, or another.
        :raises CosignerError: as :meth:`by_login` and :meth:`change`.
        """
        async with self._records.lock(LOGINS, login.login_id):
            for _ in range(_ATTEMPTS):
                index = await self._records.read(LOGINS, login.login_id, LoginIndex)
                owner = None if index is None else await self._owner(index.value)
                if owner is not None:
                    return owner, False
                self._require_unclaimed(index, now_ms=now_ms, claimant=None)
                user = await self._create(_newcomer(user_id or str(uuid.uuid4()), login, now_ms))
                try:
                    await self._point(login.login_id, user.user_id, index, now_ms)
                except RecordConflictError:
                    continue  # another enclave was first: its user counts
                return user, True
        raise conflict()

    async def link(
        self,
        user_id: str,
        login: LinkedLogin,
        evidence: Evidence,
        *,
        now_ms: int,
        require: Callable[[UserRecord], None] = lambda _: None,
    ) -> UserRecord:
        """Another login becomes one of a user's.

        :param require: raises if the record may not be changed by whoever asks; looked at in the very record that is changed.
        :raises CosignerError: ``login_taken``: it is somebody else's; as :func:`.logins.link` and :meth:`change`.
        """
        async with self._records.lock(LOGINS, login.login_id):
            logins.link(await self.require(user_id), login, evidence)  # refuse before anything is written
            index = await self._records.read(LOGINS, login.login_id, LoginIndex)
            owner = None if index is None else await self._owner(index.value)
            if owner is not None and owner.user_id != user_id:
                raise refusal("login_taken", "This login belongs to another user.")
            if owner is None:
                self._require_unclaimed(index, now_ms=now_ms, claimant=user_id)
                try:
                    await self._point(login.login_id, user_id, index, now_ms)
                except RecordConflictError:
                    raise conflict() from None

            def linked(record: UserRecord) -> UserRecord:
                require(record)
                return logins.link(record, login, evidence)

            return await self.change(user_id, linked)

    async def unlink(
        self,
        user_id: str,
        login_id: str,
        evidence: Evidence,
        *,
        now_ms: int,
        require: Callable[[UserRecord], None] = lambda _: None,
    ) -> tuple[UserRecord, UserRecord]:
        """Take a login away; the user's record before and after.

        :param require: as of :meth:`link`.
        :raises CosignerError: as :func:`.logins.unlink` and :meth:`change`.
        """
        async with self._records.lock(LOGINS, login_id):

            def unlinked(record: UserRecord) -> UserRecord:
                require(record)
                return logins.unlink(record, login_id, evidence)

            before, after = await self.change_and_compare(user_id, unlinked)
            index = await self._records.read(LOGINS, login_id, LoginIndex)
            if index is not None and index.value.user_id == user_id:
                with contextlib.suppress(
                    CosignerError
                ):  # it is nobody's already, whatever becomes of this write
                    await self._point(login_id, None, index, now_ms)
            return before, after

    async def _owner(self, index: LoginIndex) -> UserRecord | None:
        """The user whom an index names, if the user's record agrees."""
        if index.user_id is None:
            return None
        record = await self.get(index.user_id)
        if record is None:  # a user's record is written before any index names it, and never deleted
            raise CosignerError(
                "epoch_stale",
                "The host's storage has lost the user of this login.",
                culprit=Culprit.STORAGE,
                reaction=Reaction.RETRY,
            )
        return record if logins.has(record, index.login_id) else None

    async def _read(self, user_id: str) -> Versioned[UserRecord] | None:
        return await self._records.read(USERS, user_id, UserRecord)

    async def _point(
        self, login_id: str, user_id: str | None, index: Versioned[LoginIndex] | None, now_ms: int
    ) -> None:
        entry = LoginIndex(version=1, login_id=login_id, user_id=user_id, changed_at=now_ms)
        await self._records.write(LOGINS, login_id, entry, expected=0 if index is None else index.revision)

    @staticmethod
    def _require_unclaimed(index: Versioned[LoginIndex] | None, *, now_ms: int, claimant: str | None) -> None:
        """A login that an index gives to a user whose record does not list it is nobody's, unless that user is being written just now.

        :raises CosignerError: ``user_conflict``.
        """
        if index is None or index.value.user_id in (None, claimant):
            return
        if now_ms < index.value.changed_at + CLAIM_MS:
            raise conflict()


def _newcomer(user_id: str, login: LinkedLogin, now_ms: int) -> UserRecord:
    """Whom a first login makes."""
    return msgspec.structs.replace(new_user(user_id, kind="user", name="", now_ms=now_ms), logins=(login,))


def _unknown() -> CosignerError:
    return refusal("user_unknown", "There is no such user.")


def conflict() -> CosignerError:
    """Somebody else was first."""
    return CosignerError(
        "user_conflict",
        "This user was changed at the same moment; try again.",
        culprit=Culprit.STORAGE,
        reaction=Reaction.RETRY,
    )
