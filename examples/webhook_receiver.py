"""A developer's endpoint: takes delegations, keeps them sealed, forgets them when they are revoked.

    export DYNAMIC_WEBHOOK_SECRET=whsec_…                    # shown once, when delegated access was set up
    export DYNAMIC_DELEGATION_PRIVATE_KEY="$(cat key.pem)"   # the RSA key whose public half was set up
    python examples/webhook_receiver.py --state ./delegations --port 8443 --certificate cert.pem --private-key tls.pem

Needs what the host needs: starlette and uvicorn. Without a certificate it listens on loopback, for a proxy that speaks TLS.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cosigner import CosignerError
from cosigner.webhooks import DecryptionKey, Inbox, LocalSealer, Receiver, WebhookRefused
from cosigner.webhooks.signature import MAX_BODY


def application(receiver: Receiver) -> Starlette:
    """``POST /webhooks``."""

    async def receive(request: Request) -> JSONResponse:
        raw = bytearray()
        try:
            async for chunk in request.stream():  # the bytes as they came: the signature is over them
                raw += chunk
                if len(raw) > MAX_BODY:
                    return JSONResponse({"code": "webhook_too_large"}, 413)
            event, result = await run_in_threadpool(receiver.receive, request.headers, bytes(raw))
        except ClientDisconnect:
            return JSONResponse({"code": "disconnected"}, 400)
        except WebhookRefused as refusal:
            return JSONResponse({"code": refusal.code}, refusal.status)
        except CosignerError as error:  # our own store or KMS: let it come again
            print(f"cannot keep a webhook: {error}", file=sys.stderr)
            return JSONResponse({"code": error.code}, 500)
        print(f"{event.event_name} {event.event_id}: {result}", flush=True)
        return JSONResponse({"result": result})

    return Starlette(routes=[Route("/webhooks", receive, methods=["POST"])])


def receiver_from_environment(state: Path) -> Receiver:
    """As the variables that Dynamic's own SDKs use say."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = DecryptionKey.from_pem(os.environ["DYNAMIC_DELEGATION_PRIVATE_KEY"].encode())
    inbox = Inbox(state / "inbox.sqlite3", LocalSealer(state / "sealing.key"))
    return Receiver(os.environ["DYNAMIC_WEBHOOK_SECRET"], key, inbox)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Takes webhooks of delegated access.")
    parser.add_argument("--state", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--certificate", metavar="FILE")
    parser.add_argument("--private-key", metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        receiver = receiver_from_environment(options.state)
    except KeyError as missing:
        print(f"set {missing.args[0]}", file=sys.stderr)
        return 2
    except CosignerError as error:
        print(error, file=sys.stderr)
        return 1
    uvicorn.run(
        application(receiver),
        host=options.host,
        port=options.port,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.private_key,
        access_log=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
