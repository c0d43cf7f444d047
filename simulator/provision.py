"""``python -m simulator.provision``: the operator's work for a mock stack whose parts run in containers of their own. Ends when it is done.

It creates the KMS key, writes the manifest, puts a key policy that pins the very code this process runs, and writes the configurations
of host and clients. Repeated on every start: the key stays, the policy follows the code.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from pathlib import Path
from typing import Any, Final

from protocol.envelope.address import Address
from simulator.issuer import HOST as ISSUER_HOST
from simulator.kms.policy import ACCOUNT
from simulator.kms.server import REGION
from simulator.pki import write_private
from simulator.sandbox import ISSUER_PORT
from simulator.stack import KMS_PORT, client_config, kms_host, provision_kms

ROLE: Final = "ASIAMOCKINSTANCEROLE"


def main() -> int:
    """Provision; 0 when everything is written."""
    options = _options()
    ready = {
        "url": f"https://{kms_host({'region': REGION})}:{options.kms_port}",
        "ca_file": str(options.state / "kms-ca.pem"),
        "region": REGION,
        "account": ACCOUNT,
    }
    pcrs, manifest_file = provision_kms(options.state, ready)
    target: Path = options.config
    write_private(target / "manifest.cbor", manifest_file.read_bytes())
    write_private(target / "webhooks-ca.pem", (options.state / "kms-ca.pem").read_bytes())
    credentials = {"Version": 1, "AccessKeyId": ROLE, "SecretAccessKey": secrets.token_hex(16)}
    write_private(target / "credentials.json", json.dumps(credentials).encode())
    host = _host_config(
        target,
        options.sockets,
        options.store,
        kms_port=options.kms_port,
        issuer=options.issuer,
        listen=options.listen,
    )
    write_private(target / "host.json", json.dumps(host, indent=2).encode())
    write_private(
        target / "client.json",
        client_config(options.state, options.api_url, pcrs, token_url=options.token_url),
    )
    print(f"Provisioned; {options.api_url} is where clients find the API.", flush=True)
    return 0


def _host_config(
    target: Path, sockets: Path, store: Path, *, kms_port: int, issuer: Address, listen: Address
) -> dict[str, Any]:
    name = kms_host({"region": REGION})
    return {
        "listen": str(listen),
        "enclave": {"address": f"unix:{sockets}/enclave"},
        "ports": {"storage": f"unix:{sockets}/storage", "tunnel": f"unix:{sockets}/tunnel"},
        "storage": {"sqlite": f"{store}/store.sqlite3"},
        "webhooks": {"allow_private": True, "ca_file": f"{target}/webhooks-ca.pem"},
        "tunnel": {
            "allow": [
                {"host": name, "port": KMS_PORT, "dial": f"tcp:{name}:{kms_port}"},
                {"host": ISSUER_HOST, "port": ISSUER_PORT, "dial": str(issuer)},
            ]
        },
        "manifest": f"{target}/manifest.cbor",
        "credentials": {"source": "file", "path": f"{target}/credentials.json"},
        # A restarted enclave shall serve again within a second or two.
        "timing": {"backoff_max": 1},
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.provision", description="Set a mock stack in containers up, and end."
    )
    directories = {
        "--state": "the KMS simulator's state, with its certificates",
        "--config": "gets the configurations of host and clients",
        "--sockets": "where host and enclave meet",
        "--store": "where the host keeps its database",
    }
    for option, text in directories.items():
        parser.add_argument(option, type=Path, required=True, metavar="DIR", help=text)
    parser.add_argument("--kms-port", type=int, required=True, help="the KMS simulator's port")
    parser.add_argument(
        "--issuer",
        type=Address.parse,
        required=True,
        metavar="ADDRESS",
        help="the JWT issuer, as the host sees it",
    )
    parser.add_argument(
        "--token-url", required=True, metavar="URL", help="where clients get the issuer's tokens"
    )
    parser.add_argument(
        "--listen", type=Address.parse, required=True, metavar="ADDRESS", help="where the host serves its API"
    )
    parser.add_argument("--api-url", required=True, metavar="URL", help="where clients find the API")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
