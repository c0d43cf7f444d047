"""Which log the configuration names."""

from __future__ import annotations

from host.config import Config, S3AuditLog
from host.errors import HostError
from host.log import Log
from protocol.envelope.errors import Culprit

from . import AuditLog
from .file import FileBackend


def open_audit_log(config: Config, *, log: Log) -> AuditLog:
    """Open the log of decisions. Without a section of its own it is a folder beside the records' file.

    :raises HostError: ``audit_log_unusable``, ``config_invalid``.
    """
    section = config.audit_log
    if isinstance(section, S3AuditLog):
        from .s3 import S3Backend  # noqa: PLC0415  (boto3 is slow to import, and needed with this log only)

        return AuditLog(S3Backend(section))
    if section is not None:
        return AuditLog(FileBackend(section.path, log=log))
    if not config.storage.sqlite:
        raise HostError(
            "config_invalid",
            "The configuration is not valid: field 'audit_log': without a file of records the log of decisions needs a place of its own.",
            culprit=Culprit.HOST,
        )
    return AuditLog(FileBackend(f"{config.storage.sqlite}.audit-log", log=log))
