"""Sealed records against a host that does to them what it can."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave import records as module
from enclave.records import RecordConflictError, StoredRecord, Versioned
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from tests.enclave.accounts.hostile import Died, Hands, HostileStorage, records, unavailable

KEY = "environments/sandbox/notes/a"


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str


class Other(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int


class World:
    """Storage, and an enclave whose cache is always old enough to ask it again."""

    def __init__(self):
        self.storage, self.hands = HostileStorage(), Hands()
        self.enclave = records(self.storage, monotonic=self.hands)

    def restarted(self):
        return records(self.storage, monotonic=self.hands)

    async def read(self, key="a", enclave=None):
        self.hands.seconds += module.CACHE_SECONDS
        return await (enclave or self.enclave).read("notes", key, Note)

    async def write(self, text, expected, key="a", enclave=None):
        return await (enclave or self.enclave).write("notes", key, Note(text), expected=expected)

    async def refused(self, **read):
        with pytest.raises(CosignerError) as caught:
            await self.read(**read)
        assert caught.value.culprit is Culprit.STORAGE
        return caught.value.code


def in_world(scenario):
    """A test in a world of its own."""

    def test():
        asyncio.run(scenario(World()))

    test.__name__ = scenario.__name__
    test.__doc__ = scenario.__doc__
    return test


# --- an honest host -----------------------------------------------------------------------------------------------------------


@in_world
async def test_what_was_written_is_read_again_also_after_a_restart(world):
    assert await world.read() is None
    assert await world.write("one", 0) == 1
    assert await world.write("two", 1) == 2
    for enclave in (world.enclave, world.restarted()):
        assert await world.read(enclave=enclave) == Versioned(Note("two"), 2)


@in_world
async def test_storage_sees_neither_the_value_nor_twice_the_same_bytes(world):
    await world.write("very secret", 0)
    await world.write("very secret", 1)
    (_, first), (_, second) = world.storage.history[KEY]
    assert b"secret" not in first
    assert first != second


@in_world
async def test_a_write_that_expects_another_revision_is_refused_and_changes_nothing(world):
    await world.write("one", 0)
    for expected in (0, 2, 7):
        with pytest.raises(RecordConflictError) as caught:
            await world.write("other", expected)
        assert caught.value.reaction is Reaction.RETRY
    assert (await world.read()).value == Note("one")


@in_world
async def test_two_enclaves_cannot_both_write_the_next_revision(world):
    second = world.restarted()
    await world.write("one", 0)
    await world.read(enclave=second)
    await world.write("mine", 1)
    with pytest.raises(RecordConflictError):
        await world.write("theirs", 1, enclave=second)
    assert (await world.read(enclave=second)).value == Note("mine")


@in_world
async def test_a_value_that_does_not_fit_is_refused_before_anything_is_written(world):
    with pytest.raises(CosignerError) as caught:
        await world.write("x" * (module.MAX_VALUE + 1), 0)
    assert (caught.value.code, world.storage.puts) == ("record_too_large", 0)
    largest = "x" * (module.MAX_VALUE - len(cbor.encode(Note(""))) - 2 - 2)
    await world.write(largest, 0)
    assert len(world.storage.records[KEY][1]) <= 64 << 10


@in_world
async def test_a_read_that_a_write_overtakes_is_no_fault_of_the_hosts(world):
    await world.write("one", 0)
    world.hands.seconds += module.CACHE_SECONDS
    for text, expected in (("two", 1), ("three", 2), ("four", 3)):
        read, _ = await asyncio.gather(world.read(), world.write(text, expected))
        assert read.revision in {expected, expected + 1}


@in_world
async def test_a_read_that_is_overtaken_again_and_again_says_so(world):
    await world.write("one", 0)
    revision = 1
    get = world.storage.get

    async def overtaken(key):
        nonlocal revision
        found = await get(key)
        revision = await world.write("again", revision)
        world.enclave._cache.clear()
        return found

    world.storage.get = overtaken
    with pytest.raises(RecordConflictError):
        await world.read()


@in_world
async def test_an_answer_that_comes_after_the_next_revision_was_seen_does_not_make_it_forgotten(world):
    await world.write("one", 0)
    other, put = world.restarted(), world.storage.put
    await world.read(enclave=other)

    async def slow(key, value, **named):
        world.storage.put = put
        await put(key, value, **named)
        await world.read(enclave=other)
        await world.write("three", 2, enclave=other)
        assert (await world.read()).revision == 3

    world.storage.put = slow
    await world.write("two", 1)
    world.storage.records[KEY] = world.storage.history[KEY][1]
    assert await world.refused() == "epoch_stale"


# --- what stays in memory -------------------------------------------------------------------------------------------------------


@in_world
async def test_a_record_is_not_fetched_again_for_a_while(world):
    await world.write("one", 0)
    for _ in range(5):
        await world.enclave.read("notes", "a", Note)
    assert world.storage.gets == 0
    world.hands.seconds += module.CACHE_SECONDS
    await world.enclave.read("notes", "a", Note)
    assert world.storage.gets == 1


@in_world
async def test_what_another_enclave_wrote_is_seen_after_a_while(world):
    await world.write("one", 0)
    other = world.restarted()
    await world.read(enclave=other)
    await world.write("two", 1, enclave=other)
    assert (await world.enclave.read("notes", "a", Note)).value == Note("two")


@in_world
async def test_decoded_records_make_room_and_what_they_were_is_still_known(world):
    text = "x" * 60_000
    for number in range(module.CACHED_BYTES // 60_000 + 3):
        await world.write(text, 0, key=f"k{number}")
    assert world.enclave._cached_bytes <= module.CACHED_BYTES
    assert world.enclave._cached_bytes == sum(one.size for one in world.enclave._cache.values())
    assert "environments/sandbox/notes/k0" in world.storage.records
    del world.storage.records["environments/sandbox/notes/k0"]
    assert await world.refused(key="k0") == "epoch_stale"


def test_only_so_many_newest_revisions_are_remembered(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 3)

    async def scenario():
        world = World()
        for key in "abcd":
            await world.write("one", 0, key=key)
        assert [name for _, name in world.enclave._newest] == ["b", "c", "d"]

    asyncio.run(scenario())


@in_world
async def test_locks_are_one_for_each_record_and_go_when_nobody_needs_them(world):
    lock = world.enclave.lock("notes", "a")
    assert world.enclave.lock("notes", "a") is lock
    assert world.enclave.lock("notes", "b") is not lock
    del lock
    assert not world.enclave._locks


# --- a hostile host -----------------------------------------------------------------------------------------------------------


@in_world
async def test_a_record_rolled_back_is_refused(world):
    await world.write("one", 0)
    old = world.storage.records[KEY]
    await world.write("two", 1)
    world.storage.records[KEY] = old
    assert await world.refused() == "epoch_stale"


@in_world
async def test_a_record_dropped_is_refused(world):
    await world.write("one", 0)
    del world.storage.records[KEY]
    assert await world.refused() == "epoch_stale"
    with pytest.raises(RecordConflictError):
        await world.write("made anew", 0)


@in_world
async def test_a_record_that_was_only_read_cannot_be_rolled_back_or_dropped_either(world):
    first = world.restarted()
    await world.write("one", 0, enclave=first)
    old = world.storage.records[KEY]
    await world.write("two", 1, enclave=first)
    assert (await world.read()).revision == 2
    world.storage.records[KEY] = old
    assert await world.refused() == "epoch_stale"
    del world.storage.records[KEY]
    assert await world.refused() == "epoch_stale"


@in_world
async def test_a_forked_record_of_the_same_revision_is_refused(world):
    """The host keeps two copies of its storage, one for each of two enclaves, and then shows one the other's record."""
    await world.write("common", 0)
    fork = HostileStorage()
    fork.records = dict(world.storage.records)
    other = records(fork, monotonic=world.hands)
    assert (await world.read(enclave=other)).revision == 1
    await world.write("mine", 1)
    await world.write("theirs", 1, enclave=other)
    world.storage.records[KEY] = fork.records[KEY]
    assert await world.refused() == "record_forked"


