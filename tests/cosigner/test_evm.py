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
from eth_account.hdaccount.deterministic import SoftNode, derive_child_key
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

from cosigner import signing
from cosigner import sync as sync_module
from cosigner.client import AsyncClient, Wallet
from cosigner.errors import CosignerError, EnclaveRefused, HostError, StoreError
from cosigner.evm import AsyncCosignerAccount, CosignerAccount, typed_data_json, unsigned_transaction
from cosigner.evm.web3 import sign_and_send_raw
from cosigner.signed import EthereumSignature
from cosigner.store import ShareFile
from cosigner.sync import Client
from enclave import realm as enclave_realm
from enclave import server as enclave_server
from enclave.vault import StoredShareSet
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from protocol.messages import EcdsaSigned, EvmMessagePayload, SignEcdsa
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
TRANSFER = "0xa9059cbb" + TO[2:].lower().rjust(64, "0") + f"{5 * 10**20:064x}"
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
        records = self.world.storage.records
        (kept,) = (value for name, (_, value) in records.items() if self.wallet_id in name)
        ours = (self.store._directory / f"{self.wallet_id}.share").read_bytes()
        mine = cbor.decode(ours, ShareFile, culprit=Culprit.STORAGE)
        theirs = cbor.decode(kept, StoredShareSet, culprit=Culprit.STORAGE)
        assert theirs.active is not None
        bound = cbor.encode([msgspec.to_builtins(theirs.header, builtin_types=(bytes,)), "active"])
        scalars = []
        for sealed, associated, sealing_key in (
            (mine.sealed, cbor.encode(mine.header), b"k" * 32),
            (theirs.active, bound, self.world._data_key),
        ):
            key, nonce, header, ciphertext = open_record(sealed, sealing_key)
            plaintext = AESGCM(key).decrypt(nonce, ciphertext, header + associated)
            scalars.append(int.from_bytes(plaintext[-32:], "big"))
        return (2 * scalars[0] - scalars[1]) % ORDER  # at 0, of the line through 1 and 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


@pytest.fixture
def house(shared: House) -> Iterator[House]:
    """The house, with a fresh record of what was seen."""
    shared.world.seen = Seen()
    yield shared
    assert shared.world.rule.__name__ == "honest"


def checksum_address(public_key: bytes) -> str:
    """By `eth_keys`."""
    address: str = keys.PublicKey.from_compressed_bytes(public_key).to_checksum_address()
    return address


def without_signature(raw: bytes) -> bytes:
    """What was signed, cut out of a signed transaction by an RLP library."""
    if raw[0] < 0xC0:
        return raw[:1] + bytes(rlp.encode(rlp.decode(raw[1:])[:-3]))
    fields = rlp.decode(raw)
    chain_id = (int.from_bytes(fields[6], "big") - 35) // 2
    return bytes(rlp.encode([*fields[:6], chain_id, b"", b""]))


# --- transactions ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSACTIONS)
@pytest.mark.parametrize("path", [(), PATH], ids=["own key", "m/0/5"])
def test_a_transaction_of_every_type_recovers_to_the_wallet(
    house: House, name: str, path: tuple[int, ...]
) -> None:
    unsigned = unsigned_transaction(TRANSACTIONS[name])
    signed = house.transaction(TRANSACTIONS[name], path)
    sender = house.derived("ethereum", path)
    assert signed.transaction is not None
    assert Account.recover_transaction(signed.transaction) == sender == signed.summary["from"]
    assert without_signature(signed.transaction) == unsigned
    assert signed.transaction_hash == keccak(signed.transaction)
    assert signed.digest == keccak(unsigned)
    assert checksum_address(signed.public_key) == sender
    assert signed.signature[64] == 27 + signed.recovery_id


def test_a_signature_takes_one_round_trip(house: House) -> None:
    house.transaction(TRANSACTIONS["dynamic fee"])
    assert (len(house.world.seen.hellos), len(house.world.seen.records)) == (1, 1)


