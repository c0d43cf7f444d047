"""What a relying party trusts: roots, measurements, and how old a document may be. Pure data, chosen by the caller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from attestation.document import PCR_BYTES, PCR_COUNT

AWS_NITRO_ROOT_G1: Final = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"
"""SHA-256 of the DER of AWS's Nitro Enclaves root certificate G1 (2019-10-28 to 2049-10-28), lower-case hex."""

DEFAULT_MAX_AGE: Final = timedelta(seconds=300)
DEFAULT_MAX_SKEW: Final = timedelta(seconds=5)
IMAGE_PCRS: Final = frozenset({0, 1, 2})
"""What identifies an image: all of it, its kernel and boot ramdisk, its application."""

_ZERO: Final = bytes(PCR_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One image that is trusted: PCRs that count only together.

    `pcrs`: index 0..31 to 48 bytes, at least PCR0, PCR1 and PCR2; others, such as PCR8 (the image's signer) or PCR16,
    if they belong to this image and to no other. `name`: for people, printable ASCII, at most 100 characters.

    Raises ValueError for a release that pins nothing, or not enough.
    """

    pcrs: Mapping[int, bytes]
    name: str = ""

    def __post_init__(self) -> None:
        missing = sorted(IMAGE_PCRS - self.pcrs.keys())
        if missing:
            raise ValueError(f"a release names PCR0, PCR1 and PCR2; PCR{missing[0]} is missing")
        for index, value in self.pcrs.items():
            if not 0 <= index < PCR_COUNT or len(value) != PCR_BYTES:
                raise ValueError(f"PCR{index} is not one of 0 to {PCR_COUNT - 1} with {PCR_BYTES} bytes")
            if index in IMAGE_PCRS and value == _ZERO:
                raise ValueError(f"PCR{index} of a release is not all zero: that is debug mode")
        if not re.fullmatch(r"[ -~]{0,100}", self.name):
            raise ValueError("the name of a release is at most 100 printable ASCII characters")
        object.__setattr__(self, "pcrs", MappingProxyType(dict(sorted(self.pcrs.items()))))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """The standing part of a verification; what changes with each document (nonce, …) is given to `verify`.

    `roots`: SHA-256 of each trusted root's DER, 64 lower-case hex digits. `releases`: if there are any, the document
    must match all PCRs of one of them, so that two releases can be valid at once without their parts being mixed.
    `pcrs`: index 0..31 to the set of allowed 48-byte values; whatever `releases` says, every PCR named here must be
    present and have one of its values: right for PCRs that say where or for whom an enclave runs (3, 4, 16). Without
    any PCR a verified document means no more than «some Nitro enclave, not in debug mode». `max_age`: how old a live
    document may be. `max_skew`: how far its timestamp may lie ahead of the verifier's clock.

    Raises ValueError for a policy that makes no sense (no roots, a wrong length, an empty set).
    """

    roots: frozenset[str] = frozenset({AWS_NITRO_ROOT_G1})
    pcrs: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    max_age: timedelta = DEFAULT_MAX_AGE
    max_skew: timedelta = DEFAULT_MAX_SKEW
    releases: tuple[Release, ...] = ()

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
        # Private copies: a policy must not change after somebody looked at it.
        frozen = {index: frozenset(allowed) for index, allowed in sorted(self.pcrs.items())}
        object.__setattr__(self, "pcrs", MappingProxyType(frozen))
        object.__setattr__(self, "roots", frozenset(self.roots))
        object.__setattr__(self, "releases", tuple(self.releases))

    @property
    def pinned(self) -> frozenset[int]:
        """The PCRs that every document accepted by this policy has a trusted value in."""
        common = [release.pcrs.keys() for release in self.releases]
        return frozenset(self.pcrs) | (
            frozenset.intersection(*map(frozenset, common)) if common else frozenset()
        )
