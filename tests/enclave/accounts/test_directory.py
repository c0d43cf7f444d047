"""Users and their logins in storage that fails, under enclaves that die at any write, and with many who come at once."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from msgspec.structs import replace

from enclave.accounts import logins
from enclave.accounts.directory import CLAIM_MS, LOGINS, USERS, Directory, LoginIndex
from enclave.accounts.user import NO_EVIDENCE, UserRecord
from enclave.storage import StorageConflictError
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from tests.enclave.accounts.hostile import Died, HostileStorage, records, unavailable
from tests.enclave.accounts.users import NOW, add, by, credential, login, refused

L, M = login(0), login(1)
ENDS = pytest.mark.parametrize("error", [Died, unavailable()], ids=["the enclave dies", "storage fails"])
CUTS = pytest.mark.parametrize(("moment", "write"), list(itertools.product(["before", "after"], range(2))))


class World:
    """Storage, and any number of enclaves over it."""

    def __init__(self):
        self.storage = HostileStorage()
        self.directory = self.started()

    def started(self) -> Directory:
        return Directory(records(self.storage))

    async def user(self, one=L):
        return (await self.directory.log_in(one, now_ms=NOW))[0]

    async def index(self, login_id: str) -> str | None:
        found = await records(self.storage).read(LOGINS, login_id, LoginIndex)
        return None if found is None else found.value.user_id

    async def all_users(self) -> list[UserRecord]:
        prefix = "environments/sandbox/users/"
        reader = records(self.storage)
        ids = [key.removeprefix(prefix) for key in self.storage.records if key.startswith(prefix)]
        return [(await reader.read(USERS, user_id, UserRecord)).value for user_id in ids]

    async def require_agreement(self):
        """A login that somebody can use is one user's, in both records."""
        fresh, users = self.started(), await self.all_users()
        for one in (L, M):
            owner = await fresh.by_login(one.login_id)
            claims = [user.user_id for user in users if logins.has(user, one.login_id)]
            indexed = await self.index(one.login_id)
            if owner is not None:
                assert owner.user_id == indexed
                assert owner.user_id in claims
            else:
                assert indexed is None or indexed not in claims


def in_world(scenario):
    def test():
        asyncio.run(scenario(World()))

    test.__name__ = scenario.__name__
    test.__doc__ = scenario.__doc__
    return test


# --- the first login makes the user ---------------------------------------------------------------------------------------------


@in_world
async def test_the_first_login_makes_a_user_and_the_next_finds_it(world):
    user, created = await world.directory.log_in(L, now_ms=NOW)
    assert created
    for directory in (world.directory, world.started()):
        assert await directory.log_in(L, now_ms=NOW) == (user, False)
        assert await directory.by_login(L.login_id) == user
        assert await directory.get(user.user_id) == user


@in_world
async def test_who_never_logged_in_is_nobody(world):
    assert await world.directory.by_login(L.login_id) is None
    assert await world.directory.get("a0000000-0000-4000-8000-000000000000") is None
    with refused("user_unknown"):
        await world.directory.require("a0000000-0000-4000-8000-000000000000")
    with refused("user_unknown"):
        await world.directory.change("a0000000-0000-4000-8000-000000000000", lambda record: record)


@in_world
async def test_many_first_logins_at_once_make_one_user(world):
    came = await asyncio.gather(*(world.directory.log_in(L, now_ms=NOW) for _ in range(10)))
    assert len(await world.all_users()) == 1
    assert len({user.user_id for user, _ in came}) == 1
    assert sum(created for _, created in came) == 1


@in_world
async def test_first_logins_at_several_enclaves_at_once_make_one_user(world):
    enclaves = [world.started() for _ in range(4)]
    came = await asyncio.gather(*(enclave.log_in(L, now_ms=NOW) for enclave in enclaves))
    assert len({user.user_id for user, _ in came}) == 1
    assert sum(created for _, created in came) == 1
    await world.require_agreement()


@ENDS
@CUTS
def test_a_first_login_that_is_cut_short_at_any_write_can_be_repeated(moment, write, error):
    async def scenario():
        world = World()
        world.storage.faults = [None] * write + [(moment, error)]
        with pytest.raises((Died, CosignerError)):
            await world.directory.log_in(L, now_ms=NOW)
        await world.require_agreement()
        directory = world.started() if error is Died else world.directory
        user, _ = await directory.log_in(L, now_ms=NOW)
        assert await world.started().by_login(L.login_id) == user
        await world.require_agreement()

    asyncio.run(scenario())


# --- linked logins ----------------------------------------------------------------------------------------------------------------


