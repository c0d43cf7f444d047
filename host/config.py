"""The configuration file: strict JSON, no defaults that open anything.

Secrets are not in it: credentials come from a file of their own or from AWS's chain on the instance.
"""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.envelope.address import VMADDR_CID_ANY, Address
from protocol.envelope.errors import Culprit
from protocol.envelope.limits import MAX_HTTP_BODY
from protocol.envelope.messages import EnvironmentName, HostName, Port

from .errors import HostError

MAX_CONFIG: Final = 256 << 10  # bytes
SCHEDULE: Final = (0.0, 15.0, 60.0, 600.0, 3600.0, 86400.0)  # seconds: 15 s, 1 min, 10 min, 1 h, 1 day

Seconds = Annotated[float, Meta(gt=0, le=86400)]
Count = Annotated[int, Meta(ge=1, le=65536)]
PathText = Annotated[str, Meta(pattern=r"^/[^\x00]*\Z")]
AddressText = Annotated[str, Meta(pattern=r"^(vsock|unix|tcp):[^\x00]+\Z")]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class EnclaveSection(_Section, frozen=True):
    """Where the enclave listens, and the command that starts it (null: somebody else does).

    :ivar address: fixed. :ivar address_file: or in this file, which the enclave's launcher writes (``host.nitro``). Exactly one of the two;
        ``command`` goes with ``address`` only.
    """

    address: AddressText | None = None
    address_file: PathText | None = None
    command: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)] | None = None


class PortsSection(_Section, frozen=True):
    """Where the enclave reaches this host.

    :ivar obituary: where its PID 1 says why it ends; null: nobody listens.
    """

    storage: AddressText
    tunnel: AddressText
    obituary: AddressText | None = None


class DynamoDbSection(_Section, frozen=True):
    """A DynamoDB table (``deploy/cloudformation``); credentials by botocore's ordinary chain, the instance's role included."""

    table: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{3,255}\Z")]
    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]


class StorageSection(_Section, frozen=True):
    """Where the enclave's sealed records are kept: exactly one of a file and a table."""

    sqlite: PathText | None = None
    dynamodb: DynamoDbSection | None = None


class Destination(_Section, frozen=True):
    """A place to which the enclave may open a tunnel; ``dial`` goes elsewhere under that name."""

    host: HostName
    port: Port
    dial: AddressText | None = None


class TunnelSection(_Section, frozen=True):
    allow: Annotated[list[Destination], Meta(max_length=64)]


class FileCredentials(_Section, frozen=True, tag_field="source", tag="file"):
    """Credentials in a file of the form that AWS's ``credential_process`` prints."""

    path: PathText


class InstanceCredentials(_Section, frozen=True, tag_field="source", tag="aws"):
    """Credentials by botocore's ordinary chain, the instance's role included."""


class FileAuditLog(_Section, frozen=True, tag_field="sink", tag="file"):
    """The enclaves' logs of decisions in a folder of this machine (``docs/spec/receipts.md``)."""

    path: PathText


class S3AuditLog(_Section, frozen=True, tag_field="sink", tag="s3"):
    """The same in a bucket with Object Lock; credentials by botocore's ordinary chain, the instance's role included.

    :ivar prefix: empty, or ending in ``/``.
    :ivar mode: ``governance``: those with s3:BypassGovernanceRetention can delete earlier; ``compliance``: nobody can.
    """

    bucket: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")]
    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
    mode: Literal["governance", "compliance"]
    retention_days: Annotated[int, Meta(ge=1, le=36500)]
    prefix: Annotated[str, Meta(max_length=512, pattern=r"^([A-Za-z0-9_-]+/)*\Z")] = ""