def test_the_summary_says_what_will_happen(house: House) -> None:
    summary = house.transaction(TRANSACTIONS["legacy token transfer"]).summary
    assert (summary["to"], summary["value"], summary["max_fee"]) == (TO, "0", str(7 * 60_000))
    assert summary["call"] == {"kind": "erc20.transfer", "to": TO, "amount": str(5 * 10**20)}
    created = house.transaction(TRANSACTIONS["creation"]).summary
    assert (created["to"], created["data_length"]) == (None, 5)
    assert house.transaction(TRANSACTIONS["set code"]).summary["authorizations"] == [
        {
            "chain_id": "1",
            "address": "0x" + "00" * 20,
            "nonce": 4,
            "authority": Account.from_key(b"\x07" * 32).address,
        }
    ]


def test_two_signatures_over_one_transaction_differ_and_both_hold(house: House) -> None:
    first, second = (house.transaction(TRANSACTIONS["dynamic fee"]) for _ in range(2))
    assert first.digest == second.digest
    assert first.signature != second.signature


# --- messages and typed data -----------------------------------------------------------------------------------------------------


def recovered(signable: SignableMessage, signed: EthereumSignature) -> str:
    assert signed.digest == bytes(_hash_eip191_message(signable))
    assert (signed.transaction, signed.transaction_hash) == (None, None)
    assert int.from_bytes(signed.signature[32:64], "big") <= ORDER // 2
    address: str = Account.recover_message(signable, signature=signed.signature)
    return address


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("path", [(), PATH], ids=["own key", "m/0/5"])
def test_messages_recover_to_the_wallet(house: House, name: str, path: tuple[int, ...]) -> None:
    sender = house.derived("ethereum", path)
    signed = house.message(MESSAGES[name], path=path)
    assert recovered(encode_defunct(MESSAGES[name]), signed) == sender
    assert signed.summary["text"] == (None if name == "bytes" else MESSAGES[name].decode())
    validator = bytes.fromhex(TO[2:])
    signed = house.message(MESSAGES[name], path=path, validator=validator)
    assert recovered(encode_intended_validator(TO, MESSAGES[name]), signed) == sender
    assert signed.summary["validator"] == TO


@pytest.mark.parametrize("path", [(), PATH], ids=["own key", "m/0/5"])
def test_typed_data_recovers_to_the_wallet(house: House, path: tuple[int, ...]) -> None:
    signed = house.typed_data(json.dumps(MAIL).encode(), path)
    assert recovered(encode_typed_data(full_message=MAIL), signed) == house.derived("ethereum", path)
    assert signed.summary["primary_type"] == "Mail"
    assert signed.summary["domain"] == {**MAIL["domain"], "chainId": "1"}
    assert house.typed_data(typed_data_json(full_message=MAIL), path).digest == signed.digest


# --- paths -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [(), (0,), PATH, (2**31 - 1, 7), tuple(range(16))], ids=str)
def test_derived_addresses_are_those_of_embit_and_of_eth_accounts_bip32(
    house: House, path: tuple[int, ...]
) -> None:
    expected = checksum_address(house.child("ethereum", path))
    secret = house.private_key().to_bytes(32, "big")
    share, _ = house.store.load(house.wallet_id)
    chain_code = share.chain_code
    for index in path:
        secret, chain_code = derive_child_key(secret, chain_code, SoftNode(index))
    assert house.derived("ethereum", path) == expected == Account.from_key(secret).address
    assert house.message(MESSAGE, path=list(path)).summary["from"] == expected
    assert house.derived("bitcoin", path) == p2tr(PublicKey.parse(house.child("bitcoin", path))).address()


def test_a_wallets_own_address_is_at_the_empty_path(house: House) -> None:
    for chain in ("ethereum", "bitcoin"):
        assert house.derived(chain, ()) == house.wallets[chain].address


@pytest.mark.parametrize("path", [(0,), PATH, (2**31 - 1,)], ids=str)
def test_bitcoin_is_spent_from_a_path(house: House, path: tuple[int, ...]) -> None:
    address = house.derived("bitcoin", path)
    payload = psbt(address, inputs=2)
    wallet_id = house.wallets["bitcoin"].wallet_id
    signed = house.run(lambda client: client.sign_bitcoin(wallet_id, payload, path=path))
    assert signed.transaction is not None
    script = address_to_scriptpubkey(address)
    assert script == p2tr(PublicKey.parse(house.child("bitcoin", path)))
    unsigned = PSBT.parse(payload).tx
    for index, signature in signed.signatures.items():
        digest = unsigned.sighash_taproot(index, script_pubkeys=[script] * 2, values=[60_000] * 2)
        assert PublicKeyXOnly(script.data[2:]).verify(signature, digest)


