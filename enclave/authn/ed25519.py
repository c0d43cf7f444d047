"""Whether 32 bytes are a public key of Ed25519 (RFC 8032 §5.1.3). OpenSSL asks only when it verifies, and accepts points of small order."""

from __future__ import annotations

from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_Y_MASK: Final = (1 << 255) - 1
_Y_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# The y coordinates of the eight points whose order divides the cofactor. Under such a key, signatures hold for many messages.
_SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _Y_ORDER_8, _P - _Y_ORDER_8})


def check(raw: bytes) -> None:
    """Refuse what is not the one encoding of a point of large order.

    :param raw: 32 bytes.
    :raises ValueError: it is none.
    """
    number = int.from_bytes(raw, "little")
    y = number & _Y_MASK
    if y >= _P:
        msg = "a coordinate that is not reduced"
        raise ValueError(msg)
    if y in _SMALL_ORDER:
        msg = "a point of small order"
        raise ValueError(msg)
    # x^2 = (y^2 - 1) / (d y^2 + 1); it is never 0 here, so that both signs of x are fine.
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        msg = "not on the curve"
        raise ValueError(msg)
