"""Where the enclave is: at a fixed address, or at the one that its launcher wrote into a file.

A Nitro enclave gets a new CID with every launch. The launcher (``host.nitro``) writes the address that goes with it; the host reads the file
each time it connects, and each time somebody who claims to be the enclave connects to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from protocol.envelope.address import VMADDR_CID_ANY, Address
from protocol.envelope.errors import Culprit, Reaction

from .config import EnclaveSection
from .errors import HostError

MAX_FILE: Final = 256  # bytes: one address and a line end

Locate = Callable[[], Address]
"""Says where the enclave is now; raises :exc:`HostError` ``enclave_unreachable`` when nobody knows."""


def locator(section: EnclaveSection) -> Locate:
    """What the configuration says about the enclave's place."""
    if section.address_file is not None:
        path = Path(section.address_file)
        return lambda: read_address(path)
    address = Address.parse(section.address or "")
    return lambda: address


def read_address(path: Path) -> Address:
    """The address in a launcher's file: one line, one address.

    :raises HostError: ``enclave_unreachable``: there is no such file, as while the enclave is down, or it holds something else.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise _unknown(f"the launcher's file {path} cannot be read ({error.strerror})") from None
    line, end, rest = raw.partition(b"\n")
    try:
        if not end or rest:
            raise ValueError
        address = Address.parse(line.decode("ascii"))
    except ValueError:  # UnicodeDecodeError is one
        raise _unknown(f"{path} does not hold one line with an address") from None
    if address.scheme == "vsock" and int(address.host) == VMADDR_CID_ANY:
        raise _unknown(f"{path} names no CID")
    return address


def _unknown(reason: str) -> HostError:
    return HostError(
        "enclave_unreachable",
        f"It is not known where the enclave is: {reason}.",
        culprit=Culprit.HOST,
        reaction=Reaction.RETRY,
    )
