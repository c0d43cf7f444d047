"""Wallets as all messages speak of them: ids, parties, epochs, and what is public of a wallet (``docs/spec/lifecycle.md`` §1)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from .actions import Hash, Milliseconds
from .envelope.messages import Epoch

WalletId = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
]  # a lower-case UUID of version 4 (RFC 9562)
SuiteName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
ChainName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
NetworkName = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{0,32}\Z")
]  # empty where the chain's addresses have none
PartyId = Annotated[int, Meta(ge=1, le=255)]
CeremonyBytes = Annotated[bytes, Meta(min_length=1, max_length=16384)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=33)]
ShareProof = Annotated[bytes, Meta(min_length=64, max_length=80)]  # by the suite's Schnorr signature
LocationName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
BackupId = WalletId

CLIENT_PARTY: Final = 1  # the user's device in a user's share set, the delegate in a delegated one
ENCLAVE_PARTY: Final = 2
BACKUP_PARTY: Final = 3  # the share that lies apart, in a 2-of-3 set
MAX_PARTIES: Final = 5
THRESHOLD: Final = 2  # of every wallet of the service: any two of its shares sign
MAX_BACKUPS: Final = 16
MAX_WALLETS: Final = 256  # of one user


class WalletInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public facts of a wallet, the same on both sides.

    :ivar share_set_id: the set of shares over the wallet's key; the user's own carries the wallet's id.
    """

    wallet_id: WalletId
    share_set_id: WalletId
    suite: SuiteName
    chain: ChainName
    network: NetworkName
    epoch: Epoch
    threshold: PartyId
    parties: PartyId
    public_key: PublicKey


class PasscodeSetup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a passcode becomes key material: Argon2id (RFC 9106) and its parameters. Whoever wants to try a passcode needs them."""

    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]
    memory_kib: Annotated[int, Meta(ge=19 << 10, le=1 << 20)]
    iterations: Annotated[int, Meta(ge=1, le=16)]
    parallelism: Annotated[int, Meta(ge=1, le=16)]


class BackupInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A backup of one share.

    :ivar epoch: of the share in it; a backup of an older epoch than the wallet's restores nothing that signs.
    :ivar party: whose share it is.
    :ivar passcode: ``None``: none is needed.
    :ivar proved_at: when it was proved readable; ``None``: it was not, and does not count.
    :ivar locations: where the client says that it lies.
    """

    backup_id: BackupId
    epoch: Epoch
    party: PartyId
    passcode: PasscodeSetup | None
    created_at: Milliseconds
    proved_at: Milliseconds | None
    locations: Annotated[list[LocationName], Meta(max_length=8)]


class WalletStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is public of a wallet and changes.

    :ivar state: ``unbacked``: it does not sign until a backup of the client's share is proved; ``retired``: its shares are destroyed.
    :ivar epoch_since: when the enclave's share of this epoch was made.
    :ivar refresh_due: when the environment wants a refresh; ``None``: it does not say.
    :ivar pending: the epoch that waits to be committed, if there is one.
    :ivar backed_up: whether a proved backup of this epoch's share of the client exists.
    """

    state: Literal["active", "unbacked", "retired"]
    custody: Literal["custodial", "delegated"]
    epoch_since: Milliseconds
    refresh_due: Milliseconds | None
    pending: Epoch | None
    backed_up: bool
    backups: Annotated[list[BackupInfo], Meta(max_length=MAX_BACKUPS)]
    imported: bool
    legacy_wallet_id: Annotated[str, Meta(max_length=128)]  # empty: there is none


class WalletEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wallet in a listing. Of a retired wallet ``confirmation`` is zero."""

    wallet: WalletInfo
    status: WalletStatus
    confirmation: Hash
