"""Images and parents with which there is to be no enclave."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from cosigner import AttestationRefused
from tests.eif.machine import Machine
from tests.eif.trust import qemu_payload
from tests.eif.variants import with_files
from tests.eif.vsock import Reasons, Silence, port_socket
from tests.eif.world import HEARTBEAT_PORT, REASON_PORT, Deployment

_BOOT = 180  # seconds


def test_a_parent_that_does_not_answer_the_heartbeat_gets_no_enclave(tools, eif, directory):
    machine = Machine(tools, directory)
    try:
        with (
            Silence(port_socket(machine.vsock, HEARTBEAT_PORT)),
            Reasons(port_socket(machine.vsock, REASON_PORT)) as reasons,
        ):
            machine.start(eif)
            machine.await_end(_BOOT)
    finally:
        machine.stop()
    assert reasons.lines == ["no_heartbeat"], machine.tail()
    assert "listening" not in machine.console.read_text(errors="replace")


def test_an_image_with_one_more_file_gets_no_keys_and_no_client(tools, eif, measurements):
    """Everything in it works, and the host provisions it like the real one; but it is another image.

    The manifest takes any key policy here: a pinned one the enclave would refuse by itself, which a hostile image would not do.
    """
    with tempfile.TemporaryDirectory(prefix="eif-") as path:
        directory = Path(path)
        variant = directory / "variant.eif"
        pcrs = with_files(eif, {"opt/cosigner/enclave/one_more.py": b""}, variant)
        with Deployment(tools, eif, measurements, directory, key_policy="editable") as deployment:
            deployment.boot(variant, ready=False)
            deployment.wait_until(lambda: "kms_denied" in deployment.fault(), "the refusal of KMS")

            async def ask():
                async with deployment.client() as client:
                    with pytest.raises(AttestationRefused) as refused:
                        await client.attest()
                    return refused.value.code

            assert asyncio.run(ask()) == "attestation_pcr_mismatch"
            assert not deployment.ready()
            attested = qemu_payload(deployment.profile.seen[-1])["pcrs"]
            assert {index: attested[index] for index in (0, 1, 2)} == pcrs
            assert pcrs[0] != measurements[0]


def test_the_enclave_itself_refuses_a_key_that_is_released_to_others(tools, eif, measurements, directory):
    """The image under test, and an operator whose key policy names another release than this one."""
    others = {index: bytes([1]) * 48 for index in measurements}
    with Deployment(tools, eif, others, directory) as deployment:
        deployment.boot(ready=False)
        deployment.wait_until(lambda: "kms_policy_refused" in deployment.fault(), "the enclave's refusal")
        assert not deployment.ready()
