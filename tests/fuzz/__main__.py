"""``python -m tests.fuzz [TARGET ...] --seconds N``: run fuzz targets for N seconds each, from random mutations of their seeds.

An input whose refusal was not seen before joins the corpus, which is a cheap stand-in for coverage. The first finding ends the run with
exit code 1 and a file that reproduces it: ``python -m tests.fuzz TARGET --replay FILE``.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.fuzz.execution import Finding, execute_within_bounds
from tests.fuzz.mutation import mutate, random_steps
from tests.fuzz.targets import TARGETS, Target

_HANG: Final = 60.0  # seconds after which one execution counts as a hang


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns 1 if there was a finding."""
    options = _options(arguments)
    chosen = [TARGETS[name] for name in options.targets or TARGETS]
    try:
        if options.replay is not None:
            for target in chosen:
                outcome = execute_within_bounds(target, options.replay.read_bytes())
                print(f"{target.name}: {outcome or 'accepted'}")
            return 0
        print(f"seed {options.seed}")
        width = max(len(target.name) for target in chosen)
        for target in chosen:
            print(f"{target.name:<{width}}  {fuzz(target, options.seconds, options.seed)}", flush=True)
    except Finding as finding:
        traceback.print_exception(finding.__cause__)
        print(finding, file=sys.stderr)
        if options.replay is None:
            print(f"reproducer: {_keep(finding.data)}", file=sys.stderr)
        return 1
    return 0


def fuzz(target: Target, seconds: float, seed: int) -> str:
    """Fuzz one target; returns a line of statistics.

    :raises Finding: the first one.
    """
    source = random.Random(f"{seed} {target.name}")
    seeds, found = target.seeds(), [*target.seeds(), *target.hostile()]
    seen: set[str | None] = {_execute(target, data) for data in found}
    executions = accepted = 0
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        corpus = source.choice((seeds, found))  # half of the time from what is valid
        data = mutate(source.choice(corpus), random_steps(source), source.choice(found))
        outcome = _execute(target, data)
        executions += 1
        accepted += outcome is None
        if outcome not in seen:
            seen.add(outcome)
            found.append(data)
    rate = executions / elapsed if elapsed else 0
    return f"{executions:>9} executions, {rate:>7.0f}/s, {accepted:>7} accepted, {len(seen):>4} outcomes"


def _execute(target: Target, data: bytes) -> str | None:
    faulthandler.dump_traceback_later(_HANG, exit=True, file=sys.__stderr__)
    try:
        return execute_within_bounds(target, data)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _keep(data: bytes) -> Path:
    with tempfile.NamedTemporaryFile(prefix="cosigner-fuzz-", suffix=".bin", delete=False) as file:
        file.write(data)
    return Path(file.name)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz the parsers.", allow_abbrev=False
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all ({', '.join(TARGETS)})")
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="N", help="for each target (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), metavar="N", help="repeats a run")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the targets once, with this input")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
