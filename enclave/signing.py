"""Signing in one round trip (``signing.md`` §4): the enclave works out what is signed from the payload itself, never from a digest.

What is signed is worked out before policy decides, and the very same task is signed afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.messages import EcdsaSigned, Sign, SignEcdsa, Signed, validator_of
from threshold import ThresholdError, ecdsa_respond, frost_respond
from threshold.tasks import require_chain, signing_task

from .burns import FAILED_CHECK
from .work import compute

if TYPE_CHECKING:
    from threshold import EcdsaEnclaveOt, KeyShare
    from threshold.tasks import SigningTask

    from .authorization.permits import Permit
    from .burns import UserBurns
    from .sessions import Session
    from .vault import OpenedWallet


@dataclass(frozen=True, slots=True)
class Signing:
    """What a request asks to be signed, and by which wallet. The share stays where it is until a permit releases it.

    :ivar kind: of the payload.
    """

    opened: OpenedWallet
    kind: str
    task: SigningTask


def examine(opened: OpenedWallet, request: Sign | SignEcdsa) -> Signing:
    """What a request asks to be signed, worked out from the payload itself.

    :raises PayloadError: the payload is not well formed, or asks for nothing of this wallet.
    :raises ThresholdError: the path is not valid.
    """
    wallet, payload = opened.wallet, request.payload
    require_chain(payload.kind, wallet.chain)  # before a derivation that only some wallets' keys know
    task = signing_task(
        payload.kind,
        payload.content,
        chain=wallet.chain,
        public_key=opened.public_key(request.path),
        network=wallet.network,
        validator=validator_of(payload),
    )
    return Signing(opened, payload.kind, task)


async def sign(permit: Permit, signing: Signing, request: Sign) -> Signed:
    """Answer a signing request with the enclave's commitments and signature shares.

    :raises CosignerError: ``commitments_wrong_count``.
    :raises ThresholdError: the commitments are not valid.
    """
    return await compute(_answer, signing.opened.release(permit), signing.task, request)


def _answer(share: KeyShare, task: SigningTask, request: Sign) -> Signed:
    if request.path:
        share = share.derive(request.path)
    if len(request.commitments) != len(task.digests):
        raise CosignerError(
            "commitments_wrong_count",
            f"The payload needs {len(task.digests)} signatures, but {len(request.commitments)} nonce commitments came with it.",
            culprit=Culprit.CLIENT,
        )
    commitments, shares = frost_respond(
        share, task.digests, {request.party: request.commitments}, task.tweaks
    )
    return Signed(commitments=commitments, shares=shares, digests=task.digests, summary=task.summary)


def require_ecdsa(session: Session) -> EcdsaEnclaveOt:
    """The session's oblivious transfers.

    :raises CosignerError: ``ecdsa_not_set_up``.
    """
    if session.ecdsa is None:
        raise CosignerError(
            "ecdsa_not_set_up",
            "This session was opened without the transfers that ECDSA needs; open one with them.",
            culprit=Culprit.CLIENT,
        )
    return session.ecdsa


async def sign_ecdsa(
    permit: Permit, signing: Signing, session: Session, burns: UserBurns, request: SignEcdsa
) -> EcdsaSigned:
    """Answer an ECDSA request with the enclave's message 2 (``docs/spec/ecdsa.md``).

    A failed check of the oblivious transfers raises an error with reaction ``burn``; whoever carries this call out must then make
    the session unusable before any answer leaves.

    :raises CosignerError: ``ecdsa_not_set_up``, ``burn_delay``.
    :raises ThresholdError: the client's message is not valid.
    """
    transfers = require_ecdsa(session)
    return await compute(
        _answer_ecdsa, transfers, signing.opened.release(permit), signing.task, request, burns
    )


def _answer_ecdsa(
    transfers: EcdsaEnclaveOt, share: KeyShare, task: SigningTask, request: SignEcdsa, burns: UserBurns
) -> EcdsaSigned:
    (digest,) = task.digests
    # In the worker thread, so that no more requests pass between a burn and its count than there are workers.
    burns.require_patience()
    try:
        message2 = ecdsa_respond(share, transfers, request.message1, digest, request.path, request.party)
    except ThresholdError as error:
        if error.code == FAILED_CHECK:
            burns.record()
        raise
    return EcdsaSigned(message2=message2, digest=digest, summary=task.summary)
