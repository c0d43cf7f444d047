"""The real device's wrapper: no device, no enclave; errors keep the NSM's names."""

import sys
import types

import pytest

from enclave.nsm import ERROR_CODES, NsmError, open_device


class NativeError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Handle:
    """Stands where the native object stands."""

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
    module.open = Handle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "enclave._nsm", module)
    return module


def test_without_a_driver_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "enclave._nsm", None)
    with pytest.raises(NsmError) as caught:
        open_device()
    assert caught.value.code == "nsm_device_unavailable"


def test_without_a_device_there_is_no_fallback(
    native: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise NativeError("InternalError")

    monkeypatch.setattr(native, "open", fail)
    with pytest.raises(NsmError) as caught:
        open_device()
    assert caught.value.code == "nsm_device_unavailable"


def test_requests_reach_the_driver(native: types.ModuleType) -> None:
    device = open_device()
    assert device.get_random() == b"random"
    assert device.describe()["module_id"] == "i-1-enc2"
    assert device.describe_pcr(0) == (True, bytes(48))
    device.lock_pcrs(32)
    assert device.attest(b"u", None, b"k") == b"u/-/k"


def test_errors_keep_their_names(native: types.ModuleType) -> None:
    device = open_device()
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
