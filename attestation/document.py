"""Parse an attestation document: steps 1 to 3 of the check list. What comes out is well formed and
*unverified*.

The document is a COSE_Sign1 (RFC 9052 §4.2) whose payload is a CBOR map; AWS's description is
`docs/attestation_process.md` of aws-nitro-enclaves-nsm-api. Documents seen in the field carry no COSE tag
and have a definite payload map (2022) or an indefinite one (2025); tag 18 is accepted as well. Everything
else is canonical or refused: what was parsed is encoded again and must give the same bytes, which excludes
trailing bytes, long integers, indefinite inner items and whatever else one value could hide behind two
encodings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from attestation import strict_cbor
from attestation.errors import AttestationError
from attestation.strict_cbor import encode

MAX_DOCUMENT: Final = 16 * 1024
MAX_CERTIFICATE: Final = 1024
MAX_CABUNDLE: Final = 8
MAX_MODULE_ID: Final = 256
MAX_USER_FIELD: Final = 1024  # AWS's text says both 512 and 1024 (nsm-api #52): emit 512, accept 1024
PCR_BYTES: Final = 48
PCR_COUNT: Final = 32
SIGNATURE_BYTES: Final = 96
MAX_TIMESTAMP_MS: Final = 253_402_300_799_999  # the last millisecond of the year 9999

_TAG_COSE_SIGN1: Final = b"\xd2"  # tag 18 in one byte
_PROTECTED_ES384: Final = bytes.fromhex("a1013822")  # {1: -35}, RFC 9053 §2.1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REQUIRED: Final = ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")
_OPTIONAL: Final = ("public_key", "user_data", "nonce")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationDocument:
    """A parsed document. Nothing in it may be believed before `attestation.verify.verify` accepted it.

    `timestamp_ms`: milliseconds since 1970 UTC. `pcrs`: index 0..31 to 48 bytes. `certificate`: the leaf,
    DER. `cabundle`: root first, DER, 1..8 certificates. `public_key` 1..1024 bytes, `user_data` and `nonce`
    0..1024 bytes, None when null or absent. `signed_bytes`: the Sig_structure of RFC 9052 §4.4.
    `signature`: r and s, 48 bytes each, big endian.
    """

    module_id: str
    digest: str
    timestamp_ms: int
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    signed_bytes: bytes
    signature: bytes

    @property
    def issued_at(self) -> datetime:
        """When the document says it was made (UTC, millisecond precision)."""
        return _EPOCH + timedelta(milliseconds=self.timestamp_ms)


def parse(raw: bytes) -> AttestationDocument:
    """Parse `raw` (one whole document, at most 16 KiB), checking no signature and no certificate.

    Raises AttestationError with a code of steps 1 to 3.
    """
    protected, payload, signature = _parse_cose(raw)
    fields = _parse_payload(payload)
    return AttestationDocument(
        module_id=_module_id(fields["module_id"]),
        digest=_digest(fields["digest"]),
        timestamp_ms=_timestamp(fields["timestamp"]),
        pcrs=_pcrs(fields["pcrs"]),
        certificate=_byte_string("certificate", fields["certificate"], 1, MAX_CERTIFICATE),
        cabundle=_cabundle(fields["cabundle"]),
        public_key=_optional_bytes("public_key", fields.get("public_key"), 1),
        user_data=_optional_bytes("user_data", fields.get("user_data"), 0),
        nonce=_optional_bytes("nonce", fields.get("nonce"), 0),
        signed_bytes=encode(["Signature1", protected, b"", payload]),
        signature=signature,
    )


def _parse_cose(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Steps 1 and 2: (protected header, payload, signature)."""
    if not 0 < len(raw) <= MAX_DOCUMENT:
        raise AttestationError("too_large", f"{len(raw)} bytes; a document has 1 to {MAX_DOCUMENT}")
    body = raw.removeprefix(_TAG_COSE_SIGN1)
    outer, encoded = _decode(body, "cbor_malformed", allow_indefinite=False)
    if encoded != body:
        if body.startswith(encoded):
            raise AttestationError("trailing_bytes", f"{len(body) - len(encoded)} bytes follow the document")
        raise AttestationError("cbor_not_canonical", "the COSE array is not canonically encoded")
    if type(outer) is not list or [type(item) for item in outer] != [bytes, dict, bytes, bytes]:
        raise AttestationError("cose_structure", "not an array of byte string, map, byte string, byte string")
    protected, unprotected, payload, signature = outer
    if protected != _PROTECTED_ES384:
        raise AttestationError("cose_algorithm", "the protected header is not {1: -35} (ES384)")
    if unprotected:
        raise AttestationError("cose_unprotected_header", "the unprotected header is not empty")
    if len(signature) != SIGNATURE_BYTES:
        raise AttestationError("signature_length", f"{len(signature)} bytes instead of {SIGNATURE_BYTES}")
    return protected, payload, signature