def test_bitcoin_of_another_path_is_not_the_wallets(house: House) -> None:
    wallet_id = house.wallets["bitcoin"].wallet_id
    at_path = psbt(house.derived("bitcoin", PATH))
    for payload, path in (
        (at_path, ()),
        (at_path, (0, 6)),
        (psbt(house.wallets["bitcoin"].address), PATH),
    ):
        with pytest.raises(PayloadError) as caught:
            house.run(
                lambda client, payload=payload, path=path: client.sign_bitcoin(wallet_id, payload, path=path)
            )
        assert caught.value.code == "psbt_no_input_of_wallet"


@pytest.mark.parametrize("path", [(2**31,), (0, -1), tuple(range(17))], ids=str)
def test_a_path_that_cannot_be_derived_is_refused_and_nothing_is_sent(
    house: House, path: tuple[int, ...]
) -> None:
    bitcoin = house.wallets["bitcoin"]
    for call in (
        lambda client: client.sign_evm_message(house.wallet_id, MESSAGE, path=path),
        lambda client: client.evm_account(house.wallet_id, path=path),
        lambda client: client.derived_address(house.wallet_id, path),
        lambda client: client.derived_address(bitcoin.wallet_id, path),
        lambda client: client.sign_bitcoin(bitcoin.wallet_id, psbt(bitcoin.address), path=path),
    ):
        with pytest.raises(ThresholdError) as caught:
            house.run(call)
        assert (caught.value.code, caught.value.culprit) == ("invalid_path", "caller")
    assert house.world.seen == Seen()


def test_a_solana_wallet_has_no_paths(house: House) -> None:
    with pytest.raises(ThresholdError) as caught:
        house.derived("solana", (0,))
    assert caught.value.code == "invalid_public_key"


# --- what is refused before anything is sent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "code", "field"),
    [
        (lambda client, wallet: client.sign_evm_transaction(wallet, b""), "evm_malformed", None),
        (lambda client, wallet: client.sign_evm_transaction(wallet, bytes(1 << 18)), "evm_too_large", None),
        (
            lambda client, wallet: client.sign_evm_transaction(wallet, b"\x05\xc0"),
            "evm_type_unsupported",
            None,
        ),
        (lambda client, wallet: client.sign_evm_message(wallet, bytes((1 << 17) + 1)), "evm_too_large", None),
        (
            lambda client, wallet: client.sign_evm_message(wallet, b"", validator=bytes(19)),
            "evm_invalid",
            "validator",
        ),
        (lambda client, wallet: client.sign_evm_typed_data(wallet, b"{"), "typed_data_malformed", None),
        (
            lambda client, wallet: client.sign_evm_typed_data(wallet, bytes(1 << 18)),
            "typed_data_too_large",
            None,
        ),
    ],
)
def test_a_payload_of_another_form_is_refused_and_nothing_is_sent(
    house: House, sign: Callable[[AsyncClient, str], Awaitable[Any]], code: str, field: str | None
) -> None:
    with pytest.raises(PayloadError) as caught:
        house.run(lambda client: sign(client, house.wallet_id))
    assert caught.value.code == code
    assert field is None or caught.value.field == field
    assert house.world.seen == Seen()


def test_a_payload_of_another_chain_is_refused_and_nothing_is_sent(house: House) -> None:
    bitcoin, solana = house.wallets["bitcoin"], house.wallets["solana"]
    for call in (
        lambda client: client.sign_evm_message(bitcoin.wallet_id, MESSAGE),
        lambda client: client.sign_bitcoin(house.wallet_id, psbt(bitcoin.address)),
        lambda client: client.sign_solana(house.wallet_id, solana_message(solana.address)),
    ):
        with pytest.raises(PayloadError) as caught:
            house.run(call)
        assert caught.value.code == "payload_wrong_chain"
    assert house.world.seen == Seen()


