"""Co-signing: the client works out what is signed from the payload itself, and verifies the signature before returning it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.messages import EcdsaSigned, Sign, SignEcdsa, Signed, validator_of
from protocol.wallets import ENCLAVE_PARTY
from threshold import ThresholdError, derive_public_key, ecdsa_begin, frost_begin
from threshold.tasks import SigningTask, signing_task

from .actions import new_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.messages import EvmPayload, Payload
    from protocol.wallets import WalletInfo
    from threshold import KeyShare

    from .actions import Actions
    from .evidence import Given
    from .session import Session


@dataclass(frozen=True)
class CoSigned:
    """Signatures over one payload.

    :ivar signatures: 64 bytes each, in the order of ``task.digests``; verified under the wallet's key.
    """

    task: SigningTask
    signatures: list[bytes]


async def cosign(
    actions: Actions,
    share: KeyShare,
    wallet: WalletInfo,
    payload: Payload,
    *,
    path: Sequence[int] = (),
    given: Given | None = None,
) -> CoSigned:
    """Sign ``payload`` together with the enclave, by FROST.

    A lost reply is asked for again: the same commitments under the same idempotency key. An enclave that did answer gives the same answer
    again and counts nothing twice; one that did not, answers now. Either way one answer is used: the nonces are good for one signature.

    :param path: unhardened BIP-32 path below the wallet's key; only for ``frost-secp256k1-tr``.
    :raises PayloadError: the payload is not well formed, or asks for nothing of this wallet.
    :raises CosignerError: the enclave or the host refused; ``digest_mismatch`` when the enclave understood another thing.
    :raises ThresholdError: the enclave's answer does not make a signature; it names the enclave. ``invalid_path``, ``wrong_suite``.
    """
    if path:
        share = share.derive(list(path))
    task = signing_task(
        payload.kind,
        payload.content,
        chain=wallet.chain,
        public_key=share.group_public_key,
        network=wallet.network,
    )

    nonces, commitments = frost_begin(share, len(task.digests))
    request = Sign(
        wallet_id=wallet.wallet_id,
        epoch=wallet.epoch,
        payload=payload,
        path=list(path),
        commitments=commitments,
        party=share.identifier,
    )
    key = new_key()

    async def ceremony(session: Session) -> list[bytes]:
        signed = await actions.perform(session, request, Signed, key=key, given=given)
        if signed.digests != task.digests:
            raise _digest_mismatch()
        # finish verifies every signature under the wallet's key before it returns it
        return nonces.finish(
            share, task.digests, {ENCLAVE_PARTY: (signed.commitments, signed.shares)}, task.tweaks
        )

    return CoSigned(task, await actions.persist(ceremony))


@dataclass(frozen=True)
class EcdsaCoSigned:
    """An ECDSA signature over one payload, verified.

    :ivar signature: r and s, 32 bytes each, s in the lower half.
    :ivar recovery_id: 0 to 3.
    :ivar public_key: the key that signed, 33 bytes: the wallet's, or the one at the path.
    """

    task: SigningTask
    signature: bytes
    recovery_id: int
    public_key: bytes


async def cosign_ecdsa(
    actions: Actions,
    share: KeyShare,
    wallet: WalletInfo,
    payload: EvmPayload,
    *,
    path: Sequence[int] = (),
    given: Given | None = None,
) -> EcdsaCoSigned:
    """Sign ``payload`` together with the enclave, by DKLs19 (``docs/spec/ecdsa.md``).

    A lost reply is not asked for again: the message belongs to the session that was lost.

    :param path: unhardened BIP-32 path below the wallet's key.
    :raises PayloadError: the payload is not well formed.
    :raises CosignerError: the enclave or the host refused; ``digest_mismatch`` when the enclave understood another thing.
    :raises ThresholdError: the enclave's answer is wrong; it names the enclave, and the session is not used again.
    """
    public_key = derive_public_key(wallet.public_key, share.chain_code, list(path))
    task = signing_task(
        payload.kind,
        payload.content,
        chain=wallet.chain,
        public_key=public_key,
        network=wallet.network,
        validator=validator_of(payload),
    )
    (digest,) = task.digests

    async def ceremony(session: Session) -> tuple[bytes, int]:
        if session.ecdsa is None:
            raise CosignerError(
                "ecdsa_not_set_up", "This session has no oblivious transfers.", culprit=Culprit.CLIENT
            )
        pending, message1 = ecdsa_begin(share, session.ecdsa, digest, list(path), ENCLAVE_PARTY)
        signed = await actions.perform(
            session,
            SignEcdsa(
                wallet_id=wallet.wallet_id,
                epoch=wallet.epoch,
                payload=payload,
                path=list(path),
                message1=message1,
                party=share.identifier,
            ),
            EcdsaSigned,
            given=given,
        )
        try:
            if signed.digest != digest:
                raise _digest_mismatch()
            signature, recovery_id, _ = pending.finish(signed.message2)
        except (CosignerError, ThresholdError):
            session.ecdsa.burn()  # an enclave that answers so is not asked again in this session
            raise
        return signature, recovery_id

    signature, recovery_id = await actions.run(ceremony, ecdsa=True)
    return EcdsaCoSigned(task, signature, recovery_id, public_key)


def _digest_mismatch() -> CosignerError:
    return CosignerError(
        "digest_mismatch",
        "The enclave would sign something else than this payload; nothing was signed.",
        culprit=Culprit.ENCLAVE,
    )
