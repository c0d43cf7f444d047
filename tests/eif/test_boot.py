"""From power on to a measured, provisioned enclave."""

from __future__ import annotations

import asyncio
import hashlib

from attestation.eif import measure
from cosigner.transport import Transport
from enclave.manifest import MANIFEST_PCR, expected_pcr
from protocol.binding import AttestedKeys
from protocol.channel import channel_key_hash
from tests.eif.machine import INSTANCE, MODULE_ID, ROLE
from tests.eif.trust import qemu_payload
from tests.eif.vsock import HEARTBEAT


def attest(enclave, nonce: bytes) -> tuple[dict, bytes]:
    """The payload of the document as QEMU's NSM made it, and the channel key beside it."""

    async def ask():
        async with Transport(enclave.api_url) as transport:
            return await transport.attestation(nonce)

    document, channel_key = asyncio.run(ask())
    return qemu_payload(document), channel_key


def extended(data: bytes) -> bytes:
    """A PCR that was extended once, with ``data`` itself."""
    return hashlib.sha384(bytes(48) + data).digest()


def test_pid_1_says_that_it_booted(enclave):
    assert set(enclave.heartbeat.beats) == {HEARTBEAT}
    assert len(enclave.heartbeat.beats) >= enclave.boots


def test_the_nsm_attests_the_very_image_that_was_built(enclave, measurements):
    payload, _ = attest(enclave, bytes(32))
    assert {index: payload["pcrs"][index] for index in (0, 1, 2)} == measurements
    assert len(set(measurements.values())) == 3
    assert bytes(48) not in measurements.values()


def test_the_measurements_file_is_what_an_auditor_measures(eif, measurements):
    with eif.open("rb") as file:
        assert dict(measure(file).pcrs) == measurements


def test_pcr16_is_the_manifest_that_the_host_handed_in(enclave):
    payload, _ = attest(enclave, bytes(32))
    assert payload["pcrs"][MANIFEST_PCR] == expected_pcr(enclave.manifest)
    assert payload["pcrs"][MANIFEST_PCR] == extended(hashlib.sha384(enclave.manifest).digest())


def test_every_pcr_is_locked_and_those_of_nobody_are_empty(enclave):
    payload, _ = attest(enclave, bytes(32))
    pcrs = payload["pcrs"]
    assert sorted(pcrs) == list(range(32))
    assert pcrs[3] == extended(ROLE.encode())
    assert pcrs[4] == extended(INSTANCE.encode())
    assert {pcrs[index] for index in range(32) if index not in {0, 1, 2, 3, 4, MANIFEST_PCR}} == {bytes(48)}


def test_a_document_carries_the_askers_nonce_and_the_channel_key(enclave):
    for nonce in (bytes(range(32)), bytes(reversed(range(32)))):
        payload, channel_key = attest(enclave, nonce)
        assert payload["nonce"] == nonce
        assert AttestedKeys.decode(payload["user_data"]).channel_key == channel_key_hash(channel_key)
        assert payload["module_id"] == MODULE_ID


def test_a_client_that_pins_image_and_manifest_accepts_this_enclave(enclave):
    async def ask():
        async with enclave.client() as client:
            return await client.attest()

    verified = asyncio.run(ask())
    assert {index: verified.pcrs[index] for index in enclave.pcrs} == enclave.pcrs
    assert verified.root_sha256 == enclave.profile.root_sha256
