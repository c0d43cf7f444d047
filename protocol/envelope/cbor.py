"""Deterministic CBOR (RFC 8949 §4.2) into typed structures, and back to the very same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

import cbor2
import msgspec

from .errors import Culprit, ProtocolError
from .limits import MAX_DEPTH, MAX_FRAME

T = TypeVar("T")

_NATIVE: Final = (bytes,)


def encode(value: object) -> bytes:
    """Encode a structure (``msgspec.Struct`` or builtins) as deterministic CBOR."""
    return cbor2.dumps(msgspec.to_builtins(value, builtin_types=_NATIVE), canonical=True)


def decode(raw: bytes, kind: type[T], *, limit: int = MAX_FRAME, culprit: Culprit) -> T:
    """Decode ``raw`` as ``kind``; whatever decodes re-encodes to the same bytes.

    :param raw: at most ``limit`` bytes of deterministic CBOR, without tags, floats or indefinite lengths.
    :param culprit: who is to blame for bytes that do not parse.
    :raises ProtocolError: ``message_too_large`` or ``message_malformed``.
    """
    if len(raw) > limit:
        raise ProtocolError(
            "message_too_large",
            f"The message has {len(raw)} bytes; at most {limit} are accepted.",
            culprit=culprit,
        )
    try:
        tree = cbor2.loads(
            raw,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            tag_hook=_refuse_tag,
            semantic_decoders=_NO_TAGS,
        )
        _refuse_floats(tree)
        value = msgspec.convert(tree, kind, strict=True, builtin_types=_NATIVE)
        canonical = encode(value) == raw
    except (
        cbor2.CBORError,
        msgspec.MsgspecError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ProtocolError(
            "message_malformed",
            f"The message is not a well-formed {kind_name(kind)}: {_reason(error)}.",
            culprit=culprit,
        ) from None
    if not canonical:
        raise ProtocolError(
            "message_malformed",
            f"The {kind_name(kind)} is not in its one deterministic encoding.",
            culprit=culprit,
        )
    return value


def kind_name(kind: Any) -> str:  # noqa: ANN401  (any type form, unions included)
    """A short name of a type for error messages."""
    return getattr(kind, "__name__", "message")


def _refuse_floats(tree: object) -> None:
    """Refuse what typed fields would refuse anyway, for the sake of fields that hold any value; map keys are text."""
    match tree:
        case float():
            msg = "floating-point numbers are not used"
            raise ValueError(msg)
        case dict():
            for key, value in tree.items():
                if type(key) is not str:
                    msg = "map keys are text"
                    raise ValueError(msg)
                _refuse_floats(value)
        case list():
            for value in tree:
                _refuse_floats(value)


def _refuse_tag(*_: object) -> NoReturn:
    msg = "tags are not used"
    raise ValueError(msg)


class _EveryTag(dict[int, Callable[[Any, bool], Any]]):
    """Answers every tag number with a refusal, so that none of cbor2's own decoders (dates, regular expressions, big numbers) runs."""

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: int) -> Callable[[Any, bool], Any]:
        return _refuse_tag

    def get(self, _: int, __: object = None) -> Callable[[Any, bool], Any]:
        return _refuse_tag


_NO_TAGS: Final = _EveryTag()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
