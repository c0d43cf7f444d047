"""A lost device is replaced from each place where a backup may lie, and from that place alone: the adapters, with all else around them real.

What a device knows of a place it has of its own: each opens it anew, with secrets in a folder of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cosigner import signing
from cosigner.backups import files
from cosigner.backups.errors import BackupError
from cosigner.backups.files import BackupFile
from cosigner.backups.locations import BackupLocation, LocationError
from cosigner.backups.locations.service import ServiceLocation
from cosigner.backups.making import BackupPlan, MadeBackup
from cosigner.client import AsyncClient, Wallet
from cosigner.errors import EnclaveRefused, StoreError
from host.storage.sqlite import SqliteStore
from protocol.envelope.backups import EMPTY
from protocol.messages import EvmMessagePayload, PsbtPayload, SolanaPayload
from protocol.wallets import WalletInfo
from tests.cosigner.backups.cloudkit_server import CloudKitServer
from tests.cosigner.backups.conftest import KINDS, folder, in_bucket, new_bucket, open_slot_at
from tests.cosigner.backups.drive_server import DriveServer
from tests.cosigner.backups.endpoint_server import EndpointServer
from tests.cosigner.backups.places import SERVERS, Clock, Place, at
from tests.cosigner.payloads import psbt, solana_message
from tests.cosigner.person import CHEAP, Person
from tests.cosigner.places import Place as MemoryPlace
from tests.cosigner.world import ENVIRONMENT
from tests.host.rig import Rig
from threshold import KeyShare, ThresholdError

PASSCODE = b"correct horse"
NEXT = dict(zip(KINDS, KINDS[1:] + KINDS[:1], strict=True))


@pytest.fixture(autouse=True)
def cheap_stretching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id at the least that the formats allow."""
    monkeypatch.setattr(files, "new_setup", lambda: CHEAP)


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


Open = Callable[[Path], Place]
"""The place as a device has it whose secrets are in that folder. All that are opened by one function have the same behind them."""


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path, person: Person) -> Iterator[Callable[[str], Open]]:
    """Makes an empty place of a kind."""
    with ExitStack() as running:

        def make(kind: str) -> Open:
            if kind == "service":
                return slots(request.getfixturevalue("rig"), person)
            if kind == "file":
                return lambda _: folder(tmp_path / "a disk")
            if kind == "s3":
                request.getfixturevalue("credentials")
                url = request.getfixturevalue("endpoint")
                name = new_bucket(url)
                return lambda _: in_bucket(url, name)
            server = SERVERS[kind]()
            running.enter_context(server.running())
            return lambda secrets: at(kind, server, secrets)

        yield make


def slots(rig: Rig, person: Person) -> Open:
    """The host, over a real socket, with the slots that this person's enclave opens."""
    opened: list[str] = []
    memory = person.world.storage.rest

    def open_there(key: str) -> None:
        if memory.records[key] == (1, EMPTY):
            rig.call(open_slot_at(rig, key))
            opened.append(key)

    async def read() -> dict[str, bytes]:
        store = SqliteStore(f"{rig.folder}/store.sqlite3")
        found = {key: await store.get(key) for key in opened}
        await store.close()
        return {key: one.value for key, one in found.items() if one is not None and one.value != EMPTY}

    memory.after_put = open_there
    clock = Clock()
    location = ServiceLocation(rig.url, ENVIRONMENT, sleep=clock)
    return lambda _: Place(location, lambda: asyncio.run(read()), lists=False, clock=clock)


