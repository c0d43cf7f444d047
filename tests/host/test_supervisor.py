"""The supervisor over real child processes and real sockets: death, refusal, renewal, and an orderly end."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from host.supervisor import Supervisor
from host.tending import Backoff
from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.messages import LinkRequestFrame, OpenSession, Provision, Record, Status, StatusReply
from tests.host.fake_enclave import FakeEnclave, fault
from tests.host.rig import (
    FAST,
    OCTETS,
    RECORDS,
    Rig,
    configuration_for,
    running_host,
    short_folder,
    wait_until,
    write_credentials,
)

ROOT = Path(__file__).parents[2]
FAKE = str(Path(__file__).with_name("fake_enclave.py"))


@pytest.fixture(autouse=True)
def children_find_our_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


class Child:
    """A host whose enclave is a child process, and the child's journal."""

    def __init__(self, folder: Path, *options: str, **changes: Any) -> None:
        self.journal_file = folder / "journal"
        self.journal_file.touch()
        command = [sys.executable, FAKE, f"unix:{folder}/e.sock", str(self.journal_file), *options]
        changes = {"enclave": {"address": f"unix:{folder}/e.sock", "command": command}, **changes}
        self.rig = Rig(folder, None, configuration_for(folder, **changes))

    def __enter__(self) -> Child:
        self.rig.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rig.stop()

    def journal(self, beginning: str = "") -> list[str]:
        return [line for line in self.journal_file.read_text().splitlines() if line.startswith(beginning)]

    def is_back(self, restarts: int) -> bool:
        now = self.rig.readiness()
        return bool(now["ready"] and now["restarts"] == restarts)

    def pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.journal("listening")]


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_enclave_is_started_provisioned_and_ended(folder: Path) -> None:
    with Child(folder) as child:
        child.rig.wait_ready()
        assert child.journal("provision") == ["provision AKIAFIRST"]
        (pid,) = child.pids()
        wait_until(lambda: child.rig.events("enclave_output"))
        assert child.rig.events("enclave_output")[0]["line"] == "a line of the enclave's own"
        assert os.getpgid(pid) == pid  # its own process group
    assert child.journal()[-1] == "stopped by SIGTERM"
    assert not is_alive(pid)
    states = [line["state"] for line in child.rig.events("supervisor_state")]
    assert states[0] == "connecting"
    assert states[-2:] == ["ready", "stopped"]


def test_a_killed_enclave_is_restarted_and_provisioned_again(folder: Path) -> None:
    with Child(folder) as child:
        child.rig.wait_ready()
        for restarts in (1, 2):
            os.kill(child.pids()[-1], signal.SIGKILL)
            wait_until(functools.partial(child.is_back, restarts))
        assert len(set(child.pids())) == 3
        assert child.journal("provision") == ["provision AKIAFIRST"] * 3
        assert child.rig.readiness()["fault"] is None
        assert [line["code"] for line in child.rig.events("enclave_lost")] in (
            ["enclave_exited", "enclave_exited"],
            ["link_lost", "link_lost"],
            ["enclave_exited", "link_lost"],
            ["link_lost", "enclave_exited"],
        )
        assert child.rig.metric("cosigner_host_supervisor_restarts_total") == 2
        with httpx.Client(base_url=child.rig.url) as client:
            assert client.post(RECORDS, content=b"ab", headers=OCTETS).content == b"ba"


def test_an_enclave_that_ignores_sigterm_is_killed_after_the_grace_period(folder: Path) -> None:
    with Child(folder, "--deaf", timing={**FAST, "stop": 0.2}) as child:
        child.rig.wait_ready()
        (pid,) = child.pids()
    assert not is_alive(pid)
    assert child.rig.events("enclave_ended")[-1]["exit_code"] == -signal.SIGKILL


def test_provisioning_that_kms_refuses_is_shown_and_tried_again_until_it_succeeds(folder: Path) -> None:
    slow = {**FAST, "backoff": 0.3}
    with Child(folder, "--refuse-provisions", "2", timing=slow) as child:
        shown = wait_until(lambda: child.rig.readiness()["fault"])
        assert shown["code"] == "kms_access_denied"
        assert shown["culprit"] == "kms"
        with httpx.Client(base_url=child.rig.url) as client:
            answer = client.get("/readyz")
            if answer.status_code == 503:
                assert answer.json()["code"] == "enclave_not_ready"
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["retry-after"] == "2"
        child.rig.wait_ready()
        assert len(child.journal("provision")) == 3
        assert len(child.pids()) == 1
        assert child.rig.metric('cosigner_host_provisions_total{outcome="refused"}') == 2


