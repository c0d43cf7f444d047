"""Units and configuration: systemd takes the units, the programs take what the units pass, and the figures agree."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from enclave import main as enclave_main
from host import __main__ as host_main
from host import config as host_config
from host import nitro, readiness_metric
from protocol.envelope.address import VMADDR_CID_ANY, Address

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
MAX_EIF = 80_000_000  # bytes; the project's bound on an image


class _Unit(configparser.RawConfigParser):
    """A unit file. A key may stand several times; the values are kept, line by line."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read_string(path.read_text())


def environment(name: str) -> dict[str, str]:
    lines = (DEPLOY / "config" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def arguments(service: str, values: dict[str, str]) -> list[str]:
    """What a unit's command line passes to its module."""
    line = _Unit(DEPLOY / "systemd" / service).get("Service", "ExecStart")
    words = shlex.split(re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], line))
    assert words[:2] == ["/opt/cosigner/venv/bin/python", "-m"]
    return words[2:]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    assert analyze, "systemd-analyze is needed: apt-get install systemd"
    for unit in UNITS:  # the interpreter is not installed here, and systemd looks for it
        text = unit.read_text().replace("/opt/cosigner/venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    allocator = "[Unit]\nDescription=Amazon's\n[Service]\nType=oneshot\nExecStart=/bin/true\n"
    (tmp_path / "nitro-enclaves-allocator.service").write_text(allocator)
    done = subprocess.run(
        [
            analyze,
            "verify",
            "--man=no",
            "--recursive-errors=no",
            *(str(tmp_path / unit.name) for unit in UNITS),
        ],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_unit_that_systemd_does_not_know_is_seen(tmp_path: Path) -> None:
    (tmp_path / "wrong.service").write_text("[Service]\nExecStart=/bin/true\nProtectSytem=strict\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "wrong.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ProtectSytem" in done.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_every_service_is_confined(unit: Path) -> None:
    service = dict(_Unit(unit)["Service"])
    assert service["User"] not in {"root", ""}
    assert service["CapabilityBoundingSet"] == ""
    for name in (
        "NoNewPrivileges",
        "ProtectHome",
        "PrivateTmp",
        "RestrictNamespaces",
        "MemoryDenyWriteExecute",
    ):
        assert service[name] == "yes", name
    assert service["ProtectSystem"] == "strict"


def test_only_the_launcher_reaches_the_enclaves_device_and_only_the_host_the_network() -> None:
    launcher = dict(_Unit(DEPLOY / "systemd/cosigner-enclave.service")["Service"])
    host = dict(_Unit(DEPLOY / "systemd/cosigner-host.service")["Service"])
    assert launcher["DeviceAllow"] == "/dev/nitro_enclaves rw"
    assert launcher["RestrictAddressFamilies"] == "AF_UNIX AF_VSOCK"
    assert host["PrivateDevices"] == "yes"
    assert "AF_VSOCK" in host["RestrictAddressFamilies"]
    assert "ne" not in (host["Group"], host.get("SupplementaryGroups"))


def test_the_launcher_takes_what_its_unit_passes() -> None:
    module, *rest = arguments("cosigner-enclave.service", environment("enclave.env"))
    assert module == "host.nitro"
    options = nitro._options(rest)
    host = host_config.load(DEPLOY / "config" / "host.json")
    assert str(options.address_file) == host.enclave.address_file
    assert options.name == "cosigner"
    restart = _Unit(DEPLOY / "systemd/cosigner-enclave.service")["Service"]
    assert restart["Restart"] == "on-failure"
    assert restart["RestartPreventExitStatus"] == str(nitro.EXIT_DEBUG)


def test_the_host_and_the_readiness_report_take_what_their_units_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, *rest = arguments("cosigner-host.service", {})
    assert module == "host"
    monkeypatch.setattr(host_main.configuration, "load", _refuse)
    with pytest.raises(_Asked, match="/etc/cosigner/host.json"):
        host_main.main(rest)
    module, *rest = arguments("cosigner-readiness.service", environment("readiness.env"))
    assert module == "host.readiness_metric"
    monkeypatch.setattr(readiness_metric, "is_ready", _refuse)
    monkeypatch.setattr(readiness_metric, "Log", _NoLog)
    assert readiness_metric.main(rest) == 1


class _Asked(Exception):  # noqa: N818
    pass


def _refuse(what: Any) -> Any:
    raise _Asked(str(what))


class _NoLog:
    def failure(self, _: str, failure: BaseException) -> None:
        assert isinstance(failure, _Asked)
        assert str(failure) == "http://127.0.0.1:8440/readyz"


def test_the_hosts_configuration_listens_where_the_enclave_dials() -> None:
    config = host_config.load(DEPLOY / "config" / "host.json")
    ports = {
        name: Address.parse(getattr(config.ports, name) or "") for name in ("storage", "tunnel", "obituary")
    }
    assert {int(address.host) for address in ports.values()} == {VMADDR_CID_ANY}
    assert ports["storage"].port == enclave_main.STORAGE_PORT
    assert ports["tunnel"].port == enclave_main.TUNNEL_PORT
    assert ports["obituary"].port == 5003
    assert nitro.LISTEN_PORT == enclave_main.LISTEN_PORT
    assert environment("readiness.env")["COSIGNER_READYZ"].endswith(
        f":{Address.parse(config.listen).port}/readyz"
    )


def test_the_figures_for_memory_and_processors_agree() -> None:
    allocator = yaml.safe_load((DEPLOY / "config" / "allocator.yaml").read_text())
    launched = environment("enclave.env")
    assert int(launched["COSIGNER_MEMORY_MIB"]) == allocator["memory_mib"]
    assert int(launched["COSIGNER_CPUS"]) == allocator["cpu_count"]
    assert allocator["memory_mib"] << 20 >= nitro.MEMORY_FACTOR * MAX_EIF
    assert allocator["cpu_count"] % 2 == 0
