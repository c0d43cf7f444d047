"""What a client must know before it talks to anybody: where the host is, and what it accepts as its enclave."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from attestation import TrustPolicy
from protocol.envelope.errors import Culprit
from protocol.names import EnvironmentId

from .errors import CosignerError

DEFAULT_PATH: Final = Path(".cosigner/client.json")
PATH_VARIABLE: Final = "COSIGNER_CONFIG"

_Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Hex48 = Annotated[str, Meta(pattern=r"^[0-9a-f]{96}\Z")]
_PcrIndex = Annotated[str, Meta(pattern=r"^([0-9]|[12][0-9]|3[01])\Z")]
REQUIRED_PCRS: Final = frozenset({"0", "1", "2", "16"})


class TrustFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``trust`` part: which enclaves this client talks to.

    :ivar roots: SHA-256 fingerprints of accepted attestation roots (production: only that of AWS).
    :ivar pcrs: accepted values for each pinned PCR; 0, 1, 2 and 16 must be pinned.
    :ivar max_age_s: how old a document may be when a session opens, in seconds.
    :ivar accept_editable_key_policy: also enclaves whose KMS keys somebody may open to other code, as they say themselves.
    """

    roots: Annotated[list[_Hex32], Meta(min_length=1)]
    pcrs: dict[_PcrIndex, Annotated[list[_Hex48], Meta(min_length=1)]]
    max_age_s: Annotated[int, Meta(ge=1, le=3600)] = 300
    accept_editable_key_policy: bool = False


class MockIssuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the mock stack's issuer gives tokens, for any user to whoever asks. No production configuration has this.

    :ivar ca_pem: the TLS authority to accept there.
    """

    token_url: Annotated[str, Meta(pattern=r"^https://[^\s]+\Z")]
    ca_pem: Annotated[str, Meta(min_length=1, max_length=16384)]


class AdministratorKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that speaks for the environment, as its manifest names it.

    :ivar public_key: PEM.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,48}\Z")]
    algorithm: Literal["ed25519", "p256", "rsa"]
    public_key: Annotated[str, Meta(min_length=1, max_length=4096)]


class Administrators(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose signatures this client wants to see for itself, beside the enclave's word that it has seen them.

    :ivar quorum: how many of them.
    """

    quorum: Annotated[int, Meta(ge=1, le=16)]
    keys: Annotated[list[AdministratorKey], Meta(min_length=1, max_length=16)]


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form of ``client.json``."""

    api_url: Annotated[str, Meta(pattern=r"^https?://[^\s]+\Z")]
    environment: EnvironmentId
    trust: TrustFile
    mock_issuer: MockIssuer | None = None
    administrators: Administrators | None = None


@dataclass(frozen=True)
class ClientConfig:
    """A checked configuration. The members are as of :class:`TrustFile` and :class:`ConfigFile`."""

    api_url: str
    environment: str
    policy: TrustPolicy
    accept_editable_key_policy: bool = False
    mock_issuer: MockIssuer | None = None
    administrators: Administrators | None = None

    @classmethod
    def load(cls, path: Path | None = None) -> ClientConfig:
        """Read ``path``, or ``$COSIGNER_CONFIG``, or ``.cosigner/client.json``.

        :raises CosignerError: ``config_missing``, ``config_invalid``.
        """
        path = path or Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise CosignerError(
                "config_missing",
                f"Cannot read the client configuration {path} ({error.strerror}). Start a stack with `make stack`, "
                f"or name the file with --config or ${PATH_VARIABLE}.",
                culprit=Culprit.CLIENT,
            ) from None
        try:
            return cls.from_file(msgspec.json.decode(raw, type=ConfigFile, strict=True))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CosignerError(
                "config_invalid",
                f"The client configuration {path} is not valid: {error}",
                culprit=Culprit.CLIENT,
            ) from None

    @classmethod
    def from_file(cls, parsed: ConfigFile) -> ClientConfig:
        """Check what the form alone does not say.

        :raises CosignerError: ``config_invalid``.
        """
        policy = trust_policy(parsed.trust)
        return cls(
            api_url=parsed.api_url.rstrip("/"),
            environment=parsed.environment,
            policy=policy,
            accept_editable_key_policy=parsed.trust.accept_editable_key_policy,
            mock_issuer=parsed.mock_issuer,
            administrators=parsed.administrators,
        )


def trust_policy(trust: TrustFile) -> TrustPolicy:
    """The policy that the ``trust`` part of a configuration stands for.

    :raises CosignerError: ``config_invalid``: a PCR that must be pinned is not.
    """
    missing = REQUIRED_PCRS - trust.pcrs.keys()
    if missing:
        raise CosignerError(
            "config_invalid",
            f"The trust policy must pin PCR {', '.join(sorted(missing, key=int))} as well: "
            "0, 1 and 2 are the enclave's image, 16 is its manifest.",
            culprit=Culprit.CLIENT,
        )
    return TrustPolicy(
        roots=frozenset(trust.roots),
        pcrs={
            int(index): frozenset(bytes.fromhex(value) for value in values)
            for index, values in trust.pcrs.items()
        },
        max_age=timedelta(seconds=trust.max_age_s),
    )


def dump(config: ConfigFile) -> str:
    """The JSON text of a configuration."""
    return json.dumps(msgspec.to_builtins(config), indent=2) + "\n"
