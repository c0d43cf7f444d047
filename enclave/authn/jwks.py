"""Whose keys sign JWTs: JWK sets (RFC 7517), read strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation import strict_json
from protocol.envelope.errors import CosignerError, Culprit

from . import base64url, ed25519, keys

if TYPE_CHECKING:
    from enclave.manifest import TrustedIssuer

Algorithm = Literal["RS256", "ES256", "EdDSA"]

MAX_SET: Final = 64 << 10
MAX_KEYS: Final = 32
MAX_KID: Final = 256
_COORDINATE: Final = 32
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key that may verify one algorithm, and no other."""

    kid: str
    algorithm: Algorithm
    key: keys.PublicKey


class IssuerKeys:
    """An issuer, and the keys that speak for it now: those pinned, unless others are given.

    :param keys: by ``kid``.
    :raises CosignerError: ``manifest_invalid``: pinned keys that are not acceptable, or none.
    """

    def __init__(self, issuer: TrustedIssuer, keys: Mapping[str, VerificationKey] | None = None) -> None:
        if keys is None:
            try:
                keys = parse_set(issuer.jwks.encode(), issuer.algorithms, every=True)
            except ValueError as error:
                raise CosignerError(
                    "manifest_invalid",
                    f"The keys of {issuer.issuer} are not acceptable: {error}.",
                    culprit=Culprit.HOST,
                ) from None
        self.issuer: Final = issuer
        self._keys: Final = dict(keys)

    def find(self, kid: str) -> VerificationKey | None:
        """The issuer's key of this name."""
        return self._keys.get(kid)


def parse_set(raw: bytes, algorithms: Sequence[Algorithm], *, every: bool) -> dict[str, VerificationKey]:
    """The keys of a JWK set that can verify one of ``algorithms``, by ``kid``.

    A weak key, a point off its curve, a private key, and two keys of one name spoil the whole set. Keys for other purposes or of other
    kinds spoil it only if ``every`` key must be usable (a pinned set); otherwise they are passed over (RFC 7517 §5).

    :raises ValueError: the set is not acceptable, or has no usable key.
    """
    members = strict_json.parse_object(raw, max_bytes=MAX_SET).get("keys")
    if type(members) is not list or not 0 < len(members) <= MAX_KEYS:
        raise ValueError(f"not 1 to {MAX_KEYS} keys")
    found: dict[str, VerificationKey] = {}
    for member in members:
        if type(member) is not dict or any(name in member for name in _PRIVATE):
            raise ValueError("not a public key")
        key = _key(member, algorithms)
        if key is None:
            if every:
                raise ValueError("a key that no allowed algorithm can use, or without a name")
            continue
        if key.kid in found:
            raise ValueError("two keys of one name")
        found[key.kid] = key
    if not found:
        raise ValueError("no key that could be used")
    return found


def _key(member: Mapping[str, Any], algorithms: Sequence[Algorithm]) -> VerificationKey | None:
    """One JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2); ``None``: it is for something else."""
    algorithm = _ALGORITHM_OF.get((member.get("kty"), member.get("crv"))) if _are_text(member) else None
    kid = member.get("kid")
    usable = (
        algorithm is not None
        and algorithm in algorithms
        and member.get("alg", algorithm) in (algorithm, _ALIASES.get(algorithm))
        and member.get("use", "sig") == "sig"
        and _may_verify(member.get("key_ops"))
        and type(kid) is str
        and 0 < len(kid) <= MAX_KID
    )
    if not usable or algorithm is None or type(kid) is not str:
        return None
    return VerificationKey(kid, algorithm, _MAKERS[algorithm](member))


def _are_text(member: Mapping[str, Any]) -> bool:
    return all(type(member.get(name, "")) is str for name in ("kty", "crv", "alg", "use"))


def _may_verify(key_ops: object) -> bool:
    return key_ops is None or (type(key_ops) is list and "verify" in key_ops)


def _number(member: Mapping[str, Any], name: str, size: int | None = None) -> bytes:
    """A big-endian number: of ``size`` bytes, or without leading zeros."""
    value = member.get(name)
    if type(value) is not str:
        raise ValueError(f"a key without {name}")
    raw = base64url.decode(value)
    if (size is not None and len(raw) != size) or (size is None and (not raw or raw[0] == 0)):
        raise ValueError(f"a key whose {name} is of the wrong length")
    return raw


def _rsa(member: Mapping[str, Any]) -> keys.PublicKey:
    n, e = (int.from_bytes(_number(member, name), "big") for name in ("n", "e"))
    keys.check_rsa_numbers(n, e)
    return rsa.RSAPublicNumbers(e, n).public_key()


def _ec(member: Mapping[str, Any]) -> keys.PublicKey:
    x, y = (_number(member, name, _COORDINATE) for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    except ValueError:
        raise ValueError("a point that is not on its curve") from None


def _okp(member: Mapping[str, Any]) -> keys.PublicKey:
    x = _number(member, "x", _COORDINATE)
    ed25519.check(x)
    return Ed25519PublicKey.from_public_bytes(x)


_ALGORITHM_OF: Final[Mapping[tuple[object, object], Algorithm]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_ALIASES: Final[Mapping[str, str]] = {"EdDSA": "Ed25519"}  # RFC 9864 §2.2
_MAKERS: Final[Mapping[Algorithm, Callable[[Mapping[str, Any]], keys.PublicKey]]] = {
    "RS256": _rsa,
    "ES256": _ec,
    "EdDSA": _okp,
}
