"""What only the user's own device does: whole private keys, shares in clear, and passcodes.

No other module of this package imports this one, and the enclave's image has neither it nor the native code behind it
(cargo feature ``device``; ``docs/spec/image.md`` §2): nothing in an enclave can combine shares or give one out in clear.

A whole key is in memory only while it is imported or exported. Python cannot wipe ``bytes`` and ``str``: read secrets into
a ``bytearray``, which every function here takes, and overwrite it afterwards. Formats: ``docs/spec/threshold.md``, "The
device's own: whole keys".
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ._native import Passcode, SecretKey
from .suites import Suite

__all__ = ["EXPORT_FORMATS", "Passcode", "SecretKey"]

EXPORT_FORMATS: Final = MappingProxyType(
    {
        Suite.ECDSA_SECP256K1: ("hex",),
        Suite.FROST_SECP256K1_TR: ("wif:mainnet", "wif:testnet", "hex"),
        Suite.FROST_ED25519: ("solana-keypair", "solana-expanded"),
    }
)
"""What :meth:`SecretKey.export` gives for each suite, the form that most wallets read first. ``solana-keypair`` needs a key
that came from a seed; a key that was combined from shares has none."""
