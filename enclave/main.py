"""The production composition root: the real NSM device, vsock, and nothing that could be chosen otherwise."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
from typing import TYPE_CHECKING, Final

from protocol.envelope.address import VMADDR_CID_ANY, Address

from . import log
from .app import Parts, run
from .nsm import NsmError, adopt_device

if TYPE_CHECKING:
    from collections.abc import Sequence

LISTEN_PORT: Final = 5000
STORAGE_PORT: Final = 5001
TUNNEL_PORT: Final = 5002
_FIRST_DESCRIPTOR: Final = 3  # below are the standard streams
_MAX_DESCRIPTOR: Final = 1023
_FIRST_PARENT: Final = 2  # 0 is the hypervisor, 1 this machine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the enclave until it is stopped; 1 without NSM device or confinement, without which there is no enclave.

    PID 1 starts it (`docs/spec/image.md`): with the open device, the parent's CID, and no privileges.
    """
    options = _options(arguments)
    try:
        nsm = adopt_device(options.nsm_fd)
        importlib.import_module("enclave._nsm").confine()
    except NsmError as error:
        log.event("no_nsm_device", code=error.code)
        return 1
    except OSError:
        log.event("not_confined")
        return 1
    parent = str(options.parent_cid)
    parts = Parts(
        nsm=nsm,
        listen=Address("vsock", str(VMADDR_CID_ANY), LISTEN_PORT),
        storage=Address("vsock", parent, STORAGE_PORT),
        tunnel=Address("vsock", parent, TUNNEL_PORT),
    )
    asyncio.run(_until_terminated(parts))
    return 0


async def _until_terminated(parts: Parts) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(parts, stop)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m enclave", allow_abbrev=False)
    parser.add_argument(
        "--nsm-fd",
        type=_descriptor,
        required=True,
        metavar="N",
        help="the open /dev/nsm, inherited from PID 1",
    )
    parser.add_argument(
        "--parent-cid", type=_parent, required=True, metavar="N", help="the parent instance's vsock address"
    )
    return parser.parse_args(arguments)


def _descriptor(text: str) -> int:
    return _number(text, _FIRST_DESCRIPTOR, _MAX_DESCRIPTOR)


def _parent(text: str) -> int:
    return _number(text, _FIRST_PARENT, VMADDR_CID_ANY - 1)


def _number(text: str, least: int, most: int) -> int:
    """Plain decimal, one way to write each number."""
    if not (text.isascii() and text.isdecimal() and not text.startswith("0") and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
    return int(text)