@dataclass
class Device:
    """The device that a person uses now, and its view of some places."""

    person: Person
    places: list[Place]

    @classmethod
    def new(cls, person: Person, name: str, *opens: Open) -> Device:
        """With an empty store, and nothing of what another device had but the user's logins."""
        person.new_device(name)
        return cls.first(person, *opens)

    @classmethod
    def first(cls, person: Person, *opens: Open) -> Device:
        device = cls(person, [opened(person.directory) for opened in opens])
        for location in device.locations:
            if location.kind == "service":
                person.place = location  # type: ignore[assignment]
        return device

    @property
    def locations(self) -> list[BackupLocation]:
        return [place.location for place in self.places]

    def back_up(self, wallet: Wallet, passcode: bytes | None) -> MadeBackup:
        plan = BackupPlan(self.locations, passcode)
        return self.person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))

    def recover(self, wallet: Wallet, passcode: bytes | None, backup: BackupPlan | None = None) -> Wallet:
        plan = BackupPlan(self.locations, passcode)
        return self.person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan, backup=backup))

    def kept(self) -> list[dict[str, BackupFile]]:
        """What lies at each place, read from behind."""
        return [
            {name: BackupFile.decode(blob) for name, blob in place.contents().items()}
            for place in self.places
        ]


def check_kept(device: Device, wallet: Wallet, epoch: int, passcode: bytes | None) -> str:
    """At each of its places lies one backup, the same, of the share that counts. Returns its id."""
    ids, kinds = set(), {place.location.kind for place in device.places}
    for place, kept in zip(device.places, device.kept(), strict=True):
        ((name, file),) = kept.items()
        header = file.header
        assert (header.wallet_id, header.epoch, header.party) == (wallet.wallet_id, epoch, 1)
        assert (header.passcode is None) == (passcode is None)
        if place.location.kind != "service":
            assert name == f"{wallet.wallet_id}-{header.backup_id}"
        ids.add(header.backup_id)
    _, status = device.person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert status.backed_up
    (info,) = [info for info in status.backups if info.epoch == epoch]
    assert set(info.locations) == kinds
    assert ids == {info.backup_id}
    elsewhere = device.person.place
    assert not isinstance(elsewhere, MemoryPlace) or elsewhere.blobs == {}
    return info.backup_id


async def cosign(client: AsyncClient, share: KeyShare, info: WalletInfo) -> None:
    """Sign as a program would that keeps nothing of what a device knows but its share."""
    if info.chain == "ethereum":
        await signing.cosign_ecdsa(client._actions, share, info, EvmMessagePayload(b"hello", None))
        return
    address = Wallet.of(info).address
    payload = SolanaPayload(solana_message(address)) if info.chain == "solana" else PsbtPayload(psbt(address))
    await signing.cosign(client._actions, share, info, payload)


