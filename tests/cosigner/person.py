"""A user with devices, in a client's world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from coincurve import PublicKeyXOnly
from embit.psbt import PSBT
from embit.script import address_to_scriptpubkey
from eth_account import Account
from eth_account.messages import encode_defunct
from solders.transaction import Transaction

from cosigner.client import AsyncClient, Wallet
from cosigner.evidence import Evidence
from cosigner.identity import MemoryKeyring
from cosigner.keys import SigningKey
from cosigner.store import ShareStore
from enclave.manifest import LifecycleRules, parse
from protocol.wallets import PasscodeSetup
from tests.cosigner.payloads import psbt, solana_message
from tests.cosigner.places import Cloud, Place
from tests.cosigner.world import MANIFEST, World, open_store
from threshold import KeyShare

T = TypeVar("T")

CHEAP = PasscodeSetup(salt=b"0123456789abcdef", memory_kib=19 << 10, iterations=1, parallelism=1)
"""Argon2id at the least that the formats allow."""


class Person:
    """A user with devices.

    :ivar key: the credential that vouches where the enclave asks for one; the user has it on every device.
    """

    def __init__(self, folder: Path, **lifecycle: Any) -> None:
        manifest = parse(MANIFEST)
        rules = LifecycleRules(**({"max_epoch_age_s": 0, "backup": "optional"} | lifecycle))
        environments = [msgspec.structs.replace(manifest.environments[0], lifecycle=rules)]
        self.world = World(manifest=msgspec.structs.replace(manifest, environments=environments).encode())
        self.folder = folder
        self.key = SigningKey.generate()
        self.place, self.cloud = Place(), Cloud()
        self.new_device("first")
        self.do(lambda client: client.add_key("key", self.key))

    def new_device(self, name: str) -> None:
        """From now on another device is used, with an empty store; the user logs in there."""
        self.directory = self.folder / name
        self.directory.mkdir()
        self.world.keyring = MemoryKeyring()

    @property
    def store(self) -> ShareStore:
        return open_store(self.directory)

    def do(self, operation: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Do something with a client that remembers nothing but what lies in files."""

        async def with_place(client: AsyncClient) -> T:
            client.service_storage = lambda: self.place  # type: ignore[method-assign]
            return await operation(client)

        return self.world.run(with_place, self.store, options={"evidence": Evidence(signing_key=self.key)})

    def create(self, chain: str = "solana") -> Wallet:
        return self.do(lambda client: client.create_wallet(chain))

    def share(self, wallet: Wallet) -> KeyShare:
        return self.store.load(wallet.wallet_id)[0]

    def signs(self, wallet: Wallet) -> None:
        """The wallet signs with an enclave that remembers nothing; the address is the old one, and other libraries accept the signature."""
        self.world.restart()

        async def sign(client: AsyncClient) -> None:
            remote = await client.enclave_wallet(wallet.wallet_id)
            assert (remote.address, remote.public_key) == (wallet.address, wallet.public_key)
            if wallet.chain == "solana":
                message = solana_message(wallet.address)
                whole = (await client.sign_solana(wallet.wallet_id, message)).transaction
                assert whole is not None
                transaction = Transaction.from_bytes(whole)
                transaction.verify()
                assert bytes(transaction.message) == message
            elif wallet.chain == "bitcoin":
                payload = psbt(wallet.address)
                signature = (await client.sign_bitcoin(wallet.wallet_id, payload)).signatures[0]
                script = address_to_scriptpubkey(wallet.address)
                digest = PSBT.parse(payload).tx.sighash_taproot(0, script_pubkeys=[script], values=[60_000])
                assert PublicKeyXOnly(script.data[2:]).verify(signature, digest)
            else:
                signed = await client.sign_evm_message(wallet.wallet_id, b"hello")
                assert recovered(signed.signature) == wallet.address

        self.do(sign)


def recovered(signature: bytes) -> str:
    return str(Account.recover_message(encode_defunct(b"hello"), signature=signature))
