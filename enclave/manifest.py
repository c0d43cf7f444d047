"""The manifest: what the enclave may not learn from the host at run time (``docs/spec/manifest.md``).

It is one canonical document. Before anything else happens it is measured into PCR16, which is locked at once, so that clients and
the KMS key policy can pin it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from policy import PolicyError, parse_layer
from protocol.accounts import KeyAlgorithm, KeyBytes
from protocol.actions import Operation
from protocol.delegation import DelegationSettings
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.limits import MAX_MANIFEST
from protocol.envelope.messages import HostName, Port
from protocol.names import EnvironmentId

from .authn import keys
from .authn.logins import Logins
from .authorization.requirements import ACTIONS
from .delegation import developer_keys

if TYPE_CHECKING:
    import socket

MANIFEST_PCR: Final = 16
SHORTEST_EPOCH: Final = 3600  # seconds; epochs due sooner than that would always be due

FactorName = Literal["passkey", "signing_key", "totp"]
Scope = Annotated[str, Meta(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,128}\Z")]  # RFC 6749, §3.3


class TrustedIssuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose JWTs vouch for users. Its keys stand here, or are fetched over TLS that ends in the enclave.

    :ivar environment: what the claim ``environment_id`` must be; empty: the claim is not asked for.
    :ivar jwks: a JWK set (RFC 7517) as JSON; empty if ``url`` is given.
    :ivar url: where to fetch the set, ``https``; empty if ``jwks`` is given.
    :ivar ca_pem: the only CAs accepted for ``url``; empty means the public CAs shipped in the image.
    :ivar grace_s: seconds for which fetched keys stay good while ``url`` does not answer.
    :ivar scopes: what the claim ``scope`` must name.
    :ivar forbidden_scopes: what it must not name.
    """

    issuer: Annotated[str, Meta(min_length=1, max_length=256)]
    audiences: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(min_length=1, max_length=16)
    ]
    environment: Annotated[str, Meta(max_length=128)]
    algorithms: Annotated[list[Literal["RS256", "ES256", "EdDSA"]], Meta(min_length=1, max_length=3)]
    jwks: Annotated[str, Meta(max_length=16384)]
    url: Annotated[str, Meta(max_length=512, pattern=r"^(https://[\x21-\x7e]+)?\Z")]
    ca_pem: Annotated[str, Meta(max_length=16384)]
    grace_s: Annotated[int, Meta(ge=0, le=7 * 86400)]
    scopes: Annotated[list[Scope], Meta(max_length=16)]
    forbidden_scopes: Annotated[list[Scope], Meta(max_length=16)]


class RelyingParty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What passkeys are for (WebAuthn level 3, §5.1.2).

    :ivar attestation: which statements are accepted: ``none`` alone, ``self`` too, or ``any`` format that verifies.
    """

    rp_id: Annotated[str, Meta(min_length=1, max_length=253)]
    origins: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(min_length=1, max_length=16)
    ]
    user_verification: Literal["required", "preferred"]
    attestation: Literal["none", "self", "any"]


class Administrator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that speaks for the environment.

    :ivar public_key: DER SubjectPublicKeyInfo.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,48}\Z")]
    algorithm: KeyAlgorithm
    public_key: KeyBytes


class RecoveryRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a recovery key alone cannot do, and who is told.

    :ivar time_lock_s: seconds between a recovery's first request and its effect.
    :ivar gate: who must sign every recovery too.
    :ivar notify: an https URL that is told of every recovery; empty, and then left out: nobody is.
    """

    time_lock_s: Annotated[int, Meta(ge=0, le=90 * 86400)]
    gate: Administrator | None
    notify: Annotated[str, Meta(max_length=512, pattern=r"^(https://[\x21-\x7e]+)?\Z")] = ""


class LifecycleRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of wallets with time.

    :ivar max_epoch_age_s: after which a refresh of the shares is due, as wallets' owners are told; 0: never.
    :ivar backup: ``required``: a wallet signs, and new shares count, only once a backup of the client's share is proved.
    """

    max_epoch_age_s: Annotated[int, Meta(ge=0, le=10 * 366 * 86400)]
    backup: Literal["optional", "required"]


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of wallets under one KMS key.

    :ivar kms_key_arn: a full key ARN, never an alias.
    :ivar key_policy: ``pinned`` refuses a key policy that somebody may change or that names other releases; ``editable`` takes it,
        and the attestation documents say so.
    :ivar issuers: whose JWTs log users in.
    :ivar relying_party: ``None``: users have no passkeys, only keys.
    :ivar quorum: how many administrators must approve what only they may do; 0 if there are none.
    :ivar session_lifetime_s: the longest that a session key is good for.
    :ivar step_up: for a kind of request, the evidence it needs beside the session key: one of ``passkey`` and ``signing_key`` if
        any is listed, and a code if ``totp`` is.
    :ivar policy: the environment's layer (``docs/spec/policy.md``), JSON, until administrators replace it; empty: nothing is allowed.
    :ivar delegation: delegated access, until administrators replace it; ``None``: not enabled.
    """

    id: EnvironmentId
    kms_key_arn: Annotated[
        str, Meta(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]{1,32}:[0-9]{12}:key/[A-Za-z0-9-]{1,64}\Z")
    ]
    key_policy: Literal["pinned", "editable"]
    issuers: Annotated[list[TrustedIssuer], Meta(max_length=8)]
    relying_party: RelyingParty | None
    administrators: Annotated[list[Administrator], Meta(max_length=16)]
    quorum: Annotated[int, Meta(ge=0, le=16)]
    session_lifetime_s: Annotated[int, Meta(ge=60, le=90 * 86400)]
    step_up: Annotated[
        dict[Operation, Annotated[list[FactorName], Meta(min_length=1, max_length=3)]], Meta(max_length=64)
    ]
    policy: Annotated[str, Meta(max_length=32768)]
    recovery: RecoveryRules
    lifecycle: LifecycleRules
    delegation: DelegationSettings | None


class KmsEndpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where KMS is. TLS to it ends inside the enclave.

    :ivar ca_pem: the only CAs accepted for KMS; empty means the public CAs shipped in the image.
    """

    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
    host: HostName
    port: Port
    ca_pem: Annotated[str, Meta(max_length=16384)]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Version 1 of the manifest."""

    version: Annotated[int, Meta(ge=1, le=1)]
    environments: Annotated[list[Environment], Meta(min_length=1, max_length=64)]
    kms: KmsEndpoint

    def encode(self) -> bytes:
        """The canonical bytes, as they are measured."""
        return cbor.encode(self)


def parse(raw: bytes) -> Manifest:
    """Parse canonical manifest bytes.

    :raises CosignerError: ``message_malformed``, ``message_too_large``, ``manifest_invalid``.
    """
    manifest = cbor.decode(raw, Manifest, limit=MAX_MANIFEST, culprit=Culprit.HOST)
    names = [environment.id for environment in manifest.environments]
    if len(set(names)) != len(names):
        raise _invalid("The manifest names an environment twice.")
    foreign = [e.id for e in manifest.environments if e.kms_key_arn.split(":")[3] != manifest.kms.region]
    if foreign:
        raise _invalid(
            f"The KMS keys of {', '.join(foreign)} are not in the manifest's region {manifest.kms.region}."
        )
    for environment in manifest.environments:
        _check(environment)
    return manifest


def _check(environment: Environment) -> None:
    """What the form of an environment alone does not say.

    :raises CosignerError: ``manifest_invalid``.
    """
    _check_issuers(environment)
    _check_administrators(environment)
    name = environment.id
    if environment.delegation is not None:
        try:
            developer_keys.check(environment.delegation)
        except CosignerError as error:
            raise _invalid(f"Delegated access to {name}: {error.message}") from None
    if 0 < environment.lifecycle.max_epoch_age_s < SHORTEST_EPOCH:
        raise _invalid(f"{name} has a refresh due more often than hourly.")
    unknown = sorted(environment.step_up.keys() - ACTIONS)
    if unknown:
        raise _invalid(f"{name} asks for evidence of what is no action: {', '.join(unknown)}.")
    if environment.relying_party is None and any(
        "passkey" in factors and "signing_key" not in factors for factors in environment.step_up.values()
    ):
        raise _invalid(f"{name} asks for passkeys, but names no relying party.")
    if environment.policy:
        try:
            layer = parse_layer(environment.policy.encode())
        except PolicyError as error:
            raise _invalid(f"The policy of {name} is not one: {error}") from None
        if layer.name != "environment":
            raise _invalid(f"The policy of {name} is not of the environment's layer.")


def _check_issuers(environment: Environment) -> None:
    name = environment.id
    issuers = [issuer.issuer for issuer in environment.issuers]
    if len(set(issuers)) != len(issuers):
        raise _invalid(f"{name} trusts an issuer twice.")
    for issuer in environment.issuers:
        if bool(issuer.jwks) == bool(issuer.url):
            raise _invalid(f"The issuer {issuer.issuer} of {name} has either keys or a URL.")
        if set(issuer.scopes) & set(issuer.forbidden_scopes):
            raise _invalid(f"The issuer {issuer.issuer} of {name} must and must not give a scope.")
    Logins(environment.issuers, _nowhere)


def _check_administrators(environment: Environment) -> None:
    name, gate = environment.id, environment.recovery.gate
    for administrator in (*environment.administrators, *([] if gate is None else [gate])):
        try:
            keys.load(administrator.algorithm, administrator.public_key)
        except CosignerError as error:
            raise _invalid(f"The key of {administrator.name} in {name}: {error.message}") from None
    names = {administrator.name for administrator in environment.administrators}
    different = {administrator.public_key for administrator in environment.administrators}
    if not len(names) == len(different) == len(environment.administrators):
        raise _invalid(f"{name} has an administrator twice.")
    if not min(1, len(names)) <= environment.quorum <= len(names):
        raise _invalid(f"The quorum of {name} is not from 1 to the number of its administrators.")


def _nowhere(host: str, port: int) -> socket.socket:
    """Reading a manifest dials nobody."""
    raise OSError(host, port)


def _invalid(message: str) -> CosignerError:
    return CosignerError("manifest_invalid", message, culprit=Culprit.HOST)


def measurement_input(raw: bytes) -> bytes:
    """What PCR16 is extended with: SHA-384 of the manifest, 48 bytes."""
    return hashlib.sha384(raw).digest()


def expected_pcr(raw: bytes) -> bytes:
    """PCR16 of an enclave that runs under this manifest: SHA-384(0^48 || SHA-384(manifest))."""
    return hashlib.sha384(bytes(48) + measurement_input(raw)).digest()
