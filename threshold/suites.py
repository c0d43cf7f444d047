"""The suites by name. A :class:`Suite` is a ``str``, so it can be passed wherever a suite's name is expected."""

from __future__ import annotations

from enum import StrEnum


class Suite(StrEnum):
    """What a key is for. All suites share one key generation and one form of key share."""

    FROST_ED25519 = "frost-ed25519"
    """FROST(Ed25519, SHA-512), RFC 9591 §6.1: Solana. Messages of at most 65536 bytes; 32-byte group key."""

    FROST_SECP256K1_TR = "frost-secp256k1-tr"
    """FROST over secp256k1 with BIP-340 signatures and BIP-341 tweaks: Bitcoin Taproot. 32-byte digests; 33-byte
    group key (SEC 1 compressed; its parity is ignored, as BIP-340 does)."""

    ECDSA_SECP256K1 = "ecdsa-secp256k1"
    """ECDSA over secp256k1 by two parties (DKLs19): Ethereum and other EVM chains. 32-byte digests; 33-byte group key. It
    signs by :mod:`threshold.ecdsa`; the functions of FROST raise ``suite_cannot_sign``."""

    @property
    def is_frost(self) -> bool:
        """Whether the suite signs by FROST (:func:`threshold.frost_begin`)."""
        return self is not Suite.ECDSA_SECP256K1
