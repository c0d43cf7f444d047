"""The Nitro Secure Module: the interface that the enclave relies on, and the way to the real device.

There is no fallback: without the device an enclave does not start. PID 1 opens it and hands it over. The simulator's stand-in implements the same
interface (`Nsm`) and is passed in by the simulator's own composition root.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, Final, ParamSpec, Protocol, TypeVar

PCR_BYTES: Final = 48
MAX_PCRS: Final = 32
MAX_USER_DATA: Final = 512
MAX_NONCE: Final = 512
MAX_PUBLIC_KEY: Final = 1024

ERROR_CODES: Final = {
    "InvalidArgument": "nsm_invalid_argument",
    "InvalidIndex": "nsm_invalid_index",
    "InvalidResponse": "nsm_invalid_response",
    "ReadOnlyIndex": "nsm_read_only_index",
    "InvalidOperation": "nsm_invalid_operation",
    "BufferTooSmall": "nsm_buffer_too_small",
    "InputTooLarge": "nsm_input_too_large",
    "InternalError": "nsm_internal_error",
    "DeviceUnavailable": "nsm_device_unavailable",
}
"""The NSM's own error names (aws-nitro-enclaves-nsm-api, `ErrorCode`), and one for a missing device; ours beside."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class NsmError(Exception):
    """The NSM refused a request, or there is no NSM. `name`: a key of `ERROR_CODES`; `code`: the value there."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.code = ERROR_CODES[name]
        self.message = message

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class Nsm(Protocol):
    """The requests of the NSM. Every method raises NsmError. PCR indices are 0..31, PCR values 48 bytes."""

    def get_random(self) -> bytes:
        """Fresh random bytes (256 from the real device)."""
        ...

    def describe(self) -> dict[str, Any]:
        """`version_major`, `version_minor`, `version_patch`, `module_id`, `max_pcrs`, `locked_pcrs`, `digest`."""
        ...

    def describe_pcr(self, index: int) -> tuple[bool, bytes]:
        """(locked, 48-byte value) of one PCR."""
        ...

    def extend_pcr(self, index: int, data: bytes) -> bytes:
        """Set the PCR to SHA384(old value ‖ data) and return that; a locked PCR is `ReadOnlyIndex`."""
        ...

    def lock_pcr(self, index: int) -> None:
        """Make one PCR read-only until the enclave ends."""
        ...

    def lock_pcrs(self, count: int) -> None:
        """Make PCRs 0 to `count` - 1 read-only."""
        ...

    def attest(self, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
        """A signed attestation document over the locked PCRs; at most 512, 512 and 1024 bytes."""
        ...


def adopt_device(descriptor: int) -> Nsm:
    """Take over the open `/dev/nsm` that PID 1 passed on, through the native extension.

    Raises NsmError `DeviceUnavailable` when the extension is missing or the descriptor is not the device.
    """
    try:
        native = importlib.import_module("enclave._nsm")
    except ImportError as error:
        raise NsmError("DeviceUnavailable", "this image has no native NSM driver") from error
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003  (it takes no keywords)
        return _Device(native.adopt(descriptor), native.NsmError)
    except (OSError, native.NsmError) as error:
        raise NsmError("DeviceUnavailable", f"descriptor {descriptor} is not /dev/nsm") from error


class _Device:
    """The native handle, its errors translated."""

    def __init__(self, handle: Nsm, native_error: type[Exception]) -> None:
        self._handle = handle
        self._native_error = native_error

    def get_random(self) -> bytes:
        return self._call(self._handle.get_random)

    def describe(self) -> dict[str, Any]:
        return self._call(self._handle.describe)

    def describe_pcr(self, index: int) -> tuple[bool, bytes]:
        return self._call(self._handle.describe_pcr, index)

    def extend_pcr(self, index: int, data: bytes) -> bytes:
        return self._call(self._handle.extend_pcr, index, data)

    def lock_pcr(self, index: int) -> None:
        self._call(self._handle.lock_pcr, index)

    def lock_pcrs(self, count: int) -> None:
        self._call(self._handle.lock_pcrs, count)

    def attest(self, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
        return self._call(self._handle.attest, user_data, nonce, public_key)

    def _call(self, method: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except self._native_error as error:
            name = getattr(error, "code", None)
            known = name if name in ERROR_CODES else "InternalError"
            raise NsmError(known, str(error)) from error
        except OverflowError as error:
            # The extension takes PCR indices as small unsigned integers.
            raise NsmError("InvalidIndex", "no such PCR") from error
