"""What the enclave's process finds when PID 1 starts it, seen from its place: a probe in an image that differs in nothing else."""

from __future__ import annotations

import json

import pytest

from tests.eif.machine import MEMORY_MB, PARENT_CID, Machine
from tests.eif.trust import qemu_payload
from tests.eif.variants import with_program
from tests.eif.vsock import Heartbeat, Reasons, port_socket
from tests.eif.world import HEARTBEAT_PORT, REASON_PORT

_BOOT = 180  # seconds
ENCLAVE = "10001"


def run(tools, eif, program, directory):
    """Boot a variant to its end: (PCR0, 1 and 2 of the variant, the machine, PID 1's last words)."""
    machine = Machine(tools, directory)
    variant = directory / "variant.eif"
    pcrs = with_program(eif, program, variant)
    try:
        with (
            Heartbeat(port_socket(machine.vsock, HEARTBEAT_PORT)),
            Reasons(port_socket(machine.vsock, REASON_PORT)) as reasons,
        ):
            machine.start(variant)
            machine.await_end(_BOOT)
    finally:
        machine.stop()
    return pcrs, machine, reasons.lines


@pytest.fixture(scope="module")
def variant(tools, eif, short_directory):
    pcrs, machine, reasons = run(tools, eif, "look.py", short_directory)
    console = machine.console.read_text(errors="replace").splitlines()
    reports = [line.removeprefix("REPORT ") for line in console if line.startswith("REPORT ")]
    assert len(reports) == 1, machine.tail()
    return pcrs, json.loads(reports[0]), reasons


@pytest.fixture(scope="module")
def report(variant):
    return variant[1]


def test_the_probes_image_is_another_one_and_the_nsm_says_so(variant, measurements):
    pcrs, report, _ = variant
    attested = qemu_payload(bytes.fromhex(report["document"]))["pcrs"]
    assert {index: attested[index] for index in (0, 1, 2)} == pcrs
    assert attested[1] == measurements[1]  # kernel, command line and PID 1 are those under test
    assert attested[0] != measurements[0]
    assert attested[2] != measurements[2]


def test_a_program_that_ends_takes_the_machine_along_and_the_parent_hears_why(variant):
    assert variant[2] == ["exited 7"]


def test_it_runs_as_a_user_of_its_own_without_privileges(report):
    status = report["status"]
    assert set(status["Uid"] + status["Gid"]) == {ENCLAVE}
    assert status["Groups"] == []
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name][0], 16) == 0, name
    assert status["NoNewPrivs"] == ["1"]


def test_filters_are_on_its_system_calls(report):
    assert report["status"]["Seccomp"] == ["2"]  # SECCOMP_MODE_FILTER
    assert (
        int(report["status"]["Seccomp_filters"][0]) >= 2
    )  # those of PID 1, and the one that it added itself
    assert report["internet socket"] == "Address family not supported by protocol"


def test_nobody_can_open_the_nsm_and_it_alone_holds_it(report):
    assert report["nsm mode"] == 0
    assert report["nsm owner"] == [0, 0]
    assert report["nsm, to read"] == "Permission denied"
    assert report["nsm, inherited"] == "SHA384"
    assert report["descriptors"] == ["/dev/console", "/dev/console", "/dev/nsm", "/dev/null"]


def test_there_is_no_other_process_and_pid_1_shows_nothing(report):
    assert report["processes"][0] == "1"
    assert len(report["processes"]) == 2
    assert report["descriptors of PID 1"] == "Permission denied"


def test_the_root_is_read_only_and_nothing_executable_can_be_written(report):
    mounts = dict(report["mounts"])
    assert sorted(mounts) == ["/", "/dev", "/proc", "/run", "/sys", "/tmp"]
    for path, options in mounts.items():
        assert "nosuid" in options, path
        assert "ro" in options or "noexec" in options, path
    assert {"ro", "nodev"} <= set(mounts["/"])
    for name in ("a new file", "a new file in tmp", "its own program"):
        assert report[name] == "Read-only file system"
    assert report["files with rights"] == []


def test_it_is_told_the_device_the_parent_and_nothing_else(report):
    assert report["arguments"] == ["--nsm-fd", report["arguments"][1], "--parent-cid", str(PARENT_CID)]
    assert report["environment"] == ["HOME", "LANG", "PATH"]


def test_entropy_comes_from_the_nsm_and_there_are_no_modules(report):
    assert report["entropy"] == "nsm-hwrng"
    assert report["modules"] == "No such file or directory"


def test_little_of_the_memory_is_taken_by_the_system(report):
    """Everything that is resident before the enclave itself, ramdisks included."""
    total, available = (int(report["memory"][name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    assert total > (MEMORY_MB - 64) * 1024
    assert total - available < 256 * 1024


def test_it_cannot_become_another_program(tools, eif, directory):
    _, machine, reasons = run(tools, eif, "program.py", directory)
    assert reasons == ["killed 31"], machine.tail()  # SIGSYS