def test_a_command_that_cannot_start_is_shown_and_does_not_spin(folder: Path) -> None:
    enclave = {"address": f"unix:{folder}/e.sock", "command": [f"{folder}/no-such-program"]}
    rig = Rig(folder, None, configuration_for(folder, enclave=enclave, timing={**FAST, "backoff_max": 60}))
    rig.start()
    try:
        wait_until(lambda: rig.readiness()["fault"])
        assert rig.readiness()["fault"]["code"] == "enclave_start_failed"
        wait_until(lambda: len(rig.events("enclave_lost")) >= 4)
        delays = [line["seconds"] for line in rig.events("enclave_lost")][:4]
        assert delays == [0.02, 0.04, 0.08, 0.16]
    finally:
        rig.stop()


def test_a_child_that_dies_at_once_is_reported_with_its_last_words(folder: Path) -> None:
    program = "import sys; print('cannot open the device', file=sys.stderr); sys.exit(3)"
    enclave = {"address": f"unix:{folder}/e.sock", "command": [sys.executable, "-c", program]}
    rig = Rig(folder, None, configuration_for(folder, enclave=enclave))
    rig.start()
    try:
        wait_until(lambda: (rig.readiness()["fault"] or {}).get("code") == "enclave_exited")
        assert "message" not in rig.readiness()["fault"]  # its words are for the log
        wait_until(lambda: any("code 3" in line["reason"] for line in rig.events("enclave_lost")))
        assert "cannot open the device" in {line["line"] for line in rig.events("enclave_output")}
        with httpx.Client(base_url=rig.url) as client:
            refused = client.post(RECORDS, content=b"x", headers=OCTETS)
            assert refused.status_code == 503
            assert refused.json()["code"] == "enclave_unavailable"
            assert refused.headers["retry-after"] == "2"
    finally:
        rig.stop()


def test_the_child_does_not_inherit_the_hosts_aws_credentials(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "must-stay-here")
    program = (
        "import os, time; print(sorted(os.environ), os.environ.get('AWS_SECRET_ACCESS_KEY')); time.sleep(60)"
    )
    enclave = {"address": f"unix:{folder}/e.sock", "command": [sys.executable, "-uc", program]}
    rig = Rig(folder, None, configuration_for(folder, enclave=enclave))
    rig.start()
    try:
        wait_until(lambda: rig.events("enclave_output"))
        (line,) = rig.events("enclave_output")
        assert line["line"].endswith("None")
        assert "PATH" in line["line"]
    finally:
        rig.stop()


def test_long_lines_and_odd_bytes_of_the_child_are_cut_and_replaced(folder: Path) -> None:
    program = (
        r"import sys, time; sys.stdout.buffer.write(b'a' * 100000 + b'\n\xff\xfe\nlast'); sys.stdout.flush()"
    )
    enclave = {"address": f"unix:{folder}/e.sock", "command": [sys.executable, "-c", program]}
    rig = Rig(folder, None, configuration_for(folder, enclave=enclave, timing={**FAST, "backoff": 60}))
    rig.start()
    try:
        wait_until(lambda: rig.events("enclave_lost"))
        lines = [line["line"] for line in rig.events("enclave_output")]
        assert lines[-2:] == ["\ufffd\ufffd", "last"]
        assert all(len(line) <= 4096 for line in lines)
    finally:
        rig.stop()


def test_a_stale_socket_of_an_orphan_is_not_taken_for_the_new_enclave(folder: Path) -> None:
    journal = folder / "orphans-journal"
    orphan = subprocess.Popen(
        [sys.executable, FAKE, f"unix:{folder}/e.sock", str(journal)], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: journal.exists() and journal.read_text())
        with Child(folder) as child:
            child.rig.wait_ready()
            assert child.journal("provision") == ["provision AKIAFIRST"]
        assert "provision" not in journal.read_text()
    finally:
        orphan.kill()
        orphan.wait()


# --- an enclave that somebody else started --------------------------------------------------------------------------------


def test_a_lost_link_is_opened_again_and_an_enclave_that_is_ready_is_not_provisioned_twice() -> None:
    fake = FakeEnclave()
    with running_host(fake) as rig:
        assert len(fake.provisions) == 1
        rig.call(_do(fake.drop_links))
        wait_until(lambda: rig.readiness()["restarts"] == 1 and rig.readiness()["ready"])
        assert len(fake.provisions) == 1
        assert fake.connections == 2
        wait_until(lambda: fake.updates)  # the host cannot know which credentials that enclave has
        assert rig.metric('cosigner_host_link_broken_total{code="link_lost"}') == 1


