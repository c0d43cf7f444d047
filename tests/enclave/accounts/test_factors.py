"""Every rule of second factors, of the lock that follows wrong codes, and of recovery, by name."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from enclave.accounts import credentials, factors, recovery, session_keys
from enclave.accounts.user import NO_EVIDENCE, UNLOCKED, Evidence, RecoveryKey, UserRecord
from enclave.authn import codes
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from tests.enclave.accounts.users import (
    DAY,
    HERE,
    LONGEST,
    MINUTE,
    NOW,
    SECOND,
    SECRET,
    add,
    by,
    code_at,
    credential,
    key,
    refused,
    register,
    ten,
    user,
    with_totp,
    wrong_code,
)

FIRST, OTHER, NEW = credential(1), credential(2), credential(3)
KEY = RecoveryKey(algorithm="ed25519", public_key=bytes(44))
DIGEST, SESSION = b"\x0d" * 32, b"\x05" * 32


def spend(record, code, now=NOW, *, cold=False):
    """What :mod:`enclave.accounts.second_factors` does; the record when the code was right."""
    counted = factors.count_attempt(record, now_ms=now, cold=cold)
    use = (
        factors.use_totp(counted, code, now_ms=now)
        if len(code) == 6
        else factors.use_recovery_code(counted, code)
    )
    return use


def guess(record, now=NOW, *, cold=False):
    """A wrong code: the record is what was stored before it was looked at."""
    counted = factors.count_attempt(record, now_ms=now, cold=cold)
    with refused("evidence_invalid"):
        factors.use_totp(counted, wrong_code(now), now_ms=now)
    return counted


# --- TOTP ---------------------------------------------------------------------------------------------------------------------------


def test_a_secret_is_in_force_once_a_code_of_it_was_shown():
    record = factors.begin_totp(user(), SECRET, NO_EVIDENCE, session=HERE, now_ms=NOW)
    assert record.totp is None
    with refused("evidence_invalid"):
        factors.confirm_totp(record, wrong_code(NOW), ten()[1], session=HERE, now_ms=NOW)
    record = factors.confirm_totp(record, code_at(NOW), ten()[1], session=HERE, now_ms=NOW)
    assert (record.totp.secret, record.pending_totp, len(record.recovery_codes)) == (SECRET, None, 10)


def test_the_code_that_confirmed_a_secret_is_used_up():
    record = factors.begin_totp(user(), SECRET, NO_EVIDENCE, session=HERE, now_ms=NOW)
    record = factors.confirm_totp(record, code_at(NOW), ten()[1], session=HERE, now_ms=NOW)
    with refused("evidence_invalid"):
        spend(record, code_at(NOW))


@pytest.mark.parametrize("late", [10 * MINUTE, DAY])
def test_a_secret_is_confirmed_within_ten_minutes(late):
    record = factors.begin_totp(user(), SECRET, NO_EVIDENCE, session=HERE, now_ms=NOW)
    with refused("factor_required"):
        factors.confirm_totp(record, code_at(NOW + late), ten()[1], session=HERE, now_ms=NOW + late)


def test_nothing_is_confirmed_that_was_not_begun():
    with refused("factor_required"):
        factors.confirm_totp(user(), code_at(NOW), ten()[1], session=HERE, now_ms=NOW)


def test_the_secret_in_force_stays_until_the_new_one_is_confirmed():
    record, _ = with_totp(user())
    record = factors.begin_totp(record, bytes(20), SECOND, session=HERE, now_ms=NOW)
    assert spend(record, code_at(NOW))
    record = factors.confirm_totp(record, code_at(NOW, secret=bytes(20)), ten()[1], session=HERE, now_ms=NOW)
    with refused("evidence_invalid"):
        spend(record, code_at(NOW + MINUTE), NOW + MINUTE)


CHANGES = {
    "begin totp": lambda r, e: factors.begin_totp(r, bytes(20), e, session=HERE, now_ms=NOW),
    "remove totp": factors.remove_totp,
    "new recovery codes": lambda r, e: factors.replace_recovery_codes(r, ten()[1], e),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changing_second_factors_takes_a_credential_and_a_code_of_the_present_one(change):
    record, _ = with_totp(user(FIRST), by(FIRST))
    for evidence in (
        NO_EVIDENCE,
        SECOND,
        by(FIRST),
        by(OTHER, second=True),
        Evidence(device_code=True, second_factor=True),
    ):
        with refused("factor_required"):
            change(record, evidence)
    assert change(record, by(FIRST, second=True)) != record


def test_who_has_a_credential_needs_it_for_the_first_second_factor():
    for evidence in (NO_EVIDENCE, Evidence(device_code=True)):
        with refused("factor_required"):
            factors.begin_totp(user(FIRST), SECRET, evidence, session=HERE, now_ms=NOW)
    assert factors.begin_totp(user(FIRST), SECRET, by(FIRST), session=HERE, now_ms=NOW).pending_totp


@pytest.mark.parametrize("drift", [-1, 0, 1])
def test_a_code_works_once_and_those_before_it_not_at_all(drift):
    record, _ = with_totp(user())
    record = spend(record, code_at(NOW, drift=drift))
    for older in range(-1, drift + 1):
        with refused("evidence_invalid"):
            spend(record, code_at(NOW, drift=older))
    if drift < 1:
        assert spend(record, code_at(NOW, drift=drift + 1))


@pytest.mark.parametrize("drift", [-2, 2])
def test_a_code_of_another_time_is_refused(drift):
    record, _ = with_totp(user())
    with refused("evidence_invalid"):
        spend(record, code_at(NOW, drift=drift))


def test_removing_totp_takes_the_recovery_codes_along():
    record, _ = with_totp(user())
    record = factors.remove_totp(record, SECOND)
    assert (record.totp, record.recovery_codes, record.pending_totp) == (None, (), None)
    with refused("factor_required"):
        spend(record, code_at(NOW))


def test_nobody_reads_a_secret_in_a_log():
    record, _ = with_totp(user())
    record = factors.begin_totp(record, bytes(range(50, 70)), SECOND, session=HERE, now_ms=NOW)
    assert repr(SECRET)[2:-1] not in repr(record)
    assert repr(bytes(range(50, 70)))[2:-1] not in repr(record)
    assert repr(record).count("<redacted>") == 2


# --- recovery codes -----------------------------------------------------------------------------------------------------------------


def test_each_of_ten_recovery_codes_works_once():
    record, texts = with_totp(user())
    assert len(set(texts)) == 10
    for number, text in enumerate(reversed(texts), 1):
        record = spend(record, text)
        assert len(record.recovery_codes) == 10 - number
        with refused("evidence_invalid"):
            spend(record, text)


def test_new_recovery_codes_void_the_old_ones():
    record, old = with_totp(user())
    texts, kept = ten()
    record = factors.replace_recovery_codes(record, kept, SECOND)
    for text in old:
        with refused("evidence_invalid"):
            factors.use_recovery_code(record, text)
    assert spend(record, texts[0])


def test_recovery_codes_stand_in_for_totp_alone():
    with refused("factor_required"):
        factors.replace_recovery_codes(user(), ten()[1], NO_EVIDENCE)


def test_a_record_holds_no_recovery_code_only_hashes():
    record, texts = with_totp(user())
    raw = cbor.encode(record)
    assert not any(form.encode() in raw for text in texts for form in (text, text.replace("-", "")))


# --- the lock -----------------------------------------------------------------------------------------------------------------------


def test_the_fifth_wrong_code_locks_for_fifteen_minutes():
    record, _ = with_totp(user())
    for _ in range(5):
        record = guess(record)
    for moment in (NOW, NOW + 15 * MINUTE - 1):
        with refused("factor_locked") as caught:
            factors.count_attempt(record, now_ms=moment, cold=False)
        assert f" {-(-(NOW + 15 * MINUTE - moment) // 1000)} seconds" in caught.value.message
    assert spend(record, code_at(NOW + 15 * MINUTE), NOW + 15 * MINUTE).lockout == UNLOCKED


def test_a_lock_holds_off_right_codes_and_recovery_codes_too():
    record, texts = with_totp(user())
    for _ in range(5):
        record = guess(record)
    for code in (code_at(NOW), texts[0]):
        with refused("factor_locked"):
            spend(record, code)


def test_every_lock_is_twice_as_long_up_to_a_week():
    record, _ = with_totp(user())
    now, lengths = NOW, []
    for _ in range(14):
        for _ in range(5):
            record = guess(record, now)
        lengths.append((record.lockout.until - now) // MINUTE)
        now = record.lockout.until
    week = 7 * 24 * 60
    assert lengths == [min(15 * 2**n, week) for n in range(14)]
    assert lengths[-1] == week


def test_a_right_code_forgives_the_wrong_ones():
    record, _ = with_totp(user())
    for _ in range(4):
        record = guess(record)
    record = spend(record, code_at(NOW))
    assert record.lockout == UNLOCKED
    for _ in range(4):
        record = guess(record)
    assert record.lockout.until == 0


def test_the_attempt_that_would_lock_may_still_be_right():
    record, _ = with_totp(user())
    for _ in range(4):
        record = guess(record)
    assert spend(record, code_at(NOW)).lockout == UNLOCKED


def test_wrong_recovery_codes_count_as_well():
    record, _ = with_totp(user())
    for _ in range(5):
        record = factors.count_attempt(record, now_ms=NOW, cold=False)
        with refused("evidence_invalid"):
            factors.use_recovery_code(record, "0000-0000-0000-0000")
    with refused("factor_locked"):
        factors.count_attempt(record, now_ms=NOW, cold=False)


def test_an_enclave_that_has_seen_no_right_code_yet_locks_after_two():
    record, _ = with_totp(user())
    record = guess(guess(record, cold=True), cold=True)
    with refused("factor_locked"):
        factors.count_attempt(record, now_ms=NOW, cold=True)


def test_who_has_no_second_factor_has_nothing_to_guess():
    with refused("factor_required"):
        factors.count_attempt(user(FIRST), now_ms=NOW, cold=False)
    with refused("factor_required"):
        factors.use_totp(user(FIRST), code_at(NOW), now_ms=NOW)


# --- recovery -----------------------------------------------------------------------------------------------------------------------


def recoverable():
    record, _ = with_totp(user(FIRST, OTHER, keys=3, linked=2), by(FIRST))
    record = credentials.make_device_code(record, codes.make()[1], by(FIRST), now_ms=NOW)
    record = factors.begin_totp(record, bytes(20), by(FIRST, second=True), session=HERE, now_ms=NOW)
    return recovery.set_key(guess(record), KEY, by(FIRST))


def begin(record, *, lock=DAY, now=NOW, digest=DIGEST, credential=NEW, session_key=None):
    return recovery.begin(
        record,
        digest=digest,
        session=SESSION,
        credential=credential,
        session_key=session_key or key(50),
        time_lock_ms=lock,
        now_ms=now,
    )


def complete(record, now=NOW, digest=DIGEST):
    return recovery.complete(record, digest=digest, link=b"\x11" * 32, lifetime_ms=LONGEST, now_ms=now)


def test_recovery_leaves_one_credential_one_session_key_the_logins_and_the_recovery_key():
    before = recoverable()
    after = complete(begin(before, lock=0))
    assert after.credentials == (NEW,)
    assert [one.session_key for one in after.session_keys] == [key(50)]
    assert (after.device_code, after.totp, after.pending_totp, after.recovery_codes) == (None, None, None, ())
    assert (after.lockout, after.pending_recovery) == (UNLOCKED, None)
    assert (after.generation, after.tokens_not_before) == (before.generation + 1, NOW)
    assert (after.logins, after.recovery_key) == (before.logins, KEY)
    assert after.lineage == (*before.lineage, b"\x11" * 32)


def test_nothing_old_works_after_a_recovery():
    after = complete(begin(recoverable(), lock=0))
    for number in range(3):
        with refused("session_key_rejected"):
            session_keys.find(after, key(number), longest_ms=LONGEST, now_ms=NOW)
        with refused("session_key_rejected"):
            register(after, number)
    for old in (FIRST, OTHER):
        with refused("credential_unknown"):
            credentials.find_active(after, old.credential_id)
        with refused("factor_required"):
            add(after, credential(9), by(old))
    with refused("factor_required"):
        spend(after, code_at(NOW))


def test_the_old_credentials_work_until_the_time_lock_has_run_out():
    record = begin(recoverable())
    assert add(record, credential(9), by(FIRST))
    for early in (NOW, NOW + DAY - 1):
        with refused("recovery_pending"):
            complete(record, early)
    assert complete(record, NOW + DAY).credentials == (NEW,)


def test_a_recovery_is_completed_within_a_week_or_void():
    record = begin(recoverable())
    assert complete(record, NOW + 8 * DAY - 1)
    with refused("recovery_refused"):
        complete(record, NOW + 8 * DAY)


def test_another_recovery_than_the_one_under_way_cannot_be_completed():
    record = begin(recoverable(), lock=0)
    with refused("recovery_refused"):
        complete(record, digest=bytes(32))


def test_a_recovery_happens_once():
    record = complete(begin(recoverable(), lock=0))
    with refused("recovery_refused"):
        complete(record)


def test_a_second_request_starts_the_time_lock_anew_in_place_of_the_first():
    record = begin(begin(recoverable()), now=NOW + DAY, digest=b"\x02" * 32, session_key=key(51))
    with refused("recovery_refused"):
        complete(record, NOW + DAY)
    with refused("recovery_pending"):
        complete(record, NOW + DAY, digest=b"\x02" * 32)


def test_any_active_credential_cancels_a_recovery_and_nothing_less_does():
    record = begin(recoverable())
    for evidence in (NO_EVIDENCE, SECOND, by(NEW), Evidence(device_code=True)):
        with refused("factor_required"):
            recovery.cancel(record, evidence)
    for one in (FIRST, OTHER):
        cancelled = recovery.cancel(record, by(one))
        with refused("recovery_refused"):
            complete(cancelled, NOW + DAY)


def test_there_is_nothing_to_cancel_when_no_recovery_is_under_way():
    with refused("recovery_refused"):
        recovery.cancel(recoverable(), by(FIRST))


@pytest.mark.parametrize(
    "new_key", [None, replace(KEY, public_key=bytes(91))], ids=["taken away", "replaced"]
)
def test_a_recovery_under_way_is_void_when_the_recovery_key_changes(new_key):
    record = recovery.set_key(begin(recoverable()), new_key, by(FIRST))
    with refused("recovery_refused"):
        complete(record, NOW + DAY)


def test_the_recovery_key_is_set_by_a_credential():
    for evidence in (NO_EVIDENCE, SECOND, by(NEW)):
        with refused("factor_required"):
            recovery.set_key(recoverable(), None, evidence)


def test_who_is_nobody_or_has_no_recovery_key_is_refused_alike():
    for nobody in (None, user(FIRST)):
        with refused("recovery_refused"):
            recovery.require_key(nobody)


def test_a_service_account_is_not_recovered():
    with refused("recovery_refused"):
        recovery.set_key(user(credential(1, type_="key"), kind="service"), KEY, by(FIRST))


def test_a_session_key_that_was_ever_registered_cannot_come_with_a_recovery():
    record = session_keys.revoke(recoverable(), [key(1)], current=key(0), now_ms=NOW)
    for known in (key(0), key(1)):
        with refused("session_key_rejected"):
            begin(record, session_key=known)
    waiting = begin(record, session_key=key(60))
    with refused("session_key_rejected"):
        complete(register(waiting, 60), NOW + DAY)


def test_five_codes_of_a_secret_that_is_not_in_force_are_looked_at_and_no_more():
    record = factors.begin_totp(user(FIRST), SECRET, by(FIRST), session=HERE, now_ms=NOW)
    for _ in range(5):
        record = factors.count_confirmation(record, session=HERE, now_ms=NOW)
    with pytest.raises(CosignerError) as caught:
        factors.count_confirmation(record, session=HERE, now_ms=NOW)
    assert caught.value.code == "factor_required"
    again = factors.begin_totp(record, SECRET, by(FIRST), session=HERE, now_ms=NOW)
    assert factors.count_confirmation(again, session=HERE, now_ms=NOW).pending_totp.attempts == 1


def test_a_secret_is_confirmed_by_the_session_that_it_was_shown_to():
    """Another session neither confirms it nor uses its attempts up, whatever code it has."""
    record = factors.begin_totp(user(FIRST), SECRET, by(FIRST), session=HERE, now_ms=NOW)
    for other in (bytes(32), b"", HERE[:-1]):
        with refused("factor_required"):
            factors.count_confirmation(record, session=other, now_ms=NOW)
        with refused("factor_required"):
            factors.confirm_totp(record, code_at(NOW), ten()[1], session=other, now_ms=NOW)
    assert factors.confirm_totp(record, code_at(NOW), ten()[1], session=HERE, now_ms=NOW).totp


def test_a_record_from_before_sessions_were_kept_is_read_and_its_secret_has_to_be_made_again():
    record = factors.begin_totp(user(), SECRET, NO_EVIDENCE, session=HERE, now_ms=NOW)
    tree = msgspec.to_builtins(record, builtin_types=(bytes,))
    del tree["pending_totp"]["session"]
    old = cbor.decode(cbor.encode(tree), UserRecord, culprit=Culprit.STORAGE)
    with refused("factor_required"):
        factors.count_confirmation(old, session=HERE, now_ms=NOW)
    assert cbor.encode(old) == cbor.encode(tree)
