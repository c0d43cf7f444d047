"""From a location's name on the command line to the location. Secrets are in files; no name holds one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from protocol.envelope.errors import Culprit

from .endpoint import EndpointLocation
from .file import FileLocation
from .google_drive import GoogleDriveLocation
from .icloud import ICloudLocation
from .interface import BackupLocation, LocationError, refused, unauthorized
from .oauth import RefreshingToken
from .secrets import LocationSecrets, SecretFile
from .service import ServiceLocation

SYNTAX: Final = "service, file:DIR, s3://BUCKET[/PREFIX][?region=REGION&endpoint=URL], gdrive, icloud:CONTAINER[/development], https://HOST/PATH"


@dataclass(frozen=True)
class Service:
    """The service whose storage ``service`` means: the URL of its host, and the environment."""

    api_url: str
    environment: str


def open_location(
    spec: str, *, secrets: LocationSecrets | None = None, service: Service | None = None
) -> BackupLocation:
    """The location that ``spec`` names, in the form of :data:`SYNTAX`. Nothing is sent.

    :param secrets: else the files that the environment names.
    :param service: for ``service`` alone.
    :raises LocationError: ``location_refused``: no such location; ``location_unauthorized``: a secret is missing.
    """
    files = secrets or LocationSecrets.named()
    scheme, _, rest = spec.partition(":")
    match scheme:
        case "service" if service is not None and spec == scheme:
            return ServiceLocation(service.api_url, service.environment)
        case "file" if rest and "\0" not in rest:
            return FileLocation(Path(rest).expanduser())
        case "s3" if rest.startswith("//"):
            return _bucket(rest.removeprefix("//"))
        case "gdrive" if spec == scheme:
            return GoogleDriveLocation(RefreshingToken(_needed(files.google, "google")))
        case "icloud" if rest:
            container, _, environment = rest.partition("/")
            return ICloudLocation(
                container,
                environment=environment or "production",
                api_token=_needed(files.icloud_api_token, "icloud_api_token").token(),
                web_token=_needed(files.icloud_web_token, "icloud_web_token"),
            )
        case "https" | "http":
            return EndpointLocation(spec, _needed(files.endpoint_token, "endpoint_token").token())
    raise _unknown()


def _bucket(rest: str) -> BackupLocation:
    """The rest is kept apart, so that boto3, which is optional and slow to import, is imported with buckets only."""
    from .s3 import S3Location  # noqa: PLC0415

    path, _, query = rest.partition("?")
    bucket, _, prefix = path.partition("/")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not options.keys() <= {"region", "endpoint"}:
        raise _unknown()
    prefix = prefix.strip("/")
    return S3Location(bucket, f"{prefix}/" if prefix else "", **options)


def _needed(file: SecretFile | None, member: str) -> SecretFile:
    if file is None:
        variable = LocationSecrets.VARIABLES[member]
        raise unauthorized(
            "The location", f"Name the file with its secret in ${variable}, or by the option for it."
        )
    return file


def _unknown() -> LocationError:
    return refused(f"No location is named like that. There are: {SYNTAX}.", culprit=Culprit.CLIENT)
