"""Requests about a wallet's whole life: new shares, import, export, backups, its end (``docs/spec/lifecycle.md``)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .actions import Hash
from .envelope.messages import Epoch, Message
from .wallets import (
    MAX_PARTIES,
    MAX_WALLETS,
    BackupId,
    CeremonyBytes,
    ChainName,
    LocationName,
    NetworkName,
    PartyId,
    PasscodeSetup,
    ShareProof,
    SuiteName,
    WalletEntry,
    WalletId,
    WalletInfo,
)

Purpose = Literal["refresh", "reshare", "recover"]
Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Locator = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Messages = Annotated[list[CeremonyBytes], Meta(min_length=1, max_length=MAX_PARTIES)]
Confirmations = Annotated[list[Hash], Meta(min_length=1, max_length=MAX_PARTIES)]
Proofs = Annotated[list[ShareProof], Meta(min_length=1, max_length=MAX_PARTIES)]


# --- new shares of the same key ---------------------------------------------------------------------------------------------


class BeginReshare(Message, frozen=True, tag="reshare_begin"):
    """New shares for a wallet's key. Two shares deal: the enclave's, and one that the client holds.

    :ivar epoch: the newest epoch the client knows; the new shares' is one more.
    :ivar purpose: ``refresh``: the same parties; ``reshare``: others, or more or fewer; ``recover``: as either, by a device that came
        by its share through a backup or holds the backup share.
    :ivar dealer: the party, of the old set, whose share the client deals with.
    :ivar threshold: of the new set: 2.
    :ivar parties: of the new set: 2 to 5. The client receives for all but the enclave.
    """

    wallet_id: WalletId
    epoch: Epoch
    purpose: Purpose
    dealer: PartyId
    threshold: PartyId
    parties: PartyId
    message1: CeremonyBytes


class ReshareBegun(Message, frozen=True, tag="reshare_begun"):
    """The enclave's part as dealer.

    :ivar messages2: one for each party of the new set but the enclave, ascending.
    """

    message1: CeremonyBytes
    messages2: Messages


class FinishReshare(Message, frozen=True, tag="reshare_finish"):
    """The client's part, in the session that began; the enclave then keeps its new share beside the old one.

    :ivar message2: for the enclave's new share.
    :ivar confirmations: of the transcript, one for each party of the new set but the enclave, ascending.
    """

    wallet_id: WalletId
    message2: CeremonyBytes
    confirmations: Confirmations


class ReshareStored(Message, frozen=True, tag="reshare_stored"):
    """The new shares wait for :class:`CommitReshare`.

    :ivar wallet: as it will be.
    :ivar confirmation: the enclave's.
    """

    wallet: WalletInfo
    confirmation: Hash


class CommitReshare(Message, frozen=True, tag="reshare_commit"):
    """The client holds its new shares: from the reply on they count, and the old ones are worthless. In any session of the owner;
    what was committed before is answered alike.

    :ivar epoch: the new one.
    :ivar proofs: of possession, over :func:`protocol.binding.commit_context`, one for each party but the enclave, ascending.
    """

    wallet_id: WalletId
    epoch: Epoch
    proofs: Proofs


class AbortReshare(Message, frozen=True, tag="reshare_abort"):
    """The new shares shall not count. Harmless where there are none."""

    wallet_id: WalletId
    epoch: Epoch


# --- into and out of the service --------------------------------------------------------------------------------------------


class ImportWallet(Message, frozen=True, tag="wallet_import"):
    """A key that existed before, dealt out on the user's own device. A refresh must follow: the device dealt the enclave's share.

    :ivar legacy_wallet_id: what the wallet was called where it lived whole; empty: nothing.
    :ivar message1: the dealer's, with the public key. :ivar message2: for the enclave's share.
    :ivar confirmations: one for each party but the enclave, ascending.
    """

    wallet_id: WalletId
    suite: SuiteName
    chain: ChainName
    network: NetworkName
    threshold: PartyId
    parties: PartyId
    legacy_wallet_id: Annotated[str, Meta(max_length=128, pattern=r"^[\x21-\x7e]*\Z")]
    message1: CeremonyBytes
    message2: CeremonyBytes
    confirmations: Confirmations


class ExportShare(Message, frozen=True, tag="wallet_export"):
    """Ask for the enclave's share, to make the whole key on the user's own device. The wallet stays as it is.

    :ivar wrapping_key: fresh, good for one answer: the share comes sealed under it (``docs/spec/seal.md``).
    """

    wallet_id: WalletId
    epoch: Epoch
    wrapping_key: Key32


class ExportedShare(Message, frozen=True, tag="wallet_exported"):
    """:ivar sealed: the enclave's share; associated data: canonical CBOR of ``wallet``."""

    wallet: WalletInfo
    sealed: Annotated[bytes, Meta(min_length=1, max_length=16384)]


class DeleteWallet(Message, frozen=True, tag="wallet_delete"):
    """Destroy the enclave's shares of a wallet, delegated ones too, and its backup keys. There is no way back; a tombstone stays."""

    wallet_id: WalletId


class ListWallets(Message, frozen=True, tag="wallet_list"):
    """The user's wallets, retired ones included."""


class WalletList(Message, frozen=True, tag="wallets"):
    wallets: Annotated[list[WalletEntry], Meta(max_length=MAX_WALLETS)]


# --- backups of the client's shares -----------------------------------------------------------------------------------------


class BeginBackup(Message, frozen=True, tag="backup_begin"):
    """Ask for a key under which a share shall be backed up.

    :ivar epoch: of the share: the wallet's, or the pending one.
    :ivar party: whose share; never the enclave.
    :ivar passcode: ``None``: the backup opens without one.
    :ivar passcode_proof: what the right passcode gives (``docs/spec/backups.md`` §3); with ``passcode`` or not at all.
    """

    wallet_id: WalletId
    epoch: Epoch
    party: PartyId
    passcode: PasscodeSetup | None
    passcode_proof: Hash | None


class BackupKey(Message, frozen=True, tag="backup_key"):
    """:ivar key: one half of what opens the backup; the whole, where there is no passcode.

    :ivar locator: under which the service's own storage keeps it: 64 hexadecimal digits, a capability.
    """

    backup_id: BackupId
    key: Key32
    locator: Locator


class ConfirmBackup(Message, frozen=True, tag="backup_confirm"):
    """The backup was fetched back from where it lies, and opened.

    :ivar proof: of possession, by the share that came out of it, over :func:`protocol.binding.backup_context`.
    """

    wallet_id: WalletId
    backup_id: BackupId
    locations: Annotated[list[LocationName], Meta(min_length=1, max_length=8)]
    proof: ShareProof


class OpenBackup(Message, frozen=True, tag="backup_open"):
    """Ask for the key of a backup again. A wrong proof counts; after some the enclave makes the user wait.

    :ivar passcode_proof: where the backup has a passcode.
    """

    wallet_id: WalletId
    backup_id: BackupId
    passcode_proof: Hash | None


class RemoveBackup(Message, frozen=True, tag="backup_remove"):
    """The backup's key is never given out again."""

    wallet_id: WalletId
    backup_id: BackupId
