"""moto's key store with our grants, kept in a file, so that ciphertexts outlive a restart of the simulator."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

from moto.kms.models import Key, KmsBackend

from simulator.kms.grants import Grant
from simulator.pki import write_private

_FILE: Final = "kms-keys.json"


class KeyStore:
    """`backend`: moto's keys of one account and region. `save` after every change; the file is mode 0600.

    `grants`: of each key id that has any, by grant id in order of creation. `claims`: members of KeyMetadata that
    DescribeKey shall give for a key instead of the true ones.
    """

    def __init__(self, state_dir: Path, *, region: str, account: str) -> None:
        self.backend = KmsBackend(region, account)
        self.grants: dict[str, dict[str, Grant]] = {}
        self.claims: dict[str, dict[str, Any]] = {}
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
                grants = [Grant.from_json(grant) for grant in record.get("grants", [])]
                self.grants[key.id] = {grant.id: grant for grant in grants}
                self.claims[key.id] = record.get("claims", {})

    def grants_of(self, key: Key) -> list[Grant]:
        """The key's grants, oldest first."""
        return list(self.grants.get(key.id, {}).values())

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
                "grants": [grant.to_json() for grant in self.grants_of(key)],
                "claims": self.claims.get(key.id, {}),
            }
            for key in self.backend.keys.values()
        ]
        write_private(self._path, json.dumps(records, indent=1).encode())
