"""A wallet's life at the enclave's door: handovers of shares step by step, backups, and what a device keeps of them."""

from __future__ import annotations

import dataclasses
from typing import Any

from protocol import lifecycle as life
from protocol import messages as m
from protocol.binding import backup_context, commit_context, reshare_context
from protocol.wallets import ENCLAVE_PARTY, PasscodeSetup, WalletInfo
from tests.support.door import User
from tests.support.world import ENVIRONMENT, solana_message, verify_solana
from threshold import KeyShare, reshare_start

PASSCODE = PasscodeSetup(salt=bytes(16), memory_kib=65536, iterations=3, parallelism=4)


@dataclasses.dataclass
class Handover:
    """One ceremony as the client's side has it.

    :ivar dealer: the share that the client deals with.
    :ivar parties: of the new share set.
    :ivar shares: the client's new ones by party, once the enclave has stored its own.
    """

    user: User
    wallet: WalletInfo
    dealer: KeyShare
    purpose: str
    parties: int
    round1: Any = None
    round2: Any = None
    finish: life.FinishReshare | None = None
    round3: Any = None
    stored: life.ReshareStored | None = None
    shares: dict[int, KeyShare] = dataclasses.field(default_factory=dict)

    @property
    def others(self) -> list[int]:
        return [party for party in range(1, self.parties + 1) if party != ENCLAVE_PARTY]

    def begin_request(self, **changes: Any) -> life.BeginReshare:
        context = reshare_context(
            transcript=self.user.door.transcript,
            environment=ENVIRONMENT,
            wallet_id=self.wallet.wallet_id,
            share_set_id=self.wallet.share_set_id,
            purpose=self.purpose,
            epoch=self.wallet.epoch + 1,
        )
        party = self.dealer.identifier
        self.round1, messages1 = reshare_start(
            [self.dealer], sorted((party, ENCLAVE_PARTY)), self.others, 2, self.parties, context
        )
        members = {
            "wallet_id": self.wallet.wallet_id,
            "epoch": self.wallet.epoch,
            "purpose": self.purpose,
            "dealer": party,
            "threshold": 2,
            "parties": self.parties,
            "message1": messages1[party],
        }
        return life.BeginReshare(**(members | changes))

    async def begin(self, *, authorize: Any = None, **changes: Any) -> life.FinishReshare:
        """The first round trip; returns the second request.

        :param authorize: makes the evidence; the user's passkey does, if they have one, and nothing is said.
        """
        request = self.begin_request(**changes)
        authorize = authorize or by_passkey(self.user)
        authorization = None if authorize is None else authorize(request)
        begun = await self.user.door.call(request, life.ReshareBegun, authorization=authorization)
        return self.take(begun)

    def take(self, begun: life.ReshareBegun) -> life.FinishReshare:
        party = self.dealer.identifier
        round2, messages2 = self.round1.advance({ENCLAVE_PARTY: begun.message1})
        from_enclave = {
            (ENCLAVE_PARTY, other): message
            for other, message in zip(self.others, begun.messages2, strict=True)
        }
        self.round3, confirmations = round2.advance(from_enclave)
        self.finish = life.FinishReshare(
            wallet_id=self.wallet.wallet_id,
            message2=messages2[party, ENCLAVE_PARTY],
            confirmations=[confirmations[other] for other in self.others],
        )
        return self.finish

    async def store(self) -> life.ReshareStored:
        """The second round trip; the client has its new shares then."""
        assert self.finish is not None
        self.stored = await self.user.door.call(self.finish, life.ReshareStored)
        self.shares = self.round3.confirm({ENCLAVE_PARTY: self.stored.confirmation})
        return self.stored

    def commit_request(self, **changes: Any) -> life.CommitReshare:
        """:param changes: of what is proved: ``shares``, ``epoch``, ``confirmation``, ``wallet_id``."""
        assert self.stored is not None
        wallet = self.stored.wallet
        shares = changes.pop("shares", self.shares)
        members = {
            "environment": ENVIRONMENT,
            "wallet_id": wallet.wallet_id,
            "share_set_id": wallet.share_set_id,
            "epoch": wallet.epoch,
            "confirmation": self.stored.confirmation,
        }
        context = commit_context(**(members | changes))
        return life.CommitReshare(
            wallet_id=wallet.wallet_id,
            epoch=wallet.epoch,
            proofs=[shares[party].prove(context) for party in sorted(shares)],
        )

    async def commit(self) -> m.WalletReply:
        """The third; the user's device keeps the new shares."""
        reply = await self.user.door.call(self.commit_request(), m.WalletReply)
        self.keep()
        return reply

    def keep(self) -> None:
        assert self.stored is not None
        self.user.shares[self.wallet.wallet_id] = self.shares[1]
        self.user.wallets[self.wallet.wallet_id] = self.stored.wallet

    async def run(self, *, authorize: Any = None) -> m.WalletReply:
        """All of it."""
        await self.begin(authorize=authorize)
        await self.store()
        return await self.commit()


