"""A wallet's whole life through the SDK, against the enclave's own parts: refresh, reshare, backup, recovery, import, export, deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pytest

from cosigner import signing
from cosigner.backups import files
from cosigner.backups.errors import BackupError
from cosigner.backups.files import BackupFile
from cosigner.backups.locations import LocationError
from cosigner.backups.making import NO_BACKUP, Apart, BackupPlan
from cosigner.client import AsyncClient, Wallet
from cosigner.errors import CosignerError, EnclaveRefused, StoreError
from cosigner.reshare import NewShares, renew
from cosigner.store import ShareStore
from protocol.envelope.errors import Culprit
from protocol.messages import EvmMessagePayload, PsbtPayload, SolanaPayload
from protocol.wallets import PasscodeSetup
from tests.cosigner.payloads import psbt, solana_message
from tests.cosigner.person import Person
from tests.cosigner.places import Place
from tests.cosigner.world import ENVIRONMENT
from threshold import KeyShare, ThresholdError, frost_begin, frost_respond
from threshold.device import SecretKey

T = TypeVar("T")
CHAINS = ["solana", "bitcoin", "ethereum"]
PASSCODE = b"correct horse"
PASSPHRASE = b"battery staple"


@pytest.fixture(autouse=True)
def cheap_stretching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id at the least that the formats allow."""
    monkeypatch.setattr(
        files,
        "new_setup",
        lambda: PasscodeSetup(salt=b"0123456789abcdef", memory_kib=19 << 10, iterations=1, parallelism=1),
    )


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def together(one: KeyShare, other: KeyShare) -> bool:
    """Whether two shares make a signature."""
    message = bytes(32)
    nonces, commitments = frost_begin(one, 1)
    try:
        answer = frost_respond(other, [message], {one.identifier: commitments})
        return bool(nonces.finish(one, [message], {other.identifier: answer}))
    except ThresholdError:
        return False


def code(caught: pytest.ExceptionInfo[CosignerError]) -> str:
    return caught.value.code


# --- refresh and reshare -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", CHAINS)
def test_refresh_on_every_chain(person: Person, chain: str) -> None:
    wallet = person.create(chain)
    for epoch in (2, 3):
        renewed = person.do(lambda client: client.refresh_wallet(wallet.wallet_id))
        assert (renewed.epoch, renewed.address) == (epoch, wallet.address)
        person.signs(wallet)


@pytest.mark.parametrize("chain", CHAINS)
def test_two_of_three_and_back_on_every_chain(person: Person, chain: str) -> None:
    wallet = person.create(chain)
    apart = {3: Apart(person.cloud, PASSPHRASE)}
    three = person.do(lambda client: client.reshare_wallet(wallet.wallet_id, parties=3, apart=apart))
    assert (three.epoch, three.address) == (2, wallet.address)
    person.signs(wallet)
    ((name, blob),) = person.cloud.blobs.items()
    assert name.startswith(wallet.wallet_id)
    header, share = files.open_offline(blob, PASSPHRASE)
    assert (header.party, share.identifier, header.epoch) == (3, 3, 2)
    two = person.do(lambda client: client.reshare_wallet(wallet.wallet_id, parties=2))
    assert two.epoch == 3
    person.signs(wallet)


@pytest.mark.parametrize("chain", CHAINS)
def test_the_share_that_lies_apart_signs_with_the_enclave(person: Person, chain: str) -> None:
    wallet = person.create(chain)
    apart = {3: Apart(person.cloud, PASSPHRASE)}
    person.do(lambda client: client.reshare_wallet(wallet.wallet_id, parties=3, apart=apart))
    (blob,) = person.cloud.blobs.values()
    header, share = files.open_offline(blob, PASSPHRASE)
    info = header.wallet(share.group_public_key)

    async def sign(client: AsyncClient) -> int:
        if chain == "ethereum":
            payload = EvmMessagePayload(b"hello", None)
            return len([await signing.cosign_ecdsa(client._actions, share, info, payload)])
        whole = (
            SolanaPayload(solana_message(wallet.address))
            if chain == "solana"
            else PsbtPayload(psbt(wallet.address))
        )
        return len(
            (await signing.cosign(client._actions, share, info, whole)).signatures
        )  # verified in there

    assert person.do(sign) == 1


