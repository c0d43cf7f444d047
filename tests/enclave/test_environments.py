"""Environments do not wait for each other, and documents never promise more than the manifest allows."""

from __future__ import annotations

import pytest

from enclave.environments import Environments
from enclave.key_policy import Measurement, Verdict
from enclave.kms_errors import NEXT_STEPS, KmsError
from enclave.manifest import MANIFEST_PCR, Environment, KmsEndpoint, Manifest, expected_pcr
from protocol.envelope.errors import CosignerError, Reaction
from simulator.nsm import FakeNsm
from tests.support.manifests import environment
from tests.support.world import MEASUREMENTS, PKI, MemoryKms, MemoryStorage, run
from threshold import SealingKey

NAMES = ("first", "second", "third")


def manifest(**modes: str) -> Manifest:
    """One environment for each name; ``pinned`` unless said otherwise."""
    return Manifest(
        version=1,
        environments=[environment(name, key_policy=modes.get(name, "pinned")) for name in NAMES],
        kms=KmsEndpoint(region="us-east-1", host="kms.us-east-1.amazonaws.com", port=443, ca_pem=""),
    )


class Kms(MemoryKms):
    """Judges as the test says.

    :ivar verdicts: by environment; an exception is raised.
    :ivar journal: what was called, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.verdicts: dict[str, Verdict | Exception] = {}
        self.journal: list[tuple[str, str]] = []
        self.asked: list[tuple[Measurement, bool]] = []

    def judge_key(self, key_arn: str, *, ours: Measurement, accept_editable: bool) -> Verdict:
        name = key_arn.rpartition("/")[2]
        self.journal.append(("judge", name))
        self.asked.append((ours, accept_editable))
        verdict = self.verdicts.get(name, Verdict.PINNED)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def generate_data_key(self, key_arn: str, context: dict[str, str]) -> tuple[bytes, bytearray]:
        self.journal.append(("generate", key_arn.rpartition("/")[2]))
        return super().generate_data_key(key_arn, context)

    def decrypt_data_key(self, key_arn: str, ciphertext: bytes, context: dict[str, str]) -> bytearray:
        self.journal.append(("decrypt", key_arn.rpartition("/")[2]))
        return super().decrypt_data_key(key_arn, ciphertext, context)


def denied(reaction: str = "abort") -> KmsError:
    return KmsError("kms_denied", "kms", reaction, "arn:aws:iam::111122223333:role/secret")  # type: ignore[arg-type]


def vault(serving: Environment, _: SealingKey) -> object:
    """What serves an environment; here its name will do."""
    return serving.id


class Rig:
    def __init__(self, kms: Kms | None = None, storage: MemoryStorage | None = None) -> None:
        self.kms, self.storage = kms or Kms(), storage or MemoryStorage()
        self.connections = 0
        self.nsm = FakeNsm(PKI, measurements=MEASUREMENTS)
        self.nsm.lock_pcrs(32)
        self.environments = Environments(self.nsm, self.storage, self._connect, vault)

    async def _connect(self, _: Manifest) -> Kms:
        self.connections += 1
        return self.kms


def served(environments: Environments[object]) -> list[str]:
    """The names that have a vault; the others must be said to have none yet."""
    missing = [name for name in NAMES if name not in environments._in_service]
    for name in missing:
        with pytest.raises(CosignerError) as refused:
            environments.in_service(name)
        assert (refused.value.code, refused.value.reaction) == ("environment_unavailable", Reaction.RETRY)
    return [name for name in NAMES if name not in missing and environments.in_service(name)]


def test_every_key_is_judged_before_its_data_key_is_asked_for_at_every_boot():
    async def scenario():
        rig = Rig()
        await rig.environments.open(manifest())
        again = Rig(rig.kms, rig.storage)
        await again.environments.open(manifest())
        for name in NAMES:
            steps = [step for step, subject in rig.kms.journal if subject == name]
            assert steps == ["judge", "generate", "judge", "decrypt"]

    run(scenario)


def test_the_judge_is_told_this_enclaves_own_measurements_and_the_manifests_wish():
    async def scenario():
        rig, chosen = Rig(), manifest(second="editable")
        await rig.environments.open(chosen)
        ours = Measurement(image=MEASUREMENTS[0], manifest=expected_pcr(chosen.encode()))
        assert sorted(rig.kms.asked, key=str) == sorted([(ours, False), (ours, True), (ours, False)], key=str)
        assert MANIFEST_PCR == 16

    run(scenario)


def test_an_image_measurement_that_is_not_locked_is_not_believed():
    async def scenario():
        rig = Rig()
        rig.environments = Environments(
            FakeNsm(PKI, measurements=MEASUREMENTS), rig.storage, rig._connect, vault
        )
        rig.environments._nsm.describe_pcr = lambda index: (False, MEASUREMENTS[0])
        with pytest.raises(KmsError) as refused:
            await rig.environments.open(manifest())
        assert refused.value.code == "kms_nsm_failed"
        assert rig.kms.journal == []

    run(scenario)


def test_a_refused_key_keeps_nobody_else_from_being_served():
    async def scenario():
        rig = Rig()
        rig.kms.verdicts["second"] = denied()
        with pytest.raises(KmsError) as refused:
            await rig.environments.open(manifest())
        assert refused.value.code == "kms_denied"
        assert served(rig.environments) == ["first", "third"]
        assert ("generate", "second") not in rig.kms.journal
        assert rig.environments.any_in_service
        assert rig.environments.reason == f"second has no data key: kms_denied ({NEXT_STEPS['kms_denied']})"

        rig.kms.journal.clear()
        del rig.kms.verdicts["second"]
        kept = rig.environments.in_service("first")
        await rig.environments.open(manifest())
        assert served(rig.environments) == list(NAMES)
        assert rig.environments.reason == ""
        assert rig.environments.in_service("first") is kept
        assert rig.kms.journal == [("judge", "second"), ("generate", "second")]
        assert rig.connections == 1

    run(scenario)


def test_an_unknown_environment_is_told_from_one_without_a_key():
    async def scenario():
        rig = Rig()
        await rig.environments.open(manifest())
        with pytest.raises(CosignerError) as refused:
            rig.environments.in_service("fourth")
        assert refused.value.code == "environment_unknown"

    run(scenario)


def test_a_failure_that_may_pass_is_reported_first_so_that_the_host_comes_back_soon():
    async def scenario():
        rig = Rig()
        rig.kms.verdicts = {
            "first": denied(),
            "third": KmsError("kms_throttled", "kms", "retry", "slow down"),
        }
        with pytest.raises(KmsError) as refused:
            await rig.environments.open(manifest())
        assert refused.value.code == "kms_throttled"
        assert "first has no data key: kms_denied" in rig.environments.reason
        assert "third has no data key: kms_throttled" in rig.environments.reason
        assert "secret" not in rig.environments.reason

    run(scenario)


def test_a_bug_in_one_environment_is_contained_and_named_without_its_words():
    async def scenario():
        rig = Rig()
        rig.kms.verdicts["first"] = RuntimeError("a secret in a traceback")
        with pytest.raises(RuntimeError):
            await rig.environments.open(manifest())
        assert served(rig.environments) == ["second", "third"]
        assert rig.environments.reason == "first has no data key: internal_error (see the host's log)"

    run(scenario)


PINNED, EDITABLE = Verdict.PINNED, Verdict.EDITABLE
REPORTS = {
    "nothing judged": ({}, {name: denied() for name in NAMES}, "unjudged"),
    "all pinned": ({}, {}, "pinned"),
    "one editable": ({"third": "editable"}, {"third": EDITABLE}, "editable"),
    "editing was allowed, but nobody may": ({"third": "editable"}, {"third": PINNED}, "pinned"),
    "a missing one must become pinned": ({}, {"second": denied()}, "pinned"),
    "a missing one may become editable": ({"second": "editable"}, {"second": denied()}, "editable"),
}


@pytest.mark.parametrize("name", REPORTS)
def test_documents_say_the_worst_that_an_environment_is_or_may_become(name):
    async def scenario():
        modes, verdicts, report = REPORTS[name]
        rig = Rig()
        assert rig.environments.key_policy() == "unjudged"
        rig.kms.verdicts = verdicts
        if any(isinstance(verdict, Exception) for verdict in verdicts.values()):
            with pytest.raises(KmsError):
                await rig.environments.open(manifest(**modes))
        else:
            await rig.environments.open(manifest(**modes))
        assert rig.environments.key_policy() == report

    run(scenario)


@pytest.mark.parametrize("modes", [{}, {"second": "editable"}, {"first": "editable", "third": "editable"}])
def test_what_documents_said_stays_true_whatever_comes_into_service_later(modes):
    """A client that saw ``pinned`` must never be served by an enclave that would now say ``editable``."""

    async def scenario():
        rig, chosen = Rig(), manifest(**modes)
        rig.kms.verdicts = {name: denied() for name in NAMES}
        said = []
        for name in NAMES:
            rig.kms.verdicts[name] = EDITABLE if modes.get(name) == "editable" else PINNED
            if any(isinstance(verdict, Exception) for verdict in rig.kms.verdicts.values()):
                with pytest.raises(KmsError):
                    await rig.environments.open(chosen)
            else:
                await rig.environments.open(chosen)
            said.append(rig.environments.key_policy())
        assert set(said) == {"editable" if modes else "pinned"}

    run(scenario)
