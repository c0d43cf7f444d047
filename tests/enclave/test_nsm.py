"""The real device's wrapper: no device, no enclave; errors keep the NSM's names."""

import os
import sys
import types
from collections.abc import Iterator

import pytest

from enclave.nsm import ERROR_CODES, Nsm, NsmError, adopt_device


class NativeError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Handle:
    """Stands where the native object stands."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def get_random(self) -> bytes:
        return b"random"

    def describe(self) -> dict[str, object]:
        return {"module_id": "i-1-enc2"}

    def describe_pcr(self, index: int) -> tuple[bool, bytes]:
        if index < 0:
            raise OverflowError("can't convert negative int to unsigned")
        if index > 31:
            raise NativeError("InvalidIndex")
        return True, bytes(48)

    def extend_pcr(self, index: int, data: bytes) -> bytes:
        raise NativeError("ReadOnlyIndex")

    def lock_pcr(self, index: int) -> None:
        raise NativeError("something new")

    def lock_pcrs(self, count: int) -> None:
        self.locked = count

    def attest(self, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
        return b"/".join(part or b"-" for part in (user_data, nonce, public_key))


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("enclave._nsm")
    module.NsmError = NativeError  # type: ignore[attr-defined]
    module.adopt = Handle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "enclave._nsm", module)
    return module


def test_without_a_driver_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "enclave._nsm", None)
    with pytest.raises(NsmError) as caught:
        adopt_device(3)
    assert caught.value.code == "nsm_device_unavailable"


def test_without_a_device_there_is_no_fallback(
    native: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise NativeError("DeviceUnavailable")

    monkeypatch.setattr(native, "adopt", fail)
    with open(os.devnull) as file, pytest.raises(NsmError) as caught:
        adopt_device(file.fileno())
    assert caught.value.code == "nsm_device_unavailable"


def test_a_descriptor_that_is_not_open_is_no_device(native: types.ModuleType) -> None:
    with pytest.raises(NsmError) as caught:
        adopt_device(999)
    assert caught.value.code == "nsm_device_unavailable"


@pytest.fixture
def device(native: types.ModuleType) -> Iterator[Nsm]:
    with open(os.devnull) as file:
        os.set_inheritable(file.fileno(), True)
        yield adopt_device(file.fileno())
        assert not os.get_inheritable(file.fileno())


def test_requests_reach_the_driver(device: Nsm) -> None:
    assert device.get_random() == b"random"
    assert device.describe()["module_id"] == "i-1-enc2"
    assert device.describe_pcr(0) == (True, bytes(48))
    device.lock_pcrs(32)
    assert device.attest(b"u", None, b"k") == b"u/-/k"


def test_errors_keep_their_names(device: Nsm) -> None:
    for name, request in (
        ("ReadOnlyIndex", lambda: device.extend_pcr(0, b"")),
        ("InvalidIndex", lambda: device.describe_pcr(32)),
        ("InvalidIndex", lambda: device.describe_pcr(-1)),
        ("InternalError", lambda: device.lock_pcr(16)),
    ):
        with pytest.raises(NsmError) as caught:
            request()
        assert caught.value.name == name
        assert caught.value.code == ERROR_CODES[name]
