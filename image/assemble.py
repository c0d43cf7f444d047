"""``python3 assemble.py``: lay out an image's file system: an interpreter, and only what the given code can import.

It runs in a build stage, under the interpreter that the image gets, and asks that interpreter where things are. So it works with any
Debian-like base image, whether Python lies in ``/usr`` or in ``/usr/local``. Needs the standard library and ``ldd``.

The output is a function of the inputs: fixed modes, no caches that hold times or paths, nothing that says how it was installed.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import os
import py_compile
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from modulefinder import ModuleFinder
from pathlib import Path, PurePath
from typing import Final

APPLICATION: Final = PurePath("opt/cosigner")
DEPENDENCIES: Final = PurePath("opt/dependencies")
PYTHON: Final = PurePath("usr/bin/python3")
MOUNT_POINTS: Final = ("dev", "proc", "run", "sys", "tmp")

# The interpreter itself imports these before any code of ours; a static search does not see it.
_START_UP: Final = (
    "site",
    "runpy",
    "encodings",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.unicode_escape",
    "encodings.utf_8",
    "encodings.utf_8_sig",
)
# Imported by extension modules, by name.
_BY_EXTENSIONS: Final = (
    "asyncio",
    "collections.abc",
    "dataclasses",
    "datetime",
    "decimal",
    "email.message",
    "email.mime.text",
    "email.parser",
    "enum",
    "fractions",
    "inspect",
    "ipaddress",
    "numbers",
    "re",
    "traceback",
    "typing",
    "uuid",
    "weakref",
    "zoneinfo",
)
# Reached only through tests, tools for developers and other systems' branches of library code.
_NEVER: Final = (
    "_aix_support",
    "_bootsubprocess",
    "_osx_support",
    "_pydecimal",
    "_pyio",
    "apport_python_hook",
    "code",
    "codeop",
    "cgi",
    "curses",
    "distutils",
    "doctest",
    "ensurepip",
    "ftplib",
    "idlelib",
    "imaplib",
    "lib2to3",
    "pdb",
    "pip",
    "pty",
    "pydoc",
    "pydoc_data",
    "readline",
    "rlcompleter",
    "setuptools",
    "sitecustomize",
    "smtplib",
    "telnetlib",
    "test",
    "tkinter",
    "turtle",
    "unittest",
    "usercustomize",
    "venv",
    "webbrowser",
)
_NOT_IN_WHOLE: Final = frozenset(
    {
        "__pycache__",
        "dist-packages",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
        "tkinter",
        "venv",
    }
)
_CODE: Final = frozenset({".py", ".so"})
_SOURCES: Final = frozenset({".c", ".h", ".pxd", ".pyi", ".pyx"})  # for compilers and type checkers
_UNUSED: Final = frozenset({Path("boto3/data"), Path("boto3/examples")})  # resources and documentation
_BOTOCORE_COMMON: Final = frozenset(
    {
        "_retry.json",
        "endpoints.json",
        "partitions.json",
        "sdk-default-configuration.json",
    }
)
_METADATA: Final = re.compile(r"METADATA|licenses|(LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*", re.IGNORECASE)
_PLAIN: Final = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
_LDD_LINE: Final = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$")


def main() -> int:
    """Assemble; see ``--help``."""
    options = _options()
    output: Path = options.output
    output.mkdir(mode=0o755, parents=True)
    library = Path(sysconfig.get_path("stdlib"))
    if options.whole:
        wanted = {*_whole_library(library), *_code(options.application), *_code(options.dependencies)}
    else:
        wanted = _importable(options.application, options.dependencies, library, set(options.take))
    _copy_application(options.application, output / APPLICATION)
    _copy_dependencies(options.dependencies, output / DEPENDENCIES, wanted, set(options.aws_service))
    _copy_interpreter(output)
    for file in sorted(path for path in wanted if path.is_relative_to(library)):
        _copy_file(file, output, mode=0o644)
    _copy_shared_libraries(output)
    for name in MOUNT_POINTS:
        (output / name).mkdir(mode=0o755, exist_ok=True)
    (output / "tmp").chmod(0o1777)
    if options.bytecode:
        _compile(output)
    return 0


def _importable(application: Path, dependencies: Path, library: Path, taken: set[str]) -> set[Path]:
    """Files of every module that an import statement of the application leads to, wherever the statement stands.

    What compiled code imports cannot be seen. So packages with an extension module in them are taken whole, as are those that import
    parts of their own by a computed name (``taken``), and `_BY_EXTENSIONS` names what compiled code uses of the standard library.
    """
    places = [application, dependencies, library, library / "lib-dynload"]
    finder = ModuleFinder([str(place) for place in places], excludes=list(_NEVER))
    packages = {path: path.relative_to(dependencies).parts[0] for path in _code(dependencies)}
    whole = taken | {package for path, package in packages.items() if path.suffix == ".so"}
    roots = [*_START_UP, *_BY_EXTENSIONS, *_names(application, _code(application))]
    roots += _names(dependencies, [path for path, package in packages.items() if package in whole])
    for name in roots:
        try:
            finder.import_hook(name)
        except ImportError:  # a branch for another version or system
            continue
    # Modules that are built into the interpreter have no file.
    files = (getattr(module, "__file__", None) for module in finder.modules.values())
    return {Path(file) for file in files if file is not None}


def _code(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.suffix in _CODE]


def _names(root: Path, files: Iterable[Path]) -> list[str]:
    """Module names of files below a folder of the search path."""
    suffixes = (*importlib.machinery.EXTENSION_SUFFIXES, ".py")
    names = []
    for path in files:
        suffix = next(suffix for suffix in suffixes if path.name.endswith(suffix))
        parts = path.relative_to(root).as_posix().removesuffix(suffix).split("/")
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def _whole_library(library: Path) -> Iterator[Path]:
    for path in library.rglob("*"):
        if path.is_file() and not _NOT_IN_WHOLE & set(path.relative_to(library).parts):
            yield path


def _copy_application(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyi", "py.typed"))
    _normalise(target)


def _copy_dependencies(source: Path, target: Path, wanted: set[Path], aws_services: set[str]) -> None:
    """The code that is wanted, the packages' data, and of the packaging nothing but names and licences."""
    packages = {path.relative_to(source).parts[0] for path in wanted if path.is_relative_to(source)}
    for distribution in source.glob("*.dist-info"):
        if packages & {re.split("[/,]", line)[0] for line in _record(distribution)}:
            packages.add(distribution.name)

    def unwanted(directory: str, names: list[str]) -> set[str]:
        place = Path(directory).relative_to(source)
        if place == Path():
            return set(names) - packages
        if place == Path("botocore/data"):
            return set(names) - aws_services - _BOTOCORE_COMMON
        if place.suffix == ".dist-info":
            return {name for name in names if _METADATA.fullmatch(name) is None}
        return {name for name in names if _is_unwanted(place / name, source / place / name in wanted)}

    shutil.copytree(source, target, ignore=unwanted)
    for directory in sorted((path for path in target.rglob("*") if path.is_dir()), reverse=True):
        if not any(directory.iterdir()):
            directory.rmdir()
    _normalise(target)


