"""Check the demo's JSON report with libraries that had no part in making it: `cryptography`, `coincurve`, `cbor2`, `eth_account`.

Signatures, receipts and the passkey's assertion are verified here by their definitions alone, without any module of this project.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import cbor2
from coincurve import PublicKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account

ETHER = 10**18
SUITES = ["frost-ed25519", "frost-secp256k1-tr", "ecdsa-secp256k1"]


def check(report: dict) -> None:
    attestation = report["attestation"]
    assert attestation["verified"] is True
    assert all(int(attestation["pcrs"][index], 16) for index in ("0", "1", "2", "16"))
    assert len(attestation["root_sha256"]) == 64
    assert attestation["age_s"] >= 0
    assert [wallet["suite"] for wallet in report["wallets"]] == SUITES
    assert [signature["suite"] for signature in report["signatures"]] == SUITES
    for signature in [*report["signatures"], report["step_up"], report["life"]["signature"]]:
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
    check_authorization(report)
    check_delegation(report)
    check_life(report)


def check_life(report: dict) -> None:
    """Two renewals of one wallet's shares under the same key, and a lost device whose share is worthless."""
    life, wallet = report["life"], report["wallets"][-1]
    assert (life["wallet_id"], life["address"]) == (wallet["wallet_id"], wallet["address"])
    # Epoch 2 came with the delegation.
    assert (wallet["epoch"], life["refresh"]["epoch"], life["recovery"]["epoch"]) == (1, 3, 4)
    assert life["backup"]["passcode"] is True
    assert life["backup"]["locations"] == ["service"]
    assert life["recovery"]["backed_up"] is True
    assert life["signature"]["public_key"] == wallet["public_key"]
    assert life["lost_device"]["code"] == "share_outdated"
    print(f"refresh {life['refresh']['ms']} ms, recovery {life['recovery']['ms']} ms, one key throughout")


def check_authorization(report: dict) -> None:
    """One login, one passkey, one refusal, one step-up; each with its receipt."""
    user = report["login"]["user_id"]
    assert EllipticCurvePublicKey.from_encoded_point(
        SECP256R1(), bytes.fromhex(report["login"]["session_key"])
    )
    refused, allowed = report["refusal"], report["step_up"]
    assert refused["code"] == "policy_denied"
    assert "per_call_limit_exceeded" in refused["message"]
    assert refused["wei"] > 5 * ETHER > allowed["wei"] > ETHER // 20

    denial, grant = receipt(refused["receipt"]), receipt(allowed["receipt"])
    assert denial["chain"] == grant["chain"]
    assert denial["sequence"] < grant["sequence"]
    wallet = report["wallets"][-1]["wallet_id"]
    for entry in (denial, grant):
        assert entry["body"]["kind"] == "decision"
        assert entry["body"]["actor"]["user_id"] == user
        assert entry["body"]["action"]["subject"] == wallet
        assert entry["body"]["action"]["operation"] == "sign_ecdsa"
    assert (denial["body"]["allowed"], denial["body"]["code"]) == (False, "policy_denied")
    assert (grant["body"]["allowed"], grant["body"]["code"]) == (True, "")

    action = hashlib.sha256(
        b"cosigner/action/v1" + cbor2.dumps(grant["body"]["action"], canonical=True)
    ).digest()
    assert action.hex() == allowed["action"]
    (evidence,) = grant["body"]["evidence"]
    assertion = evidence["assertion"]
    assert assertion["credential_id"].hex() == report["passkey"]["credential_id"]
    client_data = json.loads(assertion["client_data_json"])
    assert client_data["type"] == "webauthn.get"
    assert client_data["challenge"] == base64.urlsafe_b64encode(action).rstrip(b"=").decode()
    cose = cbor2.loads(evidence["public_key"])
    point = b"\x04" + cose[-2] + cose[-3]
    signed = assertion["authenticator_data"] + hashlib.sha256(assertion["client_data_json"]).digest()
    EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point).verify(
        assertion["signature"], signed, ECDSA(SHA256())
    )

    audit = report["audit"]
    assert audit["good"]
    assert audit["end_is_certain"]
    assert audit["receipts"] >= len(report["wallets"]) + len(report["signatures"]) + 3
    assert audit["allowed"] + audit["denied"] + 1 == audit["entries"]  # and the opening
    # The refusal; the step-up, the delegation, the refresh, the backup and the recovery before the passkey was asked; the app over its
    # limit; the lost device.
    assert audit["denied"] == 8
    print(f"the passkey's assertion, two receipts and a log of {audit['entries']} entries agree")


def check_delegation(report: dict) -> None:
    """The app signed for both wallets, was refused twice, and its endpoint heard of everything."""
    delegation = report["delegation"]
    solana, _, ethereum = report["wallets"]
    assert Account.recover_transaction(delegation["evm_transaction"]) == ethereum["address"]
    wire = base64.b64decode(delegation["solana_transaction"])
    assert wire[0] == 1  # signatures
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(solana["public_key"])).verify(wire[1:65], wire[65:])
    assert delegation["refusal"]["code"] == "policy_denied"
    assert delegation["revoked"]["code"] == "delegation_refused"
    heard = delegation["webhooks"]
    assert heard.count("wallet.delegation.created") == 2
    assert heard.count("wallet.delegation.revoked") == 1
    print(f"two transactions of a delegate and {len(heard)} webhooks agree")


def receipt(kept: dict) -> dict:
    """An entry of the log whose signature holds under the key that it names."""
    raw = bytes.fromhex(kept["entry"])
    entry = cbor2.loads(raw)
    digest = hashlib.sha256(b"cosigner/log-entry/v1" + raw).digest()
    message = b"cosigner/log-signature/v1" + entry["chain"] + entry["sequence"].to_bytes(8, "big") + digest
    Ed25519PublicKey.from_public_bytes(entry["chain"]).verify(bytes.fromhex(kept["signature"]), message)
    return entry


if __name__ == "__main__":
    check(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
