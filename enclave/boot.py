"""Boot phases: which requests are legal when. Whatever is not in the table is refused.

::

    awaiting_manifest ── Provision ──▶ awaiting_keys ── KMS released a data key ──▶ ready ─┐
            │                           ▲         │ none yet                         ▲     │ Provision, for the
            │                           └─────────┘ Provision again                  └─────┘ environments still missing
            └── a measurement that fails ──▶ halted (for ever)
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import (
    Attest,
    LinkRequest,
    OpenSession,
    Provision,
    Record,
    Status,
    UpdateCredentials,
)

from . import log, manifest
from .kms_errors import next_step
from .nsm import NsmError

if TYPE_CHECKING:
    from .nsm import Nsm

PCR_COUNT: Final = 32


class Phase(StrEnum):
    """Where the enclave is in its boot."""

    AWAITING_MANIFEST = "awaiting_manifest"
    AWAITING_KEYS = "awaiting_keys"
    READY = "ready"
    HALTED = "halted"


LEGAL: Final[dict[Phase, frozenset[type[LinkRequest]]]] = {
    Phase.AWAITING_MANIFEST: frozenset({Status, Provision}),
    Phase.AWAITING_KEYS: frozenset({Status, Provision, UpdateCredentials, Attest}),
    Phase.READY: frozenset({Status, Provision, UpdateCredentials, Attest, OpenSession, Record}),
    Phase.HALTED: frozenset({Status}),
}


class Opening(Protocol):
    """What the boot needs of :class:`enclave.environments.Environments`."""

    @property
    def any_in_service(self) -> bool:
        """Whether any environment has its data key."""

    @property
    def reason(self) -> str:
        """Why others have none; empty when all have."""

    async def open(self, manifest: manifest.Manifest) -> None:
        """Get the data keys that are missing; raises while any is missing."""


class Boot:
    """The phase, and the transitions between phases.

    :param environments: opened until none is missing.
    """

    def __init__(self, nsm: Nsm, environments: Opening) -> None:
        self._nsm = nsm
        self._environments = environments
        self._measured: bytes | None = None
        self._provisioning = asyncio.Lock()
        self.phase = Phase.AWAITING_MANIFEST
        self.reason = ""

    def require_legal(self, request: LinkRequest) -> None:
        """Refuse what the table does not allow.

        :raises CosignerError: ``phase_illegal``.
        """
        if type(request) not in LEGAL[self.phase]:
            raise CosignerError(
                "phase_illegal",
                f"The enclave does not serve this request while it is {self.phase.value.replace('_', ' ')}."
                + (f" {self.reason}" if self.reason else ""),
                culprit=Culprit.HOST if self.phase is not Phase.HALTED else Culprit.ENCLAVE,
                reaction=Reaction.BURN if self.phase is Phase.HALTED else Reaction.RETRY,
            )

    async def provision(self, raw: bytes) -> None:
        """Measure the manifest (once) and get the data keys. May be repeated with the same manifest; once no
        key is missing that changes nothing.

        :raises CosignerError: ``manifest_invalid``, ``manifest_already_measured``, ``measurement_failed``, or what KMS and
            storage answered, if any environment is still without its key. The enclave may be ready for the others all the same.
        """
        async with self._provisioning:
            if self.phase is Phase.AWAITING_MANIFEST:
                parsed = manifest.parse(raw)
                await self._measure(raw)
            elif self._keys_are_missing() and raw == self._measured:
                parsed = manifest.parse(raw)
            elif self.phase is Phase.READY and raw == self._measured:
                return  # asked again by a host that did not wait for the first answer
            else:
                raise CosignerError(
                    "manifest_already_measured",
                    "This enclave was provisioned already; a restart is the only way to another manifest.",
                    culprit=Culprit.HOST,
                )
            try:
                await self._environments.open(parsed)
            except Exception as error:
                # Anybody may ask why; the words of KMS, which name accounts and roles, are for the host alone.
                code = getattr(error, "code", "internal_error")
                reason = (
                    self._environments.reason or f"Data keys were not released: {code} ({next_step(code)})"
                )
                self._enter(Phase.READY if self._environments.any_in_service else self.phase, f"{reason}.")
                raise
            self._enter(Phase.READY, "")

    def _keys_are_missing(self) -> bool:
        return self.phase is Phase.AWAITING_KEYS or (self.phase is Phase.READY and self.reason != "")

    async def _measure(self, raw: bytes) -> None:
        """Extend PCR16, lock every PCR, read PCR16 back; anything unexpected halts the enclave for ever."""
        try:
            await asyncio.to_thread(self._extend_and_lock, raw)
        except (NsmError, _MeasurementError) as error:
            self._enter(Phase.HALTED, "Measuring the manifest failed.")
            raise CosignerError(
                "measurement_failed",
                f"The manifest could not be measured ({error}); the enclave must be restarted.",
                culprit=Culprit.ENCLAVE,
                reaction=Reaction.BURN,
            ) from None
        self._measured = raw
        self._enter(Phase.AWAITING_KEYS, "")

    def _extend_and_lock(self, raw: bytes) -> None:
        self._nsm.extend_pcr(manifest.MANIFEST_PCR, manifest.measurement_input(raw))
        self._nsm.lock_pcrs(PCR_COUNT)
        if self._nsm.describe_pcr(manifest.MANIFEST_PCR) != (True, manifest.expected_pcr(raw)):
            msg = "PCR16 does not hold the manifest's measurement"
            raise _MeasurementError(msg)

    def _enter(self, phase: Phase, reason: str) -> None:
        changed = phase is not self.phase
        self.phase, self.reason = phase, reason
        if changed:
            log.event("phase", phase=phase.value)


class _MeasurementError(Exception):
    """PCR16 is not what it must be."""
