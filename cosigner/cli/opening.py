"""From arguments to a client: the store, whose session, and what vouches for actions. Secrets come from files and the terminal only."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit

from .. import approvals, mock_issuer  # noqa: TID252
from ..client import AsyncClient  # noqa: TID252
from ..config import DEFAULT_PATH, PATH_VARIABLE, ClientConfig  # noqa: TID252
from ..evidence import Evidence  # noqa: TID252
from ..keys import SigningKey  # noqa: TID252
from ..store import ShareStore  # noqa: TID252
from .inputs import open_store, passphrase_for, read_file

if TYPE_CHECKING:
    from ..evidence import Given, SecondFactor  # noqa: TID252
    from .output import Output


def store_directory(options: argparse.Namespace) -> Path:
    """Where the shares are."""
    if options.store is not None:
        return Path(options.store)
    settings = options.config or Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    return Path(settings).parent / "shares"


def unlocked(options: argparse.Namespace, output: Output, *, create: bool) -> ShareStore:
    """The unlocked share store."""
    directory = store_directory(options)
    passphrase = passphrase_for(directory, options.passphrase_file, create=create)
    with output.step("Unlocking the share store"):
        return open_store(directory, passphrase)


@contextlib.asynccontextmanager
async def client(
    options: argparse.Namespace, output: Output, *, create: bool = False
) -> AsyncIterator[AsyncClient]:
    """A client with what the arguments give it.

    :param create: make a store where there is none.
    """
    settings = ClientConfig.load(options.config)
    evidence = Evidence(signing_key=key_from(options), second_factor=second_factor(options))
    store = unlocked(options, output, create=create)
    async with AsyncClient(settings, store, user_id=options.user, evidence=evidence) as opened:
        yield opened


def given(options: argparse.Namespace) -> Given:
    """Evidence for one call: the approvals that were handed in."""
    return {"approvals": [approvals.decode(read_file(path)) for path in options.approval]}


def key_from(options: argparse.Namespace) -> SigningKey | None:
    """The key of ``--key``.

    :raises CosignerError: ``input_unreadable``, ``key_file_invalid``, ``key_passphrase_missing``, ``key_passphrase_wrong``.
    """
    return None if options.key is None else read_key(options.key, options.key_passphrase_file)


def read_key(path: Path, passphrase_file: Path | None) -> SigningKey:
    """A private key from a PEM file; its passphrase from a file, or asked for.

    :raises CosignerError: as :func:`key_from`.
    """
    pem = read_file(path)
    passphrase = None if passphrase_file is None else read_file(passphrase_file).rstrip(b"\r\n")
    try:
        return SigningKey.from_pem(pem, passphrase)
    except CosignerError as error:
        if error.code != "key_passphrase_missing" or not sys.stdin.isatty():
            raise
    return SigningKey.from_pem(pem, getpass.getpass(f"Passphrase of {path}: ").encode())


def write_key(path: Path, key: SigningKey, passphrase_file: Path | None) -> None:
    """Write a new private key, encrypted, readable by its owner only. An existing file stays.

    :raises CosignerError: ``output_unwritable``, ``key_passphrase_missing``.
    """
    write_new(path, key.to_pem(_new_passphrase(path, passphrase_file)))


def write_new(path: Path, content: bytes) -> None:
    """Write a new file that is readable by its owner only, durably. An existing file stays.

    :raises CosignerError: ``output_unwritable``.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from None


def _new_passphrase(path: Path, file: Path | None) -> bytes:
    if file is not None:
        passphrase = read_file(file).rstrip(b"\r\n")
    elif sys.stdin.isatty():
        first = getpass.getpass(f"New passphrase for {path}: ")
        if getpass.getpass("The same again: ") != first:
            raise _usage("passphrase_mismatch", "The two passphrases differ; nothing was written.")
        passphrase = first.encode()
    else:
        passphrase = b""
    if not passphrase:
        raise _usage(
            "key_passphrase_missing",
            f"{path} is written under a passphrase: name a file that holds it with --key-passphrase-file.",
        )
    return passphrase


def second_factor(options: argparse.Namespace) -> SecondFactor | None:
    """Where codes come from: the file of ``--code-file``, else the terminal, else nowhere."""
    file: Path | None = options.code_file
    if file is not None:
        return lambda: read_file(file).decode("ascii", "replace").strip()
    if sys.stdin.isatty():
        return lambda: getpass.getpass("Code from your authenticator app, or a recovery code: ")
    return None


def secret_text(file: Path | None, prompt: str, what: str) -> str:
    """A secret from a file (``-`` is standard input) or the terminal; never from an argument.

    :raises CosignerError: ``input_missing``.
    """
    if file is not None:
        return read_file(file).decode("ascii", "replace").strip()
    if not sys.stdin.isatty():
        raise _usage("input_missing", f"There is no terminal to ask for {what}; name a file that holds it.")
    return getpass.getpass(prompt).strip()


def token_from(options: argparse.Namespace, settings: ClientConfig) -> str:
    """The JWT to log in with: of ``--token``, else of the mock stack's issuer, else asked for.

    :raises CosignerError: ``input_missing``, ``issuer_unreachable``.
    """
    if options.token is None and settings.mock_issuer is not None:
        return mock_issuer.token(settings.mock_issuer, options.as_user)
    return secret_text(options.token, "JWT: ", "a JWT (--token FILE, or - for standard input)")


def unwritable(path: Path, error: OSError) -> CosignerError:
    """``output_unwritable``."""
    return _usage("output_unwritable", f"Cannot write {path}: {error.strerror}.")


def _usage(code: str, message: str) -> CosignerError:
    return CosignerError(code, message, culprit=Culprit.CLIENT)
