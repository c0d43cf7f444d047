"""The environment's settings of delegated access: the manifest's, until administrators replace them. Sealed, with the approvals of whoever
set them, so that clients can check those again, and with the secret under which webhooks are signed.
"""

from __future__ import annotations

import base64
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from protocol.actions import Hash, SignedApproval
from protocol.delegation import DelegationConfigured, DelegationSettings, DelegationSettingsReply
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.wallets import WalletId

from . import developer_keys, events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from enclave.manifest import Environment
    from enclave.records import Records
    from protocol.delegation import DeveloperKey, SetDelegationSettings

KIND: Final = "delegation-settings"
KEY: Final = "settings"
NONE: Final = DelegationSettings(
    enabled=False,
    prompt_users_on_sign_in=False,
    requires_delegation=False,
    app="none",
    endpoint="",
    keys=[],
)
"""Of an environment whose manifest says nothing of delegated access."""
_SECRET_LENGTH: Final = 32


class StoredSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What administrators have set, as sealed.

    :ivar number: how often they did.
    :ivar approvals: of those who set this.
    :ivar webhook_id: names the subscription; stays the same.
    :ivar spent_keys: fingerprints of the developer's keys that must never be active again.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    number: Annotated[int, Meta(ge=1, lt=1 << 32)]
    settings: DelegationSettings
    approvals: Annotated[tuple[SignedApproval, ...], Meta(max_length=16)]
    webhook_id: WalletId
    webhook_secret: Annotated[str, Meta(pattern=r"^whsec_[A-Za-z0-9+/=]{44}\Z")]
    spent_keys: Annotated[tuple[Hash, ...], Meta(max_length=developer_keys.MAX_SPENT)]

    def __repr__(self) -> str:  # not the secret
        return f"<StoredSettings {self.number}>"

    @property
    def subscription(self) -> events.Subscription:
        """Where events go."""
        return events.Subscription(webhook_id=self.webhook_id, endpoint=self.settings.endpoint)


@dataclass(frozen=True, slots=True)
class InForce:
    """The settings that count now.

    :ivar number: 0: those of the manifest.
    :ivar subscription: ``None``: there is none yet; administrators make it by setting the settings once.
    """

    settings: DelegationSettings
    number: int
    approvals: tuple[SignedApproval, ...]
    subscription: events.Subscription | None

    def require_enabled(self) -> events.Subscription:
        """That delegated access is allowed, and where events of it go.

        :raises CosignerError: ``delegation_disabled``.
        """
        if not self.settings.enabled:
            raise disabled("This environment does not allow delegated access.")
        if self.subscription is None:
            raise disabled(
                "The app has no webhook secret yet; an administrator makes one: `cosigner delegate configure`."
            )
        return self.subscription

    def require_key(self, kid: str, key_hash: bytes) -> DeveloperKey:
        """The developer's key, if it is the one that a share may be encrypted to now.

        :raises CosignerError: ``developer_key_refused``.
        """
        key = self.settings.active_key()
        if key is None or key.kid != kid or developer_keys.fingerprint(key.public_key) != key_hash:
            raise CosignerError(
                "developer_key_refused",
                "This is not the key that the environment's settings name as the app's; look at the settings again.",
                culprit=Culprit.CLIENT,
            )
        return key


class Settings:
    """The settings of one environment."""

    def __init__(self, environment: Environment, records: Records) -> None:
        self._outbox = events.Outbox(environment.id)
        self._first = environment.delegation or NONE
        self._records = records

    async def in_force(self) -> InForce:
        """The settings that count now.

        :raises CosignerError: as :meth:`enclave.records.Records.read`.
        """
        found = await self._records.read(KIND, KEY, StoredSettings)
        if found is None:
            return InForce(self._first, 0, (), None)
        stored = found.value
        return InForce(stored.settings, stored.number, stored.approvals, stored.subscription)

    async def show(self, *, denied: bool) -> DelegationSettingsReply:
        """What users are told, with what they need in order to believe it."""
        now = await self.in_force()
        return DelegationSettingsReply(
            settings=now.settings, version=now.number, approvals=list(now.approvals), denied=denied
        )

    async def set(
        self,
        request: SetDelegationSettings,
        approvals: Sequence[SignedApproval],
        require: Callable[[], Awaitable[object]],
    ) -> DelegationConfigured:
        """Put other settings in force, and tell the host where events go from now on. That a quorum approves, the gate has seen.

        :param approvals: those of administrators.
        :param require: raises if whoever asks may do it no longer; asked right before the write.
        :raises CosignerError: ``delegation_settings_refused``; ``user_conflict``: they are others than the request says; and as
            :meth:`enclave.records.Records.write`.
        """
        async with self._records.lock(KIND, KEY):
            found = await self._records.read(KIND, KEY, StoredSettings)
            before = await self.in_force()
            if before.number != request.version:
                raise CosignerError(
                    "user_conflict",
                    "The settings were changed in the meantime; look at them and decide again.",
                    culprit=Culprit.CLIENT,
                    reaction=Reaction.RETRY,
                )
            stored = None if found is None else found.value
            new_secret = stored is None or request.new_secret
            after = self._successor(before, stored, request, approvals)
            await require()
            await self._records.write(
                KIND,
                KEY,
                after,
                expected=0 if found is None else found.revision,
                event=self._outbox.subscription(
                    after.subscription,
                    before.settings.endpoint,
                    secret=after.webhook_secret,
                ),
            )
        return DelegationConfigured(
            version=after.number,
            webhook_id=after.webhook_id,
            webhook_secret=after.webhook_secret if new_secret else "",
        )

    async def ping(self, require: Callable[[], Awaitable[object]]) -> None:
        """Have the host send ``ping`` to the endpoint.

        :raises CosignerError: ``delegation_disabled``: there is no endpoint, or no subscription yet.
        """
        async with self._records.lock(KIND, KEY):
            found = await self._records.read(KIND, KEY, StoredSettings)
            if found is None or not found.value.settings.endpoint:
                raise disabled("There is no endpoint to send anything to; an administrator sets one.")
            await require()
            ping = self._outbox.ping(found.value.subscription)
            await self._records.write(KIND, KEY, found.value, expected=found.revision, event=ping)

    @staticmethod
    def _successor(
        before: InForce,
        stored: StoredSettings | None,
        request: SetDelegationSettings,
        approvals: Sequence[SignedApproval],
    ) -> StoredSettings:
        developer_keys.check(request.settings)
        spent = () if stored is None else stored.spent_keys
        developer_keys.check_change(before.settings, request.settings, spent)
        after = StoredSettings(
            version=1,
            number=before.number + 1,
            settings=request.settings,
            approvals=tuple(approvals),
            webhook_id=str(uuid.uuid4()) if stored is None else stored.webhook_id,
            webhook_secret=_secret() if stored is None else stored.webhook_secret,
            spent_keys=developer_keys.spent_after(before.settings, request.settings, spent),
        )
        return replace(after, webhook_secret=_secret()) if request.new_secret else after


def disabled(message: str) -> CosignerError:
    """Delegated access is not to be had."""
    return CosignerError("delegation_disabled", message, culprit=Culprit.CLIENT)


def _secret() -> str:
    """A webhook secret: ``whsec_`` and 32 random bytes, base64."""
    return "whsec_" + base64.b64encode(os.urandom(_SECRET_LENGTH)).decode()
