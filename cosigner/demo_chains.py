"""One transaction for each chain: built, and its signature checked, by libraries that this project did not write."""

from __future__ import annotations

import hashlib
import secrets
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from protocol.envelope.errors import CosignerError, Culprit

if TYPE_CHECKING:
    from .client import AsyncClient
    from .transport import Traffic
    from .wallets import Wallet

_LAMPORTS: Final = 1_000_000
_SATS_IN, _SATS_OUT, _FEE = 100_000, 60_000, 500


def transaction(wei: int) -> dict[str, Any]:
    """A type-2 transaction on Sepolia."""
    return {
        "type": 2,
        "chainId": 11155111,
        "nonce": 0,
        "to": "0x000000000000000000000000000000000000dEaD",
        "value": wei,
        "gas": 21_000,
        "maxFeePerGas": 30 * 10**9,
        "maxPriorityFeePerGas": 10**9,
        "data": "0x",
    }


async def solana(client: AsyncClient, wallet: Wallet) -> dict[str, Any]:
    """Transfer some lamports; built, parsed back and verified by solders."""
    from solders.hash import Hash
    from solders.message import Message
    from solders.pubkey import Pubkey
    from solders.system_program import TransferParams, transfer
    from solders.transaction import Transaction

    payer = Pubkey.from_string(wallet.address)
    to = Pubkey(hashlib.sha256(b"cosigner demo recipient").digest())
    instruction = transfer(TransferParams(from_pubkey=payer, to_pubkey=to, lamports=_LAMPORTS))
    message = Message.new_with_blockhash([instruction], payer, Hash(secrets.token_bytes(32)))
    before, started = client.traffic.copy(), time.perf_counter()
    signed = await client.sign_solana(wallet.wallet_id, bytes(message))
    elapsed = time.perf_counter() - started
    if signed.transaction is None:
        raise check_failed("solders", "the signed transaction is not complete")
    transaction = Transaction.from_bytes(signed.transaction)
    if transaction.message != message:
        raise check_failed("solders", "the signed transaction carries another message")
    try:
        transaction.verify()
    except Exception as error:  # solders raises its own exception types, in Rust
        raise check_failed("solders", str(error)) from error
    return _entry(
        wallet,
        payload=bytes(message),
        signed_bytes=bytes(message),
        signature=signed.signature,
        public_key=wallet.public_key,
        verified_by=f"solders {version('solders')}",
        elapsed=elapsed,
        traffic=client.traffic.since(before),
    )


async def bitcoin(client: AsyncClient, wallet: Wallet) -> dict[str, Any]:
    """Spend a Taproot output by its key path; built and hashed by embit, verified by coincurve."""
    from coincurve import PublicKeyXOnly
    from embit.psbt import PSBT
    from embit.script import Script, address_to_scriptpubkey
    from embit.transaction import Transaction, TransactionInput, TransactionOutput

    ours = address_to_scriptpubkey(wallet.address)
    recipient = Script(b"\x00\x14" + hashlib.new("sha256", b"cosigner demo recipient").digest()[:20])
    unsigned = Transaction(
        vin=[TransactionInput(secrets.token_bytes(32), 0, sequence=0xFFFFFFFD)],
        vout=[
            TransactionOutput(_SATS_OUT, recipient),
            TransactionOutput(_SATS_IN - _SATS_OUT - _FEE, ours),
        ],
    )
    psbt = PSBT(unsigned)
    psbt.inputs[0].witness_utxo = TransactionOutput(_SATS_IN, ours)
    payload = psbt.serialize()
    before, started = client.traffic.copy(), time.perf_counter()
    signed = await client.sign_bitcoin(wallet.wallet_id, payload)
    elapsed = time.perf_counter() - started
    if signed.transaction is None:
        raise check_failed("embit", "the signed transaction is not complete")
    final = Transaction.parse(signed.transaction)
    if final.txid() != unsigned.txid():
        raise check_failed("embit", "the signed transaction is another one")
    digest = unsigned.sighash_taproot(0, script_pubkeys=[ours], values=[_SATS_IN])
    (signature,) = final.vin[0].witness.items
    output_key = ours.data[2:]
    if not PublicKeyXOnly(output_key).verify(signature, digest):
        raise check_failed("coincurve", "the signature is not valid")
    return _entry(
        wallet,
        payload=payload,
        signed_bytes=digest,
        signature=signature,
        public_key=output_key,
        verified_by=f"coincurve {version('coincurve')}, embit {version('embit')}",
        elapsed=elapsed,
        traffic=client.traffic.since(before),
    )


async def ethereum(client: AsyncClient, wallet: Wallet, wei: int = 10**15) -> dict[str, Any]:
    """Send a type-2 transaction; the sender is recovered from it by eth_account."""
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction

    from .evm import unsigned_transaction

    fields = transaction(wei)
    payload = unsigned_transaction(fields)
    digest = bytes(TypedTransaction.from_dict(fields).hash())
    await client.open(ecdsa=True)  # the signature's figures are then its own
    before, started = client.traffic.copy(), time.perf_counter()
    signed = await client.sign_evm_transaction(wallet.wallet_id, payload)
    elapsed = time.perf_counter() - started
    if signed.transaction is None or signed.digest != digest:
        raise check_failed("eth_account", "it hashes the transaction to something else")
    if Account.recover_transaction(signed.transaction) != wallet.address:
        raise check_failed("eth_account", "the sender recovered from the transaction is not the wallet")
    return _entry(
        wallet,
        payload=payload,
        signed_bytes=digest,
        signature=signed.signature,
        public_key=signed.public_key,
        verified_by=f"eth_account {version('eth-account')}",
        elapsed=elapsed,
        traffic=client.traffic.since(before),
    )


def _entry(
    wallet: Wallet,
    *,
    payload: bytes,
    signed_bytes: bytes,
    signature: bytes,
    public_key: bytes,
    verified_by: str,
    elapsed: float,
    traffic: Traffic,
) -> dict[str, Any]:
    """One signature of the report. ``public_key`` is the key that verifies it (for Taproot the output key, x only)."""
    return {
        "suite": wallet.suite,
        "chain": wallet.chain,
        "payload": payload.hex(),
        "signed_bytes": signed_bytes.hex(),
        "signature": signature.hex(),
        "public_key": public_key.hex(),
        "verified_by": verified_by,
        "ms": round(elapsed * 1000, 2),
        "bytes_sent": traffic.sent,
        "bytes_received": traffic.received,
    }


def check_failed(library: str, why: str) -> CosignerError:
    return CosignerError(
        "democheck_failed", f"{library} did not accept the result: {why}.", culprit=Culprit.ENCLAVE
    )
