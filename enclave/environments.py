"""The environments that this enclave serves: which have their data key, and why the others have not.

They do not depend on each other, but an attempt ends for all at once. An environment whose KMS key is disabled, or was refused, keeps nobody else's wallets from being
used; the host asks for what is missing again and again (``Provision``), and what is in service stays as it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from protocol.envelope.errors import CosignerError, Culprit, Reaction

from . import log
from .key_policy import Measurement, Verdict
from .keys import data_key
from .kms_errors import KmsError, next_step
from .manifest import expected_pcr

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from protocol.binding import KeyPolicy
    from threshold import SealingKey

    from .keys import DataKey, Kms
    from .manifest import Environment, Manifest
    from .nsm import Nsm
    from .storage import Storage

T = TypeVar("T")

_IMAGE_PCR = 0


class Environments(Generic[T]):
    """Data keys of a manifest's environments, and what serves those that have theirs.

    :param connect: makes the way to the manifest's KMS.
    :param make: makes what serves an environment (:class:`enclave.realm.Realm`) from its sealing key.
    """

    def __init__(
        self,
        nsm: Nsm,
        storage: Storage,
        connect: Callable[[Manifest], Awaitable[Kms]],
        make: Callable[[Environment, SealingKey], T],
    ) -> None:
        self._nsm = nsm
        self._storage = storage
        self._connect = connect
        self._make = make
        self._kms: Kms | None = None
        self._all: dict[str, Environment] = {}
        self._in_service: dict[str, tuple[T, Verdict]] = {}
        self._failures: dict[str, Exception] = {}

    async def open(self, manifest: Manifest) -> None:
        """Get the data keys that are missing, each by itself. May be repeated, one call at a time.

        :raises Exception: one of the failures, if environments go on missing; one that may pass by itself, if there is any.
        """
        self._all = {environment.id: environment for environment in manifest.environments}
        if self._kms is None:
            self._kms = await self._connect(manifest)
        kms = self._kms
        ours = await asyncio.to_thread(self._measurement, manifest)
        missing = [
            environment for environment in manifest.environments if environment.id not in self._in_service
        ]
        results = await asyncio.gather(
            *(data_key(environment, ours=ours, kms=kms, storage=self._storage) for environment in missing),
            return_exceptions=True,
        )
        for environment, result in zip(missing, results, strict=True):
            if isinstance(result, Exception):
                self._failures[environment.id] = result
                log.event("environment_unavailable", environment=environment.id, code=_code(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                self._serve(environment, result)
        if self._failures:
            raise max(self._failures.values(), key=_may_pass)

    @property
    def any_in_service(self) -> bool:
        """Whether there is anything to serve."""
        return bool(self._in_service)

    @property
    def reason(self) -> str:
        """Which environments are missing, by which code, and what to do next; empty when none is. For everybody to read: the words
        of KMS, which name accounts and roles, are for the host alone.
        """
        return "; ".join(
            f"{name} has no data key: {_code(error)} ({next_step(_code(error))})"
            for name, error in self._failures.items()
        )

    def key_policy(self) -> KeyPolicy:
        """What attestation documents say; see :class:`protocol.binding.AttestedKeys`.

        An environment that is not judged yet counts as the worst that the manifest lets it become: who saw a document must not be
        served later under less than it said.
        """
        if not self._in_service:
            return "unjudged"
        for name, environment in self._all.items():
            judged = self._in_service.get(name)
            if (judged[1].value if judged else environment.key_policy) != "pinned":
                return "editable"
        return "pinned"

    def in_service(self, name: str) -> T:
        """What serves an environment.

        :raises CosignerError: ``environment_unknown``, ``environment_unavailable``.
        """
        found = self._in_service.get(name)
        if found is not None:
            return found[0]
        if name in self._all:
            raise CosignerError(
                "environment_unavailable",
                f"The enclave has no data key for the environment {name!r} yet; the operator must see to it.",
                culprit=Culprit.HOST,
                reaction=Reaction.RETRY,
            )
        raise CosignerError(
            "environment_unknown",
            f"The enclave's manifest has no environment {name!r}.",
            culprit=Culprit.CLIENT,
        )

    def _serve(self, environment: Environment, released: DataKey) -> None:
        serving = self._make(environment, released.sealing_key)
        self._in_service[environment.id] = (serving, released.verdict)
        self._failures.pop(environment.id, None)

    def _measurement(self, manifest: Manifest) -> Measurement:
        """PCR0 as the NSM has it, and PCR16 as the manifest gives it (:mod:`enclave.boot` has compared that one)."""
        locked, image = self._nsm.describe_pcr(_IMAGE_PCR)
        if not locked:
            raise KmsError("kms_nsm_failed", "enclave", "abort", "PCR0 is not locked")
        return Measurement(image=image, manifest=expected_pcr(manifest.encode()))


def _code(error: Exception) -> str:
    return str(getattr(error, "code", "internal_error"))


def _may_pass(error: Exception) -> bool:
    """Failures that may pass by themselves are reported first: the host then tries again soon, for all that is missing."""
    return getattr(error, "reaction", None) == Reaction.RETRY