@in_world
async def test_records_of_two_keys_swapped_are_refused(world):
    await world.write("a's", 0, key="a")
    await world.write("b's", 0, key="b")
    kept = world.storage.records
    other = "environments/sandbox/notes/b"
    kept[KEY], kept[other] = kept[other], kept[KEY]
    for enclave in (world.enclave, world.restarted()):
        assert await world.refused(key="a", enclave=enclave) == "sealed_record_rejected"


@in_world
async def test_a_record_of_another_kind_is_refused(world):
    await world.enclave.write("other", "a", Note("other"), expected=0)
    world.storage.records[KEY] = world.storage.records["environments/sandbox/other/a"]
    assert await world.refused() == "sealed_record_rejected"


@pytest.mark.parametrize("foreign", [{"environment": "live"}, {"key_arn": "arn:other"}], ids=str)
def test_a_record_of_another_environment_or_kms_key_is_refused(foreign):
    async def scenario():
        world = World()
        elsewhere = HostileStorage()
        await records(elsewhere, **foreign).write("notes", "a", Note("one"), expected=0)
        (world.storage.records[KEY],) = elsewhere.records.values()
        assert await world.refused() == "sealed_record_rejected"

    asyncio.run(scenario())


@in_world
async def test_a_record_under_another_revision_than_it_was_sealed_for_is_refused(world):
    await world.write("one", 0)
    stored = cbor.decode(world.storage.records[KEY][1], StoredRecord, culprit=Culprit.STORAGE)
    forged = StoredRecord(revision=9, sealed=stored.sealed)
    world.storage.records[KEY] = (9, cbor.encode(forged))
    for enclave in (world.enclave, world.restarted()):
        assert await world.refused(enclave=enclave) == "sealed_record_rejected"


