"""``python -m host --config FILE [--json]``: run the host until SIGTERM or SIGINT. ``python -m host webhooks``: its webhooks by hand
(:mod:`host.webhooks.command`).

Prints one line on stdout when it answers. Exit codes: 0 stopped as asked, 1 cannot start or failed, 2 bad usage or configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Final

from . import config as configuration
from . import service
from .errors import HostError
from .log import Log, adopt_libraries
from .webhooks import command as webhooks

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["webhooks"]:
        return webhooks.main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m host",
        description="The untrusted host process of a Cosigner enclave.",
        epilog="commands:\n  webhooks    look at webhooks, send them again, try an endpoint",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="configuration (JSON)")
    parser.add_argument("--json", action="store_true", help="say in JSON when the API answers, or why not")
    options = parser.parse_args(arguments)
    log = Log()
    adopt_libraries(log)
    try:
        config = configuration.load(options.config)
    except HostError as error:
        return _give_up(error, EXIT_USAGE, as_json=options.json)

    def listening(url: str) -> None:
        line = (
            json.dumps({"event": "listening", "url": url}) if options.json else f"The host answers at {url}"
        )
        print(line, flush=True)

    try:
        asyncio.run(_run_until_signal(config, log, listening))
    except HostError as error:
        return _give_up(error, EXIT_FAILED, as_json=options.json)
    except Exception as error:  # noqa: BLE001  (a mistake of ours: the place is logged, the text could hold anything)
        log.failure("host_failed", error)
        return EXIT_FAILED
    return EXIT_OK


async def _run_until_signal(config: configuration.Config, log: Log, listening: service.Listening) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await service.run(config, log=log, stop=stop, listening=listening)


def _give_up(error: HostError, code: int, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"event": "failed", "code": error.code, "message": error.message}), flush=True)
    print(f"host: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
