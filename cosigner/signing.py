"""Co-signing: the client works out what is signed from the payload itself, and verifies the signature before returning it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.messages import ENCLAVE_PARTY, Sign, Signed
from threshold import frost_begin
from threshold.tasks import SigningTask, signing_task

if TYPE_CHECKING:
    from protocol.messages import Payload, WalletInfo
    from threshold import KeyShare

    from .session import Session, SessionKeeper


@dataclass(frozen=True)
class CoSigned:
    """Signatures over one payload.

    :ivar signatures: 64 bytes each, in the order of ``task.digests``; verified under the wallet's key.
    """

    task: SigningTask
    signatures: list[bytes]


async def cosign(keeper: SessionKeeper, share: KeyShare, wallet: WalletInfo, payload: Payload) -> CoSigned:
    """Sign ``payload`` together with the enclave.

    :raises PayloadError: the payload is not well formed, or asks for nothing of this wallet.
    :raises CosignerError: the enclave or the host refused; ``digest_mismatch`` when the enclave understood another thing.
    :raises ThresholdError: the enclave's answer does not make a signature; it names the enclave.
    """
    task = signing_task(
        payload.kind,
        payload.content,
        chain=wallet.chain,
        public_key=wallet.public_key,
        network=wallet.network,
    )

    async def ceremony(session: Session) -> list[bytes]:
        nonces, commitments = frost_begin(share, len(task.digests))
        signed = await session.call(
            Sign(wallet_id=wallet.wallet_id, epoch=wallet.epoch, payload=payload, commitments=commitments),
            Signed,
        )
        if signed.digests != task.digests:
            raise CosignerError(
                "digest_mismatch",
                "The enclave would sign something else than this payload; nothing was signed.",
                culprit=Culprit.ENCLAVE,
            )
        # finish verifies every signature under the wallet's key before it returns it
        return nonces.finish(
            share, task.digests, {ENCLAVE_PARTY: (signed.commitments, signed.shares)}, task.tweaks
        )

    return CoSigned(task, await keeper.run(ceremony))
