"""Signing in one round trip (``signing.md`` §4): the enclave works out what is signed from the payload itself, never from a digest.

Everything that does not depend on a secret is checked before the share is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.messages import CLIENT_PARTY, EcdsaSigned, Sign, SignEcdsa, Signed, validator_of
from threshold import ThresholdError, derive_public_key, ecdsa_respond, frost_respond
from threshold.tasks import require_chain, signing_task

from .burns import FAILED_CHECK
from .work import compute

if TYPE_CHECKING:
    from protocol.messages import WalletInfo
    from threshold import EcdsaEnclaveOt, KeyShare

    from .burns import Burns, WalletBurns
    from .sessions import Session
    from .vault import Vault


async def sign(vault: Vault, request: Sign) -> Signed:
    """Answer a signing request with the enclave's commitments and signature shares.

    :raises CosignerError: what :meth:`enclave.vault.Vault.load` raises; ``commitments_wrong_count``.
    :raises PayloadError: the payload is not well formed, or asks for nothing of this wallet.
    :raises ThresholdError: the commitments or the path are not valid.
    """
    share, wallet = await vault.load(request.wallet_id, request.epoch)
    return await compute(_answer, share, wallet, request)


def _answer(share: KeyShare, wallet: WalletInfo, request: Sign) -> Signed:
    if request.path:
        share = share.derive(request.path)
    task = signing_task(
        request.payload.kind,
        request.payload.content,
        chain=wallet.chain,
        public_key=share.group_public_key,
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


async def sign_ecdsa(session: Session, vault: Vault, burns: Burns, request: SignEcdsa) -> EcdsaSigned:
    """Answer an ECDSA request with the enclave's message 2 (``docs/spec/ecdsa.md``).

    A failed check of the oblivious transfers raises an error with reaction ``burn``; whoever carries this call out must then make
    the session unusable before any answer leaves.

    :raises CosignerError: what :meth:`enclave.vault.Vault.load` raises; ``ecdsa_not_set_up``, ``burn_delay``.
    :raises PayloadError: the payload is not well formed.
    :raises ThresholdError: the client's message is not valid.
    """
    if session.ecdsa is None:
        raise CosignerError(
            "ecdsa_not_set_up",
            "This session was opened without the transfers that ECDSA needs; open one with them.",
            culprit=Culprit.CLIENT,
        )
    share, wallet = await vault.load(request.wallet_id, request.epoch)
    return await compute(
        _answer_ecdsa, session.ecdsa, share, wallet, request, burns.of(session.environment, wallet.wallet_id)
    )


def _answer_ecdsa(
    transfers: EcdsaEnclaveOt, share: KeyShare, wallet: WalletInfo, request: SignEcdsa, burns: WalletBurns
) -> EcdsaSigned:
    require_chain(request.payload.kind, wallet.chain)  # before a derivation that only some wallets' keys know
    task = signing_task(
        request.payload.kind,
        request.payload.content,
        chain=wallet.chain,
        public_key=derive_public_key(wallet.public_key, share.chain_code, request.path),
        network=wallet.network,
        validator=validator_of(request.payload),
    )
    (digest,) = task.digests
    # In the worker thread, so that no more requests pass between a burn and its count than there are workers.
    burns.require_patience()
    try:
        message2 = ecdsa_respond(share, transfers, request.message1, digest, request.path, CLIENT_PARTY)
    except ThresholdError as error:
        if error.code == FAILED_CHECK:
            burns.record()
        raise
    return EcdsaSigned(message2=message2, digest=digest, summary=task.summary)
