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
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from protocol.envelope.errors import CosignerError, Culprit

from . import demo_delegation, mock_issuer
from .audit_log import Trust, read_log, read_receipts, verify_log
from .client import AsyncClient, Wallet
from .config import ClientConfig
from .demo_passkey import DemoPasskey
from .errors import EnclaveRefused
from .evidence import Evidence
from .store import ShareStore

if TYPE_CHECKING:
    from protocol.envelope.messages import SignedEntry
    from protocol.receipts import Link

    from .transport import Traffic

Step = Callable[[str], AbstractContextManager[None]]

_LAMPORTS: Final = 1_000_000
_SATS_IN, _SATS_OUT, _FEE = 100_000, 60_000, 500
_WITH_PASSKEY: Final = (
    5 * 10**17
)  # wei; the mock environment lets 0.05 ether go by the session key alone, and 5 with a passkey
_TOO_MUCH: Final = 6 * 10**18
_ORIGIN: Final = "https://localhost"  # what the mock manifest's relying party accepts
_STOP_TIMEOUT: Final = 30.0  # seconds


async def run(step: Step) -> dict[str, Any]:
    """Run the demonstration; returns the report.

    :raises CosignerError: whatever failed; ``demo_unavailable`` where the mock stack or the checking libraries are not installed.
    """
    with tempfile.TemporaryDirectory(prefix="cosigner-demo-") as directory:
        async with _stack(Path(directory), step) as (config, log):
            shares = Path(directory) / "shares"
            store = ShareStore.create(shares, secrets.token_bytes(32))
            passkey = DemoPasskey(_ORIGIN)
            async with AsyncClient(config, store, evidence=Evidence(passkeys=passkey)) as client:
                report = await _tour(client, config, passkey, step)
                report["delegation"] = await demo_delegation.show(
                    client, config, report.pop("_wallets"), Path(directory), step
                )
                with step("Verifying the receipts and the log"):
                    head = await client.log_head()
            report["audit"] = _audit(config, log, shares, head)
            return report


async def _tour(
    client: AsyncClient, config: ClientConfig, passkey: DemoPasskey, step: Step
) -> dict[str, Any]:
    with step("Verifying the enclave's attestation"):
        verified = await client.attest()
    report: dict[str, Any] = {
        "attestation": {
            "verified": True,
            "module_id": verified.module_id,
            "pcrs": {str(index): value.hex() for index, value in sorted(verified.pcrs.items())},
            "root_sha256": verified.root_sha256,
            "age_s": round(verified.age_s, 3),
        }
    }
    with step("Logging in"):
        report["login"] = await _login(client, config)
    with step("Registering a passkey"):
        added = await client.add_passkey("demo passkey")
    report["passkey"] = {"credential_id": added.credential_id.hex(), "name": added.name}
    wallets, signatures = [], []
    for chain, demonstrate in (("solana", _solana), ("bitcoin", _bitcoin), ("ethereum", _ethereum)):
        with step(f"Creating a {chain} wallet"):
            wallet = await client.create_wallet(chain)
        wallets.append(wallet)
        with step(f"Signing for {chain}"):
            signatures.append(await demonstrate(client, wallet))
    ethereum = wallets[-1]
    with step("Asking for more than the policy allows"):
        report["refusal"] = await _refused(client, ethereum)
    with step("Asking for what the policy allows with a passkey"):
        report["step_up"] = await _stepped_up(client, ethereum, passkey)
    report["wallets"] = [
        {
            "wallet_id": wallet.wallet_id,
            "suite": wallet.suite,
            "chain": wallet.chain,
            "address": wallet.address,
            "public_key": wallet.public_key.hex(),
            "epoch": wallet.epoch,
        }
        for wallet in wallets
    ]
    report["signatures"] = signatures
    report["_wallets"] = {wallet.chain: wallet for wallet in wallets}
    return report


async def _login(client: AsyncClient, config: ClientConfig) -> dict[str, Any]:
    """With a JWT of the mock stack's issuer, as an application gets one from its own."""
    if config.mock_issuer is None:
        raise _unavailable(b"the mock stack names no issuer", Path())
    jwt = await asyncio.to_thread(mock_issuer.token, config.mock_issuer)
    logged_in = await client.login(jwt)
    (session_key,) = await client.session_keys()
    return {
        "user_id": logged_in.user_id,
        "session_key": session_key.session_key.hex(),
        "expires_at": logged_in.session_key_expires_at,
    }