def handover(
    user: User,
    wallet_id: str,
    purpose: str = "refresh",
    *,
    parties: int | None = None,
    dealer: KeyShare | None = None,
) -> Handover:
    """A ceremony that has not begun; a refresh, unless it is said otherwise."""
    wallet = user.wallets[wallet_id]
    return Handover(
        user=user,
        wallet=wallet,
        dealer=dealer or user.shares[wallet_id],
        purpose=purpose,
        parties=parties or wallet.parties,
    )


async def reshare(user: User, wallet_id: str, parties: int, **more: Any) -> Handover:
    """To ``parties`` shares; the ceremony, when it is over. A device that gets two of them needs the user's passkey."""
    if parties > 2 and not user.passkey_id:
        await user.add_passkey()
    done = handover(user, wallet_id, "reshare", parties=parties, **more)
    await done.run()
    return done


def by_passkey(user: User) -> Any:
    """How a user who has a passkey authorizes."""
    return user.authorize if user.passkey_id else None


def other_device(user: User, share: KeyShare, wallet: WalletInfo) -> User:
    """The same user at a device that holds another share of a wallet."""
    return dataclasses.replace(user, shares={wallet.wallet_id: share}, wallets={wallet.wallet_id: wallet})


async def signs(user: User, wallet: WalletInfo) -> None:
    """The user's share and the enclave's make a signature that solders finds good."""
    from solders.pubkey import Pubkey

    address = str(Pubkey.from_bytes(wallet.public_key))
    message = solana_message(address)
    verify_solana(message, await user.sign(wallet.wallet_id, m.SolanaPayload(message=message)), address)


# --- backups ---------------------------------------------------------------------------------------------------------------


async def back_up(
    user: User,
    wallet_id: str,
    share: KeyShare | None = None,
    *,
    passcode_proof: bytes | None = None,
    prove: bool = True,
) -> life.BackupKey:
    """A backup of a share, by default the user's own; proved, unless it is said otherwise."""
    share = share or user.shares[wallet_id]
    request = life.BeginBackup(
        wallet_id=wallet_id,
        epoch=share.epoch,
        party=share.identifier,
        passcode=None if passcode_proof is None else PASSCODE,
        passcode_proof=passcode_proof,
    )
    key = await user.door.call(request, life.BackupKey)
    if prove:
        await user.door.call(confirm_request(wallet_id, key.backup_id, share), m.WalletReply)
    return key


def confirm_request(wallet_id: str, backup_id: str, share: KeyShare, /, **changes: Any) -> life.ConfirmBackup:
    """:param changes: of what is proved."""
    members = {
        "environment": ENVIRONMENT,
        "wallet_id": wallet_id,
        "backup_id": backup_id,
        "epoch": share.epoch,
        "party": share.identifier,
    }
    return life.ConfirmBackup(
        wallet_id=wallet_id,
        backup_id=backup_id,
        locations=["service"],
        proof=share.prove(backup_context(**(members | changes))),
    )
