"""Trust policies: releases that are never mixed, and policy files read strictly."""

import itertools
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation import AWS_NITRO_ROOT_G1, Release, TrustPolicy
from attestation.errors import AttestationError
from attestation.policy_file import dump, load
from attestation.strict_json import CODES, FileError
from attestation.verify import VerifiedAttestation, verify
from tests.attestation.minting import NOW, PCR0, PCR1, PCR2, PCR16, document, fields, root_sha256

A, B, C, D, E = (bytes([number]) * 48 for number in range(1, 6))
FIRST = Release(name="1.0", pcrs={0: A, 1: B, 2: C})
SECOND = Release(name="2.0", pcrs={0: D, 1: B, 2: E})
SIGNED = Release(name="signed", pcrs={0: A, 1: B, 2: C, 8: D})


def judged(measured: dict[int, bytes], *releases: Release, **more: object) -> VerifiedAttestation:
    raw = document(pcrs={**fields()["pcrs"], **measured})
    policy = TrustPolicy(roots=frozenset({root_sha256()}), releases=releases, **more)  # type: ignore[arg-type]
    return verify(raw, policy=policy, at=NOW)


def refused(measured: dict[int, bytes], *releases: Release, **more: object) -> AttestationError:
    with pytest.raises(AttestationError) as caught:
        judged(measured, *releases, **more)
    return caught.value


def test_two_releases_are_valid_at_once_and_never_mixed() -> None:
    for choice in itertools.product((FIRST, SECOND), repeat=3):
        pcrs = {index: release.pcrs[index] for index, release in enumerate(choice)}
        matching = [release for release in (FIRST, SECOND) if release.pcrs == pcrs]
        if matching:
            assert judged(pcrs, FIRST, SECOND).release is matching[0]
        else:
            assert refused(pcrs, FIRST, SECOND).code == "pcr_mismatch"


def test_sets_of_values_for_each_pcr_do_mix_which_is_why_releases_exist() -> None:
    sets = {index: frozenset({FIRST.pcrs[index], SECOND.pcrs[index]}) for index in range(3)}
    assert judged({0: A, 1: B, 2: E}, pcrs=sets).release is None


def test_a_refusal_says_what_differs_and_from_what() -> None:
    error = refused({0: A, 1: B, 2: E}, FIRST)
    assert error.step == 9
    assert error.message == f"of no trusted release: PCR2 is {E.hex()}, though the rest is of release 1.0"
    assert "the rest" not in refused({0: E, 1: E, 2: E}, FIRST).message


def test_the_signer_of_the_image_may_be_part_of_a_release() -> None:
    assert judged({0: A, 1: B, 2: C, 8: D}, SIGNED).release is SIGNED
    assert refused({0: A, 1: B, 2: C, 8: E}, SIGNED).code == "pcr_mismatch"
    assert refused({0: A, 1: B, 2: C}, SIGNED).code == "pcr_mismatch"  # PCR8 is there, and zero


def test_a_pcr_that_only_a_release_names_must_be_in_the_document() -> None:
    with_17 = Release(pcrs={0: A, 1: B, 2: C, 17: D})
    error = refused({0: A, 1: B, 2: C}, with_17)
    assert (error.code, error.step) == ("pcr_missing", 9)
    assert refused({0: A, 1: B, 2: E}, with_17).code == "pcr_mismatch"


@pytest.mark.parametrize("index", [3, 4, 8, 16])
def test_pcrs_beside_the_releases_are_required_as_well(index: int) -> None:
    image = {0: A, 1: B, 2: C}
    wanted = {index: frozenset({D, E})}
    for value in (D, E):
        assert judged({**image, index: value}, FIRST, SECOND, pcrs=wanted).release is FIRST
    assert refused({**image, index: A}, FIRST, SECOND, pcrs=wanted).code == "pcr_mismatch"
    assert refused({0: A, 1: B, 2: E, index: D}, FIRST, SECOND, pcrs=wanted).code == "pcr_mismatch"
    raw = document(pcrs={**image, **{i: bytes(48) for i in range(3, 16) if i != index}})
    policy = TrustPolicy(roots=frozenset({root_sha256()}), releases=(FIRST,), pcrs=wanted)
    with pytest.raises(AttestationError, match="pcr_missing"):
        verify(raw, policy=policy, at=NOW)