def test_a_refresh_that_is_due_is_said_to_be(tmp_path: Path) -> None:
    person = Person(tmp_path, max_epoch_age_s=3600)
    wallet = person.create()
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert status.refresh_due == status.epoch_since + 3_600_000


def test_where_a_further_share_goes_must_be_said_before_anything_begins(person: Person) -> None:
    wallet = person.create()
    for parties, apart in (
        (3, {}),
        (2, {3: Apart(person.cloud, PASSPHRASE)}),
        (4, {3: Apart(person.cloud, PASSPHRASE)}),
    ):
        with pytest.raises(BackupError) as caught:
            person.do(
                lambda client, n=parties, a=apart: client.reshare_wallet(wallet.wallet_id, parties=n, apart=a)
            )
        assert code(caught) == "apart_missing"
    assert person.cloud.blobs == {}
    assert person.share(wallet).epoch == 1


def test_a_place_that_fails_leaves_the_wallet_as_it_was(person: Person) -> None:
    wallet = person.create()
    person.cloud.down = True
    with pytest.raises(LocationError):
        person.do(
            lambda client: client.reshare_wallet(
                wallet.wallet_id, parties=3, apart={3: Apart(person.cloud, PASSPHRASE)}
            )
        )
    assert person.share(wallet).epoch == 1
    person.signs(wallet)
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert status.pending is None


# --- backups and recovery ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("passcode", [None, PASSCODE])
def test_a_lost_device_is_replaced_from_the_service(
    person: Person, chain: str, passcode: bytes | None
) -> None:
    wallet = person.create(chain)
    plan = BackupPlan([person.place], passcode)
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    lost = person.share(wallet)
    person.new_device("second")
    (entry,) = person.do(lambda client: client.enclave_wallets())
    assert (entry.wallet.wallet_id, entry.status.backed_up) == (wallet.wallet_id, True)
    back = person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
    assert (back.epoch, back.address) == (2, wallet.address)
    person.signs(wallet)
    now = person.share(wallet)
    assert not (chain != "ethereum" and together(now, lost))
    # and the new device's share is backed up in its turn
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert status.backed_up
    person.new_device("third")
    person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
    person.signs(wallet)


def test_the_lost_device_signs_nothing_any_more(person: Person) -> None:
    wallet = person.create()
    plan = BackupPlan([person.place])
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    first, keyring = person.directory, person.world.keyring
    person.new_device("second")
    person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
    person.directory, person.world.keyring = (
        first,
        keyring,
    )  # the thief has the store, its passphrase, and the session key
    for _ in range(2):  # the second time it knows by itself
        with pytest.raises(StoreError) as caught:
            person.do(lambda client: client.sign_solana(wallet.wallet_id, solana_message(wallet.address)))
        assert code(caught) == "share_outdated"
    with pytest.raises(StoreError) as caught:
        person.do(lambda client: client.refresh_wallet(wallet.wallet_id))
    assert code(caught) == "share_outdated"


def test_another_place_does_as_well(person: Person) -> None:
    wallet = person.create()
    plan = BackupPlan([person.place, person.cloud], PASSCODE)
    made = person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    assert set(made.names) == {"service", "s3"}
    person.place.blobs.clear()  # the host has lost it
    person.new_device("second")
    person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
    person.signs(wallet)


def test_the_share_that_lay_apart_brings_a_wallet_back(person: Person) -> None:
    wallet = person.create()
    apart = {3: Apart(person.cloud, PASSPHRASE)}
    person.do(lambda client: client.reshare_wallet(wallet.wallet_id, parties=3, apart=apart))
    (blob,) = person.cloud.blobs.values()
    lost = person.share(wallet)
    person.new_device("second")
    back = person.do(lambda client: client.recover_with_share(blob, PASSPHRASE, apart=apart))
    assert (back.epoch, back.address) == (3, wallet.address)
    person.signs(wallet)
    _, old = files.open_offline(blob, PASSPHRASE)
    assert together(old, lost)  # what was signed with before: both are of the old set
    assert not together(old, person.share(wallet))
    with pytest.raises(BackupError) as caught:
        person.do(lambda client: client.recover_with_share(blob, PASSPHRASE, apart=apart))
    assert code(caught) == "backup_outdated"


