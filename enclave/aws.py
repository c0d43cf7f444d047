"""boto3 clients for the inside of an enclave: bytes go through a tunnel, and nothing comes from the environment.

The host forwards TLS records that it cannot read: the connection class below takes a byte tunnel (`Dial`) where
others open a socket, and TLS with hostname verification ends here. botocore by itself would ask environment
variables, files in the home directory and the instance's metadata service for its configuration and credentials;
each of those is replaced by a constant.
"""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import boto3
import botocore.config
import botocore.credentials
import botocore.httpsession
import botocore.loaders
import botocore.session
import urllib3
import urllib3.connection
import urllib3.exceptions
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from enclave.tls import TlsError, client_context
from protocol.envelope.nesting import is_deep

MAX_ANSWER: Final = 1024 * 1024
MAX_BRACKETS: Final = 2048
_HTTPS: Final = 443

Dial = Callable[[str, int], socket.socket]
"""Open a byte tunnel to (host name, port): a connected stream socket. Raises OSError."""

# At debug level these log request headers with session tokens, and bodies.
for _name in ("boto3", "botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class AwsCredentials(Protocol):
    """What the host pushes in (`protocol.envelope.messages.AwsCredentials`); an empty session token means none."""

    @property
    def access_key_id(self) -> str: ...
    @property
    def secret_access_key(self) -> str: ...
    @property
    def session_token(self) -> str: ...


CredentialsProvider = Callable[[], AwsCredentials]
"""The latest credentials, asked for at every signature. Raises LookupError while there are none."""


class TunnelError(Exception):
    """The tunnel did not open, broke, or ended too early."""


class AnswerError(Exception):
    """The service answered with something that is not an answer of its protocol."""


def client(
    service: str,
    *,
    region: str,
    host: str,
    port: int,
    dial: Dial,
    credentials: CredentialsProvider,
    ca_pem: str | None,
    timeout_s: float,
) -> Any:  # noqa: ANN401 - boto3 makes client classes at run time
    """A boto3 client for `service` at https://host:port, which never retries by itself.

    `ca_pem`: certificates to trust instead of the public ones that botocore ships; TlsError when it holds none.
    Calls raise, besides botocore's ClientError, the errors of this module, and LookupError from the provider.
    """
    session = _isolated_session(credentials)
    authority = host if port == _HTTPS else f"{host}:{port}"  # as it is signed and sent in the Host header
    made = boto3.Session(botocore_session=session, region_name=region).client(
        service,
        endpoint_url=f"https://{authority}",
        verify=True,
        config=botocore.config.Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            ignore_configured_endpoint_urls=True,
            proxies={},
        ),
    )
    sender = _Sender(dial, client_context(ca_pem), timeout_s)
    # An answer from this event takes the place of botocore's own HTTP session, which is never used.
    made.meta.events.register_first(f"before-send.{service}", sender.send)
    return made


def _isolated_session(credentials: CredentialsProvider) -> botocore.session.Session:
    """A botocore session whose every configuration variable has its default value, without files or environment."""
    variables = {
        name: (None, None, default, None)
        for name, (_, _, default, _) in botocore.session.Session.SESSION_VARIABLES.items()
    }
    variables["config_file"] = variables["credentials_file"] = (None, None, os.devnull, None)
    session = botocore.session.Session(session_vars=variables)
    loader = botocore.loaders.Loader(
        extra_search_paths=[botocore.loaders.Loader.BUILTIN_DATA_PATH], include_default_search_paths=False
    )
    session.register_component("data_loader", loader)
    session.register_component("credential_provider", _Resolver(credentials))
    session.register_component("token_provider", _NoTokens())
    return session


class _Resolver:
    """botocore's credential chain, one link long."""

    def __init__(self, provider: CredentialsProvider) -> None:
        self._credentials = _PushedCredentials(provider)

    def load_credentials(self) -> _PushedCredentials:
        return self._credentials


class _PushedCredentials(botocore.credentials.Credentials):  # type: ignore[misc]
    """Reads the provider anew for every signature, so that a refresh counts from the next request on."""

    def __init__(self, provider: CredentialsProvider) -> None:
        super().__init__("", "", None, method="pushed by the host")
        self._provider = provider

    def get_frozen_credentials(self) -> botocore.credentials.ReadOnlyCredentials:
        latest = self._provider()
        return botocore.credentials.ReadOnlyCredentials(
            latest.access_key_id, latest.secret_access_key, latest.session_token or None
        )


class _NoTokens:
    def load_token(self, **_: object) -> None:
        return None


class _TunnelConnection(urllib3.connection.HTTPSConnection):
    """HTTPS over a tunnel: only the way to a socket differs."""

    def __init__(
        self, host: str, port: int, *, dial: Dial, context: ssl.SSLContext, timeout_s: float
    ) -> None:
        super().__init__(host, port, ssl_context=context, timeout=timeout_s)
        self._dial = dial

    def _new_conn(self) -> socket.socket:
        try:
            tunnel = self._dial(self.host, self.port or self.default_port)
        except OSError as error:
            raise TunnelError(f"no tunnel to {self.host}:{self.port}: {error}") from error
        tunnel.settimeout(float(self.timeout) if isinstance(self.timeout, int | float) else None)
        return tunnel


class _Sender:
    """Sends one signed request on a connection of its own. Calls are rare: a connection per call cannot be stale."""

    def __init__(self, dial: Dial, context: ssl.SSLContext, timeout_s: float) -> None:
        self._dial = dial
        self._context = context
        self._timeout_s = timeout_s

    def send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        url = urlsplit(request.url)
        port = url.port or _HTTPS
        connection = _TunnelConnection(
            str(url.hostname), port, dial=self._dial, context=self._context, timeout_s=self._timeout_s
        )
        try:
            headers = {name: _text(value) for name, value in request.headers.items()}
            connection.request(
                request.method, url.path or "/", body=request.body, headers=headers, preload_content=False
            )
            response = connection.getresponse()
            body = response.read(MAX_ANSWER + 1)
        except (ssl.SSLError, urllib3.exceptions.SSLError) as error:
            raise TlsError(f"TLS with {url.hostname}: {error}") from error
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise TunnelError(f"the connection to {url.hostname} broke: {error}") from error
        finally:
            connection.close()
        _check_body(body)
        replay = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False)
        return AWSResponse(request.url, response.status, response.headers, replay)


def _check_body(body: bytes) -> None:
    """Read strictly what botocore reads leniently: a service of the JSON protocol answers with one JSON object or nothing."""
    if len(body) > MAX_ANSWER:
        raise AnswerError(f"an answer of more than {MAX_ANSWER} bytes")
    if is_deep(body, MAX_BRACKETS):
        raise AnswerError("the answer is nested too deeply")
    try:
        parsed = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise AnswerError("the answer is not JSON") from error
    if not isinstance(parsed, dict):
        raise AnswerError("the answer is not a JSON object")


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value