def test_debug_mode_is_refused_whatever_the_policy_says() -> None:
    zeros = dict.fromkeys(range(3), bytes(48))
    assert refused(zeros, FIRST).code == "debug_mode"
    with pytest.raises(ValueError, match="debug mode"):
        Release(pcrs=zeros)


def test_only_named_roots_are_trusted() -> None:
    both = frozenset({AWS_NITRO_ROOT_G1, root_sha256()})
    assert verify(document(), policy=TrustPolicy(roots=both), at=NOW).root_sha256 == root_sha256()
    with pytest.raises(AttestationError, match="root_not_trusted"):
        verify(document(), policy=TrustPolicy(), at=NOW)


@pytest.mark.parametrize(
    "pcrs",
    [{}, {0: A}, {0: A, 1: B}, {0: A, 1: B, 2: C[:-1]}, {0: A, 1: B, 2: C, 32: D}, {0: A, 1: B, 2: C, -1: D},
     {0: bytes(48), 1: B, 2: C}],
)  # fmt: skip
def test_releases_without_sense_are_refused(pcrs: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match="."):
        Release(pcrs=pcrs)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "ä", "x" * 101])
def test_names_of_releases_are_safe_to_print(name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        Release(name=name, pcrs=FIRST.pcrs)


def test_a_release_keeps_its_own_copy() -> None:
    mine = {0: A, 1: B, 2: C}
    kept = Release(pcrs=mine)
    mine.clear()
    assert kept.pcrs == {0: A, 1: B, 2: C}
    with pytest.raises(TypeError):
        kept.pcrs[0] = D  # type: ignore[index]


def test_pinned_are_the_pcrs_that_every_release_names() -> None:
    assert TrustPolicy().pinned == frozenset()
    assert TrustPolicy(releases=(FIRST, SIGNED)).pinned == {0, 1, 2}
    assert TrustPolicy(releases=(SIGNED,), pcrs={16: frozenset({A})}).pinned == {0, 1, 2, 8, 16}


# --- files -----------------------------------------------------------------------------------------------------------


def text_of(**changes: object) -> str:
    normal: dict[str, object] = {
        "version": 1,
        "roots": [root_sha256()],
        "releases": [
            {"name": "test", "pcrs": {"0": PCR0.hex(), "1": PCR1.hex(), "2": PCR2.hex()}},
            {"pcrs": {"0": A.hex(), "1": B.hex(), "2": C.hex(), "8": D.hex()}},
        ],
        "pcrs": {"16": [PCR16.hex(), E.hex()]},
        "max_age_s": 60,
        "max_skew_s": 2,
    }
    return json.dumps({key: value for key, value in {**normal, **changes}.items() if value is not None})


def test_a_file_says_everything_that_a_policy_can() -> None:
    policy = load(text_of().encode())
    assert policy.roots == {root_sha256()}
    assert [release.name for release in policy.releases] == ["test", ""]
    assert policy.releases[1].pcrs == {0: A, 1: B, 2: C, 8: D}
    assert policy.pcrs == {16: {PCR16, E}}
    assert (policy.max_age, policy.max_skew) == (timedelta(seconds=60), timedelta(seconds=2))
    verified = verify(document(), policy=policy, at=NOW)
    assert verified.release is policy.releases[0]


def test_what_a_file_does_not_say_is_the_default() -> None:
    policy = load(text_of(roots=None, pcrs=None, max_age_s=None, max_skew_s=None).encode())
    assert policy == TrustPolicy(releases=policy.releases)
    assert policy.roots == {AWS_NITRO_ROOT_G1}


VALUES = st.binary(min_size=48, max_size=48).filter(any)
RELEASES = st.builds(
    Release,
    pcrs=st.fixed_dictionaries(
        {0: VALUES, 1: VALUES, 2: VALUES}, optional={3: VALUES, 8: VALUES, 16: VALUES}
    ),
    name=st.from_regex(r"[ -~]{0,20}", fullmatch=True),
)


@given(
    st.lists(RELEASES, min_size=1, max_size=4, unique_by=lambda release: tuple(release.pcrs.items())),
    st.dictionaries(st.integers(3, 31), st.frozensets(VALUES, min_size=1, max_size=3), max_size=3),
    st.integers(0, 366 * 86400),
    st.integers(0, 3600),
)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(
    releases: list[Release], pcrs: dict[int, frozenset[bytes]], age: int, skew: int
) -> None:
    policy = TrustPolicy(
        releases=tuple(releases), pcrs=pcrs, max_age=timedelta(seconds=age), max_skew=timedelta(seconds=skew)
    )
    assert load(dump(policy).encode()) == policy


@pytest.mark.parametrize(
    "policy",
    [
        TrustPolicy(),
        TrustPolicy(releases=(FIRST,), pcrs={0: frozenset({A})}),
        TrustPolicy(releases=(FIRST, FIRST)),
        TrustPolicy(releases=(FIRST,), max_age=timedelta(milliseconds=5)),
        TrustPolicy(releases=(FIRST,), max_age=timedelta(days=400)),
        TrustPolicy(releases=(FIRST,), pcrs={5: frozenset({bytes(48)})}),
    ],
)
def test_what_a_file_cannot_say_is_not_written(policy: TrustPolicy) -> None:
    with pytest.raises(FileError):
        dump(policy)


IMAGE = {"0": A.hex(), "1": B.hex(), "2": C.hex()}
H = D.hex()


def one(**changes: object) -> list[dict[str, object]]:
    return [{"pcrs": IMAGE, **changes}]


BAD: list[tuple[str, Callable[[], str], str]] = [
    ("empty", lambda: "", "json_malformed"),
    ("a list", lambda: f"[{text_of()}]", "json_malformed"),
    ("two objects", lambda: text_of() * 2, "json_malformed"),
    ("cut short", lambda: text_of()[:-1], "json_malformed"),
    ("byte order mark", lambda: "\ufeff" + text_of(), "json_malformed"),
    ("repeated field", lambda: text_of().replace("{", '{"version": 1, ', 1), "json_malformed"),
    ("repeated releases", lambda: text_of()[:-1] + f', "releases": {json.dumps(one())}}}', "json_malformed"),
    ("repeated PCR", lambda: text_of().replace('"0": ', f'"0": "{H}", "0": ', 1), "json_malformed"),
    ("NaN", lambda: text_of().replace("60", "NaN"), "json_malformed"),
    ("deep", lambda: text_of(roots=None).replace("1", "[" * 40 + "1" + "]" * 40, 1), "json_malformed"),
    ("very deep", lambda: "[" * 60_000, "json_malformed"),
    ("brackets in a string do not count", lambda: text_of(extra="[" * 60), "field_unknown"),
    ("number of many digits", lambda: text_of().replace("60", "9" * 5000), "json_malformed"),
    ("comment", lambda: text_of() + "// trust me", "json_malformed"),
    ("64 KiB and a byte", lambda: text_of().ljust(64 * 1024 + 1), "file_too_large"),
    ("no version", lambda: text_of(version=None), "field_missing"),
    ("version 2", lambda: text_of(version=2, new=1), "version_unknown"),
    ("version as text", lambda: text_of(version="1"), "version_unknown"),
    ("version true", lambda: text_of(version=True), "version_unknown"),
    ("no releases", lambda: text_of(releases=None), "field_missing"),
    ("empty releases", lambda: text_of(releases=[]), "field_invalid"),
    ("unknown field", lambda: text_of(skip_checks=True), "field_unknown"),
    ("field in another case", lambda: text_of(Roots=[root_sha256()]), "field_unknown"),
    ("a release twice", lambda: text_of(releases=one() * 2), "field_invalid"),
    ("a release twice under two names", lambda: text_of(releases=[*one(name="a"), *one(name="b")]), "field_invalid"),
    ("65 releases", lambda: text_of(releases=[{"pcrs": {**IMAGE, "5": f"{n:096x}"}} for n in range(1, 66)]), "field_invalid"),
    ("release without PCR2", lambda: text_of(releases=[{"pcrs": {"0": H, "1": H}}]), "field_missing"),
    ("release with PCR 32", lambda: text_of(releases=[{"pcrs": {**IMAGE, "32": H}}]), "field_unknown"),
    ("release with PCR 08", lambda: text_of(releases=[{"pcrs": {**IMAGE, "08": H}}]), "field_unknown"),
    ("release with a list", lambda: text_of(releases=[{"pcrs": {**IMAGE, "8": [H]}}]), "field_invalid"),
    ("release with a note", lambda: text_of(releases=one(note="x")), "field_unknown"),
    ("release without pcrs", lambda: text_of(releases=[{"name": "x"}]), "field_missing"),
    ("release is text", lambda: text_of(releases=["1.0"]), "field_invalid"),
    ("empty name", lambda: text_of(releases=one(name="")), "field_invalid"),
    ("name with escape codes", lambda: text_of(releases=one(name="\x1b[2J")), "field_invalid"),
    ("name is a number", lambda: text_of(releases=one(name=1)), "field_invalid"),
    ("PCR of 32 bytes", lambda: text_of(releases=[{"pcrs": {**IMAGE, "0": "ab" * 32}}]), "field_invalid"),
    ("PCR of 49 bytes", lambda: text_of(releases=[{"pcrs": {**IMAGE, "0": H + "ab"}}]), "field_invalid"),
    ("PCR in upper case", lambda: text_of(releases=[{"pcrs": {**IMAGE, "0": "AB" * 48}}]), "field_invalid"),
    ("PCR with spaces", lambda: text_of(releases=[{"pcrs": {**IMAGE, "0": H[:-1] + " "}}]), "field_invalid"),
    ("PCR zero", lambda: text_of(releases=[{"pcrs": {**IMAGE, "0": "00" * 48}}]), "field_invalid"),
    ("image PCR beside the releases", lambda: text_of(pcrs={"0": [H]}), "field_invalid"),
    ("PCR without values", lambda: text_of(pcrs={"16": []}), "field_invalid"),
    ("PCR with a value twice", lambda: text_of(pcrs={"16": [H, H]}), "field_invalid"),
    ("PCR not in a list", lambda: text_of(pcrs={"16": H}), "field_invalid"),
    ("PCR 32", lambda: text_of(pcrs={"32": [H]}), "field_unknown"),
    ("PCRs as list", lambda: text_of(pcrs=[H]), "field_invalid"),
    ("no roots in the list", lambda: text_of(roots=[]), "field_invalid"),
    ("a root twice", lambda: text_of(roots=[root_sha256()] * 2), "field_invalid"),
    ("root in upper case", lambda: text_of(roots=[root_sha256().upper()]), "field_invalid"),
    ("root of 20 bytes", lambda: text_of(roots=["ab" * 20]), "field_invalid"),
    ("root as file name", lambda: text_of(roots="root.pem"), "field_invalid"),
    ("nine roots", lambda: text_of(roots=[f"{n:064x}" for n in range(9)]), "field_invalid"),
    ("negative age", lambda: text_of(max_age_s=-1), "field_invalid"),
    ("age as fraction", lambda: text_of(max_age_s=1.5), "field_invalid"),
    ("age as text", lambda: text_of(max_age_s="300"), "field_invalid"),
    ("age true", lambda: text_of(max_age_s=True), "field_invalid"),
    ("age of a thousand years", lambda: text_of(max_age_s=10**11), "field_invalid"),
    ("age that overflows", lambda: text_of().replace("60", "1e999"), "field_invalid"),
    ("skew of a day", lambda: text_of(max_skew_s=86400), "field_invalid"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "code"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_every_other_file_is_refused(make: Callable[[], str], code: str) -> None:
    with pytest.raises(FileError) as caught:
        load(make().encode())
    assert caught.value.code == code
    assert caught.value.message.isascii()


def test_every_code_has_a_file() -> None:
    assert {code for *_, code in BAD} == CODES.keys()


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_a_file_error(raw: bytes) -> None:
    with pytest.raises(FileError):
        load(raw)


@given(st.integers(0), st.text(alphabet='{}[]":,0123456789abcdef', max_size=6), st.integers(0, 40))
@settings(max_examples=500, deadline=None)
def test_an_altered_file_is_refused_or_still_pins_the_image(start: int, inserted: str, removed: int) -> None:
    text = text_of()
    start %= len(text)
    try:
        policy = load((text[:start] + inserted + text[start + removed :]).encode())
    except FileError:
        return
    assert policy.releases
    assert {0, 1, 2} <= policy.pinned