async def _refused(client: AsyncClient, wallet: Wallet) -> dict[str, Any]:
    """More ether than any rule lets go: the enclave says no, and why, before it touches its share."""
    from .evm import unsigned_transaction

    payload = unsigned_transaction(_transaction(_TOO_MUCH))
    try:
        await client.sign_evm_transaction(wallet.wallet_id, payload)
    except EnclaveRefused as error:
        if error.code != "policy_denied" or error.receipt is None:
            raise
        return {
            "payload": payload.hex(),
            "wei": _TOO_MUCH,
            "code": error.code,
            "message": error.message,
            "receipt": _receipt(error.receipt),
        }
    raise _check_failed("the demo", "a payment over every limit was signed")


async def _stepped_up(client: AsyncClient, wallet: Wallet, passkey: DemoPasskey) -> dict[str, Any]:
    """The session key alone does not do for this much. The enclave asks for a passkey, and the passkey signs the action's hash."""
    asked_before = len(passkey.asked)
    signed = await _ethereum(client, wallet, _WITH_PASSKEY)
    asked = passkey.asked[asked_before:]
    receipt = client.last_receipt
    if len(asked) != 1 or receipt is None:
        raise _check_failed("the demo", f"the passkey was asked {len(asked)} times, and not once")
    return {
        **signed,
        "wei": _WITH_PASSKEY,
        "action": asked[0].action.hash.hex(),
        "receipt": _receipt(receipt.signed),
    }


def _audit(config: ClientConfig, log: Path, shares: Path, head: Link) -> dict[str, Any]:
    """The host's log, checked without the host: every entry, every receipt of this client, and the newest entry that the enclave named."""
    receipts = read_receipts(ShareStore.receipts(shares))
    trust = Trust(config.policy, config.accept_editable_key_policy)
    found = verify_log(read_log([log]), trust, receipts=receipts, live=head)
    if not found.good:
        raise _check_failed("the audit", found.problems[0].message)
    return {
        "good": found.good,
        "entries": sum(chain.entries for chain in found.chains),
        "allowed": sum(chain.allowed for chain in found.chains),
        "denied": sum(chain.denied for chain in found.chains),
        "receipts": len(receipts),
        "end_is_certain": all(chain.end_is_certain for chain in found.chains),
    }


def _receipt(signed: SignedEntry) -> dict[str, str]:
    return {"entry": signed.entry.hex(), "signature": signed.signature.hex()}


def _transaction(wei: int) -> dict[str, Any]:
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


async def _ethereum(client: AsyncClient, wallet: Wallet, wei: int = 10**15) -> dict[str, Any]:
    """Send a type-2 transaction; the sender is recovered from it by eth_account."""
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction

    from .evm import unsigned_transaction

    transaction = _transaction(wei)
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
        "",
        "Logged in with a JWT; a session key of this device speaks for the user from now on",
        f"  user              {report['login']['user_id']}",
        f"  session key       {report['login']['session_key']}",
        f"  passkey           {report['passkey']['credential_id']} (virtual: a real one lives in a device)",
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
    refusal, step_up, audit = report["refusal"], report["step_up"], report["audit"]
    lines += [
        "",
        f"Refused by the enclave: {_ether(refusal['wei'])} ether, which is more than any rule of the policy lets go",
        f"  code              {refusal['code']}",
        *(
            f"  {'reason' if not number else '':<18}{line}"
            for number, line in enumerate(_wrapped(refusal["message"]))
        ),
        "",
        f"Allowed with the passkey: {_ether(step_up['wei'])} ether, which the session key alone may not send",
        f"  action signed     {step_up['action']}",
        f"  signature         {_shortened(step_up['signature'])}",
        f"  verified by       {step_up['verified_by']}",
        "",
        *demo_delegation.lines(report["delegation"]),
        "",
        "Receipts and the host's log, verified offline",
        f"  log               {audit['entries']} entries: {audit['allowed']} allowed, {audit['denied']} denied; nothing altered, dropped or forked",
        f"  receipts          {audit['receipts']} of this client, all in the log",
    ]
    return lines


def _ether(wei: int) -> str:
    return f"{wei / 10**18:g}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100)


def _traffic(signature: dict[str, Any]) -> str:
    return f"{signature['bytes_sent']} bytes sent, {signature['bytes_received']} received"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:48]}…{text[-16:]} ({len(text) // 2} bytes)"  # noqa: PLR2004


@contextlib.asynccontextmanager
async def _stack(directory: Path, step: Step) -> AsyncIterator[tuple[ClientConfig, Path]]:
    """Run a mock stack as a process of its own for as long as the context lasts: what clients need, and where the host keeps the log."""
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
        ready = json.loads(line)
        yield ClientConfig.load(Path(ready["client_config"])), Path(ready["audit_log"])
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
