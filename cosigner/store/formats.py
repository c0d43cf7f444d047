"""What the files of a share store hold (``docs/spec/seal.md`` §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.accounts import Recover, UserId
from protocol.accounts import SessionKey as SessionKeyBytes
from protocol.actions import Hash, Milliseconds
from protocol.envelope.messages import Epoch
from protocol.lifecycle import Proofs
from protocol.names import EnvironmentId
from protocol.wallets import PartyId, WalletId, WalletInfo
from threshold import SealingKey

SALT_LENGTH: Final = 16
_Version = Annotated[int, Meta(ge=1, le=1)]
_Sealed = Annotated[bytes, Meta(min_length=1, max_length=16384)]
_SealedScalar = Annotated[bytes, Meta(min_length=1, max_length=256)]


class KdfParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Argon2id parameters; the defaults are RFC 9106 §4's second recommendation."""

    salt: Annotated[bytes, Meta(min_length=SALT_LENGTH, max_length=SALT_LENGTH)]
    algorithm: Annotated[str, Meta(pattern=r"^argon2id\Z")] = "argon2id"
    memory_kib: Annotated[int, Meta(ge=19 << 10, le=1 << 20)] = 64 << 10
    iterations: Annotated[int, Meta(ge=1, le=16)] = 3
    parallelism: Annotated[int, Meta(ge=1, le=16)] = 4

    def derive(self, passphrase: bytes) -> SealingKey:
        return SealingKey.from_passphrase(
            passphrase, self.salt, self.memory_kib, self.iterations, self.parallelism
        )


class StoreFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``store.cbor``."""

    version: _Version
    kdf: KdfParameters
    check: Annotated[bytes, Meta(max_length=256)]


class ShareHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the seal of a share file is bound to."""

    version: _Version
    environment: EnvironmentId
    party: PartyId
    wallet: WalletInfo


class ShareFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ID.share`` and ``ID.pending``."""

    header: ShareHeader
    sealed: _Sealed


class NextHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new share that this device has decided on: whatever happens, it goes on from here and not back.

    :ivar wallet: as it will be.
    :ivar confirmation: the enclave's, of the ceremony that made the share.
    :ivar proofs: what commits it: one for each party but the enclave, ascending.
    """

    version: _Version
    environment: EnvironmentId
    party: PartyId
    wallet: WalletInfo
    confirmation: Hash
    proofs: Proofs


class NextFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ID.next`` and ``ID.aside``."""

    header: NextHeader
    sealed: _Sealed


class EpochHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest epoch of a wallet that this device knows of."""

    version: _Version
    environment: EnvironmentId
    wallet_id: WalletId
    epoch: Epoch


class EpochFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ID.epoch``. :ivar check: a constant, sealed as bytes."""

    header: EpochHeader
    check: Annotated[bytes, Meta(min_length=1, max_length=256)]


class SessionHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the seal of a session key is bound to.

    :ivar registered_at: by this device's clock; ``expires_at``: by the enclave's.
    """

    version: _Version
    environment: EnvironmentId
    user_id: UserId
    session_key: SessionKeyBytes
    registered_at: Milliseconds
    expires_at: Milliseconds


class SessionFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ENVIRONMENT.USER.session``: the private half of a session key, sealed as bytes."""

    header: SessionHeader
    sealed: _SealedScalar


class RecoveryHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recovery that waits for its time lock: what was asked for, which must be asked for again word by word."""

    version: _Version
    environment: EnvironmentId
    not_before: Milliseconds
    request: Recover


class RecoveryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ENVIRONMENT.USER.recovery``: the private half of the session key that the recovery will bring, sealed as bytes."""

    header: RecoveryHeader
    sealed: _SealedScalar


@dataclass(frozen=True)
class StoredWallet:
    """A wallet of the store; nothing secret.

    :ivar pending: there is no share yet that signs: the enclave has to confirm one.
    :ivar renewing: new shares wait to be committed.
    """

    environment: str
    info: WalletInfo
    pending: bool
    renewing: bool = False
