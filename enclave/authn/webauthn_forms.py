"""What passkeys consist of, read strictly: client data, authenticator data, attestation objects, COSE keys (WebAuthn level 3, §5.8.1, §6.1, §6.5).

One encoding for every value and nothing left over. The ``webauthn`` library, which reads the same bytes again in :mod:`.passkeys`, is more
lenient: it takes JSON with a member twice, CBOR that is followed by something, and repairs a known malformed key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from attestation import strict_cbor, strict_json

from . import base64url, ed25519, keys
from .refusals import evidence_invalid

if TYPE_CHECKING:
    from protocol.accounts import KeyAlgorithm
    from protocol.envelope.errors import CosignerError

MAX_CLIENT_DATA: Final = 4096
MAX_CREDENTIAL_ID: Final = 1023  # §7.1 step 25
MIN_CREDENTIAL_ID: Final = 16  # §4, «credential ID»: at least 16 bytes, 100 bits of entropy among them

# IANA «COSE Algorithms»; §5.8.5
ES256: Final = -7
EDDSA: Final = -8
RS256: Final = -257
ALGORITHMS: Final[Mapping[int, KeyAlgorithm]] = {ES256: "p256", EDDSA: "ed25519", RS256: "rsa"}

_HEADER: Final = 37  # rpIdHash, flags, signCount
_AAGUID: Final = 16
_COORDINATE: Final = 32


@dataclass(frozen=True, slots=True)
class ClientData:
    """§5.8.1. Members that are not listed are ignored, as the standard demands.

    :ivar challenge: decoded.
    """

    type: str
    challenge: bytes
    origin: str
    cross_origin: bool
    top_origin: str | None


@dataclass(frozen=True, slots=True)
class CoseKey:
    """A public key that the algorithm allow-list and its own rules let pass.

    :ivar identifier: of the COSE algorithm.
    :ivar encoded: the COSE_Key as it was read, in its one encoding.
    """

    algorithm: KeyAlgorithm
    identifier: int
    encoded: bytes


@dataclass(frozen=True, slots=True)
class AttestedCredential:
    """§6.5.1. :ivar credential_id: 16 to 1023 bytes."""

    aaguid: bytes
    credential_id: bytes
    public_key: CoseKey


@dataclass(frozen=True, slots=True)
class AuthenticatorData:
    """§6.1. Extensions are read and thrown away.

    :ivar backup_eligible: BE. :ivar backed_up: BS.
    """

    rp_id_hash: bytes
    user_present: bool
    user_verified: bool
    backup_eligible: bool
    backed_up: bool
    sign_count: int
    attested: AttestedCredential | None


@dataclass(frozen=True, slots=True)
class AttestationObject:
    """§6.5.4. :ivar statement: not looked into."""

    format: str
    statement: Mapping[str, Any]
    authenticator_data: AuthenticatorData


def client_data(raw: bytes) -> ClientData:
    """Read client data.

    :raises CosignerError: ``evidence_invalid``.
    """
    try:
        members = strict_json.parse_object(raw, max_bytes=MAX_CLIENT_DATA)
        challenge = base64url.decode(_text(members, "challenge"))
    except ValueError as error:
        raise evidence_invalid(f"The client data is malformed: {error}.") from None
    cross_origin = members.get("crossOrigin", False)
    if type(cross_origin) is not bool:
        raise evidence_invalid("The client data is malformed: crossOrigin is not a boolean.")
    return ClientData(
        type=_text(members, "type"),
        challenge=challenge,
        origin=_text(members, "origin"),
        cross_origin=cross_origin,
        top_origin=_text(members, "topOrigin") if "topOrigin" in members else None,
    )


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if type(value) is not str:
        raise evidence_invalid(f"The client data is malformed: no text {name}.")
    return value


def attestation_object(raw: bytes) -> AttestationObject:
    """Read an attestation object: a map of exactly three members.

    :raises CosignerError: ``evidence_invalid``.
    """
    members, rest = _cbor(raw, "attestation object")
    if rest:
        raise _malformed("attestation object", "something follows it")
    if type(members) is not dict or members.keys() != {"fmt", "attStmt", "authData"}:
        raise _malformed("attestation object", "it has other members than it should")
    form, statement, data = members["fmt"], members["attStmt"], members["authData"]
    if type(form) is not str or type(statement) is not dict or type(data) is not bytes:
        raise _malformed("attestation object", "a member is of the wrong type")
    if any(type(name) is not str for name in statement):
        raise _malformed("attestation object", "the statement has a member without a name")
    return AttestationObject(form, statement, authenticator_data(data))


def authenticator_data(raw: bytes) -> AuthenticatorData:
    """Read authenticator data, to its last byte. Flags that are reserved for future use are ignored.

    :raises CosignerError: ``evidence_invalid``.
    """
    if len(raw) < _HEADER:
        raise _malformed("authenticator data", "it is too short")
    flags, rest = raw[32], raw[_HEADER:]
    attested = None
    if flags & 0x40:  # AT
        attested, rest = _attested_credential(rest)
    if flags & 0x80:  # ED
        extensions, rest = _cbor(rest, "extensions")
        if type(extensions) is not dict:
            raise _malformed("extensions", "they are not a map")
    if rest:
        raise _malformed("authenticator data", "something follows it")
    return AuthenticatorData(
        rp_id_hash=raw[:32],
        user_present=bool(flags & 0x01),
        user_verified=bool(flags & 0x04),
        backup_eligible=bool(flags & 0x08),
        backed_up=bool(flags & 0x10),
        sign_count=int.from_bytes(raw[33:_HEADER], "big"),
        attested=attested,
    )


def _attested_credential(raw: bytes) -> tuple[AttestedCredential, bytes]:
    aaguid, length, rest = raw[:_AAGUID], raw[_AAGUID : _AAGUID + 2], raw[_AAGUID + 2 :]
    size = int.from_bytes(length, "big")
    if len(length) < 2 or len(rest) < size:  # noqa: PLR2004  (a 16-bit length)
        raise _malformed("attested credential data", "it is cut short")
    if not MIN_CREDENTIAL_ID <= size <= MAX_CREDENTIAL_ID:
        raise evidence_invalid(
            f"A credential's id has {MIN_CREDENTIAL_ID} to {MAX_CREDENTIAL_ID} bytes, not {size}."
        )
    credential_id, rest = rest[:size], rest[size:]
    members, after = _cbor(rest, "public key")
    key = _cose_key(members, rest[: len(rest) - len(after)])
    return AttestedCredential(aaguid, credential_id, key), after


@lru_cache(maxsize=1024)  # a stored key is read at every assertion
def cose_key(encoded: bytes) -> CoseKey:
    """Read a COSE_Key (RFC 9052 §7) of one of the allowed algorithms: exactly its members, in one encoding.

    :raises CosignerError: ``evidence_invalid``.
    """
    members, rest = _cbor(encoded, "public key")
    if rest:
        raise _malformed("public key", "something follows it")
    return _cose_key(members, encoded)


def _cose_key(members: object, encoded: bytes) -> CoseKey:
    if type(members) is not dict:
        raise _malformed("public key", "it is not a map")
    # True equals 1, and 1.0 does, in patterns too; not in the encoding.
    if any(type(part) not in (int, bytes) for item in members.items() for part in item):
        raise _malformed("public key", "it holds something other than numbers and bytes")
    try:
        match members:
            # RFC 9053 §7.1.1 with WebAuthn's restriction to uncompressed points (§5.8.5)
            case {1: 2, 3: -7, -1: 1, -2: bytes(x), -3: bytes(y), **others} if not others:
                if len(x) != _COORDINATE or len(y) != _COORDINATE:
                    raise _malformed("public key", "a coordinate has not 32 bytes")
                ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
            case {1: 1, 3: -8, -1: 6, -2: bytes(x), **others} if not others:  # RFC 9053 §7.2
                if len(x) != _COORDINATE:
                    raise _malformed("public key", "it has not 32 bytes")
                ed25519.check(x)
            case {1: 3, 3: -257, -1: bytes(n), -2: bytes(e), **others} if not others:  # RFC 8230 §4
                if not n or not e or n[0] == 0 or e[0] == 0:
                    raise _malformed("public key", "a number is not in its shortest form")
                keys.check_rsa_numbers(int.from_bytes(n, "big"), int.from_bytes(e, "big"))
            case _:
                raise evidence_invalid(
                    "The public key is of no algorithm that is allowed here, or has other members than it should."
                )
    except ValueError as error:
        raise evidence_invalid(f"The public key is not acceptable: {error}.") from None
    identifier = members[3]
    return CoseKey(ALGORITHMS[identifier], identifier, encoded)


def _cbor(raw: bytes, what: str) -> tuple[Any, bytes]:
    """The first item of ``raw`` in its shortest encoding, and what follows it."""
    try:
        value, encoded = strict_cbor.decode(raw)
    except strict_cbor.CborError as error:
        raise _malformed(what, str(error)) from None
    if not raw.startswith(encoded):
        raise _malformed(what, "it is not in its one encoding")
    return value, raw[len(encoded) :]


def _malformed(what: str, how: str) -> CosignerError:
    return evidence_invalid(f"The {what} is malformed: {how}.")