def test_a_wallet_of_another_environment_is_refused(house: House) -> None:
    elsewhere = replace(house.world.config(), environment="live")

    async def ask(call: Callable[[AsyncClient], Awaitable[Any]]) -> None:
        async with AsyncClient(
            elsewhere, house.store, keyring=house.world.keyring, transport=house.world.transport()
        ) as client:
            await call(client)

    for call in (
        lambda client: client.evm_account(house.wallet_id),
        lambda client: client.derived_address(house.wallet_id, PATH),
        lambda client: client.sign_evm_message(house.wallet_id, MESSAGE),
        lambda client: client.sign_evm_transaction(
            house.wallet_id, unsigned_transaction(TRANSACTIONS["legacy"])
        ),
        lambda client: client.sign_evm_typed_data(house.wallet_id, json.dumps(MAIL).encode()),
    ):
        with pytest.raises(StoreError) as caught:
            asyncio.run(ask(call))
        assert caught.value.code == "environment_mismatch"
    assert house.world.seen == Seen()


# --- accounts --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A synchronous client of the house."""
    monkeypatch.setattr(
        sync_module,
        "AsyncClient",
        lambda config, store: AsyncClient(
            config, store, keyring=house.world.keyring, transport=house.world.transport()
        ),
    )
    house.world._leaving = False
    with Client(house.world.config(), house.store) as client:
        yield client


@pytest.mark.parametrize("path", [(), PATH], ids=["own key", "m/0/5"])
def test_an_account_signs_like_one_of_eth_account(house: House, client: Client, path: Sequence[int]) -> None:
    account = client.evm_account(house.wallet_id, path=path)
    assert isinstance(account, CosignerAccount)
    assert account.address == client.derived_address(house.wallet_id, path)
    for transaction in TRANSACTIONS.values():
        signed = account.sign_transaction({**transaction, "from": account.address})
        assert Account.recover_transaction(signed.raw_transaction) == account.address
        assert signed.hash == keccak(signed.raw_transaction)
    for signable in (encode_defunct(MESSAGE), encode_intended_validator(TO, MESSAGE)):
        signature = account.sign_message(signable).signature
        assert Account.recover_message(signable, signature=signature) == account.address
    signature = account.sign_typed_data(full_message=MAIL).signature
    signable = encode_typed_data(full_message=MAIL)
    assert Account.recover_message(signable, signature=signature) == account.address
    assert len(house.world.seen.sessions) == 1


def test_the_synchronous_client_signs_and_derives_as_well(house: House, client: Client) -> None:
    sender = client.derived_address(house.wallet_id, PATH)
    for signed in (
        client.sign_evm_transaction(house.wallet_id, unsigned_transaction(TRANSACTIONS["legacy"]), path=PATH),
        client.sign_evm_message(house.wallet_id, MESSAGE, validator=bytes(20), path=PATH),
        client.sign_evm_typed_data(house.wallet_id, json.dumps(MAIL).encode(), path=PATH),
    ):
        assert signed.summary["from"] == sender
    address = client.derived_address(house.wallets["bitcoin"].wallet_id, PATH)
    spent = client.sign_bitcoin(house.wallets["bitcoin"].wallet_id, psbt(address), path=PATH)
    assert spent.transaction is not None


@pytest.mark.parametrize("path", [(), PATH], ids=["own key", "m/0/5"])
def test_an_asynchronous_account_signs_like_one_of_eth_account(house: House, path: Sequence[int]) -> None:
    async def sign(client: AsyncClient) -> None:
        account = await client.evm_account(house.wallet_id, path=path)
        assert isinstance(account, AsyncCosignerAccount)
        assert account.address == await client.derived_address(house.wallet_id, path)
        signed = await account.sign_transaction(TRANSACTIONS["dynamic fee"])
        assert Account.recover_transaction(signed.raw_transaction) == account.address
        typed, message = await asyncio.gather(
            account.sign_typed_data(full_message=MAIL), account.sign_message(encode_defunct(MESSAGE))
        )
        for signable, signature in (
            (encode_typed_data(full_message=MAIL), typed.signature),
            (encode_defunct(MESSAGE), message.signature),
        ):
            assert Account.recover_message(signable, signature=signature) == account.address

    house.run(sign)