def test_a_refresh_renews_a_backup_that_needs_nobody(person: Person) -> None:
    wallet = person.create()
    plan = BackupPlan([person.place])
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    person.do(lambda client: client.refresh_wallet(wallet.wallet_id))
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert status.backed_up
    person.new_device("second")
    person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
    person.signs(wallet)


def test_a_refresh_does_not_silently_lose_a_backup_with_a_passcode(person: Person) -> None:
    wallet = person.create()
    plan = BackupPlan([person.place], PASSCODE)
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    with pytest.raises(BackupError) as caught:
        person.do(lambda client: client.refresh_wallet(wallet.wallet_id))
    assert code(caught) == "backup_plan_missing"
    assert person.share(wallet).epoch == 1
    person.do(lambda client: client.refresh_wallet(wallet.wallet_id, backup=plan))
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert status.backed_up
    person.do(lambda client: client.refresh_wallet(wallet.wallet_id, backup=NO_BACKUP))
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert not status.backed_up


def test_where_a_backup_is_required_nothing_is_signed_without_one(tmp_path: Path) -> None:
    person = Person(tmp_path, backup="required")
    wallet = person.create()
    message = solana_message(wallet.address)
    with pytest.raises(EnclaveRefused) as caught:
        person.do(lambda client: client.sign_solana(wallet.wallet_id, message))
    assert code(caught) == "backup_required"
    plan = BackupPlan([person.place])
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    person.signs(wallet)
    with pytest.raises(EnclaveRefused) as caught:
        person.do(lambda client: client.refresh_wallet(wallet.wallet_id, backup=NO_BACKUP))
    assert code(caught) == "backup_required"
    person.signs(wallet)
    person.do(lambda client: client.refresh_wallet(wallet.wallet_id))
    person.signs(wallet)
    assert person.share(wallet).epoch == 2


def test_a_backup_of_shares_that_never_counted_does_not_stand_in_for_one_of_those_that_do(
    tmp_path: Path,
) -> None:
    person = Person(tmp_path, backup="required")
    wallet = person.create()
    plan = BackupPlan([person.place])
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))

    class GaveUpError(Exception):
        pass

    async def give_up(client: AsyncClient) -> None:
        """The backup of the new share is proved, and then the device does not decide."""
        found = await client._settle(wallet.wallet_id)
        share, _ = await client._load(wallet.wallet_id)

        async def prepare(new: NewShares) -> None:
            await client._back_up(new.shares[1], new.wallet, plan, {})
            raise GaveUpError

        with pytest.raises(GaveUpError):
            await renew(
                client._actions,
                client._unlocked(),
                share,
                found,
                purpose="refresh",
                parties=2,
                prepare=prepare,
            )

    person.do(give_up)
    with pytest.raises(EnclaveRefused) as caught:
        person.do(lambda client: client.refresh_wallet(wallet.wallet_id, backup=NO_BACKUP))
    assert code(caught) == "backup_required"
    person.do(lambda client: client.refresh_wallet(wallet.wallet_id))
    _, found = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert sum(one.epoch == 2 and one.proved_at is not None for one in found.backups) == 1
    person.new_device("second")
    person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
    person.signs(wallet)


# --- attacks on backups ------------------------------------------------------------------------------------------------------------


