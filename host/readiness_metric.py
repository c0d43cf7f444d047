"""``python -m host.readiness_metric``: tell CloudWatch once whether the host answers and its enclave is ready; a timer runs it.

The metric ``Ready`` of namespace ``Cosigner``, dimension ``Instance``, is 1 or 0. The alarm treats a metric that does not come as 0, so a
machine that cannot even run this raises it, too. A process of its own, so that a host that hangs cannot call itself ready.

Exit codes: 0 reported, 1 could not report, 2 bad usage.
"""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from typing import Any, Final

from .log import Log

NAMESPACE: Final = "Cosigner"
METRIC: Final = "Ready"
_METADATA: Final = "http://169.254.169.254/latest"
_SECONDS: Final = 10.0
_HTTP_OK: Final = 200


def is_ready(url: str) -> bool:
    """Whether ``/readyz`` answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310  (the operator's own URL)
            return bool(answer.status == _HTTP_OK)
    except (OSError, ValueError):  # urllib's errors are OSErrors
        return False


def report(ready: bool, *, instance: str, region: str) -> None:  # noqa: FBT001  (the value that is reported)
    """Send one value.

    :raises Exception: botocore's, when CloudWatch did not take it.
    """
    import boto3  # noqa: PLC0415  (slow to import)

    client: Any = boto3.client("cloudwatch", region_name=region)
    dimensions = [{"Name": "Instance", "Value": instance}]
    datum = {"MetricName": METRIC, "Dimensions": dimensions, "Value": float(ready), "Unit": "None"}
    client.put_metric_data(Namespace=NAMESPACE, MetricData=[datum])


def instance_id(base: str = _METADATA) -> str:
    """The id of this instance, by its metadata service, version 2.

    :raises OSError: there is none.
    """
    header = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    ask = urllib.request.Request(f"{base}/api/token", method="PUT", headers=header)  # noqa: S310  (a constant)
    with urllib.request.urlopen(ask, timeout=_SECONDS) as answer:  # noqa: S310
        token = answer.read(256).decode("ascii")
    ask = urllib.request.Request(  # noqa: S310
        f"{base}/meta-data/instance-id", headers={"X-aws-ec2-metadata-token": token}
    )
    with urllib.request.urlopen(ask, timeout=_SECONDS) as answer:  # noqa: S310
        return str(answer.read(64).decode("ascii"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m host.readiness_metric", description="Report readiness once."
    )
    parser.add_argument("--url", required=True, help="the host's /readyz")
    parser.add_argument("--region", required=True)
    parser.add_argument("--instance", help="default: this instance's id")
    options = parser.parse_args(arguments)
    try:
        ready = is_ready(options.url)
        report(ready, instance=options.instance or instance_id(), region=options.region)
    except Exception as error:  # noqa: BLE001  (whatever it was, the alarm sees that nothing was reported)
        Log().failure("readiness_not_reported", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