@in_world
async def test_a_record_of_which_any_byte_was_altered_is_refused(world):
    await world.write("one", 0)
    _, value = world.storage.records[KEY]
    for position in range(len(value)):
        altered = value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]
        world.storage.records[KEY] = (1, altered)
        assert await world.refused(enclave=world.restarted()) == "sealed_record_rejected"
    for cut in (0, 1, len(value) - 1):
        world.storage.records[KEY] = (1, value[:cut])
        assert await world.refused(enclave=world.restarted()) == "sealed_record_rejected"


@in_world
async def test_a_record_that_holds_another_type_is_refused(world):
    await world.write("one", 0)
    with pytest.raises(CosignerError) as caught:
        await world.enclave.read("notes", "a", Other)
    assert caught.value.code == "sealed_record_rejected"


@in_world
async def test_what_the_host_says_about_epochs_is_not_used(world):
    await world.write("one", 0)
    world.storage.records[KEY] = (77, world.storage.records[KEY][1])
    assert (await world.read(enclave=world.restarted())).revision == 1


# --- writes whose fate is unknown ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("moment", "after"), [("before", "one"), ("after", "two")])
def test_a_write_whose_answer_is_lost_leaves_the_old_record_or_the_new_one(moment, after):
    async def scenario():
        world = World()
        await world.write("one", 0)
        world.storage.faults = [(moment, unavailable())]
        with pytest.raises(CosignerError) as caught:
            await world.write("two", 1)
        assert caught.value.code == "storage_unavailable"
        found = await world.enclave.read("notes", "a", Note)  # at once: nothing of it may be cached
        assert found.value == Note(after)
        assert await world.write("three", found.revision) == found.revision + 1

    asyncio.run(scenario())


@in_world
async def test_a_lost_write_cannot_come_back_once_another_took_its_place(world):
    await world.write("one", 0)
    world.storage.faults = [("after", unavailable())]
    with pytest.raises(CosignerError):
        await world.write("lost", 1)
    lost = world.storage.records[KEY]
    world.storage.records[KEY] = world.storage.history[KEY][0]
    await world.read()
    await world.write("two", 1)
    world.storage.records[KEY] = lost
    assert await world.refused() == "record_forked"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_enclave_that_dies_while_it_writes_leaves_one_of_the_two_records(moment):
    async def scenario():
        world = World()
        await world.write("one", 0)
        world.storage.faults = [(moment, Died)]
        with pytest.raises(Died):
            await world.write("two", 1)
        found = await world.read(enclave=world.restarted())
        assert found.value == Note({"before": "one", "after": "two"}[moment])

    asyncio.run(scenario())


# --- against a model --------------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("ab"), st.sampled_from([None, "before", "after"])),
        st.tuples(st.just("read"), st.sampled_from("ab"), st.none()),
        st.tuples(st.just("roll back"), st.sampled_from("ab"), st.integers(0, 5)),
        st.tuples(st.just("drop"), st.sampled_from("ab"), st.none()),
        st.tuples(st.just("swap"), st.none(), st.none()),
        st.tuples(st.just("honest"), st.none(), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_the_host_does_a_value_that_is_read_is_the_newest_acknowledged_or_a_later_lost_one(steps):
    """The model: of each record, what was acknowledged last, and what was sent since without an answer."""

    async def scenario():
        world = World()
        honest: dict[str, tuple[int, bytes]] = {}
        settled: dict[str, str | None] = {"a": None, "b": None}
        open_writes: dict[str, set[str]] = {"a": set(), "b": set()}
        for number, (step, key, how) in enumerate(steps):
            name = f"environments/sandbox/notes/{key}"
            match step:
                case "write" | "read":
                    found = "refused"
                    with contextlib.suppress(CosignerError):
                        read = await world.read(key=key)
                        found = None if read is None else read.value.text
                        assert found == settled[key] or found in open_writes[key]
                        if (
                            found != settled[key]
                        ):  # one of those without an answer was written; no other can be
                            settled[key], open_writes[key] = found, set()
                    if found == "refused" or step == "read":
                        continue
                    text = f"{number}"
                    world.storage.faults = [None if how is None else (how, unavailable())]
                    try:
                        await world.write(text, 0 if found is None else read.revision, key=key)
                        settled[key], open_writes[key] = text, set()
                    except RecordConflictError:
                        pass
                    except CosignerError:
                        open_writes[key].add(text)
                    world.storage.faults = []
                    honest = dict(world.storage.records)
                case "roll back":
                    past = world.storage.history.get(name, [])
                    if past:
                        world.storage.records[name] = past[how % len(past)]
                case "drop":
                    world.storage.records.pop(name, None)
                case "swap":
                    values = [world.storage.records.get(f"environments/sandbox/notes/{k}") for k in "ba"]
                    for k, value in zip("ab", values, strict=True):
                        if value is not None:
                            world.storage.records[f"environments/sandbox/notes/{k}"] = value
                case "honest":
                    world.storage.records = dict(honest)

    asyncio.run(scenario())
