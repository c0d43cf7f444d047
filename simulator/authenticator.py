"""A virtual WebAuthn authenticator with the client that belongs to it: for tests and the demo. Its keys lie in memory and protect nothing.

It behaves as the standard has authenticators and clients behave (WebAuthn level 3, §5.1.3, §5.1.4, §6.3, §8.2, §8.7). What a device can
do is chosen when it is made; what goes wrong on purpose is an argument of the one call.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from enclave.authn.base64url import encode as base64url
from protocol.accounts import NewPasskey
from protocol.actions import PasskeyAssertion

Algorithm = Literal["ES256", "EdDSA", "RS256"]
Attestation = Literal["none", "self", "certified"]
PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey

IDENTIFIERS: Final[Mapping[Algorithm, int]] = {"ES256": -7, "EdDSA": -8, "RS256": -257}
ID_LENGTH: Final = 32
_YEAR: Final = timedelta(days=365)
_OID_AAGUID: Final = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")  # §8.2.1


class AuthenticatorError(Exception):
    """The device cannot do what is asked of it."""


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """What one ceremony does otherwise than it should. Signatures are made after it, and hold.

    :ivar client_data: in place of the client data.
    :ivar members: further members of the client data, or others in their place.
    :ivar flags: bits of the authenticator data's flags to turn over.
    :ivar rp_id: another relying party than the credential's.
    :ivar sign_count: another count.
    :ivar after: what follows the authenticator data.
    """

    client_data: bytes | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    flags: int = 0
    rp_id: str | None = None
    sign_count: int | None = None
    after: bytes = b""


HONEST: Final = Deviation()


@dataclass
class Credential:
    """A credential on a device."""

    credential_id: bytes
    rp_id: str
    user_handle: bytes
    discoverable: bool
    algorithm: Algorithm
    key: PrivateKey
    sign_count: int = 0


@dataclass
class Authenticator:
    """One device, and the browser that talks to it.

    :ivar origin: the page that the browser shows.
    :ivar algorithms: what the device can make, most wanted first.
    :ivar counts: whether it has a signature counter; synchronized passkeys have none.
    :ivar verifies_user: whether it can verify its user (by PIN or body), and does.
    :ivar backup: whether its credentials are synchronized.
    :ivar attestation: the statement that it makes.
    """

    origin: str
    algorithms: Sequence[Algorithm] = ("ES256",)
    counts: bool = True
    verifies_user: bool = True
    backup: bool = False
    attestation: Attestation = "none"
    aaguid: bytes = bytes(16)
    credentials: dict[bytes, Credential] = field(default_factory=dict)

    def create(
        self,
        challenge: bytes,
        *,
        rp_id: str,
        user_handle: bytes,
        exclude: Iterable[bytes] = (),
        discoverable: bool = True,
        algorithms: Sequence[Algorithm] = ("ES256", "EdDSA", "RS256"),
        but: Deviation = HONEST,
    ) -> NewPasskey:
        """``navigator.credentials.create``: a new credential, and its registration.

        :param algorithms: what the relying party accepts.
        :raises AuthenticatorError: no common algorithm, or a credential of ``exclude`` is on this device.
        """
        if any(credential_id in self.credentials for credential_id in exclude):
            raise AuthenticatorError("the device has a credential of this user already")
        common = [algorithm for algorithm in self.algorithms if algorithm in algorithms]
        if not common:
            raise AuthenticatorError("no common algorithm")
        made = Credential(
            secrets.token_bytes(ID_LENGTH), rp_id, user_handle, discoverable, common[0], _generate(common[0])
        )
        self.credentials[made.credential_id] = made
        client_data = self._client_data("webauthn.create", challenge, but)
        attested = (
            self.aaguid
            + len(made.credential_id).to_bytes(2, "big")
            + made.credential_id
            + cose_key(made.algorithm, made.key)
        )
        data = self._header(made, but, attested=True) + attested + but.after
        form, statement = self._statement(made, data + hashlib.sha256(client_data).digest())
        return NewPasskey(
            client_data_json=client_data,
            attestation_object=cbor2.dumps({"fmt": form, "attStmt": statement, "authData": data}),
            discoverable=discoverable,
        )

    def get(
        self,
        challenge: bytes,
        *,
        rp_id: str,
        allow: Iterable[bytes] = (),
        but: Deviation = HONEST,
    ) -> PasskeyAssertion:
        """``navigator.credentials.get``: an assertion by a credential of ``allow``, or by any discoverable one if that is empty.

        :raises AuthenticatorError: there is none.
        """
        credential = self._choose(rp_id, list(allow))
        if self.counts:
            credential.sign_count += 1
        client_data = self._client_data("webauthn.get", challenge, but)
        data = self._header(credential, but, attested=False) + but.after
        signed = data + hashlib.sha256(client_data).digest()
        return PasskeyAssertion(
            credential_id=credential.credential_id,
            client_data_json=client_data,
            authenticator_data=data,
            signature=sign(credential.key, signed),
        )

    def user_handle(self, credential_id: bytes) -> bytes:
        """What a discoverable credential says whose it is."""
        return self.credentials[credential_id].user_handle

    def _choose(self, rp_id: str, allow: Sequence[bytes]) -> Credential:
        for credential in reversed(self.credentials.values()):  # the newest first
            wanted = credential.credential_id in allow if allow else credential.discoverable
            if credential.rp_id == rp_id and wanted:
                return credential
        raise AuthenticatorError("the device has no such credential")

    def _client_data(self, kind: str, challenge: bytes, but: Deviation) -> bytes:
        """§5.8.1.1."""
        if but.client_data is not None:
            return but.client_data
        members = {
            "type": kind,
            "challenge": base64url(challenge),
            "origin": self.origin,
            "crossOrigin": False,
        }
        return json.dumps({**members, **but.members}, separators=(",", ":")).encode()

    def _header(self, credential: Credential, but: Deviation, *, attested: bool) -> bytes:
        """§6.1: the first 37 bytes."""
        flags = (
            0x01  # UP
            | (0x04 if self.verifies_user else 0)
            | (0x18 if self.backup else 0)  # BE, BS
            | (0x40 if attested else 0)
        )
        rp_id = credential.rp_id if but.rp_id is None else but.rp_id
        count = credential.sign_count if but.sign_count is None else but.sign_count
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags ^ but.flags]) + count.to_bytes(4, "big")

    def _statement(self, credential: Credential, signed: bytes) -> tuple[str, dict[str, Any]]:
        """§8.7 and §8.2."""
        if self.attestation == "none":
            return "none", {}
        if self.attestation == "self":
            algorithm = IDENTIFIERS[credential.algorithm]
            return "packed", {"alg": algorithm, "sig": sign(credential.key, signed)}
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _attestation_certificate(key, self.aaguid)
        return "packed", {"alg": IDENTIFIERS["ES256"], "sig": sign(key, signed), "x5c": [certificate]}


def sign(key: PrivateKey, message: bytes) -> bytes:
    """As WebAuthn has it (§6.5.5): ECDSA in DER, Ed25519, RSA PKCS#1 v1.5; with SHA-256."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(message, ec.ECDSA(hashes.SHA256()))
        case Ed25519PrivateKey():
            return key.sign(message)
        case rsa.RSAPrivateKey():
            return key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def cose_key(algorithm: Algorithm, key: PrivateKey) -> bytes:
    """The COSE_Key of the public half (RFC 9053 §7, RFC 8230 §4), in the canonical order of CTAP2."""
    members: dict[int, int | bytes]
    match key:
        case ec.EllipticCurvePrivateKey():
            point = key.public_key().public_numbers()
            x, y = (number.to_bytes(32, "big") for number in (point.x, point.y))
            members = {1: 2, 3: IDENTIFIERS[algorithm], -1: 1, -2: x, -3: y}
        case Ed25519PrivateKey():
            members = {1: 1, 3: IDENTIFIERS[algorithm], -1: 6, -2: key.public_key().public_bytes_raw()}
        case rsa.RSAPrivateKey():
            numbers = key.public_key().public_numbers()
            n, e = numbers.n.to_bytes(key.key_size // 8, "big"), numbers.e.to_bytes(3, "big")
            members = {1: 3, 3: IDENTIFIERS[algorithm], -1: n, -2: e}
    return cbor2.dumps(members)


def _generate(algorithm: Algorithm) -> PrivateKey:
    return _GENERATORS[algorithm]()


_GENERATORS: Final[Mapping[Algorithm, Callable[[], PrivateKey]]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate,
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


def _attestation_certificate(key: ec.EllipticCurvePrivateKey, aaguid: bytes) -> bytes:
    """§8.2.1, signed by a vendor that nobody knows."""
    now = datetime.now(UTC)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Virtual authenticators"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
            x509.NameAttribute(NameOID.COMMON_NAME, "A virtual authenticator"),
        ]
    )
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Virtual authenticators")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _YEAR)
        .not_valid_after(now + _YEAR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.UnrecognizedExtension(_OID_AAGUID, b"\x04\x10" + aaguid), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
