"""The manifest: what the enclave may not learn from the host at run time (``docs/spec/manifest.md``).

It is one canonical document. Before anything else happens it is measured into PCR16, which is locked at once, so that clients and
the KMS key policy can pin it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.channel import EnvironmentId
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.limits import MAX_MANIFEST
from protocol.envelope.messages import HostName, Port

MANIFEST_PCR: Final = 16


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of wallets under one KMS key.

    :ivar kms_key_arn: a full key ARN, never an alias.
    :ivar key_policy: ``pinned`` refuses a key policy that somebody may change or that names other releases; ``editable`` takes it,
        and the attestation documents say so.
    """

    id: EnvironmentId
    kms_key_arn: Annotated[
        str, Meta(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]{1,32}:[0-9]{12}:key/[A-Za-z0-9-]{1,64}\Z")
    ]
    key_policy: Literal["pinned", "editable"]


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
        raise CosignerError(
            "manifest_invalid", "The manifest names an environment twice.", culprit=Culprit.HOST
        )
    foreign = [e.id for e in manifest.environments if e.kms_key_arn.split(":")[3] != manifest.kms.region]
    if foreign:
        raise CosignerError(
            "manifest_invalid",
            f"The KMS keys of {', '.join(foreign)} are not in the manifest's region {manifest.kms.region}.",
            culprit=Culprit.HOST,
        )
    return manifest


def measurement_input(raw: bytes) -> bytes:
    """What PCR16 is extended with: SHA-384 of the manifest, 48 bytes."""
    return hashlib.sha384(raw).digest()


def expected_pcr(raw: bytes) -> bytes:
    """PCR16 of an enclave that runs under this manifest: SHA-384(0^48 || SHA-384(manifest))."""
    return hashlib.sha384(bytes(48) + measurement_input(raw)).digest()
