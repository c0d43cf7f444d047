"""Requests and replies inside the encrypted channel (``docs/spec/wire.md`` §5). One record carries one message."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from .accounts import (
    Account,
    AddCredential,
    BeginCredential,
    BeginTotp,
    CancelRecovery,
    ChangeCredential,
    ConfirmTotp,
    CredentialChallenge,
    CredentialInfo,
    DeviceCodeMade,
    GetAccount,
    GetPolicy,
    HandOver,
    KeyLogin,
    LinkLogin,
    ListSessionKeys,
    LoggedIn,
    Login,
    MakeDeviceCode,
    NewRecoveryCodes,
    NewServiceAccount,
    PolicyLayer,
    Recover,
    RecoveryCodes,
    RecoveryPending,
    RemoveCredential,
    RemoveTotp,
    RevokeSessionKeys,
    ServiceAccount,
    SessionKeys,
    SetPolicy,
    SetRecoveryKey,
    TotpSecret,
    UnlinkLogin,
)
from .actions import Authorization, Hash
from .delegation import (
    BeginDelegation,
    CommitDelegation,
    DelegateLoggedIn,
    DelegateLogin,
    DelegationBegun,
    DelegationConfigured,
    Delegations,
    DelegationSettingsReply,
    DelegationStored,
    DenyDelegation,
    FinishDelegation,
    GetDelegationSettings,
    ListDelegations,
    PingWebhook,
    RevokeDelegation,
    RevokeDelegationAsAdministrator,
    SetDelegationSettings,
    TightenDelegation,
)
from .envelope.messages import Done, Epoch, Fault, Message, SignedEntry
from .lifecycle import (
    AbortReshare,
    BackupKey,
    BeginBackup,
    BeginReshare,
    CommitReshare,
    ConfirmBackup,
    DeleteWallet,
    ExportedShare,
    ExportShare,
    FinishReshare,
    ImportWallet,
    ListWallets,
    OpenBackup,
    RemoveBackup,
    ReshareBegun,
    ReshareStored,
    WalletList,
)
from .receipts import GetLogHead, LogHead
from .wallets import (
    CLIENT_PARTY,
    CeremonyBytes,
    ChainName,
    NetworkName,
    PartyId,
    SuiteName,
    WalletId,
    WalletInfo,
    WalletStatus,
)

MAX_ENTRIES: Final = 256  # signatures made by one request (inputs of one PSBT)
MAX_PAYLOAD: Final = 512 << 10
MAX_EVM: Final = 128 << 10

Path = Annotated[list[Annotated[int, Meta(ge=0, lt=1 << 31)]], Meta(max_length=16)]
Commitment = Annotated[bytes, Meta(min_length=1, max_length=128)]
SignatureShare = Annotated[bytes, Meta(min_length=1, max_length=64)]


class BeginDkg(Message, frozen=True, tag="dkg_begin"):
    """First message of distributed key generation. The client picks a fresh wallet id."""

    wallet_id: WalletId
    suite: SuiteName
    chain: ChainName
    network: NetworkName
    threshold: PartyId
    parties: PartyId
    message1: CeremonyBytes


class DkgBegun(Message, frozen=True, tag="dkg_begun"):
    """The enclave's first and second message."""

    message1: CeremonyBytes
    message2: CeremonyBytes


class FinishDkg(Message, frozen=True, tag="dkg_finish"):
    """The client's second message, and its confirmation of the public transcript."""

    wallet_id: WalletId
    message2: CeremonyBytes
    confirmation: Hash


class GetWallet(Message, frozen=True, tag="wallet_get"):
    wallet_id: WalletId


class WalletReply(Message, frozen=True, tag="wallet"):
    """A wallet as the enclave has it stored.

    :ivar confirmation: the enclave's confirmation of the transcript of the ceremony that made this epoch's shares.
    """

    wallet: WalletInfo
    confirmation: Hash
    status: WalletStatus