@pytest.mark.parametrize(
    ("chain", "passcode"), [("solana", None), ("bitcoin", PASSCODE), ("ethereum", PASSCODE)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_device_is_replaced_from_each_place(
    person: Person, places: Callable[[str], Open], kind: str, chain: str, passcode: bytes | None
) -> None:
    somewhere = places(kind)
    wallet = person.create(chain)
    first = Device.first(person, somewhere)
    made = first.back_up(wallet, passcode)
    assert set(made.names) == {kind}
    assert check_kept(first, wallet, 1, passcode) == made.backup_id
    stolen, keyring = person.directory, person.world.keyring
    share, stored = person.store.load(wallet.wallet_id)

    second = Device.new(person, "second", somewhere)
    if passcode is not None:
        with pytest.raises(BackupError) as missing:
            second.recover(wallet, None)
        assert missing.value.code == "passcode_required"
    back = second.recover(wallet, passcode)
    assert (back.epoch, back.address, back.public_key) == (2, wallet.address, wallet.public_key)
    person.signs(wallet)
    assert check_kept(second, wallet, 2, passcode) != made.backup_id

    # the thief has the store, what opens it, and the session key
    directory, own = person.directory, person.world.keyring
    person.directory, person.world.keyring = stolen, keyring
    with pytest.raises(EnclaveRefused) as refused:
        person.do(lambda client: cosign(client, share, stored.info))
    assert refused.value.code == "epoch_superseded"
    newest = replace(stored.info, epoch=2)
    with pytest.raises((EnclaveRefused, ThresholdError)) as lying:  # the shares do not fit together
        person.do(lambda client: cosign(client, share, newest))
    expected = "wrong_context" if chain == "ethereum" else "invalid_signature_share"
    assert lying.value.code == expected
    with pytest.raises(StoreError) as outdated:
        person.signs(wallet)
    assert outdated.value.code == "share_outdated"
    person.directory, person.world.keyring = directory, own
    person.signs(wallet)

    third = Device.new(person, "third", somewhere)
    assert third.recover(wallet, passcode).epoch == 3
    person.signs(wallet)
    check_kept(third, wallet, 3, passcode)


@pytest.mark.parametrize("passcode", [None, PASSCODE])
@pytest.mark.parametrize("loser", KINDS)
def test_of_two_places_one_has_lost_the_backup(
    person: Person, places: Callable[[str], Open], loser: str, passcode: bytes | None
) -> None:
    """The one that has lost it is asked first, and the other has it still. Afterwards both have the new one."""
    both = places(loser), places(NEXT[loser])
    wallet = person.create()
    first = Device.first(person, *both)
    made = first.back_up(wallet, passcode)
    assert set(made.names) == {loser, NEXT[loser]}
    check_kept(first, wallet, 1, passcode)
    asyncio.run(first.locations[0].delete(made.names[loser]))
    assert [len(kept) for kept in first.kept()] == [0, 1]

    second = Device.new(person, "second", *both)
    back = second.recover(wallet, passcode)
    assert (back.epoch, back.address) == (2, wallet.address)
    person.signs(wallet)
    check_kept(second, wallet, 2, passcode)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recovery_may_move_the_backup_to_another_place(
    person: Person, places: Callable[[str], Open], kind: str
) -> None:
    """Nothing is left at the place that it came from."""
    old, new = places(kind), places(NEXT[kind])
    wallet = person.create()
    Device.first(person, old).back_up(wallet, None)

    second = Device.new(person, "second", old)
    target = Device.first(person, new)
    assert second.recover(wallet, None, BackupPlan(target.locations, PASSCODE)).address == wallet.address
    person.signs(wallet)
    assert second.kept() == [{}]
    check_kept(target, wallet, 2, PASSCODE)

    third = Device.new(person, "third", new)
    third.recover(wallet, PASSCODE)
    person.signs(wallet)


@pytest.mark.parametrize("kind", SERVERS)
def test_of_two_places_one_lets_nobody_in(person: Person, places: Callable[[str], Open], kind: str) -> None:
    """The other opens. Where the new backup cannot be put everywhere the old shares stay, until the user leaves that place out."""
    closed, good = places(kind), places("file")
    wallet = person.create()
    Device.first(person, closed, good).back_up(wallet, PASSCODE)

    second = Device.new(person, "second", closed, good)
    lock_out(second.places[0].server)
    with pytest.raises(LocationError) as caught:
        second.recover(wallet, PASSCODE)
    assert caught.value.code == "location_unauthorized"
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert (status.pending, status.backed_up) == (None, True)
    back = second.recover(wallet, PASSCODE, BackupPlan(second.locations[1:], PASSCODE))
    assert (back.epoch, back.address) == (2, wallet.address)
    person.signs(wallet)
    check_kept(Device.first(person, good), wallet, 2, PASSCODE)


def lock_out(server: Any) -> None:
    """What the devices have to get in with is good no longer."""
    match server:
        case DriveServer():
            server.expire()
            server.refresh_token_good = False
        case CloudKitServer():
            server.expire()
        case EndpointServer():
            server.token = "another"


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_that_has_lost_the_only_backup_leaves_the_wallet_as_it_was(
    person: Person, places: Callable[[str], Open], kind: str
) -> None:
    somewhere = places(kind)
    wallet = person.create()
    first = Device.first(person, somewhere)
    made = first.back_up(wallet, None)
    asyncio.run(first.locations[0].delete(made.names[kind]))
    directory, keyring = person.directory, person.world.keyring

    second = Device.new(person, "second", somewhere)
    with pytest.raises(LocationError) as caught:
        second.recover(wallet, None)
    assert caught.value.code == "backup_missing"
    assert second.kept() == [{}]

    person.directory, person.world.keyring = directory, keyring
    person.signs(wallet)
    assert person.share(wallet).epoch == 1