def test_wrong_passcodes_are_counted_by_the_enclave(person: Person) -> None:
    wallet = person.create()
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, BackupPlan([person.place], PASSCODE)))
    person.new_device("second")
    wrong = BackupPlan([person.place], b"wrong horse")
    codes = []
    for _ in range(7):
        with pytest.raises(CosignerError) as caught:
            person.do(lambda client: client.recover_wallet(wallet.wallet_id, wrong))
        codes.append(code(caught))
    assert codes[0] == "passcode_wrong"
    assert codes[-1] == "factor_locked"
    with pytest.raises(CosignerError) as caught:  # the right one has to wait, too
        person.do(
            lambda client: client.recover_wallet(wallet.wallet_id, BackupPlan([person.place], PASSCODE))
        )
    assert code(caught) == "factor_locked"


def test_a_passcode_is_needed_where_one_was_set(person: Person) -> None:
    wallet = person.create()
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, BackupPlan([person.place], PASSCODE)))
    person.new_device("second")
    with pytest.raises(BackupError) as caught:
        person.do(lambda client: client.recover_wallet(wallet.wallet_id, BackupPlan([person.place])))
    assert code(caught) == "passcode_required"


def test_a_host_that_serves_an_older_backup_or_another_wallets_is_found_out(person: Person) -> None:
    first, second = person.create(), person.create()
    plan = BackupPlan([person.place])
    for wallet in (first, second, first):
        person.do(lambda client, w=wallet: client.backup_wallet(w.wallet_id, plan))
    of_first, of_second, again = person.place.blobs.values()
    name = list(person.place.blobs)[2]
    person.new_device("second")
    for served in (of_first, of_second):
        person.place.blobs[name] = served
        with pytest.raises(BackupError) as caught:
            person.do(lambda client: client.recover_wallet(first.wallet_id, plan))
        assert (code(caught), caught.value.culprit) == ("backup_foreign", Culprit.STORAGE)
    person.place.blobs[name] = again
    person.do(lambda client: client.recover_wallet(first.wallet_id, plan))
    person.signs(first)


def test_a_backup_altered_anywhere_is_refused_and_another_place_is_tried(person: Person) -> None:
    wallet = person.create()
    plan = BackupPlan([person.place, person.cloud])
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    ((name, blob),) = person.place.blobs.items()
    person.new_device("second")
    person.place.blobs[name] = blob[:-1] + bytes([blob[-1] ^ 1])
    person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
    person.signs(wallet)


