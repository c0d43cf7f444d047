"""Check the demo's JSON report with libraries that had no part in making it: `cryptography` and `coincurve`."""

import json
import sys
from pathlib import Path

from coincurve import PublicKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

SUITES = ["frost-ed25519", "frost-secp256k1-tr", "ecdsa-secp256k1"]


def check(report: dict) -> None:
    attestation = report["attestation"]
    assert attestation["verified"] is True
    assert all(int(attestation["pcrs"][index], 16) for index in ("0", "1", "2", "16"))
    assert len(attestation["root_sha256"]) == 64
    assert attestation["age_s"] >= 0
    assert [wallet["suite"] for wallet in report["wallets"]] == SUITES
    assert [signature["suite"] for signature in report["signatures"]] == SUITES
    for signature in report["signatures"]:
        public_key, signed, raw = (
            bytes.fromhex(signature[name]) for name in ("public_key", "signed_bytes", "signature")
        )
        if signature["suite"] == "frost-ed25519":
            Ed25519PublicKey.from_public_bytes(public_key).verify(raw, signed)
        elif signature["suite"] == "frost-secp256k1-tr":
            assert PublicKeyXOnly(public_key).verify(raw, signed)
        else:
            r, s, v = raw[:32], raw[32:64], raw[64]
            recovered = PublicKey.from_signature_and_message(raw[:64] + bytes([v - 27]), signed, hasher=None)
            assert recovered.format() == public_key
            der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
            key = EllipticCurvePublicKey.from_encoded_point(SECP256K1(), public_key)
            key.verify(der, signed, ECDSA(Prehashed(SHA256())))
        assert signature["verified_by"]
        assert min(signature["bytes_sent"], signature["bytes_received"]) > 64
        print(f"{signature['suite']}: signature of {len(signed)} bytes verified again, {signature['ms']} ms")


if __name__ == "__main__":
    check(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
