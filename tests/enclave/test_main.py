"""The production composition root takes a device and a parent, and has no other way in."""

import os
import sys
import types
from collections.abc import Iterator

import pytest

from enclave import main as root
from enclave.app import Parts


class Native(types.ModuleType):
    """Stands where ``enclave._nsm`` stands."""

    class NsmError(Exception):
        code = "DeviceUnavailable"

    def __init__(self) -> None:
        super().__init__("enclave._nsm")
        self.calls: list[str] = []
        self.failing: Exception | None = None

    def adopt(self, descriptor: int) -> object:
        self.calls.append("adopt")
        return object()

    def confine(self) -> None:
        self.calls.append("confine")
        if self.failing is not None:
            raise self.failing


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Native:
    module = Native()
    monkeypatch.setitem(sys.modules, "enclave._nsm", module)
    return module


@pytest.fixture
def served(native: Native, monkeypatch: pytest.MonkeyPatch) -> list[Parts]:
    """Which parts were served with; the confinement stands by then."""
    seen: list[Parts] = []

    async def serve(parts: Parts) -> None:
        assert native.calls == ["adopt", "confine"]
        seen.append(parts)

    monkeypatch.setattr(root, "_until_terminated", serve)
    return seen


@pytest.fixture
def descriptor() -> Iterator[str]:
    with open(os.devnull) as file:
        yield str(file.fileno())


def test_it_listens_for_the_host_and_dials_the_parent_it_was_told(
    served: list[Parts], descriptor: str
) -> None:
    assert root.main(["--nsm-fd", descriptor, "--parent-cid", "2"]) == 0
    (parts,) = served
    assert [str(address) for address in (parts.listen, parts.storage, parts.tunnel)] == [
        "vsock:4294967295:5000",
        "vsock:2:5001",
        "vsock:2:5002",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--nsm-fd", "3"],
        ["--parent-cid", "3"],
        *([f"--nsm-fd={bad}", "--parent-cid=3"] for bad in ("", "0", "2", "03", "1024", "-3", "+3", "3 ", "٣", "/dev/nsm")),
        *(["--nsm-fd=3", f"--parent-cid={bad}"] for bad in ("", "0", "1", "03", "4294967295", "0x3", "3.0", "٣")),
        ["--nsm-fd", "3", "--parent", "3"],
        ["--nsm-fd", "3", "--parent-cid", "3", "--debug"],
        ["--nsm-fd", "3", "--parent-cid", "3", "more"],
    ],
)  # fmt: skip
def test_arguments_are_plain_and_complete(native: Native, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        root.main(arguments)
    assert caught.value.code == 2
    assert native.calls == []


def test_without_a_device_nothing_is_served(served: list[Parts], capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["--nsm-fd", "999", "--parent-cid", "3"]) == 1
    assert "no_nsm_device" in capsys.readouterr().err
    assert served == []


def test_without_confinement_nothing_is_served(
    native: Native, served: list[Parts], descriptor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    native.failing = OSError("the system call filter is not accepted")
    assert root.main(["--nsm-fd", descriptor, "--parent-cid", "3"]) == 1
    assert "not_confined" in capsys.readouterr().err
    assert served == []
