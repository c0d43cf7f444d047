"""The receiver's whole way: what is taken, once; what is refused; and that what was revoked stays revoked."""

from __future__ import annotations

import json
import sqlite3
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosigner.errors import StoreError
from cosigner.webhooks import (
    CREATED,
    REVOKED,
    DecryptionKey,
    Inbox,
    LocalSealer,
    Receiver,
    WebhookRefused,
    created,
    parse,
    revoked,
)
from tests.cosigner.webhooks.sent import (
    API_KEY,
    SHARE_SET,
    WALLET,
    by_hand,
    created_data,
    key,
    revoked_data,
    sent,
)
from tests.host.webhooks.arrivals import NOW, SECRET


class Kit:
    """A receiver over an inbox in a folder."""

    def __init__(self, folder: Path, keys: Any = None) -> None:
        self.path = folder / "inbox.sqlite3"
        self.inbox = Inbox(self.path, LocalSealer(folder / "sealing.key"))
        self.receiver = Receiver(SECRET, keys or key(), self.inbox, tolerance=None)

    def take(self, *arguments: Any, **options: Any) -> str:
        headers, body = sent(*arguments, **options)
        return self.receiver.receive(headers, body)[1]

    def refuse(self, code: str, body: bytes) -> None:
        with pytest.raises(WebhookRefused) as caught:
            self.receiver.receive(by_hand(body), body)
        assert caught.value.code == code
        assert caught.value.status == 400


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)


def test_a_delegation_is_kept_and_survives_a_restart(kit: Kit, tmp_path: Path) -> None:
    assert kit.take() == "new"
    kit.inbox.close()
    again = Kit(tmp_path)
    (found,) = again.inbox.delegations()
    assert (found.wallet_id, found.share_set_id, found.chain) == (WALLET, SHARE_SET, "EVM")
    assert found.opened.api_key == API_KEY
    assert found.opened.share["secretShare"] == "s3cr3t"
    assert again.inbox.delegation(WALLET) == found == again.inbox.delegation(WALLET, SHARE_SET)
    assert again.inbox.delegation("another") is again.inbox.delegation(WALLET, "another") is None
    assert "s3cr3t" not in repr(found)
    assert API_KEY not in repr(found)


def test_nothing_readable_is_in_the_files(kit: Kit, tmp_path: Path) -> None:
    kit.take()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for secret in (b"s3cr3t", API_KEY.encode()):
            assert secret not in path.read_bytes()


def test_an_event_is_handled_once_whatever_message_brings_it(kit: Kit) -> None:
    event_id = str(uuid.uuid4())
    assert kit.take(event_id=event_id) == "new"
    assert kit.take(event_id=event_id) == "repeated"
    assert kit.take(event_id=event_id, redelivery=True) == "repeated"
    assert len(kit.inbox.delegations()) == 1
    event_id = str(uuid.uuid4())
    assert [kit.take("ping", {}, event_id=event_id) for _ in range(2)] == ["new", "repeated"]


def test_a_late_created_does_not_bring_a_revoked_delegation_back(kit: Kit) -> None:
    assert kit.take(REVOKED, revoked_data(), now=NOW + 5) == "new"
    assert kit.take(CREATED, now=NOW) == "late"
    assert (
        kit.take(CREATED, now=NOW + 99) == "late"
    )  # a share set is made once; what a clock says does not matter
    assert kit.inbox.delegations() == []


def test_a_revocation_takes_the_secrets_out_of_the_file(kit: Kit) -> None:
    kit.take()
    with sqlite3.connect(kit.path) as connection:
        (sealed,) = connection.execute("SELECT sealed FROM delegation").fetchone()
    connection.close()
    assert sealed[60:100] in kit.path.read_bytes()
    assert kit.take(REVOKED, revoked_data()) == "new"
    assert kit.inbox.delegations() == []
    assert sealed[60:100] not in kit.path.read_bytes()
    assert not kit.path.with_name("inbox.sqlite3-journal").exists()


def test_another_share_set_of_the_wallet_is_not_touched(kit: Kit) -> None:
    other = str(uuid.uuid4())
    kit.take(REVOKED, revoked_data(shareSetId=other))
    assert kit.take() == "new"
    kit.take(REVOKED, revoked_data(shareSetId=str(uuid.uuid4())))
    assert len(kit.inbox.delegations()) == 1