class WebhooksSection(_Section, frozen=True):
    """How developers' endpoints are reached (``docs/spec/webhooks.md``). Where they are, the enclave says.

    :ivar allow_private: mock mode: ``http``, endpoints on this machine and in private networks, names without a dot, any port. Never in production:
        whoever sets an endpoint could reach what the host can reach.
    :ivar ports: beside 443.
    :ivar ca_file: PEM file of authorities instead of the public ones that botocore ships.
    :ivar environment_names: what webhooks call environments; others are called by their id.
    :ivar concurrency: attempts at one environment's endpoint at once.
    :ivar timeout: seconds for one attempt. :ivar poll: seconds between two looks for what became due.
    :ivar schedule: seconds from the first attempt to each, 0 first; after the last one a webhook is a dead letter.
    :ivar retention_days: how long webhooks that ended are kept, dead letters among them.
    """

    allow_private: bool = False
    ports: Annotated[list[Port], Meta(max_length=16)] = []
    ca_file: PathText | None = None
    environment_names: Annotated[
        dict[EnvironmentName, Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=64)
    ] = {}
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 16
    timeout: Annotated[float, Meta(gt=0, le=60)] = 15
    poll: Annotated[float, Meta(gt=0, le=60)] = 1
    schedule: Annotated[list[Annotated[float, Meta(ge=0, le=604800)]], Meta(min_length=1, max_length=16)] = (
        msgspec.field(default_factory=lambda: list(SCHEDULE))
    )
    retention_days: Annotated[int, Meta(ge=1, le=3650)] = 30


class Limits(_Section, frozen=True):
    """Bounds on what clients and the enclave may have under way.

    :ivar requests_per_second: for one client address, null for no such limit (behind a proxy all clients share one address).
    :ivar burst: requests that one client address may send at once before that rate holds.
    :ivar concurrency: requests at the enclave at once; more are answered ``host_busy``.
    :ivar body_bytes: request bodies held in memory, all together.
    """

    requests_per_second: Annotated[float, Meta(gt=0)] | None = None
    burst: Count = 64
    concurrency: Count = 128
    connections: Count = 1024
    body_bytes: Annotated[int, Meta(ge=MAX_HTTP_BODY)] = 64 << 20
    tunnels: Count = 64
    storage_connections: Count = 64


class Timing(_Section, frozen=True):
    """Seconds.

    :ivar header: until a request's headers are complete; :ivar body: until its body is.
    :ivar keep_alive: that an idle client connection stays open.
    :ivar request: until the enclave must have answered; :ivar provision: likewise for provisioning, which asks KMS.
    :ivar status: between two questions for the enclave's status; :ivar credentials: between two looks for newer credentials.
    :ivar start: until a started enclave must listen; :ivar stop: between SIGTERM and SIGKILL.
    :ivar backoff: before the first restart or second attempt to provision, doubling up to :ivar backoff_max:, and starting over
        once the enclave was ready for :ivar stable: seconds.
    """

    header: Seconds = 10
    body: Seconds = 10
    keep_alive: Seconds = 75
    request: Seconds = 30
    provision: Seconds = 60
    status: Seconds = 5
    credentials: Seconds = 30
    start: Seconds = 60
    stop: Seconds = 10
    backoff: Seconds = 0.5
    backoff_max: Seconds = 60
    stable: Seconds = 30
    tunnel_open: Seconds = 5
    tunnel_connect: Seconds = 10
    tunnel_idle: Seconds = 300


class Config(_Section, frozen=True):
    """The whole configuration.

    :ivar audit_log: null: a folder beside ``storage.sqlite``, whose name is that file's with ``.audit-log``.
    """

    listen: AddressText
    enclave: EnclaveSection
    ports: PortsSection
    storage: StorageSection
    tunnel: TunnelSection
    manifest: PathText
    credentials: FileCredentials | InstanceCredentials
    audit_log: FileAuditLog | S3AuditLog | None = None
    webhooks: WebhooksSection = WebhooksSection()
    limits: Limits = Limits()
    timing: Timing = Timing()


