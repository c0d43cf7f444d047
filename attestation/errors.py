"""The one exception of this package, and the table of its codes.

A code belongs to exactly one step of the check list (`STEPS`, also in README.md), so that a caller who
knows the code knows how far the document got. Codes are stable: programs may compare them, messages are for
people.
"""

from __future__ import annotations

from typing import Final

STEPS: Final[dict[int, str]] = {
    1: "structure and sizes",
    2: "COSE header and algorithm",
    3: "payload fields",
    4: "root certificate",
    5: "certificate chain",
    6: "signature",
    7: "time",
    8: "debug mode",
    9: "PCR policy",
    10: "nonce",
    11: "user_data",
    12: "public_key",
}

CODES: Final[dict[str, tuple[int, str]]] = {
    "too_large": (1, "the document is empty or longer than 16 KiB"),
    "cbor_malformed": (1, "not CBOR, cut short, nested too deeply, or with tags or duplicate keys"),
    "trailing_bytes": (1, "bytes follow the document"),
    "cbor_not_canonical": (1, "an integer, length or container is not in its shortest definite form"),
    "cose_structure": (1, "not a COSE_Sign1 array of byte string, map, byte string, byte string"),
    "cose_algorithm": (2, "the protected header is not exactly {1: -35} (ECDSA with SHA-384)"),
    "cose_unprotected_header": (2, "the unprotected header is not empty"),
    "signature_length": (2, "the signature is not 96 bytes (raw r and s)"),
    "payload_malformed": (3, "the payload is not one well-formed, canonical map"),
    "field_missing": (3, "a required field is absent"),
    "field_unknown": (3, "a field that the format does not have"),
    "field_type": (3, "a field has the wrong CBOR type"),
    "field_size": (3, "a field is empty, too long or out of range"),
    "digest_unsupported": (3, "the digest is not SHA384"),
    "pcr_malformed": (3, "a PCR index is not 0..31, or a PCR value is not 48 bytes"),
    "root_not_trusted": (4, "the SHA-256 of the bundle's first certificate is not a trusted root"),
    "certificate_malformed": (5, "a certificate or one of its extensions cannot be parsed"),
    "certificate_algorithm": (5, "a key is not P-384, or a signature algorithm is not ECDSA with SHA-384"),
    "certificate_extension": (5, "an unknown critical extension"),
    "certificate_not_yet_valid": (5, "a certificate's validity begins after the time of the check"),
    "certificate_expired": (5, "a certificate's validity ended before the time of the check"),
    "certificate_authority": (5, "an issuer is not a CA, or the leaf is one"),
    "certificate_path_length": (5, "more certificates follow than a path length allows"),
    "certificate_key_usage": (
        5,
        "an issuer may not sign certificates, or the leaf may, or may not sign data",
    ),
    "certificate_order": (5, "a certificate's issuer is not the subject of the one before it"),
    "certificate_signature": (5, "a certificate is not signed by the one before it"),
    "signature_invalid": (6, "the document is not signed by its leaf certificate"),
    "from_future": (7, "the document's timestamp is further ahead than the allowed skew"),
    "too_old": (7, "the document is older than the maximum age"),
    "debug_mode": (8, "PCR0, PCR1 or PCR2 is absent or all zero: the enclave runs in debug mode"),
    "pcr_missing": (9, "a pinned PCR is not in the document"),
    "pcr_mismatch": (9, "a pinned PCR has none of the allowed values"),
    "nonce_missing": (10, "a nonce is expected and the document has none"),
    "nonce_mismatch": (10, "the nonce is not the expected one"),
    "user_data_missing": (11, "user_data is expected and the document has none"),
    "user_data_mismatch": (11, "user_data is not the expected one"),
    "public_key_missing": (12, "a public key is expected and the document has none"),
    "public_key_mismatch": (12, "the public key is not the expected one"),
}


class AttestationError(Exception):
    """A document that must not be believed.

    `code` is a key of `CODES`, `step` the number of the failing step (a key of `STEPS`), `message` one line
    for a person, safe to print and to log: documents hold no secrets, and of their free text nothing is
    quoted.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.step = CODES[code][0]
        self.message = message

    def __str__(self) -> str:
        return f"step {self.step} ({STEPS[self.step]}), {self.code}: {self.message}"
