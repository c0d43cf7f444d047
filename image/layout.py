"""What goes into which ramdisk: `docs/spec/image.md` §2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .errors import ImageError
from .ramdisk import CharacterDevice, Directory, File, Node, Tree, pack

ROOT: Final = "rootfs"
JOINING_INIT: Final = "cosigner-init"  # where our init is in the application's tree, if AWS's is PID 1
_NEEDED: Final = ("opt/cosigner/enclave/__main__.py",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What starts the application.

    :ivar init: our `cosigner-init`, a static program.
    :ivar module: the NSM driver `nsm.ko`, for a kernel that has it not built in.
    :ivar aws_init: AWS's init; if given it is PID 1, and starts ours.
    """

    init: bytes
    module: bytes | None = None
    aws_init: bytes | None = None


def boot_ramdisk(boot: Boot) -> bytes:
    """Ramdisk 0: PID 1 and, if need be, the NSM driver. Measured in PCR0 and PCR1.

    The device nodes are there before any file system is mounted: without a console Rust's start-up code opens `/dev/null`, and ends
    the process if there is none.
    """
    tree: dict[str, Node] = {
        "dev": Directory(),
        "dev/console": CharacterDevice(5, 1),
        "dev/null": CharacterDevice(1, 3),
        "init": File(boot.init if boot.aws_init is None else boot.aws_init, executable=True),
    }
    if boot.module is not None:
        tree["nsm.ko"] = File(boot.module)
    return pack(tree)


def application_ramdisk(boot: Boot, application: Tree) -> bytes:
    """Ramdisk 1: the production image's file system below `rootfs`. Measured in PCR0 and PCR2.

    :raises ImageError: the tree has no enclave in it.
    """
    for path in _NEEDED:
        if not isinstance(application.get(path), File):
            raise ImageError(f"the file system has no {path}: this is not the enclave's production image")
    tree: dict[str, Node] = {f"{ROOT}/{path}": node for path, node in application.items()}
    if boot.aws_init is not None:
        tree |= _for_aws_init(boot, application)
    return pack(tree)


def _for_aws_init(boot: Boot, application: Mapping[str, Node]) -> dict[str, Node]:
    """AWS's init reads its child's command and environment, one word a line (aws-nitro-enclaves-sdk-bootstrap, init/init.c)."""
    if JOINING_INIT in application:
        raise ImageError(f"the file system has a {JOINING_INIT} already")
    return {
        f"{ROOT}/{JOINING_INIT}": File(boot.init, executable=True),
        "cmd": File(f"/{JOINING_INIT}\n".encode()),
        "env": File(b"PATH=/usr/local/bin:/usr/bin:/bin\n"),
    }
