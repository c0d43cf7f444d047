"""Run by an image's interpreter: fails if its native core could hold a whole key, or give a share out in clear.

What it looks for is what ``native/core/src/device`` brings: see ``tests/image/test_whole_keys.py``, where the same program finds all of it
in a client's build.
"""

from pathlib import Path

import threshold
from threshold import _native

NAMES = {"SecretKey", "Passcode"}
METHODS = {"encode", "decode"}
# Names of methods, labels of hashes, the first words of BIP-39's list (which lie one behind the other), an error.
STRINGS = (
    b"from_mnemonic",
    b"from_wif",
    b"from_solana_keypair",
    b"from_ed25519_seed",
    b"cosigner/device/v1/",
    b"cosigner/passcode/v1/",
    b"Bitcoin seed",
    b"ed25519 seed",
    b"abandonability",
    b"the same share was given twice",
)

found = sorted(NAMES & {*dir(_native), *dir(threshold)})
found += sorted(METHODS & set(dir(_native.KeyShare)))
library = Path(_native.__file__).read_bytes()
found += [string.decode() for string in STRINGS if string in library]
if found:
    raise SystemExit(f"whole keys: {', '.join(found)}")
