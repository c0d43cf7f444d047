"""Data keys through the real KMS client, the real tunnel code and the KMS simulator over HTTPS: when KMS, or who plays it, misbehaves."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config

from enclave.boot import Boot, Phase
from enclave.credentials import Credentials
from enclave.environments import Environments
from enclave.kms import AttestedKms, KmsError
from enclave.manifest import MANIFEST_PCR, Environment, KmsEndpoint, Manifest, expected_pcr
from enclave.tunnel import Tunnel
from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import Culprit
from simulator.kms import Fault, KmsSimulator, key_policy
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki
from simulator.stack import OPERATOR, editable
from tests.support.manifests import environment
from tests.support.tunnel_port import TunnelPort
from tests.support.world import CREDENTIALS, MEASUREMENTS, MemoryStorage, run
from threshold import SealingKey

NAME = "kms.us-east-1.amazonaws.com"


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("kms")


@pytest.fixture(scope="module")
def simulator(state):
    with KmsSimulator(state) as running:
        yield running


@pytest.fixture(autouse=True)
def behave(simulator):
    yield
    simulator.faults.clear()


def manifest_for(simulator, key_arn: str) -> Manifest:
    return Manifest(
        version=1,
        environments=[environment("sandbox", kms_key_arn=key_arn, key_policy="editable")],
        kms=KmsEndpoint(region="us-east-1", host=NAME, port=443, ca_pem=simulator.ca_pem.decode()),
    )


def sealing(_: Environment, key: SealingKey) -> SealingKey:
    """What serves an environment; here its key will do."""
    return key


class World:
    """An environment with a KMS key whose policy pins the right enclave, and a host with its ports."""

    def __init__(self, simulator, state, tmp_path) -> None:
        self.simulator, self.state = simulator, state
        self.storage = MemoryStorage()
        self.directory, self.numbers = tmp_path, itertools.count()
        self.tunnel = Address.parse(f"unix:{tmp_path}/nobody-listens")
        # The manifest needs the key's name, and the key's policy the manifest's measurement: the policy comes last, as in production.
        self.key_arn = simulator.create_key(editable(key_policy({0: bytes(48)}), simulator.account))
        self.manifest = manifest_for(simulator, self.key_arn)
        self.allow({**MEASUREMENTS, MANIFEST_PCR: expected_pcr(self.manifest.encode())})

    def pin(self) -> None:
        """The manifest wants a policy that nobody may change."""
        pinned = environment("sandbox", kms_key_arn=self.key_arn, key_policy="pinned")
        self.manifest = Manifest(version=1, environments=[pinned], kms=self.manifest.kms)

    def operator(self):
        """A KMS client of the operator."""
        ca_file = self.state / "ca.pem"
        ca_file.write_bytes(self.simulator.ca_pem)
        return boto3.client(
            "kms",
            region_name=self.simulator.region,
            endpoint_url=self.simulator.url,
            verify=str(ca_file),
            aws_access_key_id=OPERATOR,
            aws_secret_access_key="any",
            config=Config(proxies={}),
        )

    def allow(self, pcrs, *, also=(), policy=None) -> None:
        """The operator puts a key policy that pins these PCRs, and lets the operator do something more besides.

        :param policy: what to make of the rendered policy; by default the operator may change it.
        """
        finish = policy or (lambda text: editable(text, self.simulator.account))
        document = json.loads(finish(key_policy(pcrs)))
        if also:
            operator = {"AWS": f"arn:aws:iam::{self.simulator.account}:user/{OPERATOR}"}
            document["Statement"].append(
                {"Effect": "Allow", "Principal": operator, "Action": list(also), "Resource": "*"}
            )
        self.operator().put_key_policy(
            KeyId=self.key_arn, Policy=json.dumps(document), BypassPolicyLockoutSafetyCheck=True
        )

    def boot(self, *, nsm: FakeNsm | None = None) -> Boot:
        nsm = nsm or FakeNsm(NitroPki.open(self.state), measurements=MEASUREMENTS)
        credentials = Credentials()
        credentials.update(CREDENTIALS)

        async def connect(manifest: Manifest) -> AttestedKms:
            return AttestedKms(
                region=manifest.kms.region,
                host=manifest.kms.host,
                port=manifest.kms.port,
                ca_pem=manifest.kms.ca_pem,
                dial=lambda host, port: Tunnel(self.tunnel).dial(host, port),
                credentials=credentials.current,
                nsm=nsm,
                sleep=lambda seconds: None,
            )

        self.environments = Environments(nsm, self.storage, connect, sealing)
        return Boot(nsm, self.environments)

    async def provision(self, boot: Boot) -> None:
        path = f"{self.directory}/{next(self.numbers)}"
        self.tunnel = Address.parse(f"unix:{path}")
        with TunnelPort(path, self.simulator.port) as port:
            await boot.provision(self.manifest.encode())
            assert set(port.destinations) == {(NAME, 443)}


@pytest.fixture
def world(simulator, state, tmp_path):
    return World(simulator, state, tmp_path)


def test_the_first_enclave_generates_the_data_key_and_the_next_one_decrypts_it(world):
    async def scenario():
        first = world.boot()
        await world.provision(first)
        assert first.phase is Phase.READY
        assert list(world.storage.records) == ["environments/sandbox/data-key"]
        second = world.boot()
        await world.provision(second)
        assert second.phase is Phase.READY
        assert len(world.storage.history) == 1

    run(scenario)


@pytest.mark.parametrize("wrong", [0, 1, 2, MANIFEST_PCR])
@pytest.mark.parametrize("genesis", [True, False], ids=["at genesis", "later"])
def test_kms_releases_nothing_to_an_enclave_with_a_wrong_pcr(world, wrong, genesis):
    async def scenario():
        if not genesis:
            await world.provision(world.boot())
        pcrs = {**MEASUREMENTS, MANIFEST_PCR: expected_pcr(world.manifest.encode())}
        world.allow({**pcrs, wrong: bytes([0xEE]) * 48})
        boot = world.boot()
        with pytest.raises(KmsError) as refused:
            await world.provision(boot)
        assert refused.value.code == "kms_denied"
        assert boot.phase is Phase.AWAITING_KEYS

    run(scenario)


def test_a_policy_that_lets_anybody_else_in_keeps_the_enclave_from_asking_for_a_data_key(world):
    """Genesis would otherwise seal shares under a key that somebody can have decrypted."""

    async def scenario():
        pcrs = {**MEASUREMENTS, MANIFEST_PCR: expected_pcr(world.manifest.encode())}
        for action in ("kms:Encrypt", "kms:Decrypt", "kms:CreateGrant", "kms:ReEncryptFrom"):
            world.allow(pcrs, also=[action])
            boot = world.boot()
            with pytest.raises(KmsError) as refused:
                await world.provision(boot)
            assert refused.value.code == "kms_policy_refused"
            assert boot.phase is Phase.AWAITING_KEYS
            assert "sandbox has no data key: kms_policy_refused (" in boot.reason
        assert world.storage.history == []
        world.allow(pcrs)
        await world.provision(boot)
        assert (boot.phase, boot.reason) == (Phase.READY, "")
        assert world.environments.key_policy() == "editable"

    run(scenario)


def test_the_policy_is_judged_at_every_boot_not_at_genesis_alone(world):
    async def scenario():
        await world.provision(world.boot())
        world.allow(
            {**MEASUREMENTS, MANIFEST_PCR: expected_pcr(world.manifest.encode())}, also=["kms:Decrypt"]
        )
        with pytest.raises(KmsError) as refused:
            await world.provision(world.boot())
        assert refused.value.code == "kms_policy_refused"

    run(scenario)


def test_a_grant_keeps_the_enclave_from_asking_for_a_data_key(world):
    """A grant allows what the policy does not show: here, decrypting without any attestation."""

    async def scenario():
        pcrs = {**MEASUREMENTS, MANIFEST_PCR: expected_pcr(world.manifest.encode())}
        world.allow(pcrs, also=["kms:CreateGrant"])
        grant = world.operator().create_grant(
            KeyId=world.key_arn,
            GranteePrincipal=f"arn:aws:iam::{world.simulator.account}:user/mallory",
            Operations=["Decrypt"],
        )
        world.allow(pcrs)  # the policy is good again, and the grant stays
        with pytest.raises(KmsError) as refused:
            await world.provision(world.boot())
        assert refused.value.code == "kms_key_has_grants"
        world.allow(pcrs, also=["kms:RevokeGrant"])
        world.operator().revoke_grant(KeyId=world.key_arn, GrantId=grant["GrantId"])
        await world.provision(world.boot())

    run(scenario)


def test_a_manifest_that_wants_the_policy_pinned_gets_nothing_under_one_that_can_be_edited(world):
    async def scenario():
        world.pin()
        world.allow({**MEASUREMENTS, MANIFEST_PCR: expected_pcr(world.manifest.encode())})
        boot = world.boot()
        with pytest.raises(KmsError) as refused:
            await world.provision(boot)
        assert refused.value.code == "kms_policy_editable"
        world.allow(
            {**MEASUREMENTS, MANIFEST_PCR: expected_pcr(world.manifest.encode())}, policy=lambda text: text
        )
        await world.provision(boot)
        assert world.environments.key_policy() == "pinned"

    run(scenario)


MISBEHAVIOUR = {
    Fault.PLAINTEXT: "kms_plaintext_returned",
    Fault.OTHER_KEY_ID: "kms_key_mismatch",
    Fault.FORGED_ENVELOPE: "kms_envelope_refused",
    Fault.FOREIGN_ENVELOPE: "kms_envelope_refused",
    Fault.SHORT_KEY: "kms_data_key_length",
    Fault.NO_ENVELOPE: "kms_answer_malformed",
    Fault.GARBAGE: "kms_answer_malformed",
}


@pytest.mark.parametrize("fault", MISBEHAVIOUR, ids=lambda fault: fault.value)
@pytest.mark.parametrize("genesis", [True, False], ids=["at genesis", "later"])
def test_an_answer_of_kms_that_must_not_be_believed_leaves_the_enclave_without_keys(world, fault, genesis):
    async def scenario():
        if not genesis:
            await world.provision(world.boot())
        boot = world.boot()
        world.simulator.faults.inject(fault, times=8)
        with pytest.raises(KmsError) as refused:
            await world.provision(boot)
        assert refused.value.code == MISBEHAVIOUR[fault]
        assert boot.phase is Phase.AWAITING_KEYS
        assert len(world.storage.history) == (0 if genesis else 1)
        world.simulator.faults.clear()
        await world.provision(boot)  # once KMS behaves, the same enclave gets its keys
        assert boot.phase is Phase.READY

    run(scenario)


def test_kms_that_throttles_and_drops_is_tried_again(world):
    async def scenario():
        world.simulator.faults.inject(Fault.THROTTLE)
        world.simulator.faults.inject(Fault.DROP)
        boot = world.boot()
        await world.provision(boot)
        assert boot.phase is Phase.READY

    run(scenario)


def test_kms_refuses_a_stale_attestation_document(world):
    async def scenario():
        slow = FakeNsm(
            NitroPki.open(world.state),
            measurements=MEASUREMENTS,
            clock=lambda: datetime.now(UTC) - timedelta(minutes=6),
        )
        with pytest.raises(KmsError) as refused:
            await world.provision(world.boot(nsm=slow))
        assert refused.value.culprit == "kms"

    run(scenario)


def test_kms_refuses_an_attestation_document_of_an_unrelated_root(world):
    async def scenario():
        foreign = FakeNsm(NitroPki.ephemeral(), measurements=MEASUREMENTS)
        with pytest.raises(KmsError) as refused:
            await world.provision(world.boot(nsm=foreign))
        assert refused.value.culprit == "kms"

    run(scenario)


def test_a_host_that_plays_kms_itself_fails_at_tls(world, tmp_path):
    async def scenario():
        boot = world.boot()
        with KmsSimulator(tmp_path / "evil") as evil:
            world.simulator = evil
            with pytest.raises(KmsError) as refused:
                await world.provision(boot)
        assert (refused.value.code, refused.value.culprit) == ("kms_tls_failed", "host")
        assert boot.phase is Phase.AWAITING_KEYS

    run(scenario)


def test_a_host_without_a_tunnel_is_named(world):
    async def scenario():
        boot = world.boot()
        with pytest.raises(KmsError) as refused:
            await boot.provision(world.manifest.encode())
        assert (refused.value.code, refused.value.culprit) == ("kms_tunnel_failed", "host")

    run(scenario)


def test_the_ciphertext_of_another_environment_does_not_decrypt(world):
    """The encryption context names the environment; KMS enforces it."""

    async def scenario():
        await world.provision(world.boot())
        record = world.storage.records["environments/sandbox/data-key"]
        other = environment("other", kms_key_arn=world.key_arn, key_policy="editable")
        world.manifest = Manifest(version=1, environments=[other], kms=world.manifest.kms)
        world.allow({**MEASUREMENTS, MANIFEST_PCR: expected_pcr(world.manifest.encode())})
        forged = record[1].replace(b"gsandbox", b"eother")
        assert forged != record[1]
        world.storage.records["environments/other/data-key"] = (1, forged)
        with pytest.raises(KmsError) as refused:
            await world.provision(world.boot())
        assert refused.value.code == "kms_ciphertext_refused"

    run(scenario)


def test_a_tunnel_to_a_destination_that_the_host_refuses_is_an_os_error(tmp_path):
    async def scenario():
        from protocol.envelope.messages import Fault as LinkFault

        async def refuse(reader, writer):
            await frames.read(reader, culprit=Culprit.ENCLAVE)
            fault = LinkFault(
                code="tunnel_destination_refused", message="no", culprit=Culprit.ENCLAVE, reaction="abort"
            )
            writer.write(frames.pack(cbor.encode(fault)))
            writer.close()

        address = Address.parse(f"unix:{tmp_path}/t")
        server = await address.listen(refuse)
        try:
            with pytest.raises(ConnectionRefusedError, match="tunnel_destination_refused"):
                await asyncio.to_thread(Tunnel(address).dial, "example.com", 443)
        finally:
            server.close()

    run(scenario)


def test_a_tunnel_answer_of_nonsense_is_refused(tmp_path):
    async def scenario():
        async def babble(reader, writer):
            await frames.read(reader, culprit=Culprit.ENCLAVE)
            writer.write(b"\x00\x00\x00\x02hi")
            writer.close()

        address = Address.parse(f"unix:{tmp_path}/t")
        server = await address.listen(babble)
        try:
            with pytest.raises(OSError, match="nonsense"):
                await asyncio.to_thread(Tunnel(address).dial, "example.com", 443)
        finally:
            server.close()

    run(scenario)
