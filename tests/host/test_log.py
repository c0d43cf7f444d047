"""Logs say what is on the list, and nothing else."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

from host.log import LibraryHandler, Log, adopt_libraries


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_fields_outside_of_the_list_are_dropped_and_long_texts_are_cut() -> None:
    stream = io.StringIO()
    fields: Any = {"code": "x", "secret": "leak", "body": b"leak", "reason": "r" * 10_000}
    Log(stream).event("something", "warning", **fields)
    (line,) = lines(stream)
    assert line.keys() == {"time", "level", "event", "code", "reason"}
    assert (line["level"], line["event"]) == ("warning", "something")
    assert len(line["reason"]) == 4096
    assert "leak" not in stream.getvalue()


def test_a_line_stays_one_line_whatever_is_in_it() -> None:
    stream = io.StringIO()
    Log(stream).event("x", reason='a\n{"event":"forged"}\r\u2028')
    assert len(stream.getvalue().strip().split("\n")) == 1
    assert lines(stream)[0]["event"] == "x"


def test_an_exception_is_logged_by_class_and_place_not_by_text() -> None:
    stream = io.StringIO()
    try:
        raise ValueError("a secret in a message")
    except ValueError as error:
        Log(stream).failure("x", error)
    (line,) = lines(stream)
    assert line["error"] == "ValueError"
    assert "test_log.py:" in line["where"]
    assert "secret" not in stream.getvalue()


def test_libraries_log_their_constant_text_only() -> None:
    stream = io.StringIO()
    logger = logging.getLogger("test.library")
    logger.propagate = False
    handler = LibraryHandler(Log(stream))
    logger.addHandler(handler)
    try:
        logger.warning("request of %s", "a secret")
        logger.error("text that holds a secret")
        logger.info("too quiet")
        try:
            raise KeyError("a secret")
        except KeyError:
            logger.exception("failed with %s", "a secret")
    finally:
        logger.removeHandler(handler)
    assert "a secret" not in stream.getvalue()
    assert [line["level"] for line in lines(stream)] == ["warning", "error", "error"]
    assert lines(stream)[0]["reason"] == "request of %s"
    assert lines(stream)[2]["error"] == "KeyError"


def test_adopting_libraries_replaces_what_was_there() -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        adopt_libraries(Log(io.StringIO()))
        adopt_libraries(Log(io.StringIO()))
        assert [type(handler) for handler in root.handlers] == [LibraryHandler]
    finally:
        root.handlers[:] = before
        root.setLevel(level)


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    Log(Broken()).event("x")
