"""One contract for all locations: what each of them does, whatever is behind it."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosigner.backups.locations import MAX_BACKUP, LocationError
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import MAX_STORED_VALUE
from tests.cosigner.backups.conftest import KINDS
from tests.cosigner.backups.places import Place, refused, run

AWKWARD = [
    b"\x01",
    b"\r\n--\r\n--boundary--\r\n",
    b"\x00" * 100,
    bytes(range(256)) * 4,
    b'{"error":{"code":404}}',
    b"\xff\xfe\r\n\r\n",
]


def test_a_backup_comes_back_as_it_was(place: Place) -> None:
    name = place.make_name(1)
    for blob in AWKWARD[1:]:
        run(place.location.put(name, blob))
        assert run(place.location.get(name)) == blob
        assert place.contents() == {name: blob}


def test_the_largest_backup_is_kept_and_one_byte_more_is_not_even_sent(place: Place) -> None:
    name = place.make_name(1)
    largest = secrets.token_bytes(MAX_BACKUP)
    run(place.location.put(name, largest))
    assert run(place.location.get(name)) == largest
    error = refused(place.location.put(name, largest + b"x"))
    assert (error.code, error.culprit) == ("backup_too_large", Culprit.CLIENT)
    assert refused(place.location.put(name, b"")).code == "location_refused"
    assert place.contents() == {name: largest}


def test_the_bound_is_the_services() -> None:
    assert MAX_BACKUP == MAX_STORED_VALUE == 65536


def test_names_do_not_get_into_each_others_way(place: Place) -> None:
    names = [place.make_name(number) for number in range(8)]
    blobs = {name: f"backup {name}".encode() for name in names}
    for name, blob in blobs.items():
        run(place.location.put(name, blob))
    assert place.contents() == blobs
    run(place.location.put(names[3], b"another"))
    run(place.location.delete(names[5]))
    for name in names:
        if name == names[5]:
            assert refused(place.location.get(name)).code == "backup_missing"
        else:
            assert run(place.location.get(name)) == (b"another" if name == names[3] else blobs[name])


def test_what_is_missing_is_said_to_be(place: Place) -> None:
    error = refused(place.location.get(place.make_name(1)))
    assert (error.code, error.reaction) == ("backup_missing", Reaction.ABORT)
    assert isinstance(error, CosignerError)


def test_deleting_twice_is_fine(place: Place) -> None:
    name = place.make_name(1)
    run(place.location.delete(name))
    run(place.location.put(name, b"once"))
    run(place.location.delete(name))
    run(place.location.delete(name))
    assert place.contents() == {}
    run(place.location.put(name, b"again"))
    assert run(place.location.get(name)) == b"again"


def test_names_are_listed_in_order_page_by_page(place: Place) -> None:
    if not place.lists:
        assert refused(place.location.names()).code == "location_refused"
        return
    assert run(place.location.names()) == []
    names = ["-", "--", "0", "a", "a-b", "z" * 128, *(place.make_name(number) for number in range(7))]
    for name in reversed(names):
        run(place.location.put(name, name.encode()))
    assert run(place.location.names()) == sorted(names)
    for name in names:
        assert run(place.location.get(name)) == name.encode()


NO_NAMES = [
    "",
    ".",
    "..",
    "../up",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "a\0b",
    "A",
    "é",
    "a b",
    "a%2fb",
    "a\n",
    "a'b",
    "~",
    "$HOME",
]
NO_NAMES += ["a" * 129, "a.backup", "?alt=media", "#", "${f}", "٠", "a' or name != '"]


def test_path_traversal_in_names(place: Place) -> None:
    """A name that could mean anything to a path, a URL or a query goes nowhere."""
    for name in NO_NAMES:
        for work in (place.location.put(name, b"x"), place.location.get(name), place.location.delete(name)):
            error = refused(work)
            assert (error.code, error.culprit) == ("location_refused", Culprit.CLIENT), name
    assert place.contents() == {}
    assert place.server is None or place.server.requests == []


def test_many_at_once(place: Place) -> None:
    names = [place.make_name(number) for number in range(6)]

    async def everything() -> list[bytes]:
        await asyncio.gather(*(place.location.put(name, name.encode()) for name in names))
        return await asyncio.gather(*(place.location.get(name) for name in names))

    assert run(everything()) == [name.encode() for name in names]


def test_a_location_shows_no_token(place: Place) -> None:
    location: Any = place.location
    inside = " ".join(f"{name}={value!r}" for name, value in vars(location).items())
    assert "SECRET" not in f"{location!r} {location} {inside}"


def test_each_says_what_it_is(request: pytest.FixtureRequest, place: Place) -> None:
    assert place.location.kind == request.node.callspec.params["place"]
    assert place.location.kind in KINDS


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "get", "delete", "names"]),
            st.integers(0, 2),
            st.binary(min_size=2, max_size=64),
        ),
        max_size=10,
    )
)
def test_any_order_of_operations_gives_what_a_dict_gives(
    place: Place, steps: list[tuple[str, int, bytes]]
) -> None:
    names = [place.make_name(number) for number in range(3)]

    async def scenario() -> None:
        model: dict[str, bytes] = {}
        for name in names:
            await place.location.delete(name)
        for step, number, blob in steps:
            name = names[number]
            if step == "put":
                await place.location.put(name, blob)
                model[name] = blob
            elif step == "delete":
                await place.location.delete(name)
                model.pop(name, None)
            elif step == "names" and place.lists:
                assert await place.location.names() == sorted(model)
            elif name in model:
                assert await place.location.get(name) == model[name]
            else:
                with pytest.raises(LocationError) as caught:
                    await place.location.get(name)
                assert caught.value.code == "backup_missing"

    run(scenario())
