"""An environment as operators write it down: the manifest's own fields (``docs/spec/manifest.md``) as JSON.

Three things are written as people have them: keys in PEM, an issuer's JWK set and the policy as JSON objects. An example is
``config/environment.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from attestation.strict_json import FileError, parse_object
from enclave.manifest import Environment
from policy import PolicyError, layer_bytes, parse

MAX_FILE: Final = 64 << 10


def load(path: Path) -> Environment:
    """Read one environment. Whether the enclave takes it is for :func:`enclave.manifest.parse` to say.

    :raises FileError: not such a file; the text says which field is wrong.
    :raises OSError: it cannot be read.
    """
    with path.open("rb") as file:
        found = parse_object(file.read(MAX_FILE + 1), max_bytes=MAX_FILE)
    try:
        for issuer in found.get("issuers", []):
            issuer["jwks"] = _text(issuer["jwks"])
        for administrator in [*found.get("administrators", []), found.get("recovery", {}).get("gate")]:
            if administrator is not None:
                administrator["public_key"] = _der(administrator["public_key"])
        found["policy"] = _layer(found["policy"])
        return msgspec.convert(found, Environment)
    except KeyError as error:
        raise FileError("field_missing", f"{path}: {error.args[0]} is missing") from None
    except PolicyError as error:
        raise FileError("field_invalid", f"{path}: policy: {error}") from None
    except (msgspec.ValidationError, AttributeError, TypeError) as error:
        raise FileError("field_invalid", f"{path}: {error}") from None


def _text(value: Any) -> str:  # noqa: ANN401 - it comes out of JSON
    """A nested document as the manifest has it, as text; empty for none."""
    if value == "":
        return ""
    if not isinstance(value, dict):
        raise FileError("field_invalid", "jwks and policy are JSON objects, or empty strings")
    return json.dumps(value, separators=(",", ":"))


def _layer(value: Any) -> str:  # noqa: ANN401 - it comes out of JSON
    """The environment's layer of a policy file (``docs/spec/policy.md``), in its canonical form; empty for none."""
    text = _text(value)
    layer = parse(text.encode()).layer("environment") if text else None
    return "" if layer is None else layer_bytes(layer).decode()


def _der(pem: Any) -> bytes:  # noqa: ANN401 - it comes out of JSON
    """A public key in PEM as DER SubjectPublicKeyInfo."""
    try:
        return load_pem_public_key(str(pem).encode()).public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FileError("field_invalid", "a public_key is not a public key in PEM") from error
