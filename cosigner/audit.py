"""Audits: is what runs what the source code builds?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from attestation import measurements
from attestation.strict_json import FileError
from protocol.envelope.errors import Culprit

from .errors import CosignerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from attestation import VerifiedAttestation

_ABSENT: Final = b""


@dataclass(frozen=True)
class PcrComparison:
    """One PCR of a running enclave beside that of a rebuild.

    :ivar running: 48 bytes from a verified attestation document; empty if the document has no such PCR.
    :ivar rebuilt: 48 bytes.
    """

    index: int
    running: bytes
    rebuilt: bytes

    @property
    def matches(self) -> bool:
        """Whether the two are the same."""
        return self.running == self.rebuilt


def compare(verified: VerifiedAttestation, rebuilt: Mapping[int, bytes]) -> list[PcrComparison]:
    """Compare every PCR of a rebuild (:func:`load_rebuild`) with the enclave's."""
    return [
        PcrComparison(index=index, running=verified.pcrs.get(index, _ABSENT), rebuilt=value)
        for index, value in sorted(rebuilt.items())
    ]


def load_rebuild(path: Path) -> dict[int, bytes]:
    """The measurements of a build, from the file that it wrote.

    :raises CosignerError: ``measurements_missing``, ``measurements_invalid``.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(measurements.MAX_BYTES + 1)
    except OSError as error:
        raise CosignerError(
            "measurements_missing",
            f"Cannot read {path} ({error.strerror}). Build the image first: check out the release that the enclave is said to run, then "
            "`make eif`; or name the file with --measurements.",
            culprit=Culprit.CLIENT,
        ) from None
    try:
        return measurements.load(raw)
    except FileError as error:
        raise CosignerError(
            "measurements_invalid", f"{path} holds no measurements: {error.message}", culprit=Culprit.CLIENT
        ) from None
