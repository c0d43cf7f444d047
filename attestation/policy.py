"""What a relying party trusts: roots, measurements, and how old a document may be. Pure data, chosen by the
caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from attestation.document import PCR_BYTES, PCR_COUNT

AWS_NITRO_ROOT_G1: Final = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"
"""SHA-256 of the DER of AWS's Nitro Enclaves root certificate G1 (2019-10-28 to 2049-10-28), lower-case
hex.
"""

DEFAULT_MAX_AGE: Final = timedelta(seconds=300)
DEFAULT_MAX_SKEW: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """The standing part of a verification; what changes with each document (nonce, …) is given to `verify`.

    `roots`: SHA-256 of each trusted root's DER, 64 lower-case hex digits. `pcrs`: index 0..31 to the set of
    allowed 48-byte values (several, so that two releases can be valid at once); every named PCR must be
    present. Without any PCR a verified document means no more than «some Nitro enclave, not in debug mode».
    `max_age`: how old a live document may be. `max_skew`: how far its timestamp may lie ahead of the
    verifier's clock.

    Raises ValueError for a policy that makes no sense (no roots, a wrong length, an empty set).
    """

    roots: frozenset[str] = frozenset({AWS_NITRO_ROOT_G1})
    pcrs: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    max_age: timedelta = DEFAULT_MAX_AGE
    max_skew: timedelta = DEFAULT_MAX_SKEW

    def __post_init__(self) -> None:
        if not self.roots or not all(re.fullmatch("[0-9a-f]{64}", root) for root in self.roots):
            raise ValueError("roots are SHA-256 fingerprints of 64 lower-case hex digits, at least one")
        for index, allowed in self.pcrs.items():
            if not 0 <= index < PCR_COUNT:
                raise ValueError(f"PCR index {index} is not 0 to {PCR_COUNT - 1}")
            if not allowed or not all(len(value) == PCR_BYTES for value in allowed):
                raise ValueError(f"the allowed values of PCR{index} are 48 bytes each, at least one")
        if min(self.max_age, self.max_skew) < timedelta(0):
            raise ValueError("max_age and max_skew are not negative")
        # A private copy: a policy must not change after somebody looked at it.
        frozen = {index: frozenset(allowed) for index, allowed in sorted(self.pcrs.items())}
        object.__setattr__(self, "pcrs", MappingProxyType(frozen))