def test_an_enclave_that_comes_late_is_found() -> None:
    with short_folder() as folder:
        fake = FakeEnclave()
        rig = Rig(folder, None, configuration_for(folder))
        rig.start()
        try:
            wait_until(lambda: (rig.readiness()["fault"] or {}).get("code") == "enclave_unreachable")
            rig.call(fake.start(f"unix:{folder}/e.sock"))
            rig.wait_ready()
        finally:
            rig.call(fake.stop())
            rig.stop()


def test_newer_credentials_are_handed_in_and_the_same_ones_are_not() -> None:
    fake = FakeEnclave()
    with running_host(fake) as rig:
        assert fake.provisions[0].credentials.access_key_id == "AKIAFIRST"
        wait_until(lambda: rig.metric("cosigner_host_link_opened_total"))
        write_credentials(rig.folder, "AKIASECOND", "2099-01-01T00:00:00Z")
        wait_until(lambda: fake.updates)
        assert [update.access_key_id for update in fake.updates] == ["AKIASECOND"]
        write_credentials(rig.folder, "AKIATHIRD", "2099-01-01T00:00:00Z")
        wait_until(lambda: len(fake.updates) > 1)
        assert [update.access_key_id for update in fake.updates] == ["AKIASECOND", "AKIATHIRD"]
        assert rig.readiness()["ready"]


def test_credentials_that_expired_or_broke_are_reported_and_recovered_from() -> None:
    fake = FakeEnclave()
    with running_host(fake) as rig:
        write_credentials(rig.folder, "AKIAOLD", "2020-01-01T00:00:00Z")
        wait_until(lambda: rig.events("credentials_not_renewed"))
        assert rig.events("credentials_not_renewed")[0]["code"] == "credentials_expired"
        (rig.folder / "credentials.json").write_text("{")
        wait_until(lambda: rig.events("credentials_not_renewed")[-1]["code"] == "credentials_unavailable")
        assert rig.readiness()["ready"]
        write_credentials(rig.folder, "AKIANEW")
        wait_until(lambda: fake.updates)
        assert fake.updates[0].access_key_id == "AKIANEW"


def test_without_credentials_or_manifest_the_enclave_waits_and_the_reason_is_shown() -> None:
    fake = FakeEnclave()
    with short_folder() as folder:
        raw = configuration_for(folder)
        (folder / "credentials.json").unlink()
        rig = Rig(folder, fake, raw)
        rig.start()
        try:
            wait_until(lambda: (rig.readiness()["fault"] or {}).get("code") == "credentials_unavailable")
            write_credentials(folder, "AKIALATE")
            (folder / "manifest.cbor").unlink()
            wait_until(lambda: rig.readiness()["fault"]["code"] == "manifest_unreadable")
            assert fake.provisions == []
            (folder / "manifest.cbor").write_bytes(b"a manifest")
            rig.wait_ready()
            assert fake.provisions[0].manifest == b"a manifest"
        finally:
            rig.stop()


@pytest.mark.parametrize(("reaction", "expected_delay"), [("retry", 0.02), ("abort", 30.0)])
def test_the_reaction_of_a_refusal_decides_the_wait(reaction: str, expected_delay: float) -> None:
    fake = FakeEnclave(provision_faults=[fault("kms_access_denied", Culprit.KMS, reaction)] * 1000)
    with running_host(fake, ready=False, timing={**FAST, "backoff_max": 30}) as rig:
        wait_until(lambda: rig.events("provisioning_failed"))
        assert rig.events("provisioning_failed")[0]["seconds"] == expected_delay


@pytest.mark.parametrize("code", ["measurement_failed", "manifest_already_measured"])
def test_a_refusal_that_only_a_restart_cures_ends_this_life_of_the_enclave(code: str) -> None:
    reaction = Reaction.BURN if code == "measurement_failed" else Reaction.ABORT
    fake = FakeEnclave(provision_faults=[fault(code, Culprit.ENCLAVE, reaction)])
    with running_host(fake) as rig:
        assert rig.events("enclave_lost")[0]["code"] == code
        assert fake.connections == 2


