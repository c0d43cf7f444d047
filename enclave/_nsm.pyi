"""Types of the native NSM driver (`native/nsm`), present only in the enclave's image."""

from typing import TypedDict, final

class _Description(TypedDict):
    version_major: int
    version_minor: int
    version_patch: int
    module_id: str
    max_pcrs: int
    locked_pcrs: list[int]
    digest: str

class NsmError(Exception):
    """The module refused a request, or there is no module.

    `code`: AWS's name of the error, such as `ReadOnlyIndex`, or `DeviceUnavailable`.
    """

    code: str

@final
class NsmDevice:
    """`/dev/nsm`, open. PCR indices and counts are 0..65535: others raise OverflowError."""

    def get_random(self) -> bytes: ...
    def describe(self) -> _Description: ...
    def describe_pcr(self, index: int) -> tuple[bool, bytes]: ...
    def extend_pcr(self, index: int, data: bytes) -> bytes: ...
    def lock_pcr(self, index: int) -> None: ...
    def lock_pcrs(self, count: int) -> None: ...
    def attest(
        self, user_data: bytes | None = None, nonce: bytes | None = None, public_key: bytes | None = None
    ) -> bytes: ...
    def close(self) -> None: ...

def adopt(descriptor: int) -> NsmDevice:
    """Take over an open descriptor of `/dev/nsm`. Raises NsmError `DeviceUnavailable` if it does not answer as one."""

def confine() -> None:
    """Let this process start no other program, and nobody read its memory, for good. Raises OSError."""
