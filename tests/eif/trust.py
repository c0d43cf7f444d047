"""The trust profile of this suite alone: documents that nobody signed, believed because this suite started the machine that made them.

QEMU's NSM fills in everything of an attestation document but the proof: signature, certificate and bundle are zeros. The verifier has
no mode for that, and gets none. Instead, documents of exactly that form are signed here, under a root that exists for one run of the
tests, and then verified by the ordinary verifier under that root.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation import TrustPolicy
from cosigner.transport import Transport
from simulator.kms.recipient import Attested, strict_verifier
from simulator.pki import NitroPki

_UNSIGNED: Final = bytes.fromhex(
    "a10120"
)  # {1: -1}: «we don't actually sign the data» (QEMU, hw/virtio/virtio-nsm.c)
_ES384: Final = bytes.fromhex("a1013822")  # {1: -35}, RFC 9053 §2.1
_ZEROS: Final = bytes(64)


class NotQemuError(Exception):
    """The document has not the form of an unsigned document of QEMU's."""


class QemuUnsignedDocuments:
    """Signs documents that QEMU left unsigned, under a root of its own. Never for anything but tests in QEMU.

    :ivar seen: the documents as QEMU made them, oldest first.
    """

    def __init__(self) -> None:
        self._pki = NitroPki.ephemeral()
        self.seen: list[bytes] = []

    @property
    def root_sha256(self) -> str:
        """The fingerprint of the root; it changes with every run."""
        return self._pki.root_sha256

    def sign(self, unsigned: bytes) -> bytes:
        """The same document with certificates and a signature in the places of QEMU's zeros, and nothing else changed.

        :raises NotQemuError: any of them is not zeros, or the document is not QEMU's in another way.
        """
        payload = qemu_payload(unsigned)
        self.seen.append(unsigned)
        chain = self._pki.chain(payload["module_id"], datetime.now(UTC))
        signed = cbor2.dumps(payload | {"certificate": chain.leaf.der, "cabundle": list(chain.cabundle)})
        structure = cbor2.dumps(["Signature1", _ES384, b"", signed])  # RFC 9052 §4.4
        r, s = decode_dss_signature(chain.leaf.key.sign(structure, ec.ECDSA(hashes.SHA384())))
        return cbor2.dumps([_ES384, {}, signed, r.to_bytes(48, "big") + s.to_bytes(48, "big")])

    def judge(self, document: bytes, now: datetime) -> Attested:
        """For `KmsSimulator`: its own strict check list, under this profile's root, after `sign`.

        :raises AttestationError: what the verifier says of documents that are not QEMU's, too: it gets them as they are.
        """
        with contextlib.suppress(NotQemuError):
            document = self.sign(document)
        return strict_verifier(TrustPolicy(roots=frozenset({self.root_sha256})))(document, now)


class QemuTransport(Transport):
    """The client's ordinary transport, but for documents that QEMU left unsigned, which the profile signs on the way in."""

    def __init__(self, api_url: str, profile: QemuUnsignedDocuments) -> None:
        super().__init__(api_url)
        self._profile = profile

    async def attestation(self, nonce: bytes) -> tuple[bytes, bytes]:
        document, channel_key = await super().attestation(nonce)
        return self._profile.sign(document), channel_key


def qemu_payload(raw: bytes) -> dict[str, Any]:
    """The payload of an unsigned document of QEMU's.

    :raises NotQemuError: it is something else.
    """
    try:
        outer = cbor2.loads(raw)
        match outer:
            case [bytes(protected), Mapping() as unprotected, bytes(encoded), bytes(signature)]:
                payload = cbor2.loads(encoded)
            case _:
                raise NotQemuError("not a COSE_Sign1")
        canonical = cbor2.dumps(outer) == raw and cbor2.dumps(payload) == encoded
    except (cbor2.CBORError, ValueError, TypeError) as error:
        raise NotQemuError("not CBOR") from error
    if not (canonical and isinstance(payload, dict)):
        raise NotQemuError("not canonical, or not a map inside")
    if (protected, dict(unprotected), signature) != (_UNSIGNED, {}, _ZEROS):
        raise NotQemuError("it claims a signature")
    if (payload.get("certificate"), payload.get("cabundle")) != (_ZEROS, [_ZEROS]):
        raise NotQemuError("it carries certificates")
    return payload
