"""What commands read: passphrases (never from arguments or the environment) and payload files."""

from __future__ import annotations

import base64
import binascii
import getpass
import json
import sys
from pathlib import Path
from typing import Final

from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.nesting import is_deep

from ..errors import StoreError  # noqa: TID252
from ..evm import unsigned_transaction  # noqa: TID252
from ..store import ShareStore  # noqa: TID252

_MAX_INPUT: Final = 1 << 20
_MAX_BRACKETS: Final = 1 << 14  # more than a transaction of the greatest length has
_PSBT_MAGIC: Final = b"psbt\xff"


def passphrase_for(directory: Path, file: Path | None, *, create: bool) -> bytes:
    """Read the passphrase of the share store in ``directory`` from ``file``, or ask for it; twice if the store is to be made.

    :raises StoreError: ``store_missing`` (and ``create`` is not set), ``passphrase_missing``, ``passphrase_mismatch``.
    :raises CosignerError: ``input_unreadable``.
    """
    new = not ShareStore.exists(directory)
    if new and not create:
        raise StoreError(
            "store_missing",
            f"There is no share store in {directory}. Create a wallet first: cosigner wallet create.",
        )
    if file is not None:
        return read_file(file).rstrip(b"\r\n")
    if not sys.stdin.isatty():
        raise StoreError(
            "passphrase_missing",
            "There is no terminal to ask for the passphrase; name a file that holds it with --passphrase-file.",
        )
    first = getpass.getpass(f"{'New passphrase' if new else 'Passphrase'} for the shares in {directory}: ")
    if new and getpass.getpass("The same again: ") != first:
        raise StoreError("passphrase_mismatch", "The two passphrases differ; nothing was created.")
    return first.encode()


def open_store(directory: Path, passphrase: bytes) -> ShareStore:
    """Unlock the share store, or make it where there is none.

    :raises StoreError: see :class:`cosigner.store.ShareStore`.
    """
    if ShareStore.exists(directory):
        return ShareStore.unlock(directory, passphrase)
    try:
        return ShareStore.create(directory, passphrase)
    except StoreError as error:
        if error.code != "store_exists":
            raise
        return ShareStore.unlock(directory, passphrase)  # somebody else made it just now


def read_file(path: Path) -> bytes:
    """Read a file, or standard input for ``-``; at most 1 MiB.

    :raises CosignerError: ``input_unreadable``, ``input_too_large``.
    """
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(_MAX_INPUT + 1)
        else:
            with path.open("rb") as file:
                content = file.read(_MAX_INPUT + 1)
    except OSError as error:
        raise CosignerError(
            "input_unreadable", f"Cannot read {path}: {error.strerror}.", culprit=Culprit.CLIENT
        ) from None
    if len(content) > _MAX_INPUT:
        raise CosignerError("input_too_large", f"{path} is larger than 1 MiB.", culprit=Culprit.CLIENT)
    return content


def psbt_from(content: bytes) -> bytes:
    """A PSBT as binary, from binary or base64 text.

    :raises CosignerError: ``input_malformed``.
    """
    return content if content.startswith(_PSBT_MAGIC) else _base64(content, "a PSBT, binary or base64")


def solana_message_from(content: bytes) -> bytes:
    """A serialized Solana message, from base64 text, hexadecimal text, or binary.

    :raises CosignerError: ``input_malformed``.
    """
    text = content.strip()
    try:
        return bytes.fromhex(text.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        pass
    try:
        text.decode("ascii")
    except UnicodeDecodeError:
        return content
    return _base64(content, "a Solana message: base64, hexadecimal or binary")


def evm_transaction_from(content: bytes) -> bytes:
    """An unsigned EVM transaction, from a JSON object or hexadecimal text.

    :raises CosignerError: ``input_malformed``.
    :raises PayloadError: a field of the object is missing, unknown or not of its type.
    """
    try:
        text = content.decode("ascii").strip()
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        pass
    try:
        fields = (
            None
            if is_deep(content, _MAX_BRACKETS)
            else json.loads(content, object_pairs_hook=_without_repetition)
        )
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise CosignerError(
            "input_malformed",
            "The input is neither a JSON object of a transaction nor hexadecimal text.",
            culprit=Culprit.CLIENT,
        )
    return unsigned_transaction(fields)


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        msg = "a key stands twice"
        raise ValueError(msg)
    return fields


def derivation_path(text: str) -> tuple[int, ...]:
    """``0/5`` or ``m/0/5`` as numbers; for argparse.

    :raises ValueError: it is no unhardened path.
    """
    parts = text.removeprefix("m/").split("/")
    if not all(part.isascii() and part.isdecimal() and int(part) < 1 << 31 for part in parts):
        raise ValueError(text)
    return tuple(int(part) for part in parts)


def _base64(content: bytes, what: str) -> bytes:
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        raise CosignerError("input_malformed", f"The input is not {what}.", culprit=Culprit.CLIENT) from None