def _is_unwanted(path: Path, is_wanted_code: bool) -> bool:  # noqa: FBT001
    if path.suffix in _CODE:
        return not is_wanted_code
    return path in _UNUSED or path.name in {"__pycache__", "py.typed"} or path.suffix in _SOURCES


def _record(distribution: Path) -> list[str]:
    return (distribution / "RECORD").read_text().splitlines()


def _normalise(root: Path) -> None:
    root.chmod(0o755)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _copy_interpreter(output: Path) -> None:
    executable = Path(sys.executable).resolve()
    _copy_file(executable, output, mode=0o755)
    link = output / PYTHON
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(executable)
    # Code is found through the interpreter's own list of places: no environment variable has a say (python3 -I).
    packages = output / Path(site.getsitepackages()[0]).relative_to("/")
    packages.mkdir(parents=True, exist_ok=True)
    (packages / "cosigner.pth").write_text(f"/{APPLICATION}\n/{DEPENDENCIES}\n")


def _copy_shared_libraries(output: Path) -> None:
    """Whatever the interpreter and the extension modules are linked with, the loader included."""
    for directory in ("lib", "lib64"):  # /lib is a link to /usr/lib, and the loader's path begins with /lib64
        if (Path("/") / directory).is_symlink():
            (output / directory).symlink_to((Path("/") / directory).readlink())
    for binary in [path for path in output.rglob("*") if path.is_file() and _is_elf(path)]:
        command = ["/usr/bin/ldd", str(binary)]
        # Without variables of the builder's: what LD_PRELOAD names is listed like a library of the program's own.
        listing = subprocess.run(command, capture_output=True, text=True, check=False, env=_PLAIN).stdout  # noqa: S603
        if "not found" in listing:
            raise SystemExit(f"{binary.relative_to(output)} cannot be linked here:\n{listing}")
        for line in listing.splitlines():
            if (match := _LDD_LINE.match(line)) is not None:
                _copy_library(Path(match[1]), output)


def _copy_library(path: Path, output: Path) -> None:
    """Under the name that the loader looks for, in a directory where it looks without a cache or an environment."""
    if path.is_relative_to(output):  # a library that a wheel brought along
        return
    directory = path.parent.resolve()
    if directory.is_relative_to("/usr/local"):  # found through ldconfig's cache, which the image lacks
        directory = Path("/usr/lib") / sysconfig.get_config_var("MULTIARCH")
    target = output / directory.relative_to("/") / path.name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.resolve(), target)
        target.chmod(0o755)


def _copy_file(source: Path, output: Path, *, mode: int) -> None:
    target = output / source.relative_to("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(mode)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _compile(output: Path) -> None:
    """Byte code that the interpreter takes without a look at its source: it names no time, and no boot spends a second compiling.

    The order of constant sets depends on the hash seed, so that is fixed. What else could differ, reference counts that show in the
    encoding, does not where the same files are compiled in the same order; a test compares two builds.
    """
    if os.environ.get("PYTHONHASHSEED") != "0":
        raise SystemExit("byte code is reproducible under PYTHONHASHSEED=0 only")
    for source in sorted(output.rglob("*.py")):
        py_compile.compile(
            str(source),
            cfile=str(output / importlib.util.cache_from_source(f"/{source.relative_to(output)}")[1:]),
            dfile=f"/{source.relative_to(output)}",
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="assemble.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--application", type=Path, required=True, help="folder of our own packages")
    parser.add_argument("--dependencies", type=Path, required=True, help="folder of installed packages")
    parser.add_argument("--output", type=Path, required=True, help="the new root; must not exist")
    parser.add_argument(
        "--aws-service", action="append", default=[], help="a service whose description boto3 keeps"
    )
    parser.add_argument("--take", action="append", default=[], help="a package to take whole")
    parser.add_argument("--whole", action="store_true", help="take modules that nothing imports, too")
    parser.add_argument("--bytecode", action="store_true", help="add byte code")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
