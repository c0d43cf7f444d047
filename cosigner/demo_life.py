"""A wallet's life in the demonstration: its shares are renewed, its device is lost, and another device takes its place."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from protocol.envelope.errors import CosignerError

from . import mock_issuer
from .backups.making import BackupPlan
from .client import AsyncClient
from .demo_chains import check_failed, ethereum
from .evidence import Evidence
from .store import ShareStore

if TYPE_CHECKING:
    from pathlib import Path

    from .config import ClientConfig
    from .demo_passkey import DemoPasskey

Step = Callable[[str], AbstractContextManager[None]]

SECOND_DEVICE: Final = "second-device"  # its folder


async def lose_and_recover(  # noqa: PLR0917
    phone: AsyncClient,
    config: ClientConfig,
    directory: Path,
    passkey: DemoPasskey,
    wallet_id: str,
    step: Step,
) -> dict[str, Any]:
    """Refresh, back up under a passcode, lose the device, recover on another from the service's storage alone, sign.

    :param passkey: of both devices, as platforms keep passkeys.
    """
    passcode = secrets.token_hex(8).encode()
    with step("Refreshing the Ethereum wallet's shares"):
        refreshed, refresh_cost = await _measured(phone, phone.refresh_wallet(wallet_id))
    with step("Backing up the device's share under a passcode"):
        made = await phone.backup_wallet(wallet_id, BackupPlan([phone.service_storage()], passcode))
    store = ShareStore.create(directory / SECOND_DEVICE, secrets.token_bytes(32))
    async with AsyncClient(config, store, evidence=Evidence(passkeys=passkey)) as laptop:
        with step("Recovering on a new device, from that backup"):
            if config.mock_issuer is None:
                raise check_failed("the demo", "the mock stack names no issuer")
            await laptop.login(await asyncio.to_thread(mock_issuer.token, config.mock_issuer))
            recovered, recovery_cost = await _measured(
                laptop,
                laptop.recover_wallet(wallet_id, BackupPlan([laptop.service_storage()], passcode)),
            )
            _, status = await laptop.wallet_status(wallet_id)
        with step("Signing there"):
            signature = await ethereum(laptop, recovered)
    with step("Trying the lost device's share"):
        refusal = await _refused(phone, refreshed)
    return {
        "wallet_id": wallet_id,
        "address": recovered.address,
        "refresh": {"epoch": refreshed.epoch, **refresh_cost},
        "backup": {"backup_id": made.backup_id, "locations": list(made.names), "passcode": True},
        "recovery": {"epoch": recovered.epoch, "backed_up": status.backed_up, **recovery_cost},
        "signature": signature,
        "lost_device": refusal,
    }


async def _measured(client: AsyncClient, work: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
    """What ``work`` gives, and its time and traffic (without the service's storage)."""
    before, started = client.traffic.copy(), time.perf_counter()
    result = await work
    traffic = client.traffic.since(before)
    return result, {
        "ms": round((time.perf_counter() - started) * 1000, 2),
        "bytes_sent": traffic.sent,
        "bytes_received": traffic.received,
    }


async def _refused(phone: AsyncClient, wallet: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        await ethereum(phone, wallet)
    except CosignerError as error:
        if error.code != "share_outdated":
            raise
        return {"code": error.code, "message": error.message}
    raise check_failed("the demo", "the lost device's share still signed")
