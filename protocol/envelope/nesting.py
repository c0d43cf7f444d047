"""A bound on the depth of JSON, to be checked before anything recursive reads it."""

from __future__ import annotations


def is_deep(raw: bytes, most: int) -> bool:
    """Whether JSON text has more than ``most`` opening brackets, and so could be nested as deeply.

    Python's own limit is not enough: some libraries (py_ecc, which eth_account imports) raise it so far that a parser written in C
    overflows its stack. The bound is on brackets, strings included: no text that passes is nested deeper than ``most``.
    """
    return raw.count(b"[") + raw.count(b"{") > most
