"""The fake KMS over HTTPS: AWS JSON 1.1, as boto3 speaks it, with a certificate of the simulator's TLS authority."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from attestation.policy import TrustPolicy
from simulator.https import HttpsHandler, HttpsServer, HttpsService
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
_TARGET: Final = "TrentService."


class KmsSimulator(HttpsService):
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
        self.host_name = f"kms.{region}.amazonaws.com"
        own = (self.host_name, "localhost", "127.0.0.1", "::1")
        super().__init__("KMS simulator", (host, port), TlsAuthority.open(state_dir), (*own, *names))
        self._service = KmsService(
            KeyStore(state_dir, region=region, account=account),
            check=verify or strict_verifier(trust),
            clock=clock,
            encoding=encoding,
        )

    @property
    def events(self) -> list[Event]:
        """What CloudTrail would show of the calls so far, oldest first."""
        return self._trail.events

    def create_key(self, policy: str | None = None, *, claims: Mapping[str, Any] | None = None) -> str:
        """Make a key with this policy (JSON; None: the account may do everything); its ARN.

        `claims`: members of KeyMetadata that DescribeKey shall give instead of the true ones, so that a client's
        check of them can be tested: `{"Origin": "EXTERNAL"}`.
        """
        return str(self._service.create_key(policy, claims=claims).arn)

    def _listen(self, address: tuple[str, int], tls: ssl.SSLContext) -> HttpsServer:
        return _Server(address, tls, answer=self._answer, control=partial(control, self))

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


class _Server(HttpsServer):
    def __init__(
        self, address: tuple[str, int], tls: ssl.SSLContext, *, answer: _Answer, control: _Control
    ) -> None:
        self.answer = answer
        self.control = control
        super().__init__(address, tls, _Handler)


class _Handler(HttpsHandler):
    server_version = "kms-simulator"
    server: _Server

    def do_POST(self) -> None:  # noqa: N802 - named by http.server
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

    def do_GET(self) -> None:  # noqa: N802 - named by http.server
        self.close_connection = True  # a body, which means nothing here, is left unread
        self._control(b"")

    def do_DELETE(self) -> None:  # noqa: N802 - named by http.server
        self.close_connection = True
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