class SolanaPayload(Message, frozen=True, tag="solana_message"):
    """A serialized Solana message (legacy or version 0), without signatures."""

    message: Annotated[bytes, Meta(min_length=1, max_length=1232)]

    @property
    def content(self) -> bytes:
        """The payload's bytes."""
        return self.message


class SolanaTextPayload(Message, frozen=True, tag="solana_text"):
    """A text that a Solana wallet signs as it is, as a wallet adapter's ``signMessage`` does: UTF-8, no control characters."""

    text: Annotated[bytes, Meta(min_length=1, max_length=65515)]

    @property
    def content(self) -> bytes:
        """The payload's bytes."""
        return self.text


class PsbtPayload(Message, frozen=True, tag="psbt"):
    """A PSBT of version 0 (BIP-174, BIP-371)."""

    psbt: Annotated[bytes, Meta(min_length=1, max_length=MAX_PAYLOAD)]

    @property
    def content(self) -> bytes:
        """The payload's bytes."""
        return self.psbt


class EvmTransactionPayload(Message, frozen=True, tag="evm_transaction"):
    """An unsigned EVM transaction of types 0 (EIP-155), 1, 2, 3 or 4: exactly what is hashed for the signature."""

    transaction: Annotated[bytes, Meta(min_length=1, max_length=MAX_EVM)]

    @property
    def content(self) -> bytes:
        """The payload's bytes."""
        return self.transaction


class EvmMessagePayload(Message, frozen=True, tag="evm_message"):
    """A message (EIP-191): of version ``E`` (``personal_sign``), or of version 0 where ``validator`` is an address."""

    message: Annotated[bytes, Meta(max_length=MAX_EVM)]
    validator: Annotated[bytes, Meta(min_length=20, max_length=20)] | None

    @property
    def content(self) -> bytes:
        """The payload's bytes."""
        return self.message


class EvmTypedDataPayload(Message, frozen=True, tag="evm_typed_data"):
    """Typed data (EIP-712) as ``eth_signTypedData_v4`` takes it, JSON."""

    typed_data: Annotated[bytes, Meta(min_length=1, max_length=MAX_EVM)]

    @property
    def content(self) -> bytes:
        """The payload's bytes."""
        return self.typed_data


Payload = SolanaPayload | SolanaTextPayload | PsbtPayload
EvmPayload = EvmTransactionPayload | EvmMessagePayload | EvmTypedDataPayload


def validator_of(payload: Payload | EvmPayload) -> bytes | None:
    """The validator's address of a message of version 0; ``None`` for any other payload."""
    return payload.validator if isinstance(payload, EvmMessagePayload) else None


class Sign(Message, frozen=True, omit_defaults=True, tag="sign"):
    """Ask for the enclave's FROST signature shares.

    :ivar path: unhardened BIP-32 path below the wallet's key; empty for the wallet's own key, and for Ed25519.
    :ivar epoch: the newest epoch the client knows; the enclave refuses any other.
    :ivar commitments: the client's FROST nonce commitments, one for each signature, in the payload's order.
    :ivar party: whose share the client signs with; any of the wallet's but the enclave's.
    """

    wallet_id: WalletId
    epoch: Epoch
    payload: Payload
    path: Path
    commitments: Annotated[list[Commitment], Meta(min_length=1, max_length=MAX_ENTRIES)]
    party: PartyId = CLIENT_PARTY


class Signed(Message, frozen=True, tag="signed"):
    """The enclave's commitments and signature shares, and what it understood of the payload.

    :ivar digests: exactly the bytes each signature covers, as the enclave computed them.
    :ivar summary: for people and for policy; JSON-like.
    """

    commitments: Annotated[list[Commitment], Meta(min_length=1, max_length=MAX_ENTRIES)]
    shares: Annotated[list[SignatureShare], Meta(min_length=1, max_length=MAX_ENTRIES)]
    digests: Annotated[list[bytes], Meta(min_length=1, max_length=MAX_ENTRIES)]
    summary: dict[str, object]


