"""Signing in one round trip (``signing.md`` §4): the enclave works out what is signed from the payload itself, never from a digest.

Everything that does not depend on a secret is checked before the share is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.messages import CLIENT_PARTY, Sign, Signed
from threshold import frost_respond
from threshold.tasks import signing_task

from .work import compute

if TYPE_CHECKING:
    from protocol.messages import WalletInfo
    from threshold import KeyShare

    from .vault import Vault


async def sign(vault: Vault, request: Sign) -> Signed:
    """Answer a signing request with the enclave's commitments and signature shares.

    :raises CosignerError: what :meth:`enclave.vault.Vault.load` raises; ``commitments_wrong_count``.
    :raises PayloadError: the payload is not well formed, or asks for nothing of this wallet.
    :raises ThresholdError: the commitments are not valid.
    """
    share, wallet = await vault.load(request.wallet_id, request.epoch)
    return await compute(_answer, share, wallet, request)


def _answer(share: KeyShare, wallet: WalletInfo, request: Sign) -> Signed:
    task = signing_task(
        request.payload.kind,
        request.payload.content,
        chain=wallet.chain,
        public_key=wallet.public_key,
        network=wallet.network,
    )
    if len(request.commitments) != len(task.digests):
        raise CosignerError(
            "commitments_wrong_count",
            f"The payload needs {len(task.digests)} signatures, but {len(request.commitments)} nonce commitments came with it.",
            culprit=Culprit.CLIENT,
        )
    commitments, shares = frost_respond(share, task.digests, {CLIENT_PARTY: request.commitments}, task.tweaks)
    return Signed(commitments=commitments, shares=shares, digests=task.digests, summary=task.summary)
