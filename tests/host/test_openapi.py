"""The description: whole, true and up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from starlette.routing import Route

from host import openapi
from host.admission import Admission
from host.api import Api
from host.config import Limits
from host.errors import CATALOGUE
from host.log import Log
from host.metrics import Metrics
from host.readiness import State
from tests.host.fake_enclave import FakeEnclave
from tests.host.rig import running_host

COMMITTED = Path(openapi.__file__).with_name("openapi.json")


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method.upper()): operation
        for path, methods in openapi.build()["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_described_and_nothing_else() -> None:
    metrics = Metrics()
    api: Any = Api(
        None, backups=None, admission=Admission(Limits(), metrics), body_seconds=1, log=Log(), metrics=metrics
    )  # type: ignore[arg-type]
    routes = api.application()._app.routes
    assert all(isinstance(route, Route) for route in routes)
    served = {(route.path, method) for route in routes for method in route.methods - {"HEAD"}}
    assert served == operations().keys()


def test_every_error_code_is_described_under_its_status() -> None:
    described: dict[str, set[str]] = {}
    for operation in operations().values():
        for status, response in operation["responses"].items():
            if status in {"200", "204"}:
                continue
            content = response["content"]["application/problem+json"]
            for code, example in content["examples"].items():
                assert example["summary"] == CATALOGUE[code].title
                assert f"`{code}`" in response["description"]
                described.setdefault(code, set()).add(status)
                if CATALOGUE[code].retry_after:
                    assert "retry-after" in response["headers"]
    assert described == {code: {str(answer.status)} for code, answer in CATALOGUE.items()}


def test_the_states_are_those_of_the_supervisor() -> None:
    described = openapi.build()["components"]["schemas"]["Readiness"]["properties"]["state"]["enum"]
    assert described == [state.value for state in State]


def test_the_committed_description_is_the_generated_one() -> None:
    assert json.loads(COMMITTED.read_text()) == openapi.build(), (
        "run: python -m host.openapi > host/openapi.json"
    )


def test_every_reference_resolves() -> None:
    document = openapi.build()

    def check(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                target: Any = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for value in node.values():
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    check(document)


def test_the_host_serves_it() -> None:
    with running_host(FakeEnclave()) as rig, httpx.Client(base_url=rig.url) as client:
        served = client.get("/openapi.json")
        assert served.headers["content-type"] == "application/json"
        assert served.json() == openapi.build()
        properties = served.json()["components"]["schemas"]
        assert client.get("/readyz").json().keys() == properties["Readiness"]["properties"].keys()
        assert client.get("/nothing").json().keys() == properties["Problem"]["properties"].keys()
        attestation = client.get("/attestation", params={"nonce": "00" * 16}).json()
        assert attestation.keys() == properties["Attestation"]["properties"].keys()
