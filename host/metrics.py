"""What ``/metrics`` shows. Labels come from fixed sets, so that no client can grow them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

PHASES: Final = ("awaiting_manifest", "awaiting_keys", "ready", "halted")
_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_MAX_ENCLAVE_COUNTERS: Final = 64
_COUNTER_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class Metrics:
    """The counters of one host process."""

    content_type: Final = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._requests = Counter(
            "cosigner_host_requests", "HTTP requests answered.", ["route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "cosigner_host_request_seconds",
            "From a request's headers to the end of its answer.",
            ["route"],
            buckets=_FAST,
            registry=registry,
        )
        self.requests_in_flight = Gauge(
            "cosigner_host_requests_in_flight", "HTTP requests under way.", registry=registry
        )
        self.body_bytes = Gauge(
            "cosigner_host_body_bytes", "Request bodies held in memory, in bytes.", registry=registry
        )
        self._phase = Gauge(
            "cosigner_host_enclave_phase",
            "1 for the enclave's phase, 0 for the others.",
            ["phase"],
            registry=registry,
        )
        self.enclave_sessions = Gauge(
            "cosigner_host_enclave_sessions", "Sessions open in the enclave.", registry=registry
        )
        self._enclave_counters = Gauge(
            "cosigner_host_enclave_counter", "The enclave's own counters.", ["name"], registry=registry
        )
        self.link_opened = Counter(
            "cosigner_host_link_opened", "Links opened to the enclave.", registry=registry
        )
        self.link_broken = Counter(
            "cosigner_host_link_broken", "Links that broke, by error code.", ["code"], registry=registry
        )
        self.link_in_flight = Gauge(
            "cosigner_host_link_in_flight", "Requests at the enclave.", registry=registry
        )
        self.enclave_starts = Counter(
            "cosigner_host_enclave_starts", "Enclave processes started.", registry=registry
        )
        self.supervisor_restarts = Counter(
            "cosigner_host_supervisor_restarts",
            "Times the supervisor began anew after losing the enclave.",
            registry=registry,
        )
        self.provisions = Counter(
            "cosigner_host_provisions", "Attempts to provision.", ["outcome"], registry=registry
        )
        self.credential_updates = Counter(
            "cosigner_host_credential_updates",
            "Newer credentials handed to the enclave.",
            ["outcome"],
            registry=registry,
        )
        self.obituaries = Counter(
            "cosigner_host_obituaries", "Last words of enclaves, by outcome.", ["outcome"], registry=registry
        )
        self.storage_operations = Counter(
            "cosigner_host_storage_operations",
            "Storage requests of the enclave.",
            ["operation", "outcome"],
            registry=registry,
        )
        self.storage_seconds = Histogram(
            "cosigner_host_storage_seconds",
            "Duration of storage requests.",
            ["operation"],
            buckets=_FAST,
            registry=registry,
        )
        self.backups = Counter(
            "cosigner_host_backups",
            "Requests for clients' encrypted backups.",
            ["operation", "outcome"],
            registry=registry,
        )
        self.tunnels = Counter(
            "cosigner_host_tunnels", "Tunnels asked for, by outcome.", ["outcome"], registry=registry
        )
        self.tunnels_open = Gauge("cosigner_host_tunnels_open", "Tunnels open now.", registry=registry)
        self.tunnel_bytes = Counter(
            "cosigner_host_tunnel_bytes", "Bytes through tunnels.", ["direction"], registry=registry
        )
        self.webhooks = Counter(
            "cosigner_host_webhooks",
            "Webhooks queued, and their attempts by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("queued", "delivered", "failed", "dead", "dropped"):
            self.webhooks.labels(outcome)
        self._seconds_by_route: dict[str, Histogram] = {}
        self._requests_by_answer: dict[tuple[str, int], Counter] = {}
        self.phase("")

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request. ``route`` is a route's template, never a client's path."""
        answer = (route, status)
        if answer not in self._requests_by_answer:
            self._requests_by_answer[answer] = self._requests.labels(route, str(status))
            self._seconds_by_route[route] = self._request_seconds.labels(route)
        self._requests_by_answer[answer].inc()
        self._seconds_by_route[route].observe(seconds)

    def phase(self, phase: str) -> None:
        """Show the enclave's phase; any unknown one shows as none."""
        for name in PHASES:
            self._phase.labels(name).set(1 if name == phase else 0)

    def enclave_counters(self, counters: Mapping[str, int]) -> None:
        """Show the enclave's own counters: the first 64 with well-formed names."""
        names = sorted(name for name in counters if _COUNTER_NAME.match(name))[:_MAX_ENCLAVE_COUNTERS]
        self._enclave_counters.clear()
        for name in names:
            self._enclave_counters.labels(name).set(counters[name])

    def exposition(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)