def test_an_enclave_that_says_done_but_never_becomes_ready_is_not_hammered() -> None:
    fake = FakeEnclave(phase="awaiting_keys")

    async def say_done(fake: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        if isinstance(frame.body, Provision):
            fake.reply(writer, frame.id, fake.answer(frame))
            fake.phase = "awaiting_keys"
            return True
        return False

    fake.on_request = say_done
    timing = {**FAST, "backoff_max": 60, "backoff": 0.1}
    with running_host(fake, ready=False, timing=timing) as rig:
        wait_until(lambda: len(fake.provisions) >= 4)
        assert not rig.readiness()["ready"]
        times = rig.events("provisioned")
        assert len(times) < 8


def test_an_enclave_that_lacks_some_environments_serves_is_shown_and_is_asked_for_the_rest() -> None:
    refusals = [fault("kms_denied", Culprit.KMS, "retry")] * 3
    fake = FakeEnclave(provision_faults=refusals, serves_some=True)
    with running_host(fake, timing={**FAST, "backoff": 0.1, "backoff_max": 60}) as rig:
        shown = rig.readiness()
        assert (shown["ready"], shown["phase"]) == (True, "ready")
        wait_until(lambda: len(fake.provisions) == 4)
        wait_until(lambda: rig.readiness()["reason"] == "")
        delays = [line["seconds"] for line in rig.events("provisioning_failed")]
        assert delays == [0.1, 0.2, 0.4]  # it backs off as if it had none
        states = [line["state"] for line in rig.events("supervisor_state")]
        assert states.count("ready") == 1  # and never says that it is not ready any more
        connections = fake.connections
        assert connections == 1


def test_the_reason_why_environments_are_missing_is_shown_while_the_host_is_ready() -> None:
    refusals = [fault("kms_denied", Culprit.KMS, "abort")] * 1000
    fake = FakeEnclave(provision_faults=refusals, serves_some=True)
    with running_host(fake, timing={**FAST, "backoff_max": 60}) as rig:
        assert rig.readiness()["reason"] == "live has no data key: kms_denied (see to it)."
        assert len(fake.provisions) == 1


def test_a_halted_enclave_is_left_and_its_reason_is_shown() -> None:
    async def halted(fake: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        reply = StatusReply(phase="halted", reason="Measuring the manifest failed.", sessions=0, counters={})
        fake.reply(writer, frame.id, reply)
        return True

    with running_host(FakeEnclave(on_request=halted), ready=False) as rig:
        shown = wait_until(lambda: rig.readiness()["fault"])
        assert shown["code"] == "enclave_halted"
        wait_until(
            lambda: any("Measuring the manifest failed." in e["reason"] for e in rig.events("enclave_lost"))
        )
        wait_until(lambda: rig.readiness()["restarts"] >= 2)


def test_a_hostile_answer_to_a_client_costs_the_link_but_not_the_host() -> None:
    async def hostile(_: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        match frame.body:
            case Record():
                writer.write(b"\x7f\xff\xff\xff")
            case OpenSession():
                writer.transport.abort()
            case _:
                return False
        return True

    with running_host(FakeEnclave(on_request=hostile)) as rig, httpx.Client(base_url=rig.url) as client:
        answer = client.post(RECORDS, content=b"x", headers=OCTETS)
        assert (answer.status_code, answer.json()["code"]) == (502, "link_reply_malformed")
        wait_until(lambda: rig.readiness()["restarts"] == 1 and rig.readiness()["ready"])
        answer = client.post("/v1/sessions", content=b"x", headers=OCTETS)
        assert (answer.status_code, answer.json()["code"]) == (503, "link_lost")
        wait_until(lambda: rig.readiness()["restarts"] == 2 and rig.readiness()["ready"])


def test_an_enclave_that_hangs_is_given_up() -> None:
    hang = asyncio.Event()

    async def silent(_: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        return hang.is_set() and isinstance(frame.body, Status | Record)

    fake = FakeEnclave(on_request=silent)
    with running_host(fake, timing={**FAST, "request": 0.2}) as rig:
        with httpx.Client(base_url=rig.url) as client:
            rig.call(_do(hang.set))
            answer = client.post(RECORDS, content=b"x", headers=OCTETS)
            assert (answer.status_code, answer.json()["code"]) in {
                (504, "enclave_timeout"),
                (503, "link_lost"),
            }
            wait_until(lambda: rig.readiness()["state"] == "backing_off" or rig.readiness()["restarts"])
            rig.call(_do(hang.clear))
            rig.wait_ready()


def test_backoff_doubles_up_to_its_maximum_and_starts_over() -> None:
    backoff = Backoff(0.5, 3)
    assert [backoff.next() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    backoff.reset()
    assert backoff.next() == 0.5


async def _do(function: Any) -> None:
    function()


def test_a_mistake_in_the_supervisor_ends_the_host_instead_of_leaving_it_headless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def mistake(_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Supervisor, "run", mistake)
    with short_folder() as folder:
        rig = Rig(folder, None, configuration_for(folder))
        rig.start()
        with pytest.raises(ZeroDivisionError):
            rig.stop()
