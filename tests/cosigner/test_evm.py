"""Ethereum wallets through client and enclave: what comes out is checked by `eth_account`, paths by two other libraries' BIP-32."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
import rlp
from coincurve import PublicKeyXOnly
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from embit import bip32
from embit.ec import PublicKey
from embit.psbt import PSBT
from embit.script import address_to_scriptpubkey, p2tr
from eth_account import Account
from eth_account.hdaccount.deterministic import SoftNode
from eth_account.messages import (
    SignableMessage,
    _hash_eip191_message,
    encode_defunct,
    encode_intended_validator,
    encode_typed_data,
)
from eth_keys import keys
from eth_utils import keccak
from web3 import AsyncWeb3, Web3
from web3.middleware import SignAndSendRawMiddlewareBuilder

import cosigner.signing
from cosigner import sync as sync_module
from cosigner.client import AsyncClient, EthereumSignature, Wallet
from cosigner.errors import CosignerError, EnclaveRefused, HostError, StoreError
from cosigner.evm import AsyncCosignerAccount, CosignerAccount, typed_data_json, unsigned_transaction
from cosigner.evm.web3 import sign_and_send_raw
from cosigner.sync import Client
from enclave import server as enclave_server
from enclave.vault import StoredShare
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from protocol.messages import EcdsaSigned, SignEcdsa
from tests.cosigner.payloads import psbt, solana_message
from tests.cosigner.test_evm_account import AsyncProvider, Node, Provider
from tests.cosigner.world import Forward, Seen, World, open_store, record_number
from tests.threshold.evm import authorization
from tests.threshold.reference import open_record
from tests.threshold.test_evm_typed_data import MAIL
from threshold import PayloadError, ThresholdError
from threshold.ecdsa import MESSAGE2_LEN

T = TypeVar("T")
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
PATH = (0, 5)
CALL = {"chainId": 1, "nonce": 3, "gas": 60_000, "to": TO, "value": 10**18}
TRANSFER = "0xa9059cbb" + TO[2:].lower().rjust(64, "0") + hex(5 * 10**20)[2:].rjust(64, "0")
ACCESS = {"accessList": [{"address": TO, "storageKeys": ["0x" + "05" * 32]}]}
FEES = {"maxFeePerGas": 30 * 10**9, "maxPriorityFeePerGas": 10**9}
TRANSACTIONS: dict[str, dict[str, Any]] = {
    "legacy": {**CALL, "gasPrice": 20 * 10**9},
    "legacy token transfer": {**CALL, "gasPrice": 7, "value": 0, "data": TRANSFER},
    "access list": {**CALL, "gasPrice": 20 * 10**9, **ACCESS},
    "dynamic fee": {**CALL, **FEES},
    "creation": {**CALL, **FEES, "to": None, "data": "0x6001600055"},
    "blobs": {**CALL, **FEES, "maxFeePerBlobGas": 5, "blobVersionedHashes": [b"\x01" + bytes(31)]},
    "set code": {**CALL, **FEES, "authorizationList": [authorization((1, bytes(20), 4, b"\x07" * 32))]},
}
MESSAGES: dict[str, bytes] = {"text": "Grüezi ✓".encode(), "empty": b"", "bytes": bytes(range(256))}
MESSAGE = b"attack at dawn"


class House:
    """A world with a wallet of every kind."""

    def __init__(self, directory: Path) -> None:
        self.world = World()
        self.store = open_store(directory)
        self.wallets: dict[str, Wallet] = {
            chain: self.run(lambda client, c=chain: client.create_wallet(c))
            for chain in ("ethereum", "bitcoin", "solana")
        }
        self.wallet_id = self.wallets["ethereum"].wallet_id
        self.address = self.wallets["ethereum"].address

    def run(self, operation: Callable[[AsyncClient], Awaitable[T]]) -> T:
        return self.world.run(operation, self.store)

    def transaction(self, fields: dict[str, Any], path: Sequence[int] = ()) -> EthereumSignature:
        unsigned = unsigned_transaction(fields)
        return self.run(lambda client: client.sign_evm_transaction(self.wallet_id, unsigned, path=path))

    def message(self, message: bytes, **more: Any) -> EthereumSignature:
        return self.run(lambda client: client.sign_evm_message(self.wallet_id, message, **more))

    def typed_data(self, content: bytes, path: Sequence[int] = ()) -> EthereumSignature:
        return self.run(lambda client: client.sign_evm_typed_data(self.wallet_id, content, path=path))

    def derived(self, chain: str, path: Sequence[int]) -> str:
        return self.run(lambda client: client.derived_address(self.wallets[chain].wallet_id, path))

    def child(self, chain: str, path: Sequence[int]) -> bytes:
        """The public key at a path, by embit."""
        wallet = self.wallets[chain]
        share, _ = self.store.load(wallet.wallet_id)
        root = bip32.HDKey(PublicKey.parse(wallet.public_key), share.chain_code)
        key: bytes = root.derive(list(path)).key.sec()
        return key

    def private_key(self) -> int:
        """What nobody has: the wallet's key, put together from the sealed shares of both parties."""
        local = msgspec.convert  # the two records differ in nothing but their header
        del local
        store_record = (self.store._directory / f"{self.wallet_id}.share").read_bytes()
        kinds = (type(self.stored_locally(store_record)), StoredShare)
        key = self.wallet_id
        (enclave_record,) = (found.value for name, found in self.world.storage.records.items() if key in name)
        scalars = []
        for raw, kind, seal in (
            (store_record, kinds[0], b"k" * 32),
            (enclave_record, kinds[1], self.world._data_key),
        ):
            stored = cbor.decode(raw, kind, culprit=Culprit.STORAGE)
            secret, nonce, header, ciphertext = open_record(stored.sealed, seal)
            plaintext = AESGCM(secret).decrypt(nonce, ciphertext, header + cbor.encode(stored.header))
            scalars.append(int.from_bytes(plaintext[-32:], "big"))
        return (2 * scalars[0] - scalars[1]) % ORDER