def test_web3_sends_what_the_enclave_helped_to_sign(house: House, client: Client) -> None:
    node, account = Node(), client.evm_account(house.wallet_id, path=PATH)
    w3 = Web3(Provider(node))
    w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
    sent = w3.eth.send_transaction({"from": account.address, "to": TO, "value": 5})
    assert Account.recover_transaction(node.sent[0]) == account.address
    assert sent == Web3.keccak(hexstr=node.sent[0])


def test_async_web3_sends_what_the_enclave_helped_to_sign(house: House) -> None:
    node = Node()

    async def send(client: AsyncClient) -> None:
        account = await client.evm_account(house.wallet_id)
        w3 = AsyncWeb3(AsyncProvider(node))
        w3.middleware_onion.inject(sign_and_send_raw(account), layer=0)
        sent = await w3.eth.send_transaction({"from": account.address, "to": TO, "value": 5})
        assert Account.recover_transaction(node.sent[0]) == house.address
        assert sent == Web3.keccak(hexstr=node.sent[0])

    house.run(send)


# --- sessions ----------------------------------------------------------------------------------------------------------------------


def test_a_session_gets_its_transfers_when_they_are_first_needed(house: House) -> None:
    message = solana_message(house.wallets["solana"].address)
    solana = house.wallets["solana"].wallet_id

    async def sign(client: AsyncClient) -> None:
        await client.sign_solana(solana, message)
        for _ in range(3):
            await client.sign_evm_message(house.wallet_id, MESSAGE)
        await client.sign_solana(solana, message)

    house.run(sign)
    plain, with_transfers = house.world.seen.hellos
    assert len(with_transfers) - len(plain) > 4098
    assert len(house.world.seen.sessions) == 2


def test_a_session_is_opened_with_transfers_ahead_of_time(house: House) -> None:
    async def sign(client: AsyncClient) -> int:
        await client.open(ecdsa=True)
        opened = len(house.world.seen.hellos)
        await client.sign_evm_message(house.wallet_id, MESSAGE)
        return opened

    assert house.run(sign) == len(house.world.seen.hellos) == 1


def test_many_signatures_at_once_with_one_client(house: House) -> None:
    async def many(client: AsyncClient) -> list[EthereumSignature]:
        return await asyncio.gather(
            *(client.sign_evm_message(house.wallet_id, b"%d" % n, path=(n,)) for n in range(6))
        )

    for n, signed in enumerate(house.run(many)):
        sender = house.derived("ethereum", (n,))
        assert Account.recover_message(encode_defunct(b"%d" % n), signature=signed.signature) == sender
    assert len(house.world.seen.sessions) == 1


def test_a_restarted_enclave_costs_a_session_and_nothing_else(house: House) -> None:
    async def sign(client: AsyncClient) -> EthereumSignature:
        await client.sign_evm_message(house.wallet_id, MESSAGE)
        house.world.restart()
        return await client.sign_evm_message(house.wallet_id, MESSAGE)

    assert recovered(encode_defunct(MESSAGE), house.run(sign)) == house.address
    assert len(house.world.seen.hellos) == 2


# --- a hostile enclave -------------------------------------------------------------------------------------------------------------


