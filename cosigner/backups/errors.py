"""Errors of backup files."""

from __future__ import annotations

from protocol.envelope.errors import CosignerError, Culprit, Reaction


class BackupError(CosignerError):
    """A backup that cannot be used.

    Codes: ``backup_malformed``, ``backup_not_opened`` (wrong passphrase or passcode, or altered), ``backup_foreign`` (of another wallet,
    epoch, party or environment), ``backup_kind`` (it needs the enclave, or is opened without it), ``passcode_required``.
    """

    def __init__(self, code: str, message: str, *, culprit: Culprit = Culprit.STORAGE) -> None:
        super().__init__(code, message, culprit=culprit, reaction=Reaction.ABORT)
