"""``python -m host webhooks list|dead|redeliver|ping --config FILE``: what became of webhooks, and another try by hand.

Works on the store beside a running host, which finds out by itself, within ``webhooks.poll`` seconds. Exit codes: 0 done, 1 refused,
2 bad usage or configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from host import config as configuration
from host.storage.choice import open_store
from protocol.envelope.errors import CosignerError

from .events import notices_of
from .outbox import Line, Outbox, State
from .payload import timestamp
from .redelivery import ping, redeliver, unknown

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
_MOST: Final = 1000

Carry = Callable[[Outbox, argparse.Namespace], Awaitable[list[dict[str, Any]]]]


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.carry is _secret and options.environment is None:
        parser.error("name the --environment")
    try:
        config = configuration.load(options.config)
    except CosignerError as error:
        print(f"host webhooks: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        rows = asyncio.run(_within_store(config, options))
    except CosignerError as error:
        print(f"host webhooks: {error}", file=sys.stderr)
        return EXIT_REFUSED
    for row in rows:
        print(json.dumps(row) if options.json else "  ".join(str(value) for value in row.values()))
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m host webhooks", description="Webhooks of a Cosigner host: look, send again, try."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, carry: Carry, text: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text, description=text)
        found.add_argument(
            "--config", required=True, type=Path, metavar="FILE", help="the host's configuration"
        )
        found.add_argument("--environment", metavar="ID", help="this one only")
        found.add_argument("--json", action="store_true", help="one JSON object a line")
        found.set_defaults(carry=carry)
        return found

    listing = command("list", _list, "deliveries in a state, pending ones by default")
    listing.add_argument("--state", choices=get_args(State), default="pending")
    listing.add_argument("--count", type=_count, default=100, metavar="N", help="at most so many each")
    dead = command("dead", _list, "dead letters: deliveries that were given up")
    dead.add_argument("--count", type=_count, default=100, metavar="N", help="at most so many each")
    dead.set_defaults(state="dead")
    again = command("redeliver", _redeliver, "send events again, each in a new message with redelivery true")
    which = again.add_mutually_exclusive_group(required=True)
    which.add_argument("--event", metavar="ID", help="this event")
    which.add_argument("--dead", action="store_true", help="every dead letter")
    command("ping", _ping, "send a ping to an environment's endpoint")
    secret = command("secret", _secret, "show what an environment's notices are signed with")
    secret.add_argument(
        "--new", action="store_true", help="make another one, which counts from the next attempt on"
    )
    return parser


async def _within_store(config: configuration.Config, options: argparse.Namespace) -> list[dict[str, Any]]:
    store = open_store(config.storage)
    try:
        return list(await options.carry(store.outbox, options))
    finally:
        await store.close()


async def _list(outbox: Outbox, options: argparse.Namespace) -> list[dict[str, Any]]:
    return [_row(line) for line in await _lines(outbox, options, options.state, options.count)]


async def _redeliver(outbox: Outbox, options: argparse.Namespace) -> list[dict[str, Any]]:
    if options.event is not None:
        for channel in await _channels(outbox, options):
            if await outbox.event(channel, options.event) is not None:
                return [{"message_id": await redeliver(outbox, channel, options.event)}]
        raise unknown(options.event)
    rows: list[dict[str, Any]] = []
    for line in await _lines(outbox, options, "dead", _MOST):
        try:
            message_id = await redeliver(outbox, line.channel, line.event_id)
        except CosignerError as error:
            rows.append({"event_id": line.event_id, "code": error.code})
        else:
            rows.append({"event_id": line.event_id, "message_id": message_id})
    return rows


async def _ping(outbox: Outbox, options: argparse.Namespace) -> list[dict[str, Any]]:
    return [
        {"environment": environment, "message_id": await ping(outbox, environment)}
        for environment in (
            [options.environment] if options.environment else await _channels(outbox, options)
        )
        if "/" not in environment
    ]


async def _secret(outbox: Outbox, options: argparse.Namespace) -> list[dict[str, Any]]:
    return [{"secret": await outbox.secret(notices_of(options.environment), new=options.new)}]


async def _lines(outbox: Outbox, options: argparse.Namespace, state: State, count: int) -> list[Line]:
    found: list[Line] = []
    for channel in await _channels(outbox, options):
        found += await outbox.lines(channel, state, count=count)
    return found


async def _channels(outbox: Outbox, options: argparse.Namespace) -> list[str]:
    return [
        channel
        for channel in await outbox.channels()
        if options.environment in {None, channel.partition("/")[0]}
    ]


def _row(line: Line) -> dict[str, Any]:
    return {
        "at": timestamp(line.at),
        "state": line.state,
        "channel": line.channel,
        "name": line.name,
        "event_id": line.event_id,
        "message_id": line.message_id,
        "attempts": line.attempts,
        "redelivery": line.redelivery,
        "reason": line.reason,
    }


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MOST:
        raise argparse.ArgumentTypeError(f"1 to {_MOST}")
    return count