def deceived(house: House, change: Callable[[EcdsaSigned], dict[str, Any]]) -> Exception:
    """What the client makes of an enclave that answers otherwise than it should, once; then it signs, in another session."""
    real = enclave_realm.signing.sign_ecdsa
    errors: list[Exception] = []

    async def deceive(*arguments: Any) -> EcdsaSigned:
        signed = await real(*arguments)
        return signed if errors else msgspec.structs.replace(signed, **change(signed))

    async def sign(client: AsyncClient) -> EthereumSignature:
        with pytest.raises((CosignerError, ThresholdError)) as caught:
            await client.sign_evm_message(house.wallet_id, MESSAGE)
        errors.append(caught.value)
        assert len(house.world.seen.records) == 1, "a wrong answer is not asked for again"
        return await client.sign_evm_message(house.wallet_id, MESSAGE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign_ecdsa", deceive)
        signed = house.run(sign)
    assert recovered(encode_defunct(MESSAGE), signed) == house.address
    assert len(house.world.seen.sessions) == 2, "the session was used again"
    return errors[0]


@pytest.mark.parametrize(
    "digest",
    [lambda _: bytes(32), lambda digest: digest[:-1] + bytes([digest[-1] ^ 1]), lambda d: d[::-1]],
    ids=["zeros", "altered", "reversed"],
)
def test_an_enclave_that_understood_another_payload_gets_no_signature(
    house: House, digest: Callable[[bytes], bytes]
) -> None:
    error = deceived(house, lambda signed: {"digest": digest(signed.digest)})
    assert isinstance(error, CosignerError)
    assert (error.code, error.culprit) == ("digest_mismatch", Culprit.ENCLAVE)


def flipped(message2: bytes, at: int) -> bytes:
    return message2[:at] + bytes([message2[at] ^ 1]) + message2[at + 1 :]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _: b"x", "malformed_message"),
        (lambda m: m[:-1], "malformed_message"),
        (lambda m: m + b"\x00", "malformed_message"),
        (lambda _: bytes(131072), "malformed_message"),
        (lambda _: bytes(MESSAGE2_LEN), "wrong_kind"),
        (lambda _: b"\xff" * MESSAGE2_LEN, "wrong_kind"),
        (lambda m: flipped(m, 0), "wrong_kind"),
        (lambda m: m[:2] + bytes(MESSAGE2_LEN - 2), None),
        (lambda m: flipped(m, 140), "multiplication_check_failed"),
        (lambda m: flipped(m, MESSAGE2_LEN // 2), "multiplication_check_failed"),
        (lambda m: flipped(m, MESSAGE2_LEN - 40), None),
        (lambda m: flipped(m, MESSAGE2_LEN - 1), None),
    ],
    ids=["x", "short", "long", "longest", "zeros", "ones", "version", "blank", "row", "half", "near", "last"],
)
def test_garbage_in_place_of_message_2_is_blamed_on_the_enclave(
    house: House, change: Callable[[bytes], bytes], code: str | None
) -> None:
    error = deceived(house, lambda signed: {"message2": change(signed.message2)})
    assert isinstance(error, ThresholdError)
    assert error.culprit == 2
    assert code in {None, error.code}


