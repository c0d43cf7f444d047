"""A short run of every fuzz target; ``make fuzz`` runs them longer. See ``targets.py``."""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import main
from tests.fuzz.execution import Finding, execute
from tests.fuzz.mutation import OPERATIONS, mutate, random_steps
from tests.fuzz.targets import TARGETS, Target

EXAMPLES = 120
# A certificate with a serial number of zero: cryptography warns today and will refuse later.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def test_every_parser_of_the_list_has_a_target() -> None:
    """Renaming or losing one of them must be noticed."""
    kinds = (
        "LinkRequestFrame LinkReplyFrame StorageRequestFrame StorageReplyFrame TunnelOpen TunnelReply Call Answer "
        "Manifest StoredShare StoredShareSet WrappedKey AttestedKeys "
        "ShareFile StoreFile NextFile EpochFile LocatorsFile BackupFile "
        "UserRecord LoginIndex WalletRecord Holding BackupBook StoredRecord Entry SignedEntry"
    )
    natives = "dkg-message1 dkg-message2 dkg-confirmation frost-commitments frost-response"
    passkeys = "client-data authenticator-data cose-key registration assertion signed-client-data signature"
    assert set(TARGETS) == {
        *(f"webauthn-{name}" for name in passkeys.split()),
        "jwt-verify",
        "jwt-signed-claims",
        "jwt-signed-header",
        "jwks-parse",
        "base64url-decode",
        "key-load",
        "session-key-load",
        "one-time-code",
        *(f"cbor-{kind}" for kind in kinds.split()),
        *(f"native-{name}-{suite}" for name in natives.split() for suite in ("ed25519", "secp256k1-tr")),
        "manifest-parse",
        "records-read",
        "frames-read",
        "address-parse",
        "channel-open-hello",
        "channel-hello-content",
        "channel-answer-content",
        "channel-open",
        "attestation-parse",
        "attestation-verify",
        "attestation-signed-payload",
        "attestation-with-cache",
        "attestation-inspect",
        "attestation-certificate",
        "eif-measure",
        "eif-signature",
        "trust-policy",
        "measurements-file",
        "cms-decrypt",
        "key-policy",
        "policy-parse",
        "policy-usage-decode",
        "policy-calldata",
        "policy-signature",
        "config-json",
        "input-solana",
        "input-psbt",
        "input-evm-transaction",
        "input-derivation-path",
        "host-attestation",
        "host-problem",
        *(f"webhook-{name}" for name in ["data", "url", "answer", "signature", "dynamic-signature", "body"]),
        "hybrid-envelope",
        "hybrid-public-key",
        "native-ecdsa-setup",
        "native-ecdsa-setup-answer",
        "native-ecdsa-message1",
        "native-ecdsa-message2",
        "native-evm-transaction-inspect",
        "native-evm-typed-data-inspect",
        "native-solana-inspect",
        "native-psbt-inspect",
        "native-psbt-finalize",
        "native-solana-assemble",
        "native-verify-signature",
        "native-open-share",
        "native-open-unconfirmed",
        "native-open-bytes",
        "log-open-entry",
        "log-segment",
        "log-verify",
        "log-evidence",
    }


@ALL
def test_every_seed_is_accepted(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    assert [execute(target, seed) for seed in seeds] == [None] * len(seeds)


@ALL
def test_hostile_inputs_are_refused_as_declared(target: Target) -> None:
    for data in target.hostile():
        execute(target, data)


@ALL
def test_altered_inputs_are_refused_as_declared(target: Target) -> None:
    seeds = target.seeds()
    numbers = st.integers(0, 1 << 20)
    steps = st.lists(st.tuples(st.integers(0, len(OPERATIONS) - 1), numbers, numbers), min_size=1, max_size=5)
    altered = st.builds(mutate, st.sampled_from(seeds), steps, st.sampled_from(seeds))

    @settings(
        max_examples=EXAMPLES,
        derandomize=bool(os.environ.get("CI")),
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(altered, altered, altered, st.binary(max_size=300)))
    def fuzz(data: bytes) -> None:
        execute(target, data)

    fuzz()


@ALL
def test_some_altered_input_is_refused(target: Target) -> None:
    """A target that accepts everything would test nothing."""
    if not target.refusals:
        return  # it has a result for everything
    source, seeds = random.Random(0), target.seeds()
    outcomes = {execute(target, mutate(seeds[0], random_steps(source), seeds[-1])) for _ in range(30)}
    assert outcomes - {None}


def test_a_finding_is_reported_with_its_input() -> None:
    def broken(data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(Finding, match="broken: KeyError.*\n.*2 bytes.*: abcd") as caught:
        execute(Target("broken", broken, (ValueError,), list), b"\xab\xcd")
    assert caught.value.data == b"\xab\xcd"


def test_the_long_run_runs_and_writes_a_reproducer_for_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def brittle(data: bytes) -> None:
        if len(data) > 3:
            raise ZeroDivisionError
        if data != b"abc":
            raise ValueError

    monkeypatch.setitem(TARGETS, "brittle", Target("brittle", brittle, (ValueError,), lambda: [b"abc"]))
    assert main(["address-parse", "--seconds", "0.05", "--seed", "1"]) == 0
    assert "address-parse" in capsys.readouterr().out
    assert main(["brittle", "--seconds", "5", "--seed", "1"]) == 1
    shown = capsys.readouterr()
    assert "ZeroDivisionError" in shown.err
    path = shown.err.split("reproducer: ")[1].split("\n")[0]
    assert main(["brittle", "--replay", path]) == 1
    assert main(["brittle", "--replay", os.devnull]) == 0
    os.unlink(path)


def test_the_long_run_finds_what_costs_too_much(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(
        "tests.fuzz.execution.time.thread_time", lambda: next(clock)
    )  # a second for each look
    slow = Target("slow", lambda _: None, (), lambda: [b"seed"], cpu_ms=999)
    patient = Target("patient", lambda _: None, (), lambda: [b"seed"], cpu_ms=1001)
    monkeypatch.setitem(TARGETS, "slow", slow)
    monkeypatch.setitem(TARGETS, "patient", patient)
    assert main(["patient", "--seconds", "0"]) == 0
    assert main(["slow", "--seconds", "0"]) == 1
    shown = capsys.readouterr().err
    assert "1000 ms of CPU; allowed are 999" in shown
    os.unlink(shown.split("reproducer: ")[1].split("\n")[0])


def test_the_long_run_refuses_targets_that_do_not_exist() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["no-such-target"])
    assert caught.value.code == 2
