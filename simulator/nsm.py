"""A Nitro Secure Module in memory, with the rules of the real one, signing real COSE under the simulator's root.

The verifier treats its documents like any others; only the pinned root differs, and production clients do not
pin this one.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from enclave.nsm import MAX_NONCE, MAX_PCRS, MAX_PUBLIC_KEY, MAX_USER_DATA, PCR_BYTES, NsmError
from simulator.pki import NitroChain, NitroPki

LOCKED_AT_BOOT: Final = 16
_MAX_EXTEND: Final = 4000  # a request has at most 4096 bytes
_MAX_RANDOM: Final = 256
_PROTECTED_ES384: Final = bytes.fromhex("a1013822")
_CHAIN_RESERVE: Final = timedelta(minutes=10)


class FakeNsm:
    """One enclave's NSM (`enclave.nsm.Nsm`). PCRs 0 to 15 are locked at boot, 16 to 31 can be extended until locked.

    `measurements`: 48-byte values of PCRs among 0 to 15 (0: image, 1: kernel and boot, 2: application); PCR4 is
    derived from the instance id as on EC2, the rest is zero. `module_id` defaults to a fresh one. `clock` gives
    aware datetimes. `indefinite`: encode the payload as an indefinite map, as documents of 2025 do; else as a
    definite one, as in 2022.
    """

    def __init__(
        self,
        pki: NitroPki,
        *,
        measurements: Mapping[int, bytes],
        module_id: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        indefinite: bool = True,
    ) -> None:
        if not all(0 <= i < LOCKED_AT_BOOT and len(v) == PCR_BYTES for i, v in measurements.items()):
            raise ValueError("measurements are 48-byte values of PCRs 0 to 15")
        self.module_id = module_id or new_module_id()
        self._pki = pki
        self._clock = clock
        self._indefinite = indefinite
        self._lock = threading.Lock()  # the kernel driver serializes requests, too
        self._pcrs = [bytes(PCR_BYTES)] * MAX_PCRS
        self._pcrs[4] = extend(bytes(PCR_BYTES), self.module_id.split("-enc", maxsplit=1)[0].encode())
        for index, value in measurements.items():
            self._pcrs[index] = bytes(value)
        self._locked = set(range(LOCKED_AT_BOOT))
        self._chain: NitroChain | None = None

    def get_random(self) -> bytes:
        return secrets.token_bytes(_MAX_RANDOM)

    def describe(self) -> dict[str, Any]:
        with self._lock:
            return {
                "version_major": 1,
                "version_minor": 0,
                "version_patch": 0,
                "module_id": self.module_id,
                "max_pcrs": MAX_PCRS,
                "locked_pcrs": sorted(self._locked),
                "digest": "SHA384",
            }

    def describe_pcr(self, index: int) -> tuple[bool, bytes]:
        with self._lock:
            _check_index(index)
            return index in self._locked, self._pcrs[index]

    def extend_pcr(self, index: int, data: bytes) -> bytes:
        with self._lock:
            self._check_writable(index)
            if len(data) > _MAX_EXTEND:
                raise NsmError("InputTooLarge", f"{len(data)} bytes; allowed are {_MAX_EXTEND}")
            self._pcrs[index] = extend(self._pcrs[index], data)
            return self._pcrs[index]

    def lock_pcr(self, index: int) -> None:
        with self._lock:
            self._check_writable(index)
            self._locked.add(index)

    def lock_pcrs(self, count: int) -> None:
        with self._lock:
            if not 0 <= count <= MAX_PCRS:
                raise NsmError("InvalidIndex", f"{count} is not 0 to {MAX_PCRS}")
            self._locked.update(range(count))

    def attest(self, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
        if public_key is not None and not public_key:
            raise NsmError("InvalidArgument", "an empty public key")
        for name, value, most in (
            ("user_data", user_data, MAX_USER_DATA),
            ("nonce", nonce, MAX_NONCE),
            ("public_key", public_key, MAX_PUBLIC_KEY),
        ):
            if value is not None and len(value) > most:
                raise NsmError("InputTooLarge", f"{name} has {len(value)} bytes; allowed are {most}")
        with self._lock:
            now = self._clock()
            chain = self._current_chain(now)
            fields = {
                "module_id": self.module_id,
                "digest": "SHA384",
                "timestamp": int(now.timestamp() * 1000),
                "pcrs": {index: self._pcrs[index] for index in sorted(self._locked)},
                "certificate": chain.leaf.der,
                "cabundle": list(chain.cabundle),
                "public_key": public_key,
                "user_data": user_data,
                "nonce": nonce,
            }
            return sign_document(encode_payload(fields, indefinite=self._indefinite), chain.leaf.key)

    def _current_chain(self, now: datetime) -> NitroChain:
        if self._chain is None or not self._chain.covers(now, reserve=_CHAIN_RESERVE):
            self._chain = self._pki.chain(self.module_id, now)
        return self._chain

    def _check_writable(self, index: int) -> None:
        _check_index(index)
        if index in self._locked:
            raise NsmError("ReadOnlyIndex", f"PCR{index} is locked")


def new_module_id() -> str:
    """A module id of the real shape: instance id, `-enc`, a number of this launch."""
    return f"i-{secrets.token_hex(9)[:17]}-enc{secrets.token_hex(8)}"


def extend(old: bytes, data: bytes) -> bytes:
    """SHA384(old ‖ data), the NSM's extension."""
    return hashlib.sha384(old + data).digest()


def encode_payload(fields: Mapping[str, object], *, indefinite: bool) -> bytes:
    """The payload map in the given order of keys, with a definite or an indefinite outermost map."""
    if not indefinite:
        return cbor2.dumps(dict(fields))
    items = b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in fields.items())
    return b"\xbf" + items + b"\xff"


def sign_document(payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """An untagged COSE_Sign1 with ES384 and a raw signature (RFC 9052 §4.4, RFC 9053 §2.1)."""
    signed = cbor2.dumps(["Signature1", _PROTECTED_ES384, b"", payload])
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384())))
    signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    return cbor2.dumps([_PROTECTED_ES384, {}, payload, signature])


def _check_index(index: int) -> None:
    if not 0 <= index < MAX_PCRS:
        raise NsmError("InvalidIndex", f"{index} is not 0 to {MAX_PCRS - 1}")
