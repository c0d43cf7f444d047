"""Boot phases: the table, the measurement, and what can go wrong in between."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave import manifest
from enclave.boot import LEGAL, Boot, Phase
from enclave.kms_errors import KmsError
from enclave.nsm import NsmError
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Reaction
from protocol.envelope.messages import (
    Attest,
    LinkRequest,
    OpenSession,
    Provision,
    Record,
    Status,
    UpdateCredentials,
)
from simulator.nsm import FakeNsm
from tests.support.manifests import environment, issuer, layer, spki
from tests.support.world import CREDENTIALS, MANIFEST, MEASUREMENTS, PKI, EnclaveInProcess, Host, run

SAMPLES = {
    Attest: Attest(nonce=bytes(32)),
    OpenSession: OpenSession(hello=b"hello"),
    Record: Record(session_id=bytes(16), record=b"record"),
    Provision: Provision(manifest=b"manifest", credentials=CREDENTIALS),
    UpdateCredentials: UpdateCredentials(credentials=CREDENTIALS),
    Status: Status(),
}


async def keys_are_released(parsed: manifest.Manifest) -> None:
    return None


class Opening:
    """Stands for the environments: ``open`` does what the test says.

    :ivar served: whether some environment has its key, though others failed.
    """

    def __init__(self, release=keys_are_released, *, reason: str = "", served: bool = False) -> None:
        self.open = release
        self.reason, self.any_in_service = reason, served


def fresh() -> FakeNsm:
    return FakeNsm(PKI, measurements=MEASUREMENTS)


def test_every_request_has_its_place_in_the_table():
    assert set(SAMPLES) == set(get_args(LinkRequest))
    assert set(LEGAL) == set(Phase)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_the_table_is_what_is_enforced(phase, kind):
    boot = Boot(fresh(), Opening(keys_are_released))
    boot.phase = phase
    if kind in LEGAL[phase]:
        boot.require_legal(SAMPLES[kind])
        return
    with pytest.raises(CosignerError) as refused:
        boot.require_legal(SAMPLES[kind])
    assert refused.value.code == "phase_illegal"


def test_sessions_are_opened_and_served_in_one_phase_only():
    for kind in (OpenSession, Record):
        assert [phase for phase in Phase if kind in LEGAL[phase]] == [Phase.READY]


def test_the_manifest_is_measured_into_pcr16_and_every_pcr_locked_before_keys_are_asked_for():
    async def scenario():
        nsm, order = fresh(), []

        async def release(parsed: manifest.Manifest) -> None:
            order.append([nsm.describe_pcr(index)[0] for index in range(32)])
            order.append(nsm.describe_pcr(16)[1])

        boot = Boot(nsm, Opening(release))
        await boot.provision(MANIFEST.encode())
        assert boot.phase is Phase.READY
        assert order[0] == [True] * 32
        digest = hashlib.sha384(MANIFEST.encode()).digest()
        assert order[1] == hashlib.sha384(bytes(48) + digest).digest()
        with pytest.raises(NsmError):
            nsm.extend_pcr(16, b"more")

    run(scenario)


def test_a_second_manifest_is_refused_in_every_phase():
    async def scenario():
        boot = Boot(fresh(), Opening(keys_are_released))
        await boot.provision(MANIFEST.encode())
        with pytest.raises(CosignerError) as refused:
            await boot.provision(other_manifest())
        assert refused.value.code == "manifest_already_measured"

    run(scenario)


def test_a_host_that_did_not_wait_for_the_answer_may_ask_again():
    async def scenario():
        released = []

        async def slowly(parsed: manifest.Manifest) -> None:
            await asyncio.sleep(0.01)
            released.append(parsed)

        boot = Boot(fresh(), Opening(slowly))
        await asyncio.gather(*(boot.provision(MANIFEST.encode()) for _ in range(3)))
        assert (boot.phase, boot.reason, len(released)) == (Phase.READY, "", 1)

    run(scenario)


def test_keys_that_were_not_released_can_be_asked_for_again_under_the_same_manifest_only():
    async def scenario():
        answers = [CosignerError("storage_unavailable", "no", culprit="storage"), None]

        async def release(parsed: manifest.Manifest) -> None:
            answer = answers.pop(0)
            if answer is not None:
                raise answer

        boot = Boot(fresh(), Opening(release))
        with pytest.raises(CosignerError):
            await boot.provision(MANIFEST.encode())
        assert boot.phase is Phase.AWAITING_KEYS
        assert "storage_unavailable (" in boot.reason
        with pytest.raises(CosignerError) as refused:
            await boot.provision(other_manifest())
        assert refused.value.code == "manifest_already_measured"
        await boot.provision(MANIFEST.encode())
        assert (boot.phase, boot.reason) == (Phase.READY, "")

    run(scenario)


def test_an_enclave_that_serves_some_environments_is_ready_and_may_be_asked_for_the_others():
    async def scenario():
        opening = Opening(reason="live has no data key: kms_denied", served=True)
        answers = [KmsError("kms_denied", "kms", "abort", "words that name a role"), None]

        async def release(parsed: manifest.Manifest) -> None:
            answer = answers.pop(0)
            if answer is not None:
                raise answer

        opening.open = release
        boot = Boot(fresh(), opening)
        with pytest.raises(KmsError):
            await boot.provision(MANIFEST.encode())
        assert (boot.phase, boot.reason) == (Phase.READY, "live has no data key: kms_denied.")
        with pytest.raises(CosignerError) as refused:
            await boot.provision(other_manifest())
        assert refused.value.code == "manifest_already_measured"
        assert boot.phase is Phase.READY
        await boot.provision(MANIFEST.encode())
        assert (boot.phase, boot.reason) == (Phase.READY, "")
        with pytest.raises(CosignerError) as refused:
            await boot.provision(other_manifest())
        assert refused.value.code == "manifest_already_measured"

    run(scenario)


def test_the_reason_tells_everybody_a_code_and_a_step_but_no_words_of_kms():
    async def scenario():
        async def release(parsed: manifest.Manifest) -> None:
            raise KmsError("kms_tls_failed", "host", "abort", "arn:aws:iam::111122223333:role/secret")

        boot = Boot(fresh(), Opening(release))
        with pytest.raises(KmsError):
            await boot.provision(MANIFEST.encode())
        assert boot.phase is Phase.AWAITING_KEYS
        assert "kms_tls_failed (check kms.host" in boot.reason
        assert "secret" not in boot.reason

    run(scenario)


class LyingNsm(FakeNsm):
    """An NSM whose PCR16 does not hold what was extended into it."""

    def describe_pcr(self, index: int) -> tuple[bool, bytes]:
        locked, value = super().describe_pcr(index)
        return (locked, bytes(48)) if index == 16 else (locked, value)


class ForgetfulNsm(FakeNsm):
    """An NSM that does not lock."""

    def lock_pcrs(self, count: int) -> None:
        return None


class RefusingNsm(FakeNsm):
    """An NSM that does not extend."""

    def extend_pcr(self, index: int, data: bytes) -> bytes:
        raise NsmError("InternalError", "no")


@pytest.mark.parametrize("kind", [LyingNsm, ForgetfulNsm, RefusingNsm], ids=lambda kind: kind.__name__)
def test_a_measurement_that_fails_halts_the_enclave_for_ever(kind):
    async def scenario():
        asked = []

        async def release(parsed: manifest.Manifest) -> None:
            asked.append(parsed)

        boot = Boot(kind(PKI, measurements=MEASUREMENTS), Opening(release))
        with pytest.raises(CosignerError) as refused:
            await boot.provision(MANIFEST.encode())
        assert (refused.value.code, refused.value.reaction) == ("measurement_failed", Reaction.BURN)
        assert boot.phase is Phase.HALTED
        assert not asked
        with pytest.raises(CosignerError) as halted:
            boot.require_legal(SAMPLES[Provision])
        assert halted.value.reaction is Reaction.BURN

    run(scenario)


def test_a_manifest_extended_by_somebody_before_us_halts_the_enclave():
    async def scenario():
        nsm = fresh()
        nsm.extend_pcr(16, b"somebody was here")
        boot = Boot(nsm, Opening(keys_are_released))
        with pytest.raises(CosignerError):
            await boot.provision(MANIFEST.encode())
        assert boot.phase is Phase.HALTED

    run(scenario)


def other_manifest(**changes: object) -> bytes:
    fields = {name: getattr(MANIFEST, name) for name in manifest.Manifest.__struct_fields__}
    fields["environments"] = MANIFEST.environments[:1]
    return cbor.encode(manifest.Manifest(**(fields | changes)))


def with_environment(**changes: object) -> bytes:
    return other_manifest(environments=[environment("sandbox", **changes)])


def example_environment(arn: str) -> manifest.Environment:
    """An environment without users."""
    return manifest.Environment(
        id="sandbox",
        kms_key_arn=arn,
        key_policy="pinned",
        issuers=[],
        relying_party=None,
        administrators=[],
        quorum=0,
        session_lifetime_s=86400,
        step_up={"sign": ["signing_key"]},
        policy="",
        recovery=manifest.RecoveryRules(time_lock_s=86400, gate=None),
        lifecycle=manifest.LifecycleRules(max_epoch_age_s=0, backup="optional"),
        delegation=None,
    )


def test_the_example_of_the_specification_is_what_the_code_makes():
    text = (Path(__file__).parents[2] / "docs/spec/manifest.md").read_text()
    found = dict(re.findall(r"^```hex (\w+)\n([0-9a-f\n]+)^```$", text, re.MULTILINE))
    arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    example = manifest.Manifest(
        version=1,
        environments=[example_environment(arn)],
        kms=manifest.KmsEndpoint(region="us-east-1", host="kms.us-east-1.amazonaws.com", port=443, ca_pem=""),
    ).encode()
    assert example == bytes.fromhex(found["manifest"])
    inner = hashlib.sha384(example).digest()
    assert hashlib.sha384(bytes(48) + inner).digest() == bytes.fromhex(found["pcr16"])


ADA = manifest.Administrator(name="ada", algorithm="ed25519", public_key=spki(Ed25519PrivateKey.generate()))


def renamed(administrator: manifest.Administrator) -> manifest.Administrator:
    return msgspec.structs.replace(administrator, name="bea")


BAD_MANIFESTS = {
    "nothing": b"",
    "noise": bytes(range(200)),
    "trailing byte": MANIFEST.encode() + b"\x00",
    "other version": other_manifest(version=2),
    "no environment": other_manifest(environments=[]),
    "environment twice": other_manifest(environments=MANIFEST.environments[:1] * 2),
    "alias instead of a key": with_environment(kms_key_arn="arn:aws:kms:us-east-1:111122223333:alias/mine"),
    "key of another region": with_environment(kms_key_arn="arn:aws:kms:eu-west-1:111122223333:key/1"),
    "slash in a name": with_environment(id="sand/box"),
    "no word on the key policy": with_environment(key_policy=""),
    "unknown word on the key policy": with_environment(key_policy="any"),
    "an issuer twice": with_environment(issuers=[issuer(), issuer()]),
    "an issuer with neither keys nor URL": with_environment(issuers=[issuer(jwks="")]),
    "an issuer with keys and URL": with_environment(issuers=[issuer(url="https://login.example/jwks")]),
    "an issuer over http": with_environment(issuers=[issuer(jwks="", url="http://login.example/jwks")]),
    "keys of an issuer that are none": with_environment(issuers=[issuer(jwks="{}")]),
    "keys of an issuer for no allowed algorithm": with_environment(issuers=[issuer(algorithms=["RS256"])]),
    "epochs that are always due": with_environment(
        lifecycle=manifest.LifecycleRules(max_epoch_age_s=3599, backup="optional")
    ),
    "a word on backups that is none": with_environment(
        lifecycle=manifest.LifecycleRules(max_epoch_age_s=0, backup="perhaps")
    ),
    "a scope that must and must not be": with_environment(issuers=[issuer(forbidden_scopes=["user:basic"])]),
    "a grace of more than a week": with_environment(issuers=[issuer(grace_s=7 * 86400 + 1)]),
    "an administrator twice": with_environment(administrators=[ADA, ADA]),
    "one key of two administrators": with_environment(administrators=[ADA, renamed(ADA)]),
    "an administrator whose key is none": with_environment(
        administrators=[manifest.Administrator(name="ada", algorithm="ed25519", public_key=bytes(44))],
        quorum=1,
    ),
    "an administrator whose key is of another algorithm": with_environment(
        administrators=[manifest.Administrator(name="ada", algorithm="p256", public_key=ADA.public_key)],
        quorum=1,
    ),
    "a quorum that nobody reaches": with_environment(administrators=[ADA], quorum=2),
    "administrators and a quorum of none": with_environment(administrators=[ADA], quorum=0),
    "a quorum without administrators": with_environment(administrators=[], quorum=1),
    "step-up for what is no action": with_environment(step_up={"wallet_get": ["totp"]}),
    "step-up by what is no factor": with_environment(step_up={"sign": ["session_key"]}),
    "step-up by nothing": with_environment(step_up={"sign": []}),
    "step-up by passkeys without a relying party": with_environment(
        step_up={"sign": ["passkey"]}, relying_party=None
    ),
    "a policy that is none": with_environment(policy="{}"),
    "a policy of another layer": with_environment(policy=layer(name="account")),
    "a release gate whose key is none": with_environment(
        recovery=manifest.RecoveryRules(
            time_lock_s=0,
            gate=manifest.Administrator(name="kyc", algorithm="ed25519", public_key=bytes(44)),
        )
    ),
    "newline at the end of a name": with_environment(id="sandbox\n"),
    "too large": b"\x81" * (64 * 1024 + 1),
}


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_a_manifest_that_is_not_right_is_refused_before_anything_is_measured(name):
    async def scenario():
        nsm = fresh()
        boot = Boot(nsm, Opening(keys_are_released))
        with pytest.raises(CosignerError):
            await boot.provision(BAD_MANIFESTS[name])
        assert boot.phase is Phase.AWAITING_MANIFEST
        assert nsm.describe_pcr(16) == (False, bytes(48))
        await boot.provision(MANIFEST.encode())
        assert boot.phase is Phase.READY

    run(scenario)


def test_status_tells_the_phase_and_nothing_secret():
    async def scenario():
        host = Host()
        host.enclave = EnclaveInProcess(host.storage, host.kms)
        assert (await host.ask(Status())).phase == "awaiting_manifest"
        await host.start_enclave()
        reply = await host.ask(Status())
        assert (reply.phase, reply.reason, reply.sessions) == ("ready", "", 0)

    run(scenario)
