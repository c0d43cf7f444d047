"""Every location beside a server that has no part in it, made for one test."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cosigner.backups.locations import BackupLocation, LocationError, SecretFile, Token
from cosigner.backups.locations.endpoint import EndpointLocation
from cosigner.backups.locations.google_drive import GoogleDriveLocation
from cosigner.backups.locations.icloud import ICloudLocation
from cosigner.backups.locations.oauth import RefreshingToken
from tests.cosigner.backups import cloudkit_server, drive_server, endpoint_server
from tests.cosigner.backups.cloudkit_server import CloudKitServer
from tests.cosigner.backups.drive_server import DriveServer
from tests.cosigner.backups.endpoint_server import EndpointServer
from tests.support.local_server import LocalServer

T = TypeVar("T")


class Clock:
    """Sleeps at once, and remembers for how long it should have."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


@dataclass
class Place:
    """A location, and what a test may know of the world behind it.

    :ivar contents: what is kept there, by name, as the other side has it.
    :ivar make_name: names that this location takes, in ascending order where it lists them.
    :ivar server: where it is one of ours.
    """

    location: BackupLocation
    contents: Callable[[], dict[str, bytes]]
    make_name: Callable[[int], str] = lambda number: f"backup-{number:04}"
    lists: bool = True
    server: Any = None
    clock: Clock = field(default_factory=Clock)


def run(work: Coroutine[Any, Any, T]) -> T:
    async def main() -> T:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(main())


def refused(work: Coroutine[Any, Any, object]) -> LocationError:
    """The error that it ends with; it tells nothing secret, and neither does what hangs on it."""
    with pytest.raises(LocationError) as caught:
        run(work)
    error = caught.value
    assert "SECRET" not in f"{error} {error!r} {error.args!r}"
    related = [error.__context__, error.__cause__]
    while related:
        behind = related.pop()
        if behind is not None:
            assert not hasattr(behind, "request"), "a request, with its tokens, hangs on the error"
            assert "SECRET" not in f"{behind} {behind!r}"
            related += [behind.__context__, behind.__cause__]
    return error


def secret_file(path: Path, content: str) -> SecretFile:
    path.write_text(content)
    path.chmod(0o600)
    return SecretFile(path)


def drive(server: DriveServer, folder: Path) -> Place:
    clock = Clock()
    credentials = secret_file(folder / "google.json", json.dumps(drive_server.CREDENTIALS))
    access = RefreshingToken(credentials, url=server.url + "/token", sleep=clock)
    return Place(
        GoogleDriveLocation(access, api=server.url, sleep=clock),
        lambda: {file.name.removesuffix(".backup"): file.content for file in server.files.values()},
        server=server,
        clock=clock,
    )


def icloud(server: CloudKitServer, folder: Path) -> Place:
    clock = Clock()
    return Place(
        ICloudLocation(
            cloudkit_server.CONTAINER,
            api_token=Token(cloudkit_server.API_TOKEN),
            web_token=secret_file(folder / "web-token", server.token),
            api=server.url,
            sleep=clock,
        ),
        lambda: {
            name: server.contents[record.asset["fileChecksum"]] for name, record in server.records.items()
        },
        server=server,
        clock=clock,
    )


def endpoint(server: EndpointServer) -> Place:
    clock = Clock()
    url = server.url + endpoint_server.PATH
    return Place(
        EndpointLocation(url, Token(endpoint_server.TOKEN), sleep=clock),
        lambda: dict(server.backups),
        server=server,
        clock=clock,
    )


SERVERS: dict[str, Callable[[], LocalServer]] = {
    "google_drive": DriveServer,
    "icloud": CloudKitServer,
    "endpoint": EndpointServer,
}


def at(kind: str, server: Any, folder: Path) -> Place:
    """The location of that kind at a server of :data:`SERVERS`."""
    if kind == "google_drive":
        return drive(server, folder)
    return icloud(server, folder) if kind == "icloud" else endpoint(server)


def some_locator(_: int) -> str:
    return secrets.token_hex(32)
