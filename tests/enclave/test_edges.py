"""The edges: errors become faults with stable codes, logs go through an allow-list, the door survives hostile streams."""

from __future__ import annotations

import asyncio
import json

import pytest

from enclave import faults, log
from enclave.kms import KmsError
from enclave.nsm import NsmError
from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import LinkReplyFrame, LinkRequestFrame, Status
from tests.support.world import Host, run
from threshold import PayloadError, ThresholdError

ERRORS = [
    (CosignerError("a_code", "words", culprit=Culprit.STORAGE), "a_code", Culprit.STORAGE),
    (ThresholdError("invalid_proof", 1, "abort", "words"), "invalid_proof", Culprit.CLIENT),
    (PayloadError("psbt_malformed", "words", "inputs[0]"), "psbt_malformed", Culprit.CLIENT),
    (KmsError("kms_denied", "kms", "abort", "words"), "kms_denied", Culprit.KMS),
    (NsmError("InternalError", "words"), "nsm_internal_error", Culprit.ENCLAVE),
    (ValueError("share 0xdeadbeef"), "internal_error", Culprit.ENCLAVE),
    (AssertionError("share 0xdeadbeef"), "internal_error", Culprit.ENCLAVE),
]


@pytest.mark.parametrize(("error", "code", "culprit"), ERRORS, ids=lambda value: str(value)[:20])
def test_every_error_becomes_a_fault_that_can_be_sent(error, code, culprit):
    fault = faults.translate(error)
    assert (fault.code, fault.culprit) == (code, culprit)
    frame = LinkReplyFrame(id=1, body=fault)
    assert cbor.decode(cbor.encode(frame), LinkReplyFrame, culprit=Culprit.ENCLAVE) == frame


def test_what_is_not_foreseen_leaves_no_details(capsys):
    fault = faults.translate(ValueError("share 0xdeadbeef"))
    assert "deadbeef" not in fault.message + capsys.readouterr().err


def test_a_long_message_is_cut_so_that_the_fault_can_be_sent():
    fault = faults.translate(CosignerError("a_code", "x" * 5000, culprit=Culprit.HOST))
    cbor.decode(cbor.encode(LinkReplyFrame(id=1, body=fault)), LinkReplyFrame, culprit=Culprit.ENCLAVE)


def test_log_fields_are_an_allow_list(capsys):
    log.event("phase", phase="ready")
    assert json.loads(capsys.readouterr().err)["phase"] == "ready"
    with pytest.raises(ValueError, match="secret_access_key"):
        log.event("oops", secret_access_key="x")
    assert capsys.readouterr().err == ""


def test_credentials_are_not_printable():
    from tests.support.world import CREDENTIALS

    for text in (repr(CREDENTIALS), str(CREDENTIALS), f"{CREDENTIALS}"):
        assert CREDENTIALS.secret_access_key not in text


def test_a_connection_that_breaks_the_framing_ends_and_the_next_one_works(tmp_path):
    async def scenario():
        host = Host()
        await host.start_enclave()
        address = Address.parse(f"unix:{tmp_path}/door")
        listener = await address.listen(host.enclave.server.serve)
        try:
            for hostile in (
                b"\x00\x00\x00\x00",
                b"\xff" * 64,
                frames.pack(b"\xa0"),
                frames.pack(b"\x00" * 99),
            ):
                reader, writer = await address.dial()
                writer.write(hostile)
                assert await reader.read() == b""
                writer.close()
            reader, writer = await address.dial()
            for index in range(3):
                writer.write(frames.pack(cbor.encode(LinkRequestFrame(id=index, body=Status()))))
            answers = [await frames.read(reader, culprit=Culprit.ENCLAVE) for _ in range(3)]
            ids = {cbor.decode(raw, LinkReplyFrame, culprit=Culprit.ENCLAVE).id for raw in answers}
            assert ids == {0, 1, 2}
            writer.close()
            await asyncio.sleep(0.01)
        finally:
            listener.close()

    run(scenario)


def test_reactions_are_the_three_that_callers_know():
    assert {reaction.value for reaction in Reaction} == {"retry", "abort", "burn"}
