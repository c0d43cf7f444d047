"""How a secret leaves: as it is, or, for a recipient, only in an envelope that it alone can open."""

from __future__ import annotations

import base64
import secrets
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from simulator.kms.call import Call
from simulator.kms.envelope import Encoding, encode, key_identifier, seal_for_recipient
from simulator.kms.faults import Fault

_SEEN_ENCODINGS: Final = (Encoding.CHUNKED, Encoding.PRIMITIVE)


def release(plaintext: bytes, call: Call, encoding: Encoding | None) -> dict[str, Any]:
    """The members `Plaintext` and `CiphertextForRecipient`. `encoding`: None for either of the two seen from KMS."""
    if call.recipient is None:
        return {"Plaintext": _b64(plaintext)}
    answer = {"Plaintext": _b64(plaintext) if call.fault is Fault.PLAINTEXT else ""}
    if call.fault is not Fault.NO_ENVELOPE:
        chosen = encoding or secrets.choice(_SEEN_ENCODINGS)
        envelope = _envelope(plaintext, call.recipient.public_key, chosen, call.fault)
        answer["CiphertextForRecipient"] = _b64(envelope)
    return answer


def _envelope(
    plaintext: bytes, recipient: rsa.RSAPublicKey, encoding: Encoding, fault: Fault | None
) -> bytes:
    if fault is Fault.SUBSTITUTED_KEY:
        plaintext = secrets.token_bytes(len(plaintext))
    if fault is Fault.SHORT_KEY:
        plaintext = plaintext[:16]
    if fault in (Fault.FORGED_ENVELOPE, Fault.FOREIGN_ENVELOPE):
        stranger = rsa.generate_private_key(65537, recipient.key_size).public_key()
        if fault is Fault.FOREIGN_ENVELOPE:
            return seal_for_recipient(plaintext, stranger, encoding)
        return encode(
            recipient=key_identifier(recipient),
            encrypted_key=secrets.token_bytes(1).rjust(recipient.key_size // 8, b"\0"),
            iv=secrets.token_bytes(16),
            ciphertext=secrets.token_bytes(48),
            encoding=encoding,
        )
    return seal_for_recipient(plaintext, recipient, encoding)


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()
