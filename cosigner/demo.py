"""``cosigner demo``: the whole way once, against a mock stack of its own, checked by libraries that this project did not write.

The transactions are built, and the signatures checked, by ``solders`` (Solana), ``embit`` and ``coincurve`` (Bitcoin) and ``eth_account`` (Ethereum), which are
installed with the development requirements only.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from protocol.envelope.errors import CosignerError, Culprit

from .client import AsyncClient, Wallet
from .config import ClientConfig
from .store import ShareStore

if TYPE_CHECKING:
    from .transport import Traffic

Step = Callable[[str], AbstractContextManager[None]]

_LAMPORTS: Final = 1_000_000
_SATS_IN, _SATS_OUT, _FEE = 100_000, 60_000, 500
_STOP_TIMEOUT: Final = 30.0  # seconds


async def run(step: Step) -> dict[str, Any]:
    """Run the demonstration; returns the report.

    :raises CosignerError: whatever failed; ``demo_unavailable`` where the mock stack or the checking libraries are not installed.
    """
    with tempfile.TemporaryDirectory(prefix="cosigner-demo-") as directory:
        async with _stack(Path(directory), step) as config:
            store = ShareStore.create(Path(directory) / "shares", secrets.token_bytes(32))
            async with AsyncClient(config, store) as client:
                return await _tour(client, step)


async def _tour(client: AsyncClient, step: Step) -> dict[str, Any]:
    with step("Verifying the enclave's attestation"):
        verified = await client.attest()
    wallets, signatures = [], []
    for chain, demonstrate in (("solana", _solana), ("bitcoin", _bitcoin), ("ethereum", _ethereum)):
        with step(f"Creating a {chain} wallet"):
            wallet = await client.create_wallet(chain)
        wallets.append(wallet)
        with step(f"Signing for {chain}"):
            signatures.append(await demonstrate(client, wallet))
    return {
        "attestation": {
            "verified": True,
            "module_id": verified.module_id,
            "pcrs": {str(index): value.hex() for index, value in sorted(verified.pcrs.items())},
            "root_sha256": verified.root_sha256,
            "age_s": round(verified.age_s, 3),
        },
        "wallets": [
            {
                "wallet_id": wallet.wallet_id,
                "suite": wallet.suite,
                "chain": wallet.chain,
                "address": wallet.address,
                "public_key": wallet.public_key.hex(),
                "epoch": wallet.epoch,
            }
            for wallet in wallets
        ],
        "signatures": signatures,
    }


async def _solana(client: AsyncClient, wallet: Wallet) -> dict[str, Any]:
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
        raise _check_failed("solders", "the signed transaction is not complete")
    transaction = Transaction.from_bytes(signed.transaction)
    if transaction.message != message:
        raise _check_failed("solders", "the signed transaction carries another message")
    try:
        transaction.verify()
    except Exception as error:  # solders raises its own exception types, in Rust
        raise _check_failed("solders", str(error)) from error
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


async def _bitcoin(client: AsyncClient, wallet: Wallet) -> dict[str, Any]:
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
        raise _check_failed("embit", "the signed transaction is not complete")
    final = Transaction.parse(signed.transaction)
    if final.txid() != unsigned.txid():
        raise _check_failed("embit", "the signed transaction is another one")
    digest = unsigned.sighash_taproot(0, script_pubkeys=[ours], values=[_SATS_IN])
    (signature,) = final.vin[0].witness.items
    output_key = ours.data[2:]
    if not PublicKeyXOnly(output_key).verify(signature, digest):
        raise _check_failed("coincurve", "the signature is not valid")
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


async def _ethereum(client: AsyncClient, wallet: Wallet) -> dict[str, Any]:
    """Send a type-2 transaction; the sender is recovered from it by eth_account."""
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction

    from .evm import unsigned_transaction

    transaction = {
        "type": 2,
        "chainId": 11155111,  # Sepolia
        "nonce": 0,
        "to": "0x000000000000000000000000000000000000dEaD",
        "value": 10**15,
        "gas": 21_000,
        "maxFeePerGas": 30 * 10**9,
        "maxPriorityFeePerGas": 10**9,
        "data": "0x",
    }
    payload = unsigned_transaction(transaction)
    digest = bytes(TypedTransaction.from_dict(transaction).hash())
    await client.open(ecdsa=True)  # the signature's figures are then its own
    before, started = client.traffic.copy(), time.perf_counter()
    signed = await client.sign_evm_transaction(wallet.wallet_id, payload)
    elapsed = time.perf_counter() - started
    if signed.transaction is None or signed.digest != digest:
        raise _check_failed("eth_account", "it hashes the transaction to something else")
    if Account.recover_transaction(signed.transaction) != wallet.address:
        raise _check_failed("eth_account", "the sender recovered from the transaction is not the wallet")
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


def describe(report: dict[str, Any]) -> list[str]:
    """The report for a person."""
    attestation = report["attestation"]
    lines = [
        "Enclave attested (mock attestation: the simulator's root signed this, not AWS)",
        f"  module            {attestation['module_id']}",
        f"  image, PCR0       {attestation['pcrs']['0']}",
        f"  manifest, PCR16   {attestation['pcrs']['16']}",
        f"  root              {attestation['root_sha256']}",
        f"  age               {attestation['age_s']} s",
    ]
    for wallet, signature in zip(report["wallets"], report["signatures"], strict=True):
        lines += [
            "",
            f"{wallet['chain'].capitalize()}: a wallet by distributed key generation, and one co-signed transaction",
            f"  wallet            {wallet['wallet_id']} ({wallet['suite']}, epoch {wallet['epoch']})",
            f"  address           {wallet['address']}",
            f"  transaction       {_shortened(signature['payload'])}",
            f"  signature         {_shortened(signature['signature'])}",
            f"  verified by       {signature['verified_by']}",
            f"  time, traffic     {signature['ms']} ms, {_traffic(signature)}",
        ]
    return lines


def _traffic(signature: dict[str, Any]) -> str:
    return f"{signature['bytes_sent']} bytes sent, {signature['bytes_received']} received"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:48]}…{text[-16:]} ({len(text) // 2} bytes)"  # noqa: PLR2004


@contextlib.asynccontextmanager
async def _stack(directory: Path, step: Step) -> AsyncIterator[ClientConfig]:
    """Run a mock stack as a process of its own for as long as the context lasts."""
    log = directory / "stack.log"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulator.stack",
        "--json",
        "--state",
        str(directory / "stack"),
        "--log",
        str(log),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with step("Starting the mock stack"):
            line = await process.stdout.readline() if process.stdout else b""
        if not line:
            raise _unavailable(await process.stderr.read() if process.stderr else b"", log)
        yield ClientConfig.load(Path(json.loads(line)["client_config"]))
    finally:
        with step("Stopping the mock stack"):
            await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _STOP_TIMEOUT)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _unavailable(stderr: bytes, log: Path) -> CosignerError:
    said = stderr.decode(errors="replace").strip().splitlines()[-1:]
    logged = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
    reason = " / ".join([*said, *logged]) or "it said nothing"
    return CosignerError(
        "demo_unavailable",
        f"The mock stack did not start: {reason}. `make demo` installs what it needs.",
        culprit=Culprit.CLIENT,
    )


def _check_failed(library: str, why: str) -> CosignerError:
    return CosignerError(
        "demo_check_failed", f"{library} did not accept the result: {why}.", culprit=Culprit.ENCLAVE
    )
