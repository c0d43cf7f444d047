"""One simulated KMS for each test module that asks for it, and clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from simulator.kms import KmsSimulator
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki

PCRS = {0: b"\x01" * 48, 1: b"\x02" * 48, 2: b"\x03" * 48}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def simulator(state: Path) -> Iterator[KmsSimulator]:
    with KmsSimulator(state) as running:
        yield running
        running.faults.clear()


@pytest.fixture(scope="module")
def pki(state: Path) -> NitroPki:
    return NitroPki.open(state)


@pytest.fixture
def nsm(pki: NitroPki) -> FakeNsm:
    return FakeNsm(pki, measurements=PCRS)


@pytest.fixture(scope="module")
def connect(state: Path) -> Callable[..., Any]:
    """Make an ordinary boto3 client for a simulator."""

    def make(simulator: KmsSimulator, **changes: Any) -> Any:
        ca_file = state / "ca.pem"
        ca_file.write_bytes(simulator.ca_pem)
        return boto3.client(
            "kms",
            region_name=simulator.region,
            endpoint_url=simulator.url,
            verify=str(ca_file),
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
            **{"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret", **changes},
        )

    return make


@pytest.fixture(scope="module")
def client(simulator: KmsSimulator, connect: Callable[..., Any]) -> Any:
    return connect(simulator)
