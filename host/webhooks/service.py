"""Puts the sender of webhooks together, as the configuration says."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from host.config import WebhooksSection
from host.errors import HostError
from host.log import Log
from host.metrics import Metrics
from protocol.envelope.errors import Culprit

from .attempt import Sender
from .clock import milliseconds
from .dispatch import Dispatcher, Worker
from .endpoint import Endpoint, Resolve, resolver
from .outbox import Outbox
from .ssrf import Rules

_LOOK_UPS: Final = 64  # at once; each endpoint has at most one
_LEASE_MARGIN: Final = 5.0  # seconds


def dispatcher(
    section: WebhooksSection, outbox: Outbox, *, log: Log, metrics: Metrics, resolve: Resolve | None = None
) -> Dispatcher:
    """A dispatcher over an outbox; :meth:`Dispatcher.run` runs it.

    :param resolve: asks for names elsewhere than at the operating system.
    :raises HostError: ``webhooks_unusable``: the authorities cannot be read.
    """
    rules = rules_of(section)
    tls = _tls(section.ca_file)
    sender = Sender(
        outbox=outbox,
        names=dict(section.environment_names),
        clock=milliseconds,
        schedule=tuple(section.schedule),
    )
    if resolve is None:
        resolve = resolver(ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="webhooks"))

    def make(environment: str) -> Worker:
        return Worker(
            environment,
            sender,
            Endpoint(rules=rules, tls=tls, resolve=resolve, timeout=section.timeout),
            concurrency=section.concurrency,
            lease=3 * section.timeout + _LEASE_MARGIN,  # an attempt may wait for another one of its subject
            poll=section.poll,
            log=log,
            metrics=metrics,
        )

    return Dispatcher(sender, make, poll=section.poll, retention_days=section.retention_days, log=log)


def rules_of(section: WebhooksSection) -> Rules:
    """Where webhooks may go."""
    return Rules(ports=frozenset(section.ports), allow_private=section.allow_private)


def _tls(ca_file: str | None) -> ssl.SSLContext:
    """A context that requires a certificate for the endpoint's name, under the authorities of the file or those that botocore ships."""
    # Not create_default_context: that one reads SSLKEYLOGFILE, and the system's authorities, which an image may not have.
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # requires a certificate and checks its host name
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        from botocore.httpsession import get_cert_path  # noqa: PLC0415  (slow to import)

        ca_file = str(get_cert_path(verify=True))
    try:
        tls.load_verify_locations(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise HostError(
            "webhooks_unusable",
            f"Cannot read the authorities for webhooks from {ca_file}: {error.strerror or type(error).__name__}.",
            culprit=Culprit.HOST,
        ) from None
    return tls