class SignEcdsa(Message, frozen=True, omit_defaults=True, tag="sign_ecdsa"):
    """Ask for the enclave's part of an ECDSA signature (``docs/spec/ecdsa.md``).

    :ivar path: unhardened BIP-32 path below the wallet's key; empty for the wallet's own key.
    :ivar message1: the client's first and only message, 15,515 bytes.
    :ivar party: whose share the client signs with; any of the wallet's but the enclave's.
    """

    wallet_id: WalletId
    epoch: Epoch
    payload: EvmPayload
    path: Path
    message1: Annotated[bytes, Meta(min_length=1, max_length=32768)]
    party: PartyId = CLIENT_PARTY


class EcdsaSigned(Message, frozen=True, tag="ecdsa_signed"):
    """The enclave's part, and what it understood of the payload.

    :ivar message2: 66,851 bytes.
    :ivar digest: what is signed, as the enclave computed it.
    :ivar summary: for people and for policy; JSON-like.
    """

    message2: Annotated[bytes, Meta(min_length=1, max_length=131072)]
    digest: Hash
    summary: dict[str, object]


class Close(Message, frozen=True, tag="close"):
    """Forget this session."""


WalletRequest = (
    BeginDkg
    | FinishDkg
    | GetWallet
    | ListWallets
    | Sign
    | SignEcdsa
    | ImportWallet
    | ExportShare
    | DeleteWallet
)
ReshareRequest = BeginReshare | FinishReshare | CommitReshare | AbortReshare
BackupRequest = BeginBackup | ConfirmBackup | OpenBackup | RemoveBackup
DelegationRequest = (
    GetDelegationSettings
    | SetDelegationSettings
    | PingWebhook
    | BeginDelegation
    | FinishDelegation
    | CommitDelegation
    | ListDelegations
    | RevokeDelegation
    | RevokeDelegationAsAdministrator
    | TightenDelegation
    | DenyDelegation
    | DelegateLogin
)
LoginRequest = Login | KeyLogin | ListSessionKeys | RevokeSessionKeys | LinkLogin | UnlinkLogin | GetAccount
CredentialRequest = BeginCredential | AddCredential | ChangeCredential | RemoveCredential | MakeDeviceCode
FactorRequest = BeginTotp | ConfirmTotp | NewRecoveryCodes | RemoveTotp
RecoveryRequest = SetRecoveryKey | Recover | CancelRecovery
RuleRequest = HandOver | NewServiceAccount | SetPolicy | GetPolicy
Request = (
    WalletRequest
    | ReshareRequest
    | BackupRequest
    | DelegationRequest
    | LoginRequest
    | CredentialRequest
    | FactorRequest
    | RecoveryRequest
    | RuleRequest
    | GetLogHead
    | Close
)
AccountReply = (
    LoggedIn
    | SessionKeys
    | CredentialChallenge
    | CredentialInfo
    | DeviceCodeMade
    | TotpSecret
    | RecoveryCodes
    | RecoveryPending
    | Account
    | ServiceAccount
    | PolicyLayer
)
LifecycleReply = ReshareBegun | ReshareStored | ExportedShare | WalletList | BackupKey
DelegationReply = (
    DelegationSettingsReply
    | DelegationConfigured
    | DelegationBegun
    | DelegationStored
    | Delegations
    | DelegateLoggedIn
)
Reply = (
    DkgBegun
    | WalletReply
    | Signed
    | EcdsaSigned
    | LifecycleReply
    | DelegationReply
    | AccountReply
    | LogHead
    | Done
    | Fault
)


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request as it stands in a record.

    :ivar authorization: evidence for this very request, where the session's alone does not do.
    :ivar idempotency_key: chosen by the client: the same key and request again give the same reply again.
    """

    request: Request
    authorization: Authorization | None = None
    idempotency_key: Annotated[bytes, Meta(min_length=16, max_length=32)] | None = None


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A reply as it stands in a record.

    :ivar receipt: the log's entry of what was decided about the request, where there is one (``docs/spec/receipts.md``).
    """

    reply: Reply
    receipt: SignedEntry | None = None