def _parse_payload(payload: bytes) -> dict[str, Any]:
    """Step 3, first half: one map with the right keys. The outermost map alone may be indefinite."""
    indefinite = payload.startswith(b"\xbf")
    fields, encoded = _decode(payload, "payload_malformed", allow_indefinite=indefinite)
    if type(fields) is not dict:
        raise AttestationError("payload_malformed", "the payload is not a map")
    if indefinite:
        encoded = b"\xbf" + b"".join(encode(k) + encode(v) for k, v in fields.items()) + b"\xff"
    if encoded != payload:
        raise AttestationError("payload_malformed", "the payload is not canonically encoded")
    for name in _REQUIRED:
        if name not in fields:
            raise AttestationError("field_missing", f"no field {name}")
    if not fields.keys() <= {*_REQUIRED, *_OPTIONAL}:
        raise AttestationError("field_unknown", "a field that attestation documents do not have")
    return fields


def _decode(data: bytes, code: str, *, allow_indefinite: bool) -> tuple[Any, bytes]:
    try:
        return strict_cbor.decode(data, allow_indefinite=allow_indefinite)
    except strict_cbor.CborError as error:
        raise AttestationError(code, str(error)) from error


def _byte_string(name: str, value: object, least: int, most: int) -> bytes:
    if type(value) is not bytes:
        raise AttestationError("field_type", f"{name} is not a byte string")
    if not least <= len(value) <= most:
        raise AttestationError("field_size", f"{name} has {len(value)} bytes; allowed are {least} to {most}")
    return value


def _optional_bytes(name: str, value: object, least: int) -> bytes | None:
    return None if value is None else _byte_string(name, value, least, MAX_USER_FIELD)


def _module_id(value: object) -> str:
    if type(value) is not str:
        raise AttestationError("field_type", "module_id is not a text string")
    # Printable ASCII without spaces: it goes into logs and onto terminals.
    if not 0 < len(value) <= MAX_MODULE_ID or not all("!" <= char <= "~" for char in value):
        raise AttestationError("field_size", f"module_id is not 1 to {MAX_MODULE_ID} printable characters")
    return value


def _digest(value: object) -> str:
    if type(value) is not str:
        raise AttestationError("field_type", "digest is not a text string")
    if value != "SHA384":
        raise AttestationError("digest_unsupported", "digest is not SHA384")
    return value


def _timestamp(value: object) -> int:
    if type(value) is not int:
        raise AttestationError("field_type", "timestamp is not an integer")
    if not 0 < value <= MAX_TIMESTAMP_MS:
        raise AttestationError("field_size", "timestamp is out of range")
    return value


def _pcrs(value: object) -> Mapping[int, bytes]:
    if type(value) is not dict:
        raise AttestationError("field_type", "pcrs is not a map")
    if not 0 < len(value) <= PCR_COUNT:
        raise AttestationError("field_size", f"{len(value)} PCRs; allowed are 1 to {PCR_COUNT}")
    for index, pcr in value.items():
        if type(index) is not int or not 0 <= index < PCR_COUNT:
            raise AttestationError("pcr_malformed", f"a PCR index is not 0 to {PCR_COUNT - 1}")
        if type(pcr) is not bytes or len(pcr) != PCR_BYTES:
            raise AttestationError("pcr_malformed", f"PCR{index} is not {PCR_BYTES} bytes")
    return MappingProxyType(dict(sorted(value.items())))


def _cabundle(value: object) -> tuple[bytes, ...]:
    if type(value) is not list:
        raise AttestationError("field_type", "cabundle is not an array")
    if not 0 < len(value) <= MAX_CABUNDLE:
        raise AttestationError(
            "field_size", f"cabundle has {len(value)} certificates, not 1 to {MAX_CABUNDLE}"
        )
    return tuple(_byte_string("a certificate of cabundle", item, 1, MAX_CERTIFICATE) for item in value)
