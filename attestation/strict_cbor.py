"""CBOR (RFC 8949) without surprises: one item, bounded depth, no tag, no key twice; and its canonical encoding,
which the caller compares with what was read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

import cbor2

MAX_DEPTH: Final = 4


class CborError(ValueError):
    """Not well-formed CBOR, cut short, nested too deeply, or with tags or duplicate keys."""


def decode(data: bytes, *, allow_indefinite: bool = False) -> tuple[Any, bytes]:
    """Decode the first item of `data` and encode it again: (value, canonical bytes).

    Map keys keep the order in which they were read: the formats here are not sorted. Raises CborError.
    """
    try:
        value = cbor2.loads(
            data,
            max_depth=MAX_DEPTH,
            allow_indefinite=allow_indefinite,
            allow_duplicate_keys=False,
            tag_hook=_refuse_tag,
            semantic_decoders=_NO_TAGS,
        )
        return value, encode(value)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError) as error:
        raise CborError("not well-formed CBOR, or with tags or duplicate keys") from error


def encode(value: object) -> bytes:
    """The shortest definite encoding of `value`, keys in their own order."""
    return cbor2.dumps(value)


def _refuse_tag(*_: object) -> NoReturn:
    raise ValueError("tags have no place here")


class _EveryTag(dict[int, Callable[[Any, bool], Any]]):
    """Answers every tag number with a refusal, so that no decoder of cbor2's own (dates, regular expressions,
    decimals, references) ever runs on bytes that nobody vouches for.
    """

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: int) -> Callable[[Any, bool], Any]:
        return _refuse_tag

    def get(self, _: int, __: object = None) -> Callable[[Any, bool], Any]:
        return _refuse_tag


_NO_TAGS: Final = _EveryTag()