@in_world
async def test_any_linked_login_finds_the_user_and_unlinking_one_keeps_the_others(world):
    user = await world.user()
    await world.directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
    for one in (L, M):
        assert (await world.directory.by_login(one.login_id)).user_id == user.user_id
    before, after = await world.directory.unlink(user.user_id, L.login_id, NO_EVIDENCE, now_ms=NOW)
    assert (len(before.logins), len(after.logins)) == (2, 1)
    assert await world.directory.by_login(L.login_id) is None
    assert (await world.directory.by_login(M.login_id)).user_id == user.user_id
    with refused("last_login"):
        await world.directory.unlink(user.user_id, M.login_id, NO_EVIDENCE, now_ms=NOW)


@in_world
async def test_a_login_belongs_to_one_user(world):
    first, second = await world.user(L), await world.user(M)
    with refused("login_taken"):
        await world.directory.link(second.user_id, L, NO_EVIDENCE, now_ms=NOW)
    assert (await world.directory.by_login(L.login_id)).user_id == first.user_id
    assert (await world.directory.get(second.user_id)).logins == (M,)


@in_world
async def test_an_unlinked_login_makes_a_new_user_or_is_linked_by_another(world):
    user = await world.user()
    await world.directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
    await world.directory.unlink(user.user_id, L.login_id, NO_EVIDENCE, now_ms=NOW)
    other, created = await world.directory.log_in(L, now_ms=NOW)
    assert created
    assert other.user_id != user.user_id
    await world.require_agreement()


@in_world
async def test_a_link_without_the_evidence_for_it_writes_nothing(world):
    user = await world.user()
    await world.directory.change(user.user_id, lambda r: add(r, credential(1), NO_EVIDENCE))
    puts = world.storage.puts
    with refused("factor_required"):
        await world.directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
    assert world.storage.puts == puts
    assert await world.directory.link(user.user_id, M, by(credential(1)), now_ms=NOW)


@ENDS
@CUTS
@pytest.mark.parametrize("then", ["again", "log in", "another links"])
def test_a_link_that_is_cut_short_at_any_write_gives_the_login_to_at_most_one_user(
    moment, write, error, then
):
    async def scenario():
        world = World()
        user, other = await world.user(), await world.user(login(7))
        world.storage.faults = [None] * write + [(moment, error)]
        with pytest.raises((Died, CosignerError)):
            await world.directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
        await world.require_agreement()
        linked = await world.started().by_login(M.login_id) is not None
        directory, later = world.started(), NOW + CLAIM_MS
        match then:
            case "again":
                await directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
                expected = user.user_id
            case "log in":
                found, created = await directory.log_in(M, now_ms=later)
                assert created != linked
                expected = user.user_id if linked else found.user_id
            case "another links" if linked:
                with refused("login_taken"):
                    await directory.link(other.user_id, M, NO_EVIDENCE, now_ms=later)
                expected = user.user_id
            case _:
                await directory.link(other.user_id, M, NO_EVIDENCE, now_ms=later)
                expected = other.user_id
        assert (await world.started().by_login(M.login_id)).user_id == expected
        await world.require_agreement()

    asyncio.run(scenario())


@ENDS
@CUTS
def test_an_unlink_that_is_cut_short_at_any_write_leaves_the_login_linked_or_nobodys(moment, write, error):
    async def scenario():
        world = World()
        user = await world.user()
        await world.directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
        world.storage.faults = [None] * write + [(moment, error)]
        try:
            await world.directory.unlink(user.user_id, M.login_id, NO_EVIDENCE, now_ms=NOW)
            cut = False
        except (Died, CosignerError):
            cut = True
        assert (
            cut or write == 1
        )  # once the record is written the login is unlinked, whatever storage says of the index
        await world.require_agreement()
        owner = await world.started().by_login(M.login_id)
        assert owner is None or (cut and write == 0 and moment == "before")
        found, created = await world.started().log_in(M, now_ms=NOW + CLAIM_MS)
        assert created == (owner is None)
        assert (found.user_id == user.user_id) == (owner is not None)
        await world.require_agreement()

    asyncio.run(scenario())


@in_world
async def test_a_login_that_another_enclave_is_linking_is_left_alone_for_a_while(world):
    user = await world.user()
    world.storage.faults = [None, ("before", Died)]
    with pytest.raises(Died):
        await world.directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
    other = await world.user(login(7))
    for attempt in (
        lambda directory, now: directory.log_in(M, now_ms=now),
        lambda directory, now: directory.link(other.user_id, M, NO_EVIDENCE, now_ms=now),
    ):
        with pytest.raises(CosignerError) as caught:
            await attempt(world.started(), NOW + CLAIM_MS - 1)
        assert (caught.value.code, caught.value.reaction) == ("user_conflict", Reaction.RETRY)


