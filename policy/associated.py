"""Associated token accounts: which token account belongs to a wallet, worked out from addresses alone.

A transfer of SPL tokens names token accounts, not wallets. The associated token account of a wallet is a program-derived address,
so it can be recomputed: SHA-256 of owner, token program and mint, with the highest bump for which the result is not on the curve.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from .addresses import base58, to_base58

TOKEN: Final = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105  (a program's address)
TOKEN_2022: Final = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"  # noqa: S105
ASSOCIATED_TOKEN: Final = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"  # noqa: S105

_PRIME: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _PRIME) % _PRIME
_MARKER: Final = b"ProgramDerivedAddress"


@lru_cache(maxsize=8192)
def associated_account(owner: str, mint: str, program: str) -> str:
    """The address of ``owner``'s associated token account, all base58; empty where an argument is no address.

    Depends on its arguments alone; the cache only spares repetition.
    """
    seeds = [base58(owner), base58(program), base58(mint)]
    if any(len(seed) != 32 for seed in seeds):  # noqa: PLR2004  (public keys)
        return ""
    for bump in range(255, -1, -1):
        preimage = b"".join(seeds) + bytes([bump]) + base58(ASSOCIATED_TOKEN) + _MARKER
        candidate = hashlib.sha256(preimage).digest()
        if not _is_on_curve(candidate):
            return to_base58(candidate)
    return ""


def _is_on_curve(encoded: bytes) -> bool:
    """Whether 32 bytes decompress to a point of edwards25519, as curve25519-dalek does it: y is taken modulo p, and
    ``x = 0`` passes with either sign bit.
    """
    y = (int.from_bytes(encoded, "little") & ((1 << 255) - 1)) % _PRIME
    square = y * y % _PRIME
    u, v = (square - 1) % _PRIME, (_D * square + 1) % _PRIME
    ratio = u * pow(v, _PRIME - 2, _PRIME) % _PRIME
    return ratio == 0 or pow(ratio, (_PRIME - 1) // 2, _PRIME) == 1
