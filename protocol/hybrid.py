"""What is encrypted to a developer: an RSA-wrapped key and AES-256-GCM, as Dynamic's webhooks carry it (``docs/spec/webhooks.md``)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_Base64Url = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\Z", max_length=4096)]


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:ivar iv, ct, tag, ek: unpadded base64url."""

    alg: Literal["HYBRID-RSA-AES-256", "RSA-OAEP-256"]
    iv: _Base64Url
    ct: _Base64Url
    tag: _Base64Url
    ek: _Base64Url
    kid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