@in_world
async def test_two_users_who_link_one_login_at_once_do_not_both_get_it(world):
    first, second = await world.user(login(5)), await world.user(login(6))
    for pair in ((world.directory, world.directory), (world.started(), world.started())):
        results = await asyncio.gather(
            pair[0].link(first.user_id, L, NO_EVIDENCE, now_ms=NOW),
            pair[1].link(second.user_id, L, NO_EVIDENCE, now_ms=NOW),
            return_exceptions=True,
        )
        assert sum(isinstance(one, UserRecord) for one in results) == 1
        assert {one.code for one in results if isinstance(one, CosignerError)} <= {
            "login_taken",
            "user_conflict",
        }
        await world.require_agreement()


# --- an index and a record that do not agree --------------------------------------------------------------------------------------


@in_world
async def test_an_index_whose_user_does_not_list_the_login_gives_nobody_access(world):
    user = await world.user()
    old_index = world.storage.records[f"environments/sandbox/{LOGINS}/{L.login_id}"]
    await world.directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
    await world.directory.unlink(user.user_id, L.login_id, NO_EVIDENCE, now_ms=NOW)
    world.storage.records[f"environments/sandbox/{LOGINS}/{L.login_id}"] = old_index
    assert await world.started().by_login(L.login_id) is None
    found, created = await world.started().log_in(L, now_ms=NOW + CLAIM_MS)
    assert created
    assert found.user_id != user.user_id


@in_world
async def test_a_record_whose_login_the_index_gives_to_somebody_else_is_not_found_by_it(world):
    user = await world.user()
    path = f"environments/sandbox/{USERS}/{user.user_id}"
    await world.directory.link(user.user_id, M, NO_EVIDENCE, now_ms=NOW)
    with_login = world.storage.records[path]
    await world.directory.unlink(user.user_id, L.login_id, NO_EVIDENCE, now_ms=NOW)
    other, _ = await world.directory.log_in(L, now_ms=NOW)
    world.storage.records[path] = with_login
    assert (await world.started().by_login(L.login_id)).user_id == other.user_id


@in_world
async def test_a_login_whose_user_is_gone_is_refused_and_makes_no_new_user(world):
    """An enclave that made the user again, empty, would hand all of the user's wallets to whoever has the login."""
    user = await world.user()
    del world.storage.records[f"environments/sandbox/{USERS}/{user.user_id}"]
    with pytest.raises(CosignerError) as caught:
        await world.started().log_in(L, now_ms=NOW)
    assert (caught.value.code, caught.value.culprit) == ("epoch_stale", Culprit.STORAGE)


# --- changes ----------------------------------------------------------------------------------------------------------------------


def renamed(name):
    return lambda record: replace(record, name=record.name + name)


@in_world
async def test_changes_at_once_all_happen_one_after_the_other(world):
    user = await world.user()
    await asyncio.gather(*(world.directory.change(user.user_id, renamed(name)) for name in "abcdefgh"))
    assert sorted((await world.started().get(user.user_id)).name) == list("abcdefgh")


@in_world
async def test_changes_of_several_enclaves_at_once_all_happen(world):
    user = await world.user()
    enclaves = [world.started() for _ in range(3)]
    await asyncio.gather(
        *(one.change(user.user_id, renamed(name)) for one, name in zip(enclaves, "abc", strict=True))
    )
    assert sorted((await world.started().get(user.user_id)).name) == list("abc")


@in_world
async def test_a_change_that_changes_nothing_is_not_written(world):
    user = await world.user()
    puts = world.storage.puts
    assert await world.directory.change(user.user_id, replace) == user
    assert world.storage.puts == puts


@in_world
async def test_a_host_that_always_reports_a_conflict_is_not_asked_for_ever(world):
    user = await world.user()
    world.storage.faults = [("before", StorageConflictError(5))] * 50
    with pytest.raises(CosignerError) as caught:
        await world.directory.change(user.user_id, renamed("x"))
    assert (caught.value.code, caught.value.reaction) == ("user_conflict", Reaction.RETRY)
    world.storage.faults = []
    assert (await world.started().get(user.user_id)).name == ""


@in_world
async def test_a_refused_transition_changes_nothing(world):
    user = await world.user()
    puts = world.storage.puts
    with refused("last_login"):
        await world.directory.change(user.user_id, lambda r: logins.unlink(r, L.login_id, NO_EVIDENCE))
    assert (world.storage.puts, await world.directory.get(user.user_id)) == (puts, user)
