"""Structured logs: one JSON object a line on stderr, through an allow-list of fields.

Bodies, records, credentials, nonces and session ids have no field here, so they cannot be logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from typing import Final, Literal, TextIO, TypedDict, Unpack

Level = Literal["debug", "info", "warning", "error"]


class Fields(TypedDict, total=False):
    """All that a log line may say beside its time, level and event."""

    address: str
    attempt: int
    bytes_in: int
    bytes_out: int
    code: str
    destination: str
    environment: str
    event_id: str  # of a webhook
    error: str  # the class of an exception, never its text
    exit_code: int
    line: str  # a line that the enclave process wrote
    logger: str
    message_id: str  # of a webhook
    method: str
    milliseconds: float
    operation: str
    phase: str
    pid: int
    reason: str
    request_id: str
    restarts: int
    route: str
    seconds: float
    state: str
    status: int
    where: str  # file:line


_ALLOWED: Final = frozenset(Fields.__annotations__)
_MAX_TEXT: Final = 4096


class Log:
    """Writes log lines.

    :param stream: where to; default stderr.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream

    def event(self, name: str, level: Level = "info", **fields: Unpack[Fields]) -> None:
        """Write one line. Fields outside of the allow-list are dropped, long texts are cut."""
        record: dict[str, object] = {"time": _now(), "level": level, "event": name}
        for key, value in fields.items():
            if key in _ALLOWED:
                record[key] = value[:_MAX_TEXT] if isinstance(value, str) else value
        with contextlib.suppress(OSError):  # whoever read the log is gone; the host serves on
            self._stream.write(
                json.dumps(record) + "\n"
            )  # ASCII only: no text can look like a line of its own
            self._stream.flush()

    def failure(self, name: str, failure: BaseException, **fields: Unpack[Fields]) -> None:
        """Log the class of an unexpected exception and the place where it was raised, but not its text."""
        fields["error"] = type(failure).__name__
        trace = failure.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            fields["where"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        self.event(name, "error", **fields)


class LibraryHandler(logging.Handler):
    """Brings the libraries' own logging into the same form: the constant part of a message, never its arguments."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: Fields = {"logger": record.name, "reason": str(record.msg).strip() if record.args else ""}
        if not record.args and isinstance(record.msg, str) and record.name.startswith("uvicorn"):
            fields["reason"] = record.msg.strip()  # uvicorn's messages without arguments are literals
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = type(record.exc_info[1]).__name__
        self._log.event("library", "error" if record.levelno >= logging.ERROR else "warning", **fields)


def adopt_libraries(log: Log) -> None:
    """Send all of ``logging`` through ``log``."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(LibraryHandler(log))
    root.setLevel(logging.WARNING)


def _now() -> str:
    seconds, millis = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03d}Z"
