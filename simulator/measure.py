"""Mock measurements: what PCR0, PCR1 and PCR2 would be, taken over the Python sources and native code that this process runs.

They change whenever the code does, as an image's would; they prove nothing about the machine (``docs/limitations.md``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

_HOUSE: Final = Path(__file__).resolve().parent.parent
_CORE: Final = ("attestation", "policy", "protocol", "threshold", "enclave")
_FAKES: Final = ("simulator",)


def measurements() -> dict[int, bytes]:
    """PCR0 (everything), PCR1 (the fakes that stand for kernel and boot) and PCR2 (the trusted core): 48 bytes each."""
    core, fakes = _digest(_CORE), _digest(_FAKES)
    return {0: _pcr(core + fakes), 1: _pcr(fakes), 2: _pcr(core)}


def _digest(packages: tuple[str, ...]) -> bytes:
    digest = hashlib.sha384()
    for package in packages:
        for path in sorted((_HOUSE / package).rglob("*")):
            if path.suffix in {".py", ".so"}:
                name = path.relative_to(_HOUSE).as_posix().encode()
                digest.update(
                    len(name).to_bytes(4, "big") + name + hashlib.sha384(path.read_bytes()).digest()
                )
    return digest.digest()


def _pcr(content: bytes) -> bytes:
    """Extend from zero, as Nitro does: SHA-384(0^48 || SHA-384(content))."""
    return hashlib.sha384(bytes(48) + hashlib.sha384(content).digest()).digest()
