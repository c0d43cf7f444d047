"""`python -m tests.attestation.export DIR`: the corpus as files, for verifiers in other languages.

DIR is made, with one `.cbor` file for each document, the test root (`root.der`), a trust policy (`policy.json`, see
attestation/README.md) and `index.json`. Each run has new keys; names, codes and the time of judgement stay.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attestation import Release, TrustPolicy, policy_file
from attestation.errors import CODES
from tests.attestation.corpus import Case, bad, good
from tests.attestation.minting import NOW, PCR0, PCR1, PCR2, PCR16, normal_root, policy


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.attestation.export", description="Write the conformance corpus."
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="made anew")
    folder: Path = parser.parse_args(arguments).folder
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        parser.error(f"{folder} exists")
    documents = [write(folder, case) for case in (*good(), *bad())]
    (folder / "root.der").write_bytes(normal_root().der)
    (folder / "policy.json").write_text(policy_file.dump(trusted()))
    index = {
        "version": 1,
        "at": NOW.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "policy": "policy.json",
        "documents": documents,
    }
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    print(f"{len(documents)} documents in {folder}")
    return 0


def trusted() -> TrustPolicy:
    """The policy of the corpus, as a file can say it."""
    usual = policy()
    return TrustPolicy(
        roots=usual.roots,
        releases=(Release(name="corpus", pcrs={0: PCR0, 1: PCR1, 2: PCR2}),),
        pcrs={16: frozenset({PCR16})},
        max_age=usual.max_age,
        max_skew=usual.max_skew,
    )


def write(folder: Path, case: Case) -> dict[str, Any]:
    """Write one document; returns its entry of the index. `code` null: it verifies."""
    raw = case.make()
    file = (
        ("bad-" if case.code else "good-") + re.sub("[^a-z0-9]+", "-", case.name.lower()).strip("-") + ".cbor"
    )
    with (folder / file).open("xb") as opened:
        opened.write(raw)
    return {
        "file": file,
        "name": case.name,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "code": case.code,
        "step": CODES[case.code][0] if case.code else None,
        "expected": {name: value.hex() for name, value in case.expected.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
