"""The two exceptions of this package. The native module raises these very classes."""

from __future__ import annotations


class ThresholdError(Exception):
    """A threshold operation was refused.

    :ivar code: stable snake_case code; ``docs/spec/threshold.md`` lists them.
    :ivar culprit: identifier of the participant whose bytes were refused, ``"caller"`` for a mistake of the local
        caller, or ``None``. It is evidence only as far as the channel authenticates its sender.
    :ivar reaction: ``"retry"``, ``"abort"`` or ``"burn"``.
    :ivar message: for a person; never holds a secret.
    """

    def __init__(self, code: str, culprit: int | str | None, reaction: str, message: str) -> None:
        super().__init__(code, culprit, reaction, message)
        self.code = code
        self.culprit = culprit
        self.reaction = reaction
        self.message = message

    def __str__(self) -> str:
        return self.message


class PayloadError(Exception):
    """A transaction was refused before anything was signed.

    :ivar code: stable snake_case code; ``docs/spec/threshold.md`` lists them.
    :ivar message: for a person.
    :ivar field: the part of the payload it is about, such as ``inputs[2].sighash_type``; ``None`` for the whole.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(code, message, field)
        self.code = code
        self.message = message
        self.field = field

    def __str__(self) -> str:
        return self.message if self.field is None else f"{self.message} ({self.field})"
