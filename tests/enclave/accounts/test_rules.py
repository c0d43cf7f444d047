"""Every rule of a user's record, by name: logins, session keys, credentials. :mod:`.test_factors` has the rest."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from enclave.accounts import credentials, factors, logins, recovery, session_keys
from enclave.accounts.user import (
    MAX_LINEAGE,
    MAX_REVOKED,
    NO_EVIDENCE,
    Evidence,
    RecoveryKey,
    UserRecord,
    key_login_id,
)
from enclave.authn import codes
from enclave.records import MAX_VALUE
from protocol.accounts import MAX_CREDENTIALS, MAX_LOGINS, MAX_SESSION_KEYS
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from tests.enclave.accounts.users import (
    DAY,
    HERE,
    LONGEST,
    MINUTE,
    NOW,
    SECOND,
    add,
    by,
    credential,
    key,
    login,
    refused,
    register,
    user,
    with_totp,
)

FIRST, OTHER = credential(1), credential(2)
DEVICE = Evidence(device_code=True)


def found(record, number, now=NOW):
    return session_keys.find(record, key(number), longest_ms=LONGEST, now_ms=now)


# --- what a change of oneself takes ---------------------------------------------------------------------------------------------

CHANGES = {
    "link a login": lambda r, e: logins.link(r, login(9), e),
    "unlink a login": lambda r, e: logins.unlink(r, login(1).login_id, e),
    "add a credential": lambda r, e: add(r, credential(9), e),
    "rename a credential": lambda r, e: credentials.change(
        r, FIRST.credential_id, name="x", active=None, evidence=e
    ),
    "deactivate a credential": lambda r, e: credentials.change(
        r, OTHER.credential_id, name=None, active=False, evidence=e
    ),
    "remove a credential": lambda r, e: credentials.remove(r, OTHER.credential_id, e),
    "make a device code": lambda r, e: credentials.make_device_code(r, codes.make()[1], e, now_ms=NOW),
}
WITHOUT_CREDENTIALS = [
    name
    for name in CHANGES
    if name in {"link a login", "unlink a login", "add a credential", "make a device code"}
]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "evidence",
    [NO_EVIDENCE, SECOND, by(credential(3)), Evidence(credential=b"\x00" * 32)],
    ids=["nothing", "a code alone", "an inactive credential", "a foreign credential"],
)
def test_who_has_an_active_credential_must_show_one(change, evidence):
    record = user(FIRST, OTHER, credential(3, active=False), linked=2)
    with refused("factor_required"):
        change(record, evidence)
    assert change(record, by(FIRST)) != record


@pytest.mark.parametrize("name", WITHOUT_CREDENTIALS)
def test_who_has_only_a_second_factor_must_show_that(name):
    record, _ = with_totp(user(linked=2))
    with refused("factor_required"):
        CHANGES[name](record, NO_EVIDENCE)
    assert CHANGES[name](record, SECOND) != record


@pytest.mark.parametrize("name", WITHOUT_CREDENTIALS)
def test_who_has_neither_needs_the_session_alone(name):
    record = user(linked=2)
    assert CHANGES[name](record, NO_EVIDENCE) != record


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "add a credential"])
def test_a_device_code_vouches_for_adding_a_credential_and_nothing_else(name):
    with refused("factor_required"):
        CHANGES[name](user(FIRST, OTHER, linked=2), DEVICE)


# --- logins -----------------------------------------------------------------------------------------------------------------------


def test_several_logins_are_linked_and_unlinking_one_keeps_the_others():
    record = user(linked=3)
    record = logins.unlink(record, login(1).login_id, NO_EVIDENCE)
    assert [one.login_id for one in record.logins] == [login(0).login_id, login(2).login_id]


def test_linking_a_login_again_changes_nothing():
    record = user(linked=2)
    assert logins.link(record, replace(login(1), linked_at=NOW + 5), NO_EVIDENCE) == record


def test_the_last_login_stays():
    with refused("last_login"):
        logins.unlink(user(), login().login_id, NO_EVIDENCE)


def test_a_login_that_is_not_linked_cannot_be_unlinked():
    with refused("login_unknown"):
        logins.unlink(user(linked=2), login(7).login_id, NO_EVIDENCE)


def test_logins_are_limited():
    with refused("login_limit"):
        logins.link(user(linked=MAX_LOGINS), login(9), NO_EVIDENCE)


def test_a_service_account_has_no_logins():
    with refused("login_refused"):
        logins.link(user(kind="service"), login(), NO_EVIDENCE)


def test_unlinking_a_login_ends_the_session_keys_that_it_registered_and_no_others():
    record = register(register(user(linked=2), 1), 2, by_login=login(1).login_id)
    record = logins.unlink(record, login(1).login_id, NO_EVIDENCE)
    assert found(record, 1)
    with refused("session_key_rejected"):
        found(record, 2)


@pytest.mark.parametrize(
    ("issued_at", "good"), [(NOW - 1000, False), (NOW - 1, False), (NOW, True), (NOW + 1, True)]
)
def test_tokens_from_before_all_sessions_were_ended_are_refused(issued_at, good):
    record = session_keys.revoke(user(keys=2), [], current=key(0), now_ms=NOW + 999)
    if good:
        logins.require_fresh_token(record, issued_at)
    else:
        with refused("jwt_expired"):
            logins.require_fresh_token(record, issued_at)


# --- session keys -------------------------------------------------------------------------------------------------------------------


def test_a_session_key_is_good_until_it_expires():
    record = register(user(), 1, lifetime_ms=DAY)
    assert found(record, 1, NOW + DAY - 1).login == login().login_id
    for late in (NOW + DAY, NOW + 2 * DAY):
        with refused("session_key_expired"):
            found(record, 1, late)


def test_a_session_key_never_outlives_policy():
    record = register(user(), 1, lifetime_ms=90 * DAY, longest_ms=DAY)
    assert found(record, 1).expires_at == NOW + DAY


def test_a_stricter_policy_shortens_session_keys_that_exist():
    record = register(user(), 1, lifetime_ms=7 * DAY)
    assert session_keys.find(record, key(1), longest_ms=MINUTE, now_ms=NOW + MINUTE - 1)
    with refused("session_key_expired"):
        session_keys.find(record, key(1), longest_ms=MINUTE, now_ms=NOW + MINUTE)


def test_an_unknown_session_key_opens_nothing():
    with refused("session_key_rejected"):
        found(user(keys=2), 7)


def test_renewal_chains_old_to_new():
    record = register(user(), 1)
    for number in (2, 3):
        record = register(record, number, previous=key(number - 1), now_ms=NOW + number)
    assert [one.session_key for one in record.session_keys] == [key(3)]
    assert found(record, 3).renewed == 2
    assert found(record, 3).expires_at == NOW + 3 + DAY
    for old in (1, 2):
        with refused("session_key_rejected"):
            found(record, old)


@pytest.mark.parametrize(
    ("previous", "now", "code"),
    [(7, NOW, "session_key_rejected"), (1, NOW + DAY, "session_key_expired")],
    ids=["unknown", "expired"],
)
def test_what_is_not_good_cannot_be_renewed(previous, now, code):
    with refused(code):
        register(register(user(), 1), 2, previous=key(previous), now_ms=now)


def test_a_revoked_session_key_cannot_be_renewed_or_registered_again():
    record = session_keys.revoke(user(keys=3), [key(1)], current=key(0), now_ms=NOW)
    with refused("session_key_rejected"):
        register(record, 9, previous=key(1))
    with refused("session_key_rejected"):
        register(record, 1)


def test_a_session_key_cannot_be_registered_twice():
    with refused("session_key_rejected"):
        register(user(keys=2), 1)


def test_revoking_some_session_keys_keeps_the_others():
    record = session_keys.revoke(user(keys=4), [key(1), key(2)], current=key(0), now_ms=NOW)
    assert [one.session_key for one in record.session_keys] == [key(0), key(3)]
    assert record.tokens_not_before == 0


def test_revoking_all_keeps_the_one_in_use():
    record = session_keys.revoke(user(keys=4), [], current=key(2), now_ms=NOW)
    assert [one.session_key for one in record.session_keys] == [key(2)]


def test_the_session_key_in_use_can_be_revoked_too():
    record = session_keys.revoke(user(keys=2), [key(0)], current=key(0), now_ms=NOW)
    with refused("session_key_rejected"):
        found(record, 0)


def test_revoking_an_unknown_key_revokes_nothing():
    with refused("session_key_rejected"):
        session_keys.revoke(user(keys=2), [key(0), key(7)], current=key(1), now_ms=NOW)


def test_session_keys_are_limited_and_the_one_that_expires_first_makes_room():
    record = user()
    for number in range(MAX_SESSION_KEYS):
        record = register(record, number, lifetime_ms=DAY - number)
    record = register(record, 99)
    assert len(record.session_keys) == MAX_SESSION_KEYS
    with refused("session_key_rejected"):
        found(record, MAX_SESSION_KEYS - 1)
    assert found(record, 0)
    assert found(record, 99)


def test_expired_session_keys_make_room_first():
    record = user()
    for number in range(MAX_SESSION_KEYS):
        record = register(record, number, lifetime_ms=MINUTE if number == 5 else DAY)
    record = register(record, 99, now_ms=NOW + MINUTE)
    assert {one.session_key for one in record.session_keys} == {
        key(n) for n in (*range(MAX_SESSION_KEYS), 99) if n != 5
    }


def test_the_newest_revoked_keys_are_remembered():
    record = user()
    for number in range(MAX_REVOKED + 1):
        record = session_keys.revoke(register(record, number), [key(number)], current=key(0), now_ms=NOW)
    assert len(record.revoked) == MAX_REVOKED
    for number in (1, MAX_REVOKED):
        with refused("session_key_rejected"):
            register(record, number)


def test_what_a_change_ended_can_be_told():
    before = user(keys=3)
    after = session_keys.revoke(before, [key(1)], current=key(0), now_ms=NOW)
    assert session_keys.lost(before, after) == {key(1)}
    assert session_keys.lost(before, before) == set()
    assert session_keys.lost(before, register(before, 9)) == set()


# --- credentials --------------------------------------------------------------------------------------------------------------------


def test_the_first_credential_needs_the_session_alone_and_further_ones_an_active_credential():
    record = add(user(), FIRST, NO_EVIDENCE)
    with refused("factor_required"):
        add(record, OTHER, NO_EVIDENCE)
    assert add(record, OTHER, by(FIRST)).credentials == (FIRST, OTHER)


def test_the_first_credential_of_who_has_totp_needs_a_code():
    record, _ = with_totp(user())
    with refused("factor_required"):
        add(record, FIRST, NO_EVIDENCE)
    assert add(record, FIRST, SECOND).credentials == (FIRST,)


def test_a_second_device_is_added_by_a_device_code():
    assert add(user(FIRST), OTHER, DEVICE).credentials == (FIRST, OTHER)


def test_a_credential_is_registered_once():
    with refused("credential_exists"):
        add(user(FIRST), replace(FIRST, name="again"), by(FIRST))


def test_credentials_are_limited_in_number_and_in_bytes():
    with refused("credential_limit"):
        add(user(*(credential(n) for n in range(MAX_CREDENTIALS))), credential(99), by(credential(0)))
    large = [credential(n, credential_id=bytes([n]) * 1023, public_key=bytes(2048)) for n in range(1, 10)]
    record = user(*large[:-1])
    with refused("credential_limit"):
        add(record, large[-1], by(large[0]))


def test_the_largest_record_fits_into_storage():
    held = [
        credential(n, name="x", public_key=bytes(632), attestation_format="x" * 32, sign_count=2**32 - 1)
        for n in range(MAX_CREDENTIALS)
    ]
    assert 0.98 < len(cbor.encode(held)) / credentials.MAX_CREDENTIAL_BYTES <= 1
    record, _ = with_totp(user(*held), by(held[0]))
    for number in range(1, MAX_LOGINS):
        record = logins.link(record, replace(login(number), issuer="\U0001f600" * 256), by(held[0]))
    for number in range(MAX_REVOKED + MAX_SESSION_KEYS):
        record = register(record, number, by_login="x" * 128)
    record = credentials.make_device_code(record, codes.make()[1], by(held[0]), now_ms=NOW)
    record = factors.begin_totp(record, bytes(20), by(held[0], second=True), session=HERE, now_ms=NOW)
    record = recovery.set_key(record, RecoveryKey(algorithm="rsa", public_key=bytes(1024)), by(held[0]))
    record = recovery.begin(
        record,
        digest=bytes(32),
        session=bytes(32),
        session_key=key(999),
        time_lock_ms=DAY,
        now_ms=NOW,
        credential=replace(held[0], credential_id=bytes(1023), public_key=bytes(2048)),
    )
    for one in held:
        record = credentials.change(
            record, one.credential_id, name="\U0001f600" * 64, active=None, evidence=by(held[0])
        )
    record = replace(record, lineage=record.lineage * MAX_LINEAGE)
    raw = cbor.encode(record)
    assert len(raw) <= MAX_VALUE
    assert cbor.decode(raw, UserRecord, culprit=Culprit.STORAGE) == record


def test_a_service_account_has_keys_and_no_passkeys():
    with refused("credential_refused"):
        add(user(kind="service"), FIRST, NO_EVIDENCE)
    assert add(user(kind="service"), credential(1, type_="key"), NO_EVIDENCE).credentials


def test_credentials_are_renamed_deactivated_and_activated():
    record = user(FIRST, OTHER)
    change = lambda record, **what: credentials.change(
        record, OTHER.credential_id, evidence=by(FIRST), **what
    )
    renamed = change(record, name="new", active=None)
    assert renamed.credentials[1] == replace(OTHER, name="new")
    inactive = change(renamed, name=None, active=False)
    assert inactive.credentials[1] == replace(OTHER, name="new", active=False)
    assert inactive.active_credentials == (FIRST,)
    assert change(inactive, name=None, active=True).active_credentials == renamed.credentials


def test_the_last_active_credential_cannot_be_deactivated_or_removed():
    for record in (user(FIRST), user(FIRST, credential(2, active=False))):
        with refused("last_credential"):
            credentials.change(record, FIRST.credential_id, name=None, active=False, evidence=by(FIRST))
        with refused("last_credential"):
            credentials.remove(record, FIRST.credential_id, by(FIRST))


def test_the_last_active_credential_can_be_renamed_and_ends_no_session_by_it():
    one = credential(1, type_="key")
    record = register(user(one, kind="service"), 1, by_login=key_login_id(one.credential_id))
    for active in (None, True):
        renamed = credentials.change(record, one.credential_id, name="new", active=active, evidence=by(one))
        assert renamed == replace(record, credentials=(replace(one, name="new"),))


def test_a_credential_is_removed_also_an_inactive_one():
    inactive = credential(2, active=False)
    assert credentials.remove(user(FIRST, inactive), inactive.credential_id, by(FIRST)).credentials == (
        FIRST,
    )
    assert credentials.remove(user(FIRST, OTHER), FIRST.credential_id, by(FIRST)).credentials == (OTHER,)


@pytest.mark.parametrize(
    "change",
    [
        lambda r, i, e: credentials.change(r, i, name="x", active=None, evidence=e),
        credentials.remove,
        lambda r, i, e: credentials.used(r, i, 1),
        lambda r, i, e: credentials.find_active(r, i),
    ],
)
def test_a_credential_of_somebody_else_is_unknown(change):
    with refused("credential_unknown"):
        change(user(FIRST), OTHER.credential_id, by(FIRST))


def test_an_inactive_credential_vouches_for_nothing():
    record = user(FIRST, credential(2, active=False))
    with refused("credential_inactive"):
        credentials.find_active(record, OTHER.credential_id)
    with refused("credential_inactive"):
        credentials.used(record, OTHER.credential_id, 5)
    assert credentials.find(record, OTHER.credential_id)


@pytest.mark.parametrize("how", ["deactivate", "remove"])
def test_the_sessions_of_a_service_accounts_key_end_with_it(how):
    one, two = credential(1, type_="key"), credential(2, type_="key")
    record = user(one, two, kind="service")
    record = register(record, 1, by_login=key_login_id(one.credential_id))
    record = register(record, 2, by_login=key_login_id(two.credential_id))
    if how == "remove":
        record = credentials.remove(record, one.credential_id, by(two))
    else:
        record = credentials.change(record, one.credential_id, name=None, active=False, evidence=by(two))
    assert found(record, 2)
    with refused("session_key_rejected"):
        found(record, 1)


# --- lineage ------------------------------------------------------------------------------------------------------------------------


def test_the_lineage_begins_with_the_first_credential_and_no_other_adds_to_it():
    assert user().lineage == ()
    record = add(user(), FIRST, NO_EVIDENCE, link=b"\x01" * 32)
    assert record.lineage == (b"\x01" * 32,)
    record = add(record, OTHER, by(FIRST), link=b"\x02" * 32)
    record = credentials.remove(record, FIRST.credential_id, by(FIRST))
    assert add(record, FIRST, by(OTHER), link=b"\x03" * 32).lineage == (b"\x01" * 32,)


def test_every_recovery_adds_to_the_lineage_up_to_a_bound():
    record = add(user(), FIRST, NO_EVIDENCE, link=bytes(32))
    for number in range(1, MAX_LINEAGE + 5):
        key_ = RecoveryKey(algorithm="ed25519", public_key=bytes(44))
        record = recovery.set_key(record, key_, by(record.credentials[0]))
        record = recovery.begin(
            record,
            digest=bytes(32),
            session=bytes(32),
            credential=credential(number),
            session_key=key(number),
            time_lock_ms=0,
            now_ms=NOW,
        )
        record = recovery.complete(
            record, digest=bytes(32), link=bytes([number]) * 32, lifetime_ms=DAY, now_ms=NOW
        )
        assert record.lineage == tuple(bytes([n]) * 32 for n in range(number + 1))[:MAX_LINEAGE]


# --- sign counts --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "shown", "good"),
    [(0, 0, True), (0, 1, True), (5, 6, True), (5, 900, True), (5, 5, False), (5, 4, False), (5, 0, False)],
)
def test_a_sign_count_grows_or_there_is_none(stored, shown, good):
    record = user(credential(1, sign_count=stored))
    if good:
        assert credentials.used(record, FIRST.credential_id, shown).credentials[0].sign_count == shown
    else:
        with refused("evidence_invalid"):
            credentials.used(record, FIRST.credential_id, shown)


def test_one_assertion_cannot_be_counted_twice():
    record = credentials.used(user(FIRST), FIRST.credential_id, 7)
    with refused("evidence_invalid"):
        credentials.used(record, FIRST.credential_id, 7)


def test_an_authenticator_without_counter_changes_nothing():
    record = user(FIRST)
    assert credentials.used(record, FIRST.credential_id, 0) == record


# --- device codes -------------------------------------------------------------------------------------------------------------------


def coded(text_and_hash=None):
    text, kept = text_and_hash or codes.make()
    return credentials.make_device_code(user(FIRST), kept, by(FIRST), now_ms=NOW), text


def test_a_device_code_works_once():
    record, text = coded()
    record = credentials.take_device_code(record, text, now_ms=NOW)
    with refused("device_code_invalid"):
        credentials.take_device_code(record, text, now_ms=NOW)


def test_a_device_code_works_for_ten_minutes():
    record, text = coded()
    assert credentials.take_device_code(record, text, now_ms=NOW + 10 * MINUTE - 1)
    with refused("device_code_invalid"):
        credentials.take_device_code(record, text, now_ms=NOW + 10 * MINUTE)


def test_a_wrong_device_code_and_none_are_refused_alike():
    record, _ = coded()
    for one in (record, user(FIRST)):
        with refused("device_code_invalid"):
            credentials.take_device_code(one, "0000-0000-0000-0000", now_ms=NOW)


def test_a_new_device_code_voids_the_old_one():
    record, old = coded()
    text, kept = codes.make()
    record = credentials.make_device_code(record, kept, by(FIRST), now_ms=NOW)
    with refused("device_code_invalid"):
        credentials.take_device_code(record, old, now_ms=NOW)
    assert credentials.take_device_code(record, text, now_ms=NOW).device_code is None


def test_a_record_holds_no_device_code_only_its_hash():
    record, text = coded()
    raw = cbor.encode(record)
    assert text.encode() not in raw
    assert text.replace("-", "").encode() not in raw
