"""``python -m image eif``: build the enclave image file and `measurements.json` from their parts."""

from __future__ import annotations

import argparse
import io
import sys
import tomllib
from pathlib import Path
from typing import Final

from attestation.eif import EifError, measure
from attestation.measurements import dump

from .eif import Image
from .errors import ImageError
from .layout import Boot, application_ramdisk, boot_ramdisk
from .source import read

HERE: Final = Path(__file__).parent
EIF_NAME: Final = "cosigner.eif"
MEASUREMENTS_NAME: Final = "measurements.json"


def main(arguments: list[str] | None = None) -> int:
    """0 built, 1 refused, 2 wrong usage."""
    options = _options(arguments)
    try:
        image = _image(options)
        encoded = image.encode()
        _check(encoded, image.pcrs())
        _write(options.output, EIF_NAME, encoded)
        _write(options.output, MEASUREMENTS_NAME, dump(image.pcrs()).encode())
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output / EIF_NAME}  {len(encoded) / 1e6:.1f} MB")
    for index, value in image.pcrs().items():
        print(f"PCR{index}  {value.hex()}")
    return 0


def _image(options: argparse.Namespace) -> Image:
    boot = Boot(
        init=_bytes(options.init),
        module=None if options.module is None else _bytes(options.module),
        aws_init=None if options.aws_init is None else _bytes(options.aws_init),
    )
    cmdline = _bytes(options.cmdline).removesuffix(b"\n")
    return Image(
        kernel=_bytes(options.kernel),
        cmdline=cmdline.decode("ascii", "replace"),
        ramdisks=[boot_ramdisk(boot), application_ramdisk(boot, read(options.rootfs))],
        version=tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"],
    )


def _check(encoded: bytes, pcrs: dict[int, bytes]) -> None:
    """What an auditor's reader makes of the file is what the builder says it is."""
    try:
        measured = measure(io.BytesIO(encoded)).pcrs
    except EifError as error:
        raise ImageError(f"the image that was built does not parse: {error}") from error
    if dict(measured) != pcrs:
        raise ImageError("the image that was built measures to other values than its parts")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error


def _write(directory: Path, name: str, content: bytes) -> None:
    """Whole or not at all."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f".{name}.partial"
        partial.write_bytes(content)
        partial.replace(directory / name)
    except OSError as error:
        raise ImageError(f"cannot write {directory / name}: {error.strerror}") from error


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m image", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    eif = commands.add_parser(
        "eif",
        allow_abbrev=False,
        help="build an enclave image file",
        description="Build an enclave image file and measurements.json. The same parts give the same bytes.",
    )
    eif.add_argument(
        "--rootfs",
        type=Path,
        required=True,
        metavar="TAR|DIR",
        help="the production image's file system: what `docker export` writes, or a directory",
    )
    eif.add_argument("--kernel", type=Path, required=True, metavar="FILE", help="an x86 bzImage")
    eif.add_argument(
        "--cmdline",
        type=Path,
        default=HERE / "cmdline",
        metavar="FILE",
        help="the kernel's command line (default: AWS's, image/cmdline)",
    )
    eif.add_argument(
        "--init", type=Path, required=True, metavar="FILE", help="cosigner-init, the static program"
    )
    eif.add_argument("--module", type=Path, metavar="FILE", help="nsm.ko, if the kernel has it not built in")
    eif.add_argument(
        "--aws-init", type=Path, metavar="FILE", help="AWS's init, to be PID 1 and start cosigner-init"
    )
    eif.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the results go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
