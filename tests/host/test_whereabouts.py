"""Where the enclave is: the launcher's file, read strictly and anew each time, and who may connect because of it."""

from __future__ import annotations

import asyncio
import functools
import io
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.config import EnclaveSection
from host.errors import HostError
from host.log import Log
from host.metrics import Metrics
from host.obituary_port import ObituaryPort
from host.whereabouts import locator, read_address
from protocol.envelope.address import Address
from tests.host.fake_enclave import FakeEnclave
from tests.host.rig import Rig, configuration_for, short_folder, wait_until


def test_a_fixed_address_is_the_configurations() -> None:
    assert locator(EnclaveSection(address="vsock:16:5000"))() == Address("vsock", "16", 5000)


def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "enclave.address"
    locate = locator(EnclaveSection(address_file=str(path)))
    with pytest.raises(HostError) as caught:
        locate()
    assert caught.value.code == "enclave_unreachable"
    assert str(path) in caught.value.message
    for cid in (16, 17):
        path.write_text(f"vsock:{cid}:5000\n")
        assert locate() == Address("vsock", str(cid), 5000)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"vsock:16:5000",
        b"vsock:16:5000\n\n",
        b"vsock:16:5000\nvsock:17:5000\n",
        b" vsock:16:5000\n",
    ]
    + [
        b"vsock:4294967295:5000\n",
        b"vsock:-1:5000\n",
        b"vsock:16\n",
        b"16:5000\n",
        b"\xff\n",
        b"vsock:16:5000\r\n",
    ]
    + [b"unix:/" + b"a" * 300 + b"\n"],
)
def test_anything_but_one_line_with_an_address_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(HostError) as caught:
        read_address(path)
    assert caught.value.code == "enclave_unreachable"


@given(st.binary(max_size=64))
def test_no_content_makes_the_reader_fail_otherwise(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    try:
        address = read_address(path)
    except HostError:
        return
    assert read_address(path) == address


class Writer:
    """A connection's writer, as far as a listener looks at it."""

    def __init__(self, family: int, cid: int) -> None:
        self.facts = {"socket": type("Socket", (), {"family": family}), "peername": (cid, 1234)}

    def get_extra_info(self, name: str) -> Any:
        return self.facts[name]


def test_the_enclave_is_whoever_the_file_names_now_and_nobody_while_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "enclave.address"

    async def run() -> None:
        port = ObituaryPort(lambda _: None, log=Log(io.StringIO()), metrics=Metrics())
        with short_folder() as folder:
            await port.start(
                Address.parse(f"unix:{folder}/o"), enclave=locator(EnclaveSection(address_file=str(path)))
            )
            vsock = functools.partial(Writer, socket.AF_VSOCK)
            assert not port.is_enclave(vsock(16))  # type: ignore[arg-type]
            path.write_text("vsock:16:5000\n")
            assert port.is_enclave(vsock(16))  # type: ignore[arg-type]
            assert not port.is_enclave(vsock(17))  # type: ignore[arg-type]
            path.write_text("vsock:17:5000\n")
            assert not port.is_enclave(vsock(16))  # type: ignore[arg-type]
            path.write_text("unix:/run/16\n")
            assert not port.is_enclave(vsock(16))  # type: ignore[arg-type]
            await port.stop()

    asyncio.run(run())


def test_a_host_follows_the_file_from_one_enclave_to_the_next() -> None:
    with short_folder() as folder:
        file = folder / "enclave.address"
        rig = Rig(folder, None, configuration_for(folder, enclave={"address_file": str(file)}))
        first, second = FakeEnclave(), FakeEnclave()
        rig.start()
        try:
            wait_until(lambda: (rig.readiness()["fault"] or {}).get("code") == "enclave_unreachable")
            rig.call(first.start(f"unix:{folder}/one"))
            file.write_text(f"unix:{folder}/one\n")
            rig.wait_ready()
            rig.call(second.start(f"unix:{folder}/two"))
            file.write_text(f"unix:{folder}/two\n")
            rig.call(first.stop())
            wait_until(lambda: second.connections and rig.readiness()["ready"])
            assert len(second.provisions) == 1
            assert first.connections == 1
            assert rig.readiness()["restarts"] == 1  # it waited for both without beginning anew
        finally:
            rig.call(first.stop())
            rig.call(second.stop())
            rig.stop()
