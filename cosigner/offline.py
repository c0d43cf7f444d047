"""Without the service: any two shares of a wallet sign together on this device, or give its key back (``docs/spec/backups.md`` §7).

Nothing here opens a connection. Nobody but this device judges what is signed: no policy, no second factor, no log.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.messages import (
    EvmMessagePayload,
    EvmTransactionPayload,
    EvmTypedDataPayload,
    PsbtPayload,
    SolanaPayload,
    SolanaTextPayload,
    validator_of,
)
from threshold import (
    ThresholdError,
    derive_public_key,
    ecdsa_begin,
    ecdsa_respond,
    ecdsa_setup_begin,
    ecdsa_setup_respond,
    frost_begin,
    frost_respond,
)
from threshold.device import SecretKey
from threshold.tasks import signing_task

from .signed import SolanaSignature, bitcoin_signature, ethereum_signature, solana_signature
from .signing import EcdsaCoSigned
from .wallets import Wallet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.messages import EvmPayload, Payload
    from protocol.wallets import WalletInfo
    from threshold import KeyShare
    from threshold.tasks import SigningTask

    from .signed import BitcoinSignature, EthereumSignature


@dataclass(frozen=True)
class OfflineWallet:
    """Two shares of one wallet and epoch, of different parties.

    :raises CosignerError: ``shares_mismatch``.
    """

    info: WalletInfo
    one: KeyShare
    other: KeyShare

    def __post_init__(self) -> None:
        shares = (self.one, self.other)
        wallet = self.info
        fits = all(
            (share.suite, share.epoch, share.group_public_key, share.min_signers)
            == (wallet.suite, wallet.epoch, wallet.public_key, len(shares))
            for share in shares
        )
        if not fits or self.one.identifier == self.other.identifier or self.one.group != self.other.group:
            raise CosignerError(
                "shares_mismatch",
                "These are not two shares of one wallet and one epoch, of different parties. Shares of different epochs never fit together.",
                culprit=Culprit.CLIENT,
            )

    @property
    def wallet(self) -> Wallet:
        """The wallet's public facts."""
        return Wallet.of(self.info)

    async def key(self) -> SecretKey:
        """The whole private key. From here on the wallet is as safe as this device is."""
        return await asyncio.to_thread(SecretKey.combine, [self.one, self.other])

    async def sign_solana(
        self, message: bytes, *, other_signatures: dict[bytes, bytes] | None = None
    ) -> SolanaSignature:
        """As :meth:`cosigner.client.AsyncClient.sign_solana`."""
        task, signatures = await asyncio.to_thread(self._frost, SolanaPayload(message), ())
        return solana_signature(
            message,
            task,
            signatures[0],
            public_key=self.info.public_key,
            other_signatures=other_signatures,
        )

    async def sign_solana_text(self, text: bytes) -> SolanaSignature:
        """As :meth:`cosigner.client.AsyncClient.sign_solana_text`."""
        task, signatures = await asyncio.to_thread(self._frost, SolanaTextPayload(text), ())
        return SolanaSignature(message=text, signature=signatures[0], transaction=None, summary=task.summary)

    async def sign_bitcoin(self, psbt: bytes, *, path: Sequence[int] = ()) -> BitcoinSignature:
        """As :meth:`cosigner.client.AsyncClient.sign_bitcoin`."""
        task, signatures = await asyncio.to_thread(self._frost, PsbtPayload(psbt), path)
        return bitcoin_signature(psbt, task, signatures)

    async def sign_evm_transaction(self, unsigned: bytes, *, path: Sequence[int] = ()) -> EthereumSignature:
        """As :meth:`cosigner.client.AsyncClient.sign_evm_transaction`."""
        return await self._sign_evm(EvmTransactionPayload(unsigned), path)

    async def sign_evm_message(
        self, message: bytes, *, validator: bytes | None = None, path: Sequence[int] = ()
    ) -> EthereumSignature:
        """As :meth:`cosigner.client.AsyncClient.sign_evm_message`."""
        return await self._sign_evm(EvmMessagePayload(message, validator), path)

    async def sign_evm_typed_data(self, typed_data: bytes, *, path: Sequence[int] = ()) -> EthereumSignature:
        """As :meth:`cosigner.client.AsyncClient.sign_evm_typed_data`."""
        return await self._sign_evm(EvmTypedDataPayload(typed_data), path)

    def _frost(self, payload: Payload, path: Sequence[int]) -> tuple[SigningTask, list[bytes]]:
        one, other = self.one, self.other
        if path:
            one, other = one.derive(list(path)), other.derive(list(path))
        task = signing_task(
            payload.kind,
            payload.content,
            chain=self.info.chain,
            public_key=one.group_public_key,
            network=self.info.network,
        )
        nonces, commitments = frost_begin(one, len(task.digests))
        answer = frost_respond(other, task.digests, {one.identifier: commitments}, task.tweaks)
        return task, nonces.finish(one, task.digests, {other.identifier: answer}, task.tweaks)

    async def _sign_evm(self, payload: EvmPayload, path: Sequence[int]) -> EthereumSignature:
        return ethereum_signature(payload, await asyncio.to_thread(self._ecdsa, payload, path))

    def _ecdsa(self, payload: EvmPayload, path: Sequence[int]) -> EcdsaCoSigned:
        """Both sides of a session of one signature, here."""
        public_key = derive_public_key(self.info.public_key, self.one.chain_code, list(path))
        task = signing_task(
            payload.kind,
            payload.content,
            chain=self.info.chain,
            public_key=public_key,
            network=self.info.network,
            validator=validator_of(payload),
        )
        (digest,) = task.digests
        context = os.urandom(32)
        setup, offer = ecdsa_setup_begin()
        theirs, answer = ecdsa_setup_respond(offer)
        ours, theirs_bound = setup.finish(answer, context), theirs.bind(context)
        try:
            one, other = self.one.identifier, self.other.identifier
            pending, message1 = ecdsa_begin(self.one, ours, digest, list(path), other)
            message2 = ecdsa_respond(self.other, theirs_bound, message1, digest, list(path), one)
            signature, recovery_id, _ = pending.finish(message2)
        finally:
            ours.burn()
            theirs_bound.burn()
        return EcdsaCoSigned(task, signature, recovery_id, public_key)


def fitting(info: WalletInfo, shares: Sequence[KeyShare]) -> OfflineWallet:
    """Exactly two shares, as a wallet.

    :raises CosignerError: ``shares_mismatch``.
    """
    try:
        one, other = shares
    except ValueError:
        raise CosignerError(
            "shares_mismatch", f"It takes two shares; there are {len(shares)}.", culprit=Culprit.CLIENT
        ) from None
    try:
        return OfflineWallet(info, one, other)
    except ThresholdError as error:
        raise CosignerError("shares_mismatch", str(error), culprit=Culprit.CLIENT) from None
