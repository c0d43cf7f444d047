"""What a host can do to make a client talk to something else than the measured enclave: nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from attestation import TrustPolicy
from cosigner.errors import AttestationRefused
from cosigner.session import AttestedEnclave, attest
from protocol.channel import ChannelKey
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki
from tests.support.world import MEASUREMENTS, PKI, POLICY, Host, ThroughHost, client, run


async def refusal(host: Host, tmp_path, policy: TrustPolicy = POLICY) -> AttestationRefused:
    user = client(host, tmp_path, policy=policy)
    opened = host.enclave.server._counters["sessions_opened"]
    with pytest.raises(AttestationRefused) as refused:
        await user.create_wallet("solana")
    assert host.enclave.server._counters["sessions_opened"] == opened  # nothing was sent
    return refused.value


def refused_with(code: str, arrange, tmp_path, policy: TrustPolicy = POLICY) -> None:
    async def scenario():
        host = Host()
        await host.start_enclave()
        await arrange(host)
        error = await refusal(host, tmp_path, policy)
        assert error.code == code
        assert error.step

    run(scenario)


async def nothing(host: Host) -> None:
    return None


def test_a_document_over_another_nonce_is_refused(tmp_path):
    async def replay_an_earlier_document(host: Host) -> None:
        document, _ = await ThroughHost(host).attestation(os.urandom(32))
        host.on_document = lambda _: document

    refused_with("attestation_nonce_mismatch", replay_an_earlier_document, tmp_path)


def test_a_stale_document_is_refused(tmp_path):
    async def an_enclave_whose_clock_is_behind(host: Host) -> None:
        slow = FakeNsm(
            PKI, measurements=MEASUREMENTS, clock=lambda: datetime.now(UTC) - timedelta(seconds=301)
        )
        await rewrite(host, slow)

    refused_with("attestation_too_old", an_enclave_whose_clock_is_behind, tmp_path)


def test_a_document_from_the_future_is_refused(tmp_path):
    async def an_enclave_whose_clock_is_ahead(host: Host) -> None:
        fast = FakeNsm(
            PKI, measurements=MEASUREMENTS, clock=lambda: datetime.now(UTC) + timedelta(seconds=30)
        )
        await rewrite(host, fast)

    refused_with("attestation_certificate_not_yet_valid", an_enclave_whose_clock_is_ahead, tmp_path)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_another_measurement_is_refused(tmp_path, index):
    async def another_image(host: Host) -> None:
        await rewrite(host, FakeNsm(PKI, measurements={**MEASUREMENTS, index: os.urandom(48)}))

    refused_with("attestation_pcr_mismatch", another_image, tmp_path)


def test_an_enclave_in_debug_mode_is_refused(tmp_path):
    async def debug(host: Host) -> None:
        await rewrite(host, FakeNsm(PKI, measurements=dict.fromkeys((0, 1, 2), bytes(48))))

    refused_with("attestation_debug_mode", debug, tmp_path)


def test_an_enclave_under_another_manifest_is_refused(tmp_path):
    pcrs = {**POLICY.pcrs, 16: frozenset({os.urandom(48)})}
    refused_with("attestation_pcr_mismatch", nothing, tmp_path, TrustPolicy(roots=POLICY.roots, pcrs=pcrs))


def test_a_document_under_another_root_is_refused(tmp_path):
    async def foreign(host: Host) -> None:
        await rewrite(host, FakeNsm(NitroPki.ephemeral(), measurements=MEASUREMENTS))

    refused_with("attestation_root_not_trusted", foreign, tmp_path)


def test_the_simulators_root_is_refused_by_a_production_policy(tmp_path):
    refused_with("attestation_root_not_trusted", nothing, tmp_path, TrustPolicy(pcrs=POLICY.pcrs))


def test_a_channel_key_of_the_hosts_own_is_refused(tmp_path):
    async def swap_the_key(host: Host) -> None:
        host.on_channel_key = lambda _: ChannelKey().public_bytes

    refused_with("attestation_channel_key_mismatch", swap_the_key, tmp_path)


def test_an_unrelated_document_of_the_same_enclave_is_refused(tmp_path):
    async def another_purpose(host: Host) -> None:
        host.enclave.server._identity._nsm = _OtherUserData(host.enclave.nsm)

    refused_with("attestation_keys_malformed", another_purpose, tmp_path)


def test_an_altered_document_is_refused(tmp_path):
    async def alter(host: Host) -> None:
        host.on_document = lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])

    refused_with("attestation_signature_invalid", alter, tmp_path)


def test_an_attested_enclave_cannot_be_made_of_a_key_that_its_document_does_not_name():
    async def scenario():
        host = Host()
        await host.start_enclave()
        enclave = await attest(ThroughHost(host), POLICY)
        with pytest.raises(AttestationRefused) as refused:
            AttestedEnclave(enclave.attestation, ChannelKey().public_bytes)
        assert refused.value.code == "attestation_channel_key_mismatch"

    run(scenario)


async def rewrite(host: Host, nsm: FakeNsm) -> None:
    """Put another NSM under the running enclave, with the same manifest measured."""
    nsm.extend_pcr(16, _manifest_digest())
    nsm.lock_pcrs(32)
    host.enclave.server._identity._nsm = nsm


def _manifest_digest() -> bytes:
    from enclave.manifest import measurement_input
    from tests.support.world import MANIFEST

    return measurement_input(MANIFEST.encode())


class _OtherUserData:
    def __init__(self, nsm: FakeNsm) -> None:
        self._nsm = nsm

    def attest(self, user_data, nonce, public_key):
        return self._nsm.attest(b"something else", nonce, public_key)
