"""What time it is, by two clocks that must agree: the hypervisor's, in the NSM's documents, and the system's.

The host sets neither, but a paused or restored machine can be late, and clocks drift. An expiry checked against a wrong clock is none.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from attestation import strict_cbor
from enclave.nsm import NsmError
from protocol.envelope.errors import CosignerError, Culprit, Reaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from enclave.nsm import Nsm

TOLERANCE_MS: Final = 10_000
ASK_EVERY_S: Final = 60.0
_TAG_COSE_SIGN1: Final = b"\xd2"  # RFC 9052 §2


class Clock:
    """The enclave's clock.

    :param system: seconds since 1970.
    :param monotonic: seconds, from anywhere, that never go back.
    """

    def __init__(
        self,
        nsm: Nsm,
        system: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nsm = nsm
        self._system = system
        self._monotonic = monotonic
        self._asked_at: float | None = None
        self._answer_ms = 0
        self._latest_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since 1970, never less than at an earlier call.

        The NSM is asked at most once a minute. In between, its time goes on with the monotonic clock, and the system's clock is
        compared with that at every call.

        :raises CosignerError: ``clock_disagrees``.
        :raises NsmError: the NSM gave no document.
        """
        elapsed = 0.0 if self._asked_at is None else self._monotonic() - self._asked_at
        if self._asked_at is None or elapsed >= ASK_EVERY_S:
            elapsed = 0.0
            self._answer_ms = _timestamp_ms(self._nsm.attest(None, None, None))
            self._asked_at = self._monotonic()
        expected = self._answer_ms + int(elapsed * 1000)
        now = int(self._system() * 1000)
        if abs(now - expected) > TOLERANCE_MS:
            raise CosignerError(
                "clock_disagrees",
                "The enclave's clock and the NSM's disagree; nothing that expires can be judged.",
                culprit=Culprit.ENCLAVE,
                reaction=Reaction.RETRY,
            )
        self._latest_ms = max(self._latest_ms, now)
        return self._latest_ms


def _timestamp_ms(document: bytes) -> int:
    """When our own NSM made a document. It came from the device and not from anywhere else, so that nothing else of it is looked at.

    :raises NsmError: it is none.
    """
    try:
        structure, _ = strict_cbor.decode(document.removeprefix(_TAG_COSE_SIGN1))
        fields, _ = strict_cbor.decode(structure[2], allow_indefinite=True)
        timestamp = fields["timestamp"]
    except (strict_cbor.CborError, LookupError, TypeError):
        timestamp = None
    if type(timestamp) is not int or timestamp <= 0:
        raise NsmError("InvalidResponse", "the attestation document tells no time")
    return timestamp