def test_signatures_under_way_are_made_anew_when_a_wrong_answer_ends_their_session(house: House) -> None:
    real, wrong = enclave_realm.signing.sign_ecdsa, [True]

    async def deceive_once(*arguments: Any) -> EcdsaSigned:
        signed = await real(*arguments)
        return msgspec.structs.replace(signed, message2=b"x") if wrong and wrong.pop() else signed

    async def many(client: AsyncClient) -> list[EthereumSignature | BaseException]:
        await client.open(ecdsa=True)
        tasks = (client.sign_evm_message(house.wallet_id, MESSAGE) for _ in range(4))
        return await asyncio.gather(*tasks, return_exceptions=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign_ecdsa", deceive_once)
        outcomes = house.run(many)
    (failed,) = (outcome for outcome in outcomes if isinstance(outcome, BaseException))
    assert isinstance(failed, ThresholdError)
    assert (failed.code, failed.culprit) == ("malformed_message", 2)
    signed = [outcome for outcome in outcomes if isinstance(outcome, EthereumSignature)]
    assert [recovered(encode_defunct(MESSAGE), each) for each in signed] == [house.address] * 3


def test_an_answer_to_an_earlier_request_is_blamed_on_the_enclave(house: House) -> None:
    house.message(MESSAGE)
    earlier: list[EcdsaSigned] = []
    real = enclave_realm.signing.sign_ecdsa

    async def replay(*arguments: Any) -> EcdsaSigned:
        earlier.append(await real(*arguments))
        return earlier[0]

    async def sign(client: AsyncClient) -> None:
        await client.sign_evm_message(house.wallet_id, MESSAGE)
        with pytest.raises(ThresholdError) as caught:
            await client.sign_evm_message(house.wallet_id, MESSAGE)
        assert (caught.value.code, caught.value.culprit) == ("transcript_mismatch", 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign_ecdsa", replay)
        house.run(sign)


def test_garbage_in_place_of_the_base_transfers_is_blamed_on_the_enclave(house: House) -> None:
    real = enclave_server.ecdsa_setup_respond

    def deceive(offered: bytes) -> Any:
        return real(offered)[0], bytes(100)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_server, "ecdsa_setup_respond", deceive)
        with pytest.raises(ThresholdError) as caught:
            house.message(MESSAGE)
    assert caught.value.code == "malformed_message"
    assert house.world.seen.records == []


def test_what_the_enclave_says_about_the_payload_is_not_what_is_shown(house: House) -> None:
    real = enclave_realm.signing.sign_ecdsa

    async def embellish(*arguments: Any) -> EcdsaSigned:
        return msgspec.structs.replace(await real(*arguments), summary={"from": "somebody else"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign_ecdsa", embellish)
        assert house.message(MESSAGE).summary["from"] == house.address


@pytest.mark.parametrize("code", ["wallet_unknown", "burn_delay", "ecdsa_not_set_up"])
def test_a_refusal_of_the_enclave_is_passed_on_and_not_repeated(house: House, code: str) -> None:
    async def refuse(*_: object) -> None:
        raise CosignerError(code, "No.", culprit=Culprit.STORAGE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enclave_realm.signing, "sign_ecdsa", refuse)
        with pytest.raises(EnclaveRefused) as caught:
            house.message(MESSAGE)
    assert (caught.value.code, caught.value.culprit) == (code, Culprit.STORAGE)
    assert len(house.world.seen.records) == 1


# --- a hostile host ------------------------------------------------------------------------------------------------------------------


def test_a_second_try_in_a_new_session_makes_a_new_request(house: House) -> None:
    asked: list[SignEcdsa] = []
    real = enclave_realm.signing.sign_ecdsa

    async def watch(*arguments: Any) -> EcdsaSigned:
        asked.append(arguments[-1])
        return await real(*arguments)

    async def alter_once(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) == 0 and len(asked) == 1:
            return httpx.Response(200, content=b"altered")
        return response

    with pytest.MonkeyPatch.context() as patch, house.world.misbehaving(alter_once):
        patch.setattr(enclave_realm.signing, "sign_ecdsa", watch)
        signed = house.message(MESSAGE)
    assert recovered(encode_defunct(MESSAGE), signed) == house.address
    first, second = asked
    assert first.payload == second.payload
    assert first.message1 != second.message1


def test_a_lost_answer_is_an_error_and_not_silently_signed_again(house: House) -> None:
    async def lose(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) is not None:
            raise httpx.ReadTimeout("")
        return response

    with house.world.misbehaving(lose), pytest.raises(HostError) as caught:
        house.message(MESSAGE)
    assert caught.value.code == "host_unreachable"
    assert len(house.world.seen.records) == 1


def test_the_host_sees_neither_wallet_nor_payload_nor_signature(house: House) -> None:
    answers = []

    async def watch(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        answers.append(response.content)
        return response

    with house.world.misbehaving(watch):
        signed = house.message(MESSAGE)
    seen = b"".join([*house.world.seen.hellos, *(record for _, record in house.world.seen.records), *answers])
    for secret in (
        MESSAGE,
        signed.digest,
        house.wallet_id.encode(),
        signed.signature[:32],
        signed.public_key,
    ):
        assert secret not in seen


def test_without_transfers_nothing_is_asked(house: House) -> None:
    """A keeper that hands out a session without them is a mistake on this side, and is said."""

    async def sign(client: AsyncClient) -> None:
        share, wallet = await client._load(house.wallet_id)
        session = await client._keeper.session()
        assert session.ecdsa is None

        class Keeper:
            async def run(self, operation: Any, *, ecdsa: bool) -> Any:
                return await operation(session)

        payload = EvmMessagePayload(MESSAGE, None)
        with pytest.raises(CosignerError) as caught:
            await signing.cosign_ecdsa(Keeper(), share, wallet, payload)  # type: ignore[arg-type]
        assert caught.value.code == "ecdsa_not_set_up"

    house.run(sign)
    assert house.world.seen.records == []
