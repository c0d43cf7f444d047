"""The readiness report: what CloudWatch is told, by whom, and that silence is an exit code."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from host import readiness_metric

REGION = "us-east-1"


class Server:
    """Answers like a host's ``/readyz`` and like the metadata service."""

    def __init__(self) -> None:
        self.status = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                assert self.path == "/latest/api/token"
                assert self.headers["x-aws-ec2-metadata-token-ttl-seconds"]
                self.answer(200, b"a-token")

            def do_GET(self) -> None:
                if self.path == "/readyz":
                    self.answer(outer.status, b"")
                elif self.headers.get("x-aws-ec2-metadata-token") == "a-token":
                    assert self.path == "/latest/meta-data/instance-id"
                    self.answer(200, b"i-0123456789abcdef0")
                else:
                    self.answer(401, b"")

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/readyz"
        self.thread = threading.Thread(target=self.http.serve_forever)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.thread.start()
    yield server
    server.http.shutdown()
    server.thread.join(20)
    server.http.server_close()


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("cloudwatch", region_name=REGION)


def reported(cloudwatch: Any) -> list[tuple[str, float]]:
    from moto.cloudwatch.models import cloudwatch_backends

    assert {metric["Namespace"] for metric in cloudwatch.list_metrics()["Metrics"]} == {"Cosigner"}
    data = cloudwatch_backends["123456789012"][REGION].metric_data
    assert {(datum.dimensions[0].name, datum.dimensions[0].value) for datum in data} == {("Instance", "i-1")}
    return [(datum.name, datum.value) for datum in data]


@pytest.mark.parametrize(("status", "value"), [(200, 1.0), (503, 0.0), (204, 0.0)])
def test_the_answer_of_readyz_is_reported(server: Server, cloudwatch: Any, status: int, value: float) -> None:
    server.status = status
    options = ["--url", server.url, "--region", REGION, "--instance", "i-1"]
    assert readiness_metric.main(options) == 0
    assert reported(cloudwatch) == [("Ready", value)]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/readyz", "not a url"])
def test_a_host_that_does_not_answer_is_not_ready(cloudwatch: Any, url: str) -> None:
    assert readiness_metric.main(["--url", url, "--region", REGION, "--instance", "i-1"]) == 0
    assert reported(cloudwatch) == [("Ready", 0.0)]


def test_what_cannot_be_reported_is_an_exit_code_and_no_secret_in_the_log(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("words of AWS")

    monkeypatch.setattr(readiness_metric, "report", refuse)
    assert readiness_metric.main(["--url", server.url, "--region", REGION, "--instance", "i-1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "readiness_not_reported"
    assert "words" not in line


def test_the_instance_is_asked_for_its_id_with_a_token(server: Server) -> None:
    base = server.url.removesuffix("/readyz") + "/latest"
    assert readiness_metric.instance_id(base) == "i-0123456789abcdef0"


def test_bad_usage_is_2() -> None:
    with pytest.raises(SystemExit) as caught:
        readiness_metric.main([])
    assert caught.value.code == 2