def test_a_place_that_gives_back_something_else_makes_no_backup(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = person.create()

    async def lie(_: Place, name: str) -> bytes:
        return b"x"

    with monkeypatch.context() as patch:
        patch.setattr(Place, "get", lie)
        with pytest.raises(BackupError) as caught:
            person.do(lambda client: client.backup_wallet(wallet.wallet_id, BackupPlan([person.place])))
    assert code(caught) == "backup_unreadable"
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert not status.backed_up


def test_neither_the_file_nor_the_enclaves_key_alone_opens_a_backup_with_a_passcode(person: Person) -> None:
    wallet = person.create()
    seen: list[bytes] = []
    real = files.service_key

    def spy(header: Any, key: bytes, passcode: Any) -> Any:
        seen.append(key)
        return real(header, key, passcode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "service_key", spy)
        person.do(lambda client: client.backup_wallet(wallet.wallet_id, BackupPlan([person.place], PASSCODE)))
    (blob,) = person.place.blobs.values()
    parsed = BackupFile.decode(blob)
    from threshold import SealingKey

    with pytest.raises(BackupError):  # the enclave's key alone
        parsed.open_with(SealingKey.from_data_key(seen[0]))
    setup = parsed.header.passcode
    assert setup is not None
    with pytest.raises(BackupError):  # the passcode alone
        parsed.open_with(files.offline_key(setup, PASSCODE))
    assert wallet.public_key not in blob  # and whoever keeps the file learns no address


def test_a_removed_backup_restores_nothing(person: Person) -> None:
    wallet = person.create()
    plan = BackupPlan([person.place, person.cloud])
    made = person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    person.do(lambda client: client.remove_backup(wallet.wallet_id, made.backup_id, plan.locations))
    assert person.cloud.blobs == {}
    with pytest.raises(BackupError) as caught:
        person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
    assert code(caught) == "backup_unknown"


# --- import, export, the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", CHAINS)
def test_an_imported_key_keeps_its_address_and_comes_out_again(person: Person, chain: str) -> None:
    suites = {"solana": "frost-ed25519", "bitcoin": "frost-secp256k1-tr", "ethereum": "ecdsa-secp256k1"}
    key = (
        SecretKey.from_ed25519_seed(bytes(range(32)))
        if chain == "solana"
        else SecretKey.from_bytes(suites[chain], bytes(range(1, 33)))
    )
    wallet = person.do(lambda client: client.import_wallet(key, chain, legacy_wallet_id="old-7"))
    assert (wallet.public_key, wallet.epoch) == (key.public_key, 2)
    person.signs(wallet)
    _, status = person.do(lambda client: client.wallet_status(wallet.wallet_id))
    assert (status.imported, status.legacy_wallet_id) == (True, "old-7")
    out = person.do(lambda client: client.export_key(wallet.wallet_id))
    assert (out.public_key, out.chain_code) == (key.public_key, key.chain_code)
    if chain != "solana":
        assert out.export("hex") == bytes(range(1, 33)).hex().encode()


def test_where_a_backup_is_required_an_import_is_backed_up_before_it_signs(tmp_path: Path) -> None:
    person = Person(tmp_path, backup="required")
    plan = BackupPlan([person.place])
    key = SecretKey.from_ed25519_seed(bytes(range(32)))
    wallet = person.do(lambda client: client.import_wallet(key, "solana", backup=plan))
    assert wallet.epoch == 2
    person.signs(wallet)
    with pytest.raises(EnclaveRefused) as caught:
        person.do(lambda client: client.import_wallet(key, "solana"))
    assert code(caught) == "backup_required"
    (first,) = [entry.info for entry in ShareStore.wallets(person.directory) if entry.info.epoch == 1]
    person.do(lambda client: client.backup_wallet(first.wallet_id, plan))
    person.do(lambda client: client.refresh_wallet(first.wallet_id))
    person.signs(Wallet.of(first))


def test_a_key_of_another_suite_is_not_imported(person: Person) -> None:
    key = SecretKey.from_ed25519_seed(bytes(32))
    with pytest.raises(CosignerError) as caught:
        person.do(lambda client: client.import_wallet(key, "ethereum"))
    assert code(caught) == "suite_mismatch"


def test_the_enclaves_share_comes_out_as_a_file(person: Person) -> None:
    wallet = person.create()
    blob = person.do(lambda client: client.export_share(wallet.wallet_id, PASSPHRASE))
    header, theirs = files.open_offline(blob, PASSPHRASE)
    assert (header.party, header.environment) == (2, ENVIRONMENT)
    assert SecretKey.combine([person.share(wallet), theirs]).public_key == wallet.public_key


def test_a_deleted_wallet_is_gone_here_and_there(person: Person) -> None:
    wallet = person.create()
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, BackupPlan([person.place, person.cloud])))
    person.do(lambda client: client.delete_wallet(wallet.wallet_id, [person.place, person.cloud]))
    assert ShareStore.wallets(person.directory) == []
    assert person.cloud.blobs == {}
    (entry,) = person.do(lambda client: client.enclave_wallets())
    assert entry.status.state == "retired"
    with pytest.raises(StoreError):
        person.do(lambda client: client.sign_solana(wallet.wallet_id, solana_message(wallet.address)))
    assert ShareStore.receipts(person.directory, wallet.wallet_id)


def test_a_wallet_whose_file_is_damaged_is_recovered_over_it(person: Person) -> None:
    wallet = person.create()
    plan = BackupPlan([person.place])
    person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
    for epoch, damaged in ((2, b""), (3, b"\x00" * 100)):
        (person.directory / f"{wallet.wallet_id}.share").write_bytes(damaged)
        with pytest.raises(StoreError) as caught:
            person.do(lambda client: client.sign_solana(wallet.wallet_id, solana_message(wallet.address)))
        assert code(caught) == "store_malformed"
        person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))
        person.signs(wallet)
        assert person.share(wallet).epoch == epoch
