"""Ask the running enclave for the newest entry of its log: what has been cut off the end of a copy shows only against this."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from protocol.binding import AttestedKeys
from protocol.receipts import GetLogHead, Link, LogHead, check_head

from ..session import Session, attest  # noqa: TID252
from ..transport import Transport  # noqa: TID252

if TYPE_CHECKING:
    from ..config import ClientConfig  # noqa: TID252


async def live_head(config: ClientConfig) -> Link:
    """The newest entry that the attested enclave knows to be kept, signed over a fresh nonce. Nobody need be logged in.

    :raises CosignerError: the enclave cannot be reached, is not believed, or has no log yet.
    """
    async with Transport(config.api_url) as transport:
        return await head_over(transport, config)


async def head_over(transport: Transport, config: ClientConfig) -> Link:
    """The same over a transport that is there."""
    nonce = os.urandom(32)
    enclave = await attest(
        transport, config.policy, accept_editable_key_policy=config.accept_editable_key_policy
    )
    session = await Session.open(transport, enclave, config.environment)
    head = await session.call(GetLogHead(nonce), LogHead)
    keys = AttestedKeys.decode(enclave.attestation.user_data or b"")
    return check_head(head, nonce=nonce, receipt_key=keys.receipt_key)
