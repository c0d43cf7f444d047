"""The fake KMS over HTTPS: AWS JSON 1.1, as boto3 speaks it, with a certificate of the simulator's TLS authority."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

from attestation.policy import TrustPolicy
from simulator.kms.call import Call
from simulator.kms.control import PREFIX, control
from simulator.kms.envelope import Encoding
from simulator.kms.errors import ApiError
from simulator.kms.faults import Fault, Faults
from simulator.kms.jsonbody import json_object
from simulator.kms.policy import ACCOUNT
from simulator.kms.principals import is_caller
from simulator.kms.recipient import Verifier, strict_verifier
from simulator.kms.service import KmsService
from simulator.kms.sigv4 import Credential, authenticate
from simulator.kms.store import KeyStore
from simulator.kms.trail import Event, Origin, Trail, event_of
from simulator.pki import NitroPki, TlsAuthority

REGION: Final = "us-east-1"
_MAX_BODY: Final = 1024 * 1024
_IDLE_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.05  # how long `stop` may have to wait
_TARGET: Final = "TrentService."


class KmsSimulator:
    """A KMS stand-in: `start`, use `port` and `ca_pem`, `stop`; or use it as a context manager.

    `state_dir` keeps keys, TLS authority and simulated Nitro root. `trust`: which attestation documents are believed;
    by default those under the state directory's Nitro root (or the roots `root_sha256`), at most five minutes old.
    `verify`: another judge of documents instead, for tests whose documents no root signs; there is no way to it from
    the command line. `credentials`: access key ids with their secrets; None lets every well-formed signature pass. It
    may be replaced while the server runs. `principals`: access key ids with the ARNs that they belong to, of users or
    of roles' sessions; others belong to users of the same name. `log`: a file that gets each event as a line of JSON.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        root_sha256: str | None = None,
        trust: TrustPolicy | None = None,
        verify: Verifier | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        region: str = REGION,
        account: str = ACCOUNT,
        names: tuple[str, ...] = (),
        credentials: Mapping[str, Credential] | None = None,
        principals: Mapping[str, str] | None = None,
        faults: Faults | None = None,
        encoding: Encoding | None = None,
        log: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if verify is not None and (trust is not None or root_sha256 is not None):
            raise ValueError("who brings a verifier brings its trust with it")
        if trust is None:
            trust = TrustPolicy(roots=frozenset({root_sha256 or NitroPki.open(state_dir).root_sha256}))
        if not all(is_caller(principal) for principal in (principals or {}).values()):
            raise ValueError("a principal is the ARN of a user, an account's root or a role's session")
        self.region = region
        self.account = account
        self.trust = trust
        self.credentials = credentials
        self.principals = dict(principals or {})
        self.faults = faults or Faults()
        self._trail = Trail(log)
        self._clock = clock
        self._address = (host, port)
        self._authority = TlsAuthority.open(state_dir)
        self.host_name = f"kms.{region}.amazonaws.com"
        self._names = (self.host_name, "localhost", "127.0.0.1", "::1", *names)
        self._service = KmsService(
            KeyStore(state_dir, region=region, account=account),
            check=verify or strict_verifier(trust),
            clock=clock,
            encoding=encoding,
        )
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def events(self) -> list[Event]:
        """What CloudTrail would show of the calls so far, oldest first."""
        return self._trail.events

    @property
    def ca_pem(self) -> bytes:
        """The TLS authority's certificate, for clients."""
        return self._authority.pem

    @property
    def port(self) -> int:
        """The port that is listened on; RuntimeError before `start`."""
        if self._server is None:
            raise RuntimeError("the KMS simulator is not running")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """An endpoint URL whose name the server's certificate carries."""
        return f"https://localhost:{self.port}"

    def create_key(self, policy: str | None = None, *, claims: Mapping[str, Any] | None = None) -> str:
        """Make a key with this policy (JSON; None: the account may do everything); its ARN.

        `claims`: members of KeyMetadata that DescribeKey shall give instead of the true ones, so that a client's
        check of them can be tested: `{"Origin": "EXTERNAL"}`.
        """
        return str(self._service.create_key(policy, claims=claims).arn)

    def start(self) -> Self:
        """Listen, and serve on threads of its own."""
        if self._server is not None:
            raise RuntimeError("the KMS simulator is already running")
        self._server = _Server(
            self._address, self._tls(), answer=self._answer, control=partial(control, self)
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="kms-simulator", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening; answers under way are given up."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _tls(self) -> ssl.SSLContext:
        issued = self._authority.server(self._names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # The ssl module reads keys from files only; this one lives for a moment, mode 0600.
        with tempfile.NamedTemporaryFile() as file:
            file.write(issued.key_pem + issued.pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _answer(self, headers: Mapping[str, str], body: bytes) -> _Response | None:
        """The answer to one POST; None to drop the connection. `headers[":peer"]`: the client's address."""
        operation = headers.get("x-amz-target", "").removeprefix(_TARGET)
        injection = self.faults.take(operation)
        fault = injection.fault if injection else None
        if injection and fault is Fault.DELAY:
            time.sleep(injection.seconds)
        if fault is Fault.DROP:
            return None
        if fault is Fault.UNAVAILABLE:
            return _Response(503, b"<html>Service Unavailable</html>")
        response = self._serve(headers, body, fault)
        if fault is Fault.GARBAGE:
            return _Response(200, b"<html>not JSON</html>")
        if fault is Fault.EMPTY:
            return _Response(200, b"{}")
        response.truncated = fault is Fault.TRUNCATED
        return response

    def _serve(self, headers: Mapping[str, str], body: bytes, fault: Fault | None) -> _Response:
        request_id = str(uuid.uuid4())
        try:
            target = headers.get("x-amz-target", "")
            if not target.startswith(_TARGET):
                raise ApiError("UnknownOperationException", "X-Amz-Target names no KMS operation")
            access_key = authenticate(
                headers, body, region=self.region, credentials=self.credentials, now=self._clock()
            )
            call = Call(
                target.removeprefix(_TARGET),
                json_object(body),
                principal=self.principals.get(access_key, f"arn:aws:iam::{self.account}:user/{access_key}"),
                fault=fault,
            )
            origin = Origin(
                access_key=access_key,
                address=headers.get(":peer", ""),
                user_agent=headers.get("user-agent", ""),
                request_id=request_id,
            )
            answer = self._logged(call, origin)
        except ApiError as error:
            failure = {"__type": error.code, "message": error.message}
            return _Response(error.status, json.dumps(failure).encode(), request_id)
        return _Response(200, json.dumps(answer).encode(), request_id)

    def _logged(self, call: Call, origin: Origin) -> dict[str, Any]:
        """Run it and log how it ended. Like CloudTrail's, the log has only calls that somebody signed."""
        try:
            answer = self._service.run(call)
        except ApiError as error:
            self._trail.record(event_of(call, origin, region=self.region, now=self._clock(), error=error))
            raise
        self._trail.record(event_of(call, origin, region=self.region, now=self._clock(), answer=answer))
        return answer


class _Response:
    def __init__(self, status: int, body: bytes, request_id: str = "") -> None:
        self.status = status
        self.body = body
        self.request_id = request_id or str(uuid.uuid4())
        self.truncated = False


_Answer = Callable[[Mapping[str, str], bytes], _Response | None]
_Control = Callable[[str, str, bytes], tuple[int, bytes]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], tls: ssl.SSLContext, *, answer: _Answer, control: _Control
    ) -> None:
        self.tls = tls
        self.answer = answer
        self.control = control
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        # The handshake happens on the connection's own thread: a silent client must not block the others.
        connection, address = super().get_request()
        connection.settimeout(_IDLE_SECONDS)
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "kms-simulator"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # one write for head and body
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # TLS failures and resets are OSErrors, too
            super().handle()

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isascii() or not length.isdigit() or int(length) > _MAX_BODY:
            self.close_connection = True
            self._send(_Response(413, b""))
            return
        body = self.rfile.read(int(length))
        if self.path != "/":
            self._control(body)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        headers[":peer"] = str(self.client_address[0])  # no header's name has a colon
        response = self.server.answer(headers, body)
        if response is None:
            self.close_connection = True
            return
        self._send(response)

    def do_GET(self) -> None:
        self._control(b"")

    def do_DELETE(self) -> None:
        self._control(b"")

    def _control(self, body: bytes) -> None:
        if self.path.startswith(PREFIX):
            self._send(_Response(*self.server.control(str(self.command), self.path, body)))
        else:
            self._send(_Response(404, b""))

    def _send(self, response: _Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("x-amzn-RequestId", response.request_id)
        self.end_headers()
        if response.truncated:
            self.close_connection = True
            self.wfile.write(response.body[: len(response.body) // 2])
        else:
            self.wfile.write(response.body)

    def log_message(self, *_: object) -> None:
        """Requests are not logged: they are noise in a test's output."""