def load(path: Path) -> Config:
    """Read and check a configuration file.

    :raises HostError: ``config_unreadable`` or ``config_invalid``; the message names the field.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG + 1)
    except OSError as error:
        raise HostError(
            "config_unreadable",
            f"Cannot read the configuration {path}: {error.strerror}.",
            culprit=Culprit.HOST,
        ) from None
    return parse(raw)


def parse(raw: bytes) -> Config:
    """Check a configuration.

    :raises HostError: ``config_invalid``; the message names the field and what it must be.
    """
    if len(raw) > MAX_CONFIG:
        raise _invalid("", f"the file has more than {MAX_CONFIG} bytes")
    try:
        config = msgspec.json.decode(raw, type=Config, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text, _, field = str(error).partition(" - at `$")
        raise _invalid(field.rstrip("`").lstrip("."), text + _hint(field.rstrip("`"))) from None
    _check_choices(config)
    _check_addresses(config)
    _check_destinations(config.tunnel.allow)
    schedule = config.webhooks.schedule
    if schedule[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(schedule)):
        raise _invalid("webhooks.schedule", "give growing numbers of seconds, the first one 0")
    return config


def _check_choices(config: Config) -> None:
    enclave, storage = config.enclave, config.storage
    if (enclave.address is None) == (enclave.address_file is None):
        raise _invalid("enclave.address", "give it or enclave.address_file, one of the two")
    if enclave.address_file is not None and enclave.command is not None:
        raise _invalid(
            "enclave.command",
            "whoever writes enclave.address_file starts the enclave; leave one of the two out",
        )
    if (storage.sqlite is None) == (storage.dynamodb is None):
        raise _invalid("storage", "give sqlite or dynamodb, one of the two")


def _check_addresses(config: Config) -> None:
    anywhere, here = {"vsock", "unix", "tcp"}, {"tcp", "unix"}
    own: dict[str, tuple[str | None, set[str]]] = {
        "listen": (config.listen, here),
        "enclave.address": (config.enclave.address, anywhere),
        "ports.storage": (config.ports.storage, anywhere),
        "ports.tunnel": (config.ports.tunnel, anywhere),
        "ports.obituary": (config.ports.obituary, anywhere),
    }
    dialled: dict[str, tuple[str | None, set[str]]] = {
        f"tunnel.allow[{index}].dial": (entry.dial, here) for index, entry in enumerate(config.tunnel.allow)
    }
    for field, (text, schemes) in (own | dialled).items():
        if text is None:
            continue
        try:
            address = Address.parse(text)
        except ValueError as error:
            raise _invalid(field, str(error)) from None
        if address.scheme not in schemes or not 0 <= address.port <= VMADDR_CID_ANY:
            raise _invalid(field, f"{text!r} must be one of {', '.join(sorted(schemes))}")
        if address.scheme == "tcp" and address.port > 65535:  # noqa: PLR2004  (TCP's ports have 16 bits)
            raise _invalid(field, f"{text!r} has no TCP port; use a number below 65536")
    given = [text for text, _ in own.values() if text is not None]
    if len(set(given)) < len(given):
        raise _invalid("ports", "listen, enclave.address and all of ports must be different")


def _check_destinations(allow: list[Destination]) -> None:
    seen: set[tuple[str, int]] = set()
    for index, entry in enumerate(allow):
        field = f"tunnel.allow[{index}]"
        if (entry.host, entry.port) in seen:
            raise _invalid(field, f"{entry.host}:{entry.port} stands there twice; keep one")
        seen.add((entry.host, entry.port))
        try:
            ipaddress.ip_address(entry.host)
        except ValueError:
            continue
        raise _invalid(f"{field}.host", "give the name that the enclave's TLS will check, not an IP address")


def _hint(field: str) -> str:
    name = field.rpartition(".")[2]
    if name in {"listen", "address", "storage", "tunnel", "obituary", "dial"}:
        return " (an address is unix:/PATH, tcp:HOST:PORT or vsock:CID:PORT)"
    if name in {"manifest", "sqlite", "path", "address_file", "ca_file"}:
        return " (give an absolute path)"
    if name == "host":
        return " (give one whole host name, a lower-case name without wildcards)"
    return ""


def _invalid(field: str, reason: str) -> HostError:
    where = f"field {field!r}: " if field else ""
    return HostError(
        "config_invalid", f"The configuration is not valid: {where}{reason}.", culprit=Culprit.HOST
    )
