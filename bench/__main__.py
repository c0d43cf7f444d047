"""``python -m bench``: measure, print a table, write ``bench/results/latest.json``. Exit code 0 whether targets are met or not."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from . import (
    attestation,
    authorization,
    core,
    delegation,
    ecdsa,
    image,
    lifecycle,
    policy,
    receipts,
    reshare,
    session,
    stack,
    timing,
    webhook_kills,
    webhooks,
)
from .measure import Figure, pin_to_one_core, yardstick_ms

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the table")
    options = parser.parse_args()
    everywhere = os.sched_getaffinity(0)
    core_number = pin_to_one_core()
    yardstick = yardstick_ms()
    figures = [
        *core.figures(),
        *reshare.figures(),
        *ecdsa.figures(),
        *session.figures(),
        *attestation.figures(),
        *policy.figures(),
        *timing.figures(),
    ]
    figures += authorization.figures()
    os.sched_setaffinity(0, everywhere)  # end to end may use every core
    figures += [
        *receipts.figures(),
        *stack.figures(),
        *lifecycle.figures(),
        *image.figures(),
        *webhooks.figures(),
        *delegation.figures(),
        *webhook_kills.figures(),
    ]
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": len(everywhere), "processor": _processor(), "python": platform.python_version()},
        "core": core_number,
        "yardstick_ms": yardstick,
        "figures": [
            asdict(figure)
            | {"met": figure.met}
            | ({"yardsticks": figure.value / yardstick} if "CPU" in figure.what else {})
            for figure in figures
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2) if options.json else table(figures, yardstick))


def table(figures: list[Figure], yardstick: float) -> str:
    lines = [
        f"Yardstick: one Ed25519 verification by `cryptography`, {yardstick:.3f} ms CPU (x = that many of it)",
        "",
        f"{'stage':<34} {'what':<56} {'measured':>14} {'x':>7}  target",
    ]
    for figure in figures:
        ratio = f"{figure.value / yardstick:.2f}" if "CPU" in figure.what else ""
        bound = ">=" if figure.at_least else "<="
        target = (
            ""
            if figure.target is None
            else f"{bound} {figure.target:g} {figure.unit}: {'met' if figure.met else 'MISSED'}"
        )
        lines.append(
            f"{figure.stage:<34} {figure.what:<56} {_number(figure.value)} {figure.unit:<2} {ratio:>7}  {target}"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:>11.3f}" if value < 100 else f"{value:>11.0f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
