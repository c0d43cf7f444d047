"""moto's key store, kept in a file, so that ciphertexts outlive a restart of the simulator."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Final

from moto.kms.models import KmsBackend

from simulator.pki import write_private

_FILE: Final = "kms-keys.json"


class KeyStore:
    """`backend`: moto's keys of one account and region. `save` after every change; the file is mode 0600."""

    def __init__(self, state_dir: Path, *, region: str, account: str) -> None:
        self.backend = KmsBackend(region, account)
        self._path = state_dir / _FILE
        if self._path.exists():
            for record in json.loads(self._path.read_text()):
                key = self.backend.create_key(
                    record["policy"], "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", record["description"], None
                )
                del self.backend.keys[key.id]
                key.id, key.arn = record["id"], record["arn"]
                key.creation_date = record["creation_date"]
                key.key_material = base64.b64decode(record["key_material"])
                self.backend.keys[key.id] = key

    def save(self) -> None:
        """Write all keys, atomically."""
        records = [
            {
                "id": key.id,
                "arn": key.arn,
                "policy": key.policy,
                "description": key.description,
                "creation_date": key.creation_date,
                "key_material": base64.b64encode(key.key_material).decode(),
            }
            for key in self.backend.keys.values()
        ]
        write_private(self._path, json.dumps(records, indent=1).encode())