def test_a_sender_that_names_wallets_only_revokes_what_was_before(kit: Kit) -> None:
    """Dynamic's documented ``revoked`` has no share set: what counts is when things happened, not when they came."""
    wallet_only: dict[str, Any] = {"chain": "EVM", "walletId": WALLET}
    unnamed = {name: value for name, value in created_data().items() if name != "shareSetId"}
    assert kit.take(REVOKED, wallet_only, now=NOW + 10) == "new"
    for data in (unnamed, created_data()):
        assert kit.take(CREATED, data, now=NOW + 9) == "late"
        assert kit.take(CREATED, data, now=NOW + 10) == "late"
        assert kit.take(CREATED, data, now=NOW + 11) == "new"
    assert len(kit.inbox.delegations()) == 2
    assert kit.take(REVOKED, wallet_only, now=NOW + 10) == "new"  # an older one that comes later
    assert len(kit.inbox.delegations()) == 2
    assert kit.take(REVOKED, wallet_only, now=NOW + 12) == "new"
    assert kit.inbox.delegations() == []


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_in_whatever_order_they_come_the_outcome_is_the_same(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    """Every event at least once, in any order, with repetitions: in force is what was created and not revoked."""
    sets = ["s1", "s2", "s3"]
    gone = data.draw(st.sets(st.sampled_from(sets)))
    events = [(CREATED, name, str(uuid.uuid4())) for name in sets]
    events += [(REVOKED, name, str(uuid.uuid4())) for name in gone]
    order = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=4))))
    kit = Kit(tmp_path_factory.mktemp("order"))
    share = key().public("key-1").encrypt(b"{}").fields()
    for moment, (name, share_set, event_id) in enumerate(order):
        content = {
            "chain": "EVM",
            "walletId": WALLET,
            "publicKey": "",
            "userId": "u",
            "shareSetId": share_set,
        }
        if name == CREATED:
            content |= {"encryptedDelegatedShare": share, "encryptedWalletApiKey": share}
        kit.take(name, content, now=NOW + moment, event_id=event_id)
    assert {found.share_set_id for found in kit.inbox.delegations()} == set(sets) - gone
    kit.inbox.close()


def test_two_processes_share_an_inbox(tmp_path: Path) -> None:
    first, second = Kit(tmp_path), Kit(tmp_path)
    event_id = str(uuid.uuid4())
    assert [first.take(event_id=event_id), second.take(event_id=event_id)] == ["new", "repeated"]
    assert second.take(REVOKED, revoked_data()) == "new"
    assert first.inbox.delegations() == []


@pytest.mark.parametrize("name", ["encryptedDelegatedShare", "encryptedDelegatedKeyShare", "encryptedShare"])
def test_the_share_may_have_any_of_the_documented_names(kit: Kit, name: str) -> None:
    data = created_data()
    data[name] = data.pop("encryptedDelegatedShare")
    assert kit.take(data=data) == "new"


def test_fields_that_are_not_known_are_legal(kit: Kit) -> None:
    data = created_data(extra={"a": [1]}, version=2)
    data["encryptedWalletApiKey"]["zip"] = "none"
    _, body = sent(data=data)
    body = json.dumps({**json.loads(body), "apiVersion": "2027-01-01", "more": None}).encode()
    assert kit.receiver.receive(by_hand(body), body)[1] == "new"


def test_an_event_of_another_name_is_remembered_and_nothing_else(kit: Kit) -> None:
    assert kit.take("wallet.created", {"walletId": WALLET}) == "new"
    assert kit.inbox.delegations() == []


