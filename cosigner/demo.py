"""``cosigner demo``: the whole way once, against a mock stack of its own, checked by libraries that this project did not write.

The transactions are built, and the signatures checked, by ``solders`` (Solana), ``embit`` and ``coincurve`` (Bitcoin) and ``eth_account`` (Ethereum), which are
installed with the development requirements only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from protocol.envelope.errors import CosignerError, Culprit

from . import demo_delegation, mock_issuer
from .audit_log import Trust, read_log, read_receipts, verify_log
from .client import AsyncClient, Wallet
from .config import ClientConfig
from .demo_chains import bitcoin, check_failed, ethereum, solana, transaction
from .demo_life import SECOND_DEVICE, lose_and_recover
from .demo_passkey import DemoPasskey
from .demo_report import describe
from .errors import EnclaveRefused
from .evidence import Evidence
from .store import ShareStore

if TYPE_CHECKING:
    from protocol.envelope.messages import SignedEntry
    from protocol.receipts import Link


Step = Callable[[str], AbstractContextManager[None]]

_WITH_PASSKEY: Final = (
    5 * 10**17
)  # wei; the mock environment lets 0.05 ether go by the session key alone, and 5 with a passkey
_TOO_MUCH: Final = 6 * 10**18
_ORIGIN: Final = "https://localhost"  # what the mock manifest's relying party accepts
_STOP_TIMEOUT: Final = 30.0  # seconds


__all__ = ["describe", "run"]


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
                report["life"] = await lose_and_recover(
                    client, config, Path(directory), passkey, report["wallets"][-1]["wallet_id"], step
                )
                with step("Verifying the receipts and the log"):
                    head = await client.log_head()
            report["audit"] = _audit(config, log, [shares, Path(directory) / SECOND_DEVICE], head)
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
    for chain, demonstrate in (("solana", solana), ("bitcoin", bitcoin), ("ethereum", ethereum)):
        with step(f"Creating a {chain} wallet"):
            wallet = await client.create_wallet(chain)
        wallets.append(wallet)
        with step(f"Signing for {chain}"):
            signatures.append(await demonstrate(client, wallet))
    last = wallets[-1]
    with step("Asking for more than the policy allows"):
        report["refusal"] = await _refused(client, last)
    with step("Asking for what the policy allows with a passkey"):
        report["step_up"] = await _stepped_up(client, last, passkey)
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

    payload = unsigned_transaction(transaction(_TOO_MUCH))
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
    raise check_failed("the demo", "a payment over every limit was signed")


async def _stepped_up(client: AsyncClient, wallet: Wallet, passkey: DemoPasskey) -> dict[str, Any]:
    """The session key alone does not do for this much. The enclave asks for a passkey, and the passkey signs the action's hash."""
    asked_before = len(passkey.asked)
    signed = await ethereum(client, wallet, _WITH_PASSKEY)
    asked = passkey.asked[asked_before:]
    receipt = client.last_receipt
    if len(asked) != 1 or receipt is None:
        raise check_failed("the demo", f"the passkey was asked {len(asked)} times, and not once")
    return {
        **signed,
        "wei": _WITH_PASSKEY,
        "action": asked[0].action.hash.hex(),
        "receipt": _receipt(receipt.signed),
    }


def _audit(config: ClientConfig, log: Path, devices: list[Path], head: Link) -> dict[str, Any]:
    """The host's log, checked without the host: every entry, every receipt of this user's devices, and the newest entry that the enclave named."""
    receipts = read_receipts([receipt for device in devices for receipt in ShareStore.receipts(device)])
    trust = Trust(config.policy, config.accept_editable_key_policy)
    found = verify_log(read_log([log]), trust, receipts=receipts, live=head)
    if not found.good:
        raise check_failed("the audit", found.problems[0].message)
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
