"""Signing in one round trip (``signing.md`` §4): the enclave works out what is signed from the payload itself, never from a digest.

Everything that does not depend on a secret is checked before the share is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.messages import CLIENT_PARTY, PsbtPayload, Sign, Signed, SolanaPayload
from threshold import frost_respond
from threshold.tasks import SigningTask, psbt_task, solana_task

from .work import compute

if TYPE_CHECKING:
    from protocol.messages import Payload, WalletInfo
    from threshold import KeyShare

    from .vault import Vault


async def sign(vault: Vault, request: Sign) -> Signed:
    """Answer a signing request with the enclave's commitments and signature shares.

    :raises CosignerError: what :meth:`enclave.vault.Vault.load` raises; ``payload_wrong_chain``, ``commitments_wrong_count``.
    :raises PayloadError: the payload is not well formed, or asks for nothing of this wallet.
    :raises ThresholdError: the commitments are not valid.
    """
    share, wallet = await vault.load(request.wallet_id, request.epoch)
    return await compute(_answer, share, wallet, request)


def _answer(share: KeyShare, wallet: WalletInfo, request: Sign) -> Signed:
    task = interpret(request.payload, wallet)
    if len(request.commitments) != len(task.digests):
        raise CosignerError(
            "commitments_wrong_count",
            f"The payload needs {len(task.digests)} signatures, but {len(request.commitments)} nonce commitments came with it.",
            culprit=Culprit.CLIENT,
        )
    commitments, shares = frost_respond(share, task.digests, {CLIENT_PARTY: request.commitments}, task.tweaks)
    return Signed(commitments=commitments, shares=shares, digests=task.digests, summary=task.summary)


def interpret(payload: Payload, wallet: WalletInfo) -> SigningTask:
    """What a payload asks this wallet to sign.

    :raises CosignerError: ``payload_wrong_chain``.
    :raises PayloadError: see :mod:`threshold.tasks`.
    """
    match payload, wallet.chain:
        case SolanaPayload(message=message), "solana":
            return solana_task(message, wallet.public_key)
        case PsbtPayload(psbt=psbt), "bitcoin":
            return psbt_task(psbt, wallet.public_key, wallet.network)
        case _:
            raise CosignerError(
                "payload_wrong_chain",
                f"This is a wallet for {wallet.chain}; it cannot sign such a payload.",
                culprit=Culprit.CLIENT,
            )
