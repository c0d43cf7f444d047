"""What is wrong with a policy, a usage state or a summary. A decision is never an error: it is :class:`~policy.Allow` or ``Deny``."""

from __future__ import annotations


class PolicyError(Exception):
    """Input that does not have the form that ``docs/spec/policy.md`` gives it.

    :param code: stable; listed in the specification, "Codes".
    :param message: one sentence for a person.
    :param field: where in the document, such as ``wallet.rules[2].valueLimit.asset``; empty for the whole.
    """

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.message} [{self.code}]"
