"""The fake NSM keeps the rules of the real one, and its documents pass the real verifier."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cbor2
import pytest

from attestation import TrustPolicy
from attestation.errors import AttestationError
from attestation.verify import verify
from enclave.nsm import Nsm, NsmError
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki

PCRS = {index: bytes([index + 1]) * 48 for index in range(3)}


@pytest.fixture(scope="module")
def pki() -> NitroPki:
    return NitroPki.ephemeral()


@pytest.fixture
def nsm(pki: NitroPki) -> FakeNsm:
    return FakeNsm(pki, measurements=PCRS)


def refused(name: str) -> object:
    return pytest.raises(NsmError, match=f"^{name}: ")


def trusting(pki: NitroPki) -> TrustPolicy:
    return TrustPolicy(roots=frozenset({pki.root_sha256}))


def test_it_has_the_interface_of_the_real_one(nsm: FakeNsm) -> None:
    typed: Nsm = nsm
    assert len(typed.get_random()) == 256
    assert typed.get_random() != typed.get_random()
    description = typed.describe()
    assert description["max_pcrs"] == 32
    assert description["digest"] == "SHA384"
    assert description["locked_pcrs"] == list(range(16))
    assert description["module_id"] == nsm.module_id


def test_pcrs_of_the_boot_are_locked_and_hold_the_measurements(nsm: FakeNsm) -> None:
    assert nsm.describe_pcr(0) == (True, PCRS[0])
    assert nsm.describe_pcr(3) == (True, bytes(48))
    instance = nsm.module_id.split("-enc")[0].encode()
    assert nsm.describe_pcr(4) == (True, hashlib.sha384(bytes(48) + instance).digest())
    assert nsm.describe_pcr(16) == (False, bytes(48))
    for index in (0, 15):
        with refused("ReadOnlyIndex"):
            nsm.extend_pcr(index, b"data")
        with refused("ReadOnlyIndex"):
            nsm.lock_pcr(index)


def test_extending_hashes_the_old_value_with_the_data(nsm: FakeNsm) -> None:
    first = nsm.extend_pcr(16, b"one")
    assert first == hashlib.sha384(bytes(48) + b"one").digest()
    assert nsm.extend_pcr(16, b"two") == hashlib.sha384(first + b"two").digest()
    nsm.lock_pcr(16)
    with refused("ReadOnlyIndex"):
        nsm.extend_pcr(16, b"three")


def test_indices_outside_are_refused(nsm: FakeNsm) -> None:
    for index in (-1, 32, 1000):
        for call in (nsm.describe_pcr, nsm.lock_pcr, lambda i: nsm.extend_pcr(i, b"")):
            with refused("InvalidIndex"):
                call(index)
    for count in (-1, 33):
        with refused("InvalidIndex"):
            nsm.lock_pcrs(count)


def test_sizes_outside_are_refused(nsm: FakeNsm) -> None:
    nsm.attest(bytes(512), bytes(512), bytes(1024))
    for user_data, nonce, public_key in (
        (bytes(513), None, None),
        (None, bytes(513), None),
        (None, None, bytes(1025)),
    ):
        with refused("InputTooLarge"):
            nsm.attest(user_data, nonce, public_key)
    with refused("InputTooLarge"):
        nsm.extend_pcr(16, bytes(4096))
    with refused("InvalidArgument"):
        nsm.attest(None, None, b"")


def test_only_locked_pcrs_stand_in_documents(pki: NitroPki, nsm: FakeNsm) -> None:
    value = nsm.extend_pcr(16, b"manifest")
    at = datetime.now(UTC)
    assert 16 not in verify(nsm.attest(None, None, None), policy=trusting(pki), at=at).pcrs
    nsm.lock_pcr(16)
    assert verify(nsm.attest(None, None, None), policy=trusting(pki), at=at).pcrs[16] == value
    nsm.lock_pcrs(32)
    assert len(verify(nsm.attest(None, None, None), policy=trusting(pki), at=at).pcrs) == 32


@pytest.mark.parametrize(("indefinite", "first_byte"), [(True, 0xBF), (False, 0xA9)])
def test_both_forms_of_documents_are_written(pki: NitroPki, indefinite: bool, first_byte: int) -> None:
    nsm = FakeNsm(pki, measurements=PCRS, indefinite=indefinite)
    document = nsm.attest(b"data", b"nonce", b"key")
    assert document[0] == 0x84
    assert cbor2.loads(document)[2][0] == first_byte
    verified = verify(
        document,
        policy=trusting(pki),
        at=datetime.now(UTC),
        user_data=b"data",
        nonce=b"nonce",
        public_key=b"key",
    )
    assert verified.module_id == nsm.module_id


def test_a_chain_is_used_again_and_renewed_before_its_leaf_expires(pki: NitroPki) -> None:
    now = datetime.now(UTC)
    nsm = FakeNsm(pki, measurements=PCRS, clock=lambda: now)
    leaf = _leaf(nsm)
    assert _leaf(nsm) == leaf
    now += timedelta(hours=2, minutes=55)
    assert _leaf(nsm) != leaf
    verify(nsm.attest(None, None, None), policy=trusting(pki), at=now)


def test_certificates_have_the_lifetimes_of_real_ones(pki: NitroPki) -> None:
    now = datetime.now(UTC)
    leaf = pki.chain("i-1-enc2", now).leaf.certificate
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(hours=3, seconds=3)
    root = pki.root.certificate
    assert root.not_valid_after_utc - root.not_valid_before_utc == timedelta(days=30 * 365)


def test_documents_without_measurements_are_of_debug_mode(pki: NitroPki) -> None:
    nsm = FakeNsm(pki, measurements={})
    with pytest.raises(AttestationError) as caught:
        verify(nsm.attest(None, None, None), policy=trusting(pki), at=datetime.now(UTC))
    assert caught.value.code == "debug_mode"


def test_the_root_survives_a_restart_and_is_private(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first, second = NitroPki.open(state), NitroPki.open(state)
    assert first.root_sha256 == second.root_sha256
    assert [path.name for path in state.iterdir()] == ["nitro-root.pem"]
    assert (state / "nitro-root.pem").stat().st_mode & 0o777 == 0o600
    assert NitroPki.open(tmp_path / "other").root_sha256 != first.root_sha256


def test_wrong_measurements_are_a_mistake_of_the_caller(pki: NitroPki) -> None:
    for measurements in ({0: b"short"}, {16: bytes(48)}):
        with pytest.raises(ValueError, match="48-byte"):
            FakeNsm(pki, measurements=measurements)


def _leaf(nsm: FakeNsm) -> bytes:
    payload = cbor2.loads(cbor2.loads(nsm.attest(None, None, None))[2])
    certificate: bytes = payload["certificate"]
    return certificate
