"""What is secret on its way in and out: never in an argument, never on standard output unless that is asked for."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
from pathlib import Path

from protocol.envelope.errors import CosignerError, Culprit

from .inputs import read_file


def secret(file: Path | None, what: str, option: str, *, new: bool = False) -> bytes:
    """A passphrase, passcode or key from a file (``-`` is standard input) or the terminal.

    :param what: for a person: ``passcode of the backup``.
    :param option: that names the file.
    :param new: ask twice.
    :raises CosignerError: ``input_missing``, ``input_unreadable``, ``passphrase_mismatch``.
    """
    if file is not None:
        found = read_file(file).rstrip(b"\r\n")
    elif sys.stdin.isatty():
        text = getpass.getpass(f"{what[0].upper()}{what[1:]}: ")
        if new and getpass.getpass("The same again: ") != text:
            raise _refuse("passphrase_mismatch", "The two differ; nothing was done.")
        found = text.encode()
    else:
        raise _refuse(
            "input_missing", f"There is no terminal to ask for the {what}; name a file with {option}."
        )
    if not found:
        raise _refuse("input_missing", f"The {what} is empty.")
    return found


def confirm(options: argparse.Namespace, words: str, warnings: list[str]) -> None:
    """Say what is about to happen, always, and go on only if the person types ``words``, or said ``--yes-i-understand``.

    :raises CosignerError: ``confirmation_missing``.
    """
    if options.yes_i_understand or sys.stdin.isatty():
        for line in warnings:
            print(line, file=sys.stderr)
    if options.yes_i_understand:
        return
    if sys.stdin.isatty():
        print(f"Type {words!r} to go on: ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip() == words:
            return
    raise _refuse(
        "confirmation_missing",
        " ".join(warnings) + " Nothing was done. If this is what you want, say so with --yes-i-understand.",
    )


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file, readable by its owner only, durably. An existing file stays.

    :raises CosignerError: ``output_exists``, ``output_unwritable``.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise _refuse("output_exists", f"{path} exists; choose another name.") from None
    except OSError as error:
        raise _refuse("output_unwritable", f"Cannot write {path}: {error.strerror}.") from None


def require_new(path: Path) -> None:
    """That a file can be written before something is done whose result it shall hold.

    :raises CosignerError: ``output_exists``, ``output_unwritable``.
    """
    if path.exists():
        raise _refuse("output_exists", f"{path} exists; choose another name.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _refuse("output_unwritable", f"Cannot write in {path.parent}.")


def wipe(path: Path) -> None:
    """Overwrite a file and remove it. Copies of its content that a drive, a snapshot or a backup made are out of reach.

    :raises CosignerError: ``output_unwritable``.
    """
    try:
        with path.open("r+b") as file:
            length = os.fstat(file.fileno()).st_size
            file.write(bytes(length))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        with contextlib.suppress(OSError):
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise _refuse("output_unwritable", f"Cannot wipe {path}: {error.strerror}.") from None


WIPED = (
    "The file was overwritten and removed. That cannot reach copies that a solid-state drive, a file system with snapshots, a backup or an "
    "editor may have made: whoever finds one has the key. Move the funds to a new wallet if that matters."
)


def _refuse(code: str, message: str) -> CosignerError:
    return CosignerError(code, message, culprit=Culprit.CLIENT)
