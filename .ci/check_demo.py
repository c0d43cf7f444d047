"""Check the demo's JSON report with libraries that had no part in making it: `cryptography` for Ed25519, `coincurve` for BIP-340."""

import json
import sys
from pathlib import Path

from coincurve import PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SUITES = ["frost-ed25519", "frost-secp256k1-tr"]


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
        else:
            assert PublicKeyXOnly(public_key).verify(raw, signed)
        assert signature["verified_by"]
        assert min(signature["bytes_sent"], signature["bytes_received"]) > 64
        print(f"{signature['suite']}: signature of {len(signed)} bytes verified again, {signature['ms']} ms")


if __name__ == "__main__":
    check(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