def test_what_is_not_signed_changes_nothing(kit: Kit) -> None:
    headers, body = sent()
    for wrong in ({}, {**headers, "x-dynamic-signature-256": "sha256=" + "0" * 64}):
        with pytest.raises(WebhookRefused) as caught:
            kit.receiver.receive(wrong, body)
        assert caught.value.status == 401
    assert kit.inbox.delegations() == []
    assert kit.receiver.receive(headers, body)[1] == "new"  # it was not remembered either


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"null", b"\xff", b"{" * 100_000]
    + [b'{"messageId":"m","eventId":"","eventName":"ping","timestamp":"2025-10-01T15:13:26.348Z"}'],
)
def test_a_body_that_says_nothing_is_refused(kit: Kit, body: bytes) -> None:
    kit.refuse("webhook_malformed", body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messageId", 5),
        ("eventId", None),
        ("eventId", "x" * 129),
        ("timestamp", "yesterday"),
        ("timestamp", "2025-10-01T15:13:26.348"),
        ("timestamp", 1),
        ("redelivery", "false"),
        ("data", []),
    ],
)
def test_an_envelope_of_another_form_is_refused(kit: Kit, field: str, value: Any) -> None:
    _, body = sent()
    kit.refuse("webhook_malformed", json.dumps({**json.loads(body), field: value}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"walletId": 5},
        {"walletId": ""},
        {"encryptedDelegatedShare": None},
        {"encryptedDelegatedShare": {"alg": "RSA1_5"}},
        {"encryptedWalletApiKey": "text"},
        {"encryptedShare": {}},
        {"shareSetId": 7},
        {"publicKey": None},
    ],
)
def test_a_delegation_of_another_form_is_refused(kit: Kit, changes: dict[str, Any]) -> None:
    _, body = sent(data=created_data(**changes))
    kit.refuse("webhook_malformed", body)


def test_a_delegation_without_a_share_is_refused(kit: Kit) -> None:
    for name in ("encryptedDelegatedShare", "encryptedWalletApiKey", "walletId"):
        data = created_data()
        del data[name]
        _, body = sent(data=data)
        kit.refuse("webhook_malformed", body)


def test_a_share_of_another_wallet_is_refused(kit: Kit) -> None:
    """A host that signs webhooks itself puts one wallet's ciphertext into another wallet's message."""
    for changes in ({"walletId": str(uuid.uuid4())}, {"shareSetId": str(uuid.uuid4())}):
        _, body = sent(data=created_data(**changes))
        kit.refuse("delegation_mismatch", body)
    assert kit.inbox.delegations() == []


def test_what_does_not_open_is_refused(kit: Kit, tmp_path: Path) -> None:
    recipient = key().public("key-1")
    stranger = DecryptionKey.generate(2048).public("key-1")
    for changes in (
        {"encryptedDelegatedShare": stranger.encrypt(b"{}").fields()},
        {"encryptedWalletApiKey": stranger.encrypt(b"k").fields()},
        {"encryptedDelegatedShare": recipient.encrypt(b"[]").fields()},
        {"encryptedDelegatedShare": recipient.encrypt(b"no json").fields()},
        {"encryptedWalletApiKey": recipient.encrypt(b"\xff").fields()},
    ):
        _, body = sent(data=created_data(**changes))
        kit.refuse("delegation_unopened", body)
    (tmp_path / "other").mkdir()
    rotated = Kit(tmp_path / "other", {"key-1": key(), "key-2": DecryptionKey.generate(2048)})
    assert rotated.take() == "new"
    _, body = sent(data=created_data(encryptedDelegatedShare=key().public("key-3").encrypt(b"{}").fields()))
    rotated.refuse("delegation_unopened", body)


def test_a_reader_asks_for_the_event_that_it_got() -> None:
    _, body = sent("ping", {})
    for reader in (created, revoked):
        with pytest.raises(ValueError, match="ping"):
            reader(parse(body))


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    sealer = LocalSealer(tmp_path / "key")
    (tmp_path / "text").write_bytes(b"not a database" * 100)
    with sqlite3.connect(tmp_path / "foreign") as foreign:
        foreign.execute("CREATE TABLE mine (x)")
    foreign.close()
    for name in ("text", "foreign", "missing/folder"):
        with pytest.raises(StoreError) as caught:
            Inbox(tmp_path / name, sealer)
        assert caught.value.code == "inbox_unusable"


def test_a_record_that_was_moved_or_changed_does_not_open(kit: Kit) -> None:
    kit.take()
    for wallet, share_set, cut in (("other", SHARE_SET, 0), (WALLET, "other", 0), (WALLET, SHARE_SET, 1)):
        with sqlite3.connect(kit.path) as connection:
            connection.execute(
                "UPDATE delegation SET wallet_id = ?, share_set_id = ?, sealed = substr(sealed, 1, length(sealed) - ?)",
                (wallet, share_set, cut),
            )
        connection.close()
        with pytest.raises(StoreError) as caught:
            kit.inbox.delegations()
        assert caught.value.code == "delegation_not_authentic"
