"""A delegate's share as the developer gets it: JSON in the webhook's envelope (``docs/spec/delegation.md`` §5)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Never

import msgspec
from msgspec import Meta

from protocol.envelope.errors import CosignerError, Culprit
from protocol.names import EnvironmentId
from protocol.wallets import CLIENT_PARTY, WalletId
from threshold import KeyShare, ThresholdError

if TYPE_CHECKING:
    from protocol.wallets import WalletInfo

_MAX_JSON: Final = 16384


class _Json(msgspec.Struct, frozen=True, rename="camel"):
    """Members that are not known are other versions' business."""

    version: Annotated[int, Meta(ge=1, le=1)]
    environment_id: EnvironmentId
    wallet_id: WalletId
    share_set_id: WalletId
    pubkey: Annotated[str, Meta(pattern=r"^[0-9a-f]{64,66}\Z")]
    secret_share: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,8192}\Z")]


@dataclass(frozen=True, repr=False)
class DelegatedShare:
    """A delegate's share of one wallet's key, opened.

    :ivar key: an opaque handle.
    """

    environment: str
    wallet_id: str
    share_set_id: str
    key: KeyShare

    @classmethod
    def parse(cls, content: str | bytes | Mapping[str, Any]) -> DelegatedShare:
        """Read the JSON, or what a JSON parser made of it.

        :raises CosignerError: ``delegated_share_malformed``: not of this form, or not of a delegate.
        """
        try:
            if isinstance(content, Mapping):
                content = json.dumps(dict(content))
            if len(content) > _MAX_JSON:
                raise _malformed()
            parsed = msgspec.json.decode(content, type=_Json)
            key = KeyShare.decode(
                base64.urlsafe_b64decode(parsed.secret_share + "=" * (-len(parsed.secret_share) % 4))
            )
        except (msgspec.MsgspecError, ThresholdError, binascii.Error, TypeError, ValueError, RecursionError):
            raise _malformed() from None
        if key.identifier != CLIENT_PARTY or key.group_public_key.hex() != parsed.pubkey:
            raise _malformed()
        return cls(parsed.environment_id, parsed.wallet_id, parsed.share_set_id, key)

    def __repr__(self) -> str:
        return f"<DelegatedShare of wallet {self.wallet_id}>"

    def __reduce__(self) -> Never:
        msg = "a delegated share cannot be pickled"
        raise TypeError(msg)


def share_json(environment: str, wallet: WalletInfo, key: KeyShare) -> bytes:
    """The JSON for a developer. Secret: it exists for the moment of its encryption.

    :param wallet: the delegate's set.
    """
    return msgspec.json.encode(
        _Json(
            version=1,
            environment_id=environment,
            wallet_id=wallet.wallet_id,
            share_set_id=wallet.share_set_id,
            pubkey=key.group_public_key.hex(),
            secret_share=base64.urlsafe_b64encode(key.encode()).rstrip(b"=").decode(),
        )
    )


def _malformed() -> CosignerError:
    return CosignerError(
        "delegated_share_malformed",
        "This is not a delegate's share as the webhook wallet.delegation.created brings it.",
        culprit=Culprit.CLIENT,
    )
