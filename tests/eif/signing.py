"""Wallets and signatures of every suite, checked by libraries that this project did not write."""

from __future__ import annotations

import secrets

from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct

from cosigner import AsyncClient
from cosigner.client import Wallet
from tests.support.world import bitcoin_psbt, solana_message, verify_bitcoin, verify_solana

SUITES = {"solana": "frost-ed25519", "bitcoin": "frost-secp256k1-tr", "ethereum": "ecdsa-secp256k1"}


async def create_one_of_each(client: AsyncClient) -> dict[str, Wallet]:
    """A wallet of each suite, by chain."""
    wallets = {chain: await client.create_wallet(chain) for chain in SUITES}
    assert {chain: wallet.suite for chain, wallet in wallets.items()} == SUITES
    return wallets


async def sign_with_each(client: AsyncClient, wallets: dict[str, Wallet]) -> None:
    """One signature by each wallet; AssertionError or the library's own error where one is not valid."""
    await sign_solana(client, wallets["solana"])
    await sign_bitcoin(client, wallets["bitcoin"])
    await sign_ethereum(client, wallets["ethereum"])


async def sign_solana(client: AsyncClient, wallet: Wallet) -> None:
    message = solana_message(wallet.address, lamports=1 + secrets.randbelow(1 << 32))
    signed = await client.sign_solana(wallet.wallet_id, message)
    verify_solana(message, signed.signature, wallet.address)
    Ed25519PublicKey.from_public_bytes(wallet.public_key).verify(signed.signature, message)


async def sign_bitcoin(client: AsyncClient, wallet: Wallet) -> None:
    psbt = bitcoin_psbt(wallet.address, inputs=2)
    signed = await client.sign_bitcoin(wallet.wallet_id, psbt)
    assert signed.transaction is not None
    verify_bitcoin(psbt, signed.transaction, wallet.address)


async def sign_ethereum(client: AsyncClient, wallet: Wallet) -> None:
    text = secrets.token_bytes(32)
    signed = await client.sign_evm_message(wallet.wallet_id, text)
    assert Account.recover_message(encode_defunct(text), signature=signed.signature) == wallet.address
    recoverable = signed.signature[:64] + bytes([signed.signature[64] - 27])
    recovered = PublicKey.from_signature_and_message(recoverable, signed.digest, hasher=None)
    assert recovered.format() == wallet.public_key
