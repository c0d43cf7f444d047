"""``python -m bench.eif``: the image of ``make eif`` in QEMU, without hardware virtualization. Writes ``bench/results/eif.json``.

Emulation makes the figures of time an upper bound that says little about Nitro; sizes and memory are what they are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from attestation.measurements import load
from cosigner import AsyncClient, ShareStore
from cosigner.client import Wallet
from tests.eif import signing
from tests.eif.machine import Tools
from tests.eif.variants import with_program
from tests.eif.world import PASSPHRASE, Deployment

from .__main__ import RESULTS, table
from .measure import Figure, yardstick_ms

SIGNATURES = 30
STAGE = "image in QEMU (emulated)"
_SIGN: dict[str, Callable[[AsyncClient, Wallet], Awaitable[None]]] = {
    "solana": signing.sign_solana,
    "bitcoin": signing.sign_bitcoin,
    "ethereum": signing.sign_ethereum,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.eif", description=__doc__)
    parser.add_argument("--image", type=Path, required=True, metavar="DIR", help="what `make eif` wrote")
    parser.add_argument(
        "--tools", type=Path, required=True, metavar="DIR", help="what tests/eif/tools/prepare.sh printed"
    )
    options = parser.parse_args()
    yardstick = yardstick_ms()
    figures = list(
        _figures(options.image / "cosigner.eif", options.image / "measurements.json", Tools(options.tools))
    )
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": len(os.sched_getaffinity(0)), "accelerator": "tcg"},
        "yardstick_ms": yardstick,
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "eif.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(figures, yardstick))


def _figures(eif: Path, measurements: Path, tools: Tools) -> Iterator[Figure]:
    yield Figure("image", "size of the EIF", eif.stat().st_size / 1e6, "MB", 80)
    with tempfile.TemporaryDirectory(prefix="eif-") as path:
        directory = Path(path)
        with Deployment(tools, eif, load(measurements.read_bytes()), directory) as deployment:
            shares = ShareStore.create(directory / "shares", PASSPHRASE)
            deployment.boot()
            wallets = asyncio.run(_create(deployment, shares))
            deployment.machine.kill()
            yield from _second_boot(deployment, shares, wallets)
    yield from _memory(eif, tools)


async def _create(deployment: Deployment, shares: ShareStore) -> dict[str, Wallet]:
    async with deployment.client(shares) as client:
        return await signing.create_one_of_each(client)


def _second_boot(deployment: Deployment, shares: ShareStore, wallets: dict[str, Wallet]) -> Iterator[Figure]:
    """What a restart costs a wallet that exists."""
    started = time.perf_counter()
    deployment.boot(ready=False)
    yield Figure(STAGE, "power on to heartbeat", time.perf_counter() - started, "s")
    deployment.wait_until(deployment.ready, "readiness")
    yield Figure(STAGE, "power on to ready", time.perf_counter() - started, "s")
    yield from asyncio.run(_signatures(deployment, shares, wallets, started))


async def _signatures(
    deployment: Deployment, shares: ShareStore, wallets: dict[str, Wallet], started: float
) -> list[Figure]:
    async with deployment.client(shares) as client:
        await signing.sign_solana(client, wallets["solana"])
        figures = [Figure(STAGE, "power on to first signature", time.perf_counter() - started, "s")]
        for chain, sign in _SIGN.items():
            await sign(client, wallets[chain])
            times = []
            for _ in range(SIGNATURES):
                begun = time.perf_counter()
                await sign(client, wallets[chain])
                times.append((time.perf_counter() - begun) * 1000)
            figures.append(
                Figure(STAGE, f"warm signature and its check, {chain}, p50", statistics.median(times), "ms")
            )
    return figures


def _memory(eif: Path, tools: Tools) -> Iterator[Figure]:
    """Of a variant that says so itself, after wallets and signatures of every suite."""
    with tempfile.TemporaryDirectory(prefix="eif-") as path:
        directory = Path(path)
        metered = directory / "metered.eif"
        pcrs = with_program(eif, "metered.py", metered)
        with Deployment(tools, metered, pcrs, directory) as deployment:
            deployment.boot()
            shares = ShareStore.create(directory / "shares", PASSPHRASE)
            wallets = asyncio.run(_create(deployment, shares))
            asyncio.run(_signatures(deployment, shares, wallets, time.perf_counter()))
            time.sleep(3)  # the meter writes once a second
            console = deployment.machine.console.read_text(errors="replace").splitlines()
    used, resident = [line.split()[1:] for line in console if line.startswith("MEMORY ")][
        -2
    ]  # the last may be cut
    yield Figure(STAGE, "memory in use, kernel and ramdisks included", int(used) / 1024, "MB")
    yield Figure(STAGE, "enclave process, resident", int(resident) / 1024, "MB", 150)


if __name__ == "__main__":
    main()
