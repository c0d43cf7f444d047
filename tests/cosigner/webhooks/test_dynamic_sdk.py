"""Dynamic's own SDK opens what is sent here, through the whole body as it goes over the wire."""

from __future__ import annotations

import json

from dynamic_wallet_sdk.delegated import decrypt_delegated_webhook_data

from cosigner.webhooks import created, parse
from protocol import hybrid
from tests.cosigner.webhooks.sent import API_KEY, WALLET, key, sent


def test_the_official_sdk_decrypts_a_webhook_of_this_host() -> None:
    _, body = sent()
    data = json.loads(body)["data"]
    opened = decrypt_delegated_webhook_data(
        key().pem().decode(), data["encryptedDelegatedShare"], data["encryptedWalletApiKey"]
    )
    assert opened.decrypted_wallet_api_key == API_KEY
    assert opened.decrypted_delegated_share["walletId"] == WALLET
    assert opened.decrypted_delegated_share["secretShare"] == "s3cr3t"


def test_the_official_sdk_decrypts_the_smallest_and_the_largest() -> None:
    for bits in (2048, 4096):
        private = hybrid.DecryptionKey.generate(bits)
        recipient = private.public("k")
        for length in (0, hybrid.MAX_CONTENT - 20):
            share = {"pubkey": "p", "secretShare": "s" * max(0, length - 40)}
            opened = decrypt_delegated_webhook_data(
                private.pem().decode(),
                recipient.encrypt(json.dumps(share).encode()).fields(),
                recipient.encrypt(API_KEY.encode()).fields(),
            )
            assert opened.decrypted_delegated_share == share


def test_the_receiver_kit_and_the_sdk_read_the_same() -> None:
    _, body = sent()
    found = created(parse(body))
    opened = decrypt_delegated_webhook_data(
        key().pem().decode(), found.share.fields(), found.api_key.fields()
    )
    assert key().decrypt(found.api_key).decode() == opened.decrypted_wallet_api_key
    assert json.loads(key().decrypt(found.share)) == opened.decrypted_delegated_share
