"""One valid value of every message, and the unions they travel in."""

from __future__ import annotations

import typing
from typing import Any

import msgspec

from cosigner.backups.files import BackupFile, BackupHeader
from cosigner.config import ConfigFile, TrustFile
from cosigner.store import KdfParameters, NextFile, NextHeader, ShareFile, StoreFile
from cosigner.store import ShareHeader as LocalHeader
from cosigner.store.formats import EpochFile, EpochHeader
from cosigner.store.locators import LocatorsFile, LocatorsHeader
from enclave.keys import WrappedKey
from enclave.manifest import KmsEndpoint, Manifest
from enclave.vault import EpochFacts, ShareHeader, ShareSetHeader, StoredShare, StoredShareSet
from protocol import accounts, actions, delegation, lifecycle, receipts, wallets
from protocol import messages as inner
from protocol.binding import AttestedKeys
from protocol.channel import ClientHello, EnclaveHello
from protocol.envelope import messages as outer
from protocol.envelope.errors import Culprit, Reaction
from protocol.wallets import PasscodeSetup
from tests.support.manifests import environment
from tests.support.requests import (
    PASSCODE,
    REQUESTS,
    SESSION_KEY,
    SETTINGS,
    SHARE_SET_ID,
    TERMS,
    USER_ID,
    WALLET_ID,
)

KEY_ARN = "arn:aws:kms:sim-region-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

CREDENTIALS = outer.AwsCredentials(access_key_id="AKIA", secret_access_key="secret", session_token="")
FAULT = outer.Fault(
    code="wallet_unknown", message="No such wallet.", culprit=Culprit.CLIENT, reaction=Reaction.ABORT
)
NEEDY_FAULT = outer.Fault(
    code="factor_required",
    message="This must also be authorized by passkey.",
    culprit=Culprit.CLIENT,
    reaction=Reaction.ABORT,
    needs=["passkey", "totp"],
)
WALLET = inner.WalletInfo(
    wallet_id=WALLET_ID,
    share_set_id=WALLET_ID,
    suite="frost-ed25519",
    chain="solana",
    network="",
    epoch=1,
    threshold=2,
    parties=2,
    public_key=bytes(range(32)),
)

STATUS = wallets.WalletStatus(
    state="active",
    custody="delegated",
    epoch_since=1,
    refresh_due=2,
    pending=3,
    backed_up=True,
    backups=[
        wallets.BackupInfo(
            backup_id=SHARE_SET_ID,
            epoch=1,
            party=1,
            passcode=PASSCODE,
            created_at=1,
            proved_at=None,
            locations=["service"],
        )
    ],
    imported=False,
    legacy_wallet_id="",
)
EPOCH = EpochFacts(wallet=WALLET, confirmation=bytes(32), made_at=1)
SIGNED_ENTRY = outer.SignedEntry(entry=b"entry", signature=bytes(64))
CHAIN_HEAD = outer.ChainHead(chain=bytes(32), sequence=2, hash=bytes(32), signature=bytes(64))
OUTBOX_EVENT = outer.OutboxEvent(
    event_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    environment="sandbox",
    name="wallet.delegation.created",
    endpoint="https://developer.example/webhooks",
    data=b"{}",
    subscription_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
)
CREDENTIAL = accounts.CredentialInfo(
    credential_id=bytes(32), type="passkey", name="phone", active=True, created_at=1, discoverable=False
)
ASSERTION = actions.PasskeyAssertion(
    credential_id=bytes(32), client_data_json=b"{}", authenticator_data=bytes(37), signature=b"s"
)
AUTHORIZATION = actions.Authorization(
    nonce=bytes(16),
    expires_at=1,
    first=ASSERTION,
    second=actions.TotpCode(code="000000"),
    approvals=[
        actions.SignedApproval(
            approver="administrator:ada",
            nonce=bytes(16),
            expires_at=2,
            evidence=actions.KeySignature(credential_id=bytes(32), signature=bytes(64)),
        )
    ],
)
SESSION_AUTH = accounts.SessionAuth(
    user_id=USER_ID, session_key=SESSION_KEY, issued_at=3, signature=bytes(64)
)

SAMPLES: dict[type[msgspec.Struct], Any] = {
    type(sample): sample
    for sample in (
        FAULT,
        CREDENTIALS,
        outer.Attest(nonce=bytes(range(16))),
        outer.OpenSession(hello=b"hello"),
        outer.Record(session_id=bytes(16), record=b"record"),
        outer.Provision(manifest=b"manifest", credentials=CREDENTIALS),
        outer.UpdateCredentials(credentials=CREDENTIALS),
        outer.Status(),
        outer.Attested(document=b"document", channel_key=bytes(1216)),
        outer.SessionOpened(session_id=bytes(16), hello=b"hello"),
        outer.RecordReply(record=b"record"),
        outer.Done(),
        outer.StatusReply(phase="ready", reason="", sessions=3, counters={"signed": 7, "records": 300}),
        outer.StorageGet(key="environments/sandbox/data-key"),
        outer.StoragePut(key="a/b_c-d", expected=0, epoch=1, value=b"value"),
        outer.StorageDelete(key="a", expected=1),
        outer.StorageList(prefix="environments/sandbox/", after="", count=1000),
        outer.Found(epoch=1, value=b"value"),
        outer.Missing(),
        outer.Conflict(current=0),
        outer.Keys(keys=["a", "b/c"]),
        outer.TunnelOpen(host="kms.sim-region-1.amazonaws.com", port=443),
        inner.DkgBegun(message1=b"message 1", message2=b"message 2"),
        inner.WalletReply(wallet=WALLET, confirmation=bytes(32), status=STATUS),
        lifecycle.ReshareBegun(message1=b"message 1", messages2=[b"message 2", b"message 3"]),
        lifecycle.ReshareStored(wallet=WALLET, confirmation=bytes(32)),
        lifecycle.ExportedShare(wallet=WALLET, sealed=b"sealed"),
        lifecycle.WalletList(
            wallets=[wallets.WalletEntry(wallet=WALLET, status=STATUS, confirmation=bytes(32))]
        ),
        lifecycle.BackupKey(backup_id=SHARE_SET_ID, key=bytes(32), locator="ab" * 32),
        delegation.DelegationSettingsReply(
            settings=SETTINGS,
            version=1,
            approvals=[
                actions.SignedApproval(
                    approver="administrator:ada",
                    nonce=bytes(16),
                    expires_at=2,
                    evidence=actions.KeySignature(credential_id=bytes(32), signature=bytes(64)),
                )
            ],
            denied=False,
        ),
        delegation.DelegationConfigured(
            version=1, webhook_id=SHARE_SET_ID, webhook_secret="whsec_" + "A" * 44
        ),
        delegation.DelegationBegun(
            message1=b"message 1",
            messages2=[b"message 2"],
            delegate_message1=b"message 1",
            delegate_message2=b"message 2",
        ),
        delegation.DelegationStored(
            wallet=WALLET, confirmation=bytes(32), delegate=WALLET, delegate_confirmation=bytes(32)
        ),
        delegation.Delegations(
            delegations=[
                delegation.DelegationInfo(
                    wallet_id=WALLET_ID,
                    terms=TERMS,
                    tightened=b"",
                    expires_at=1,
                    created_at=1,
                    revoked_at=2,
                    revoked_by="user",
                )
            ]
        ),
        delegation.DelegateLoggedIn(user_id=USER_ID, wallet=WALLET, expires_at=1),
        inner.EcdsaSigned(message2=b"message 2", digest=bytes(32), summary={"value": "1"}),
        inner.Signed(
            commitments=[bytes(64)],
            shares=[bytes(32)],
            digests=[b"digest"],
            summary={
                "fee": 500,
                "inputs": [{"index": 0, "ours": True}],
                "data": b"bytes",
                "version": "legacy",
            },
        ),
        outer.LogAppend(chain=bytes(32), first=7, entries=[SIGNED_ENTRY]),
        outer.GetChainHeads(chain=bytes(32)),
        outer.LogConflict(next=3),
        outer.ChainHeads(heads=[CHAIN_HEAD]),
        *REQUESTS,
        accounts.LoggedIn(user_id=USER_ID, created=True, session_key_expires_at=1),
        accounts.SessionKeys(
            keys=[
                accounts.SessionKeyInfo(
                    session_key=SESSION_KEY, created_at=1, expires_at=2, login="ab" * 32, current=True
                )
            ]
        ),
        accounts.CredentialChallenge(
            challenge=bytes(32),
            rp_id="app.example",
            user_handle=bytes(16),
            exclude=[bytes(32)],
            user_verification="required",
        ),
        CREDENTIAL,
        accounts.DeviceCodeMade(code="0123-4567-89AB-CDEF", expires_at=5),
        accounts.TotpSecret(secret=bytes(20)),
        accounts.RecoveryCodes(codes=["0123-4567-89AB-CDEF"]),
        accounts.RecoveryPending(not_before=7),
        accounts.Account(
            user_id=USER_ID,
            kind_of_user="user",
            logins=[accounts.LoginInfo(login="ab" * 32, issuer="https://login.example", linked_at=1)],
            credentials=[CREDENTIAL],
            totp=True,
            recovery_codes_left=10,
            recovery_key=False,
            recovery_not_before=3,
            locked_until=4,
        ),
        accounts.ServiceAccount(user_id=USER_ID, credential_id=bytes(32)),
        accounts.PolicyLayer(layer="wallet", subject=WALLET_ID, version=1, hash=bytes(32), content=b"{}"),
        receipts.LogHead(chain=bytes(32), sequence=1, hash=bytes(32), signature=bytes(64)),
    )
}
"""Every message with a ``kind``, except the payloads."""

PAYLOADS: dict[type[msgspec.Struct], Any] = {
    type(sample): sample
    for sample in (
        inner.SolanaPayload(message=b"message"),
        inner.SolanaTextPayload(text=b"hello"),
        inner.PsbtPayload(psbt=b"psbt\xff"),
        inner.EvmTransactionPayload(transaction=b"transaction"),
        inner.EvmMessagePayload(message=b"message", validator=bytes(range(20))),
        inner.EvmTypedDataPayload(typed_data=b"{}"),
    )
}
"""Every payload; they travel in :class:`Sign` and :class:`SignEcdsa`."""

_REQUESTS: list[inner.Request] = [
    msgspec.structs.replace(SAMPLES[kind], payload=payload)
    for kind, payloads in (
        (inner.Sign, [PAYLOADS[inner.PsbtPayload], PAYLOADS[inner.SolanaTextPayload]]),
        (
            inner.SignEcdsa,
            [
                PAYLOADS[inner.EvmMessagePayload],
                inner.EvmMessagePayload(message=b"", validator=None),
                PAYLOADS[inner.EvmTypedDataPayload],
            ],
        ),
    )
    for payload in payloads
]

PLAIN: list[Any] = [
    outer.LinkRequestFrame(id=7, body=outer.Status()),
    outer.LinkReplyFrame(id=(1 << 32) - 1, body=FAULT),
    outer.StorageRequestFrame(id=0, body=outer.StorageGet(key="a")),
    outer.StorageReplyFrame(id=1, body=outer.Missing()),
    inner.Call(request=inner.Close()),
    *(inner.Call(request=request) for request in _REQUESTS),
    inner.Call(request=inner.Close(), authorization=AUTHORIZATION, idempotency_key=bytes(16)),
    inner.Answer(reply=FAULT),
    inner.Answer(reply=NEEDY_FAULT, receipt=SIGNED_ENTRY),
    inner.Answer(reply=outer.Done(), receipt=SIGNED_ENTRY),
    ClientHello(
        version=1,
        environment="sandbox",
        client_key=bytes(1216),
        client_random=bytes(32),
        auth=SESSION_AUTH,
    ),
    outer.StorageRequestFrame(
        id=2, body=outer.StoragePut(key="a", expected=0, epoch=1, value=b"value", event=OUTBOX_EVENT)
    ),
    OUTBOX_EVENT,
    WALLET,
    AttestedKeys(version=1, channel_key=bytes(32), key_policy="pinned", receipt_key=bytes(32)),
    ClientHello(version=1, environment="sandbox", client_key=bytes(1216), client_random=bytes(32)),
    EnclaveHello(version=1, session_id=bytes(16), enclave_random=bytes(32), lifetime=3600),
    ClientHello(
        version=1,
        environment="sandbox",
        client_key=bytes(1216),
        client_random=bytes(32),
        ecdsa_setup=b"setup",
    ),
    EnclaveHello(
        version=1,
        session_id=bytes(16),
        enclave_random=bytes(32),
        lifetime=3600,
        ecdsa_answer=b"answer",
    ),
    Manifest(
        version=1,
        environments=[environment("sandbox", kms_key_arn=KEY_ARN)],
        kms=KmsEndpoint(region="sim-region-1", host="kms.sim-region-1.amazonaws.com", port=443, ca_pem=""),
    ),
    StoredShare(
        header=ShareHeader(
            version=1,
            environment="sandbox",
            key_arn=KEY_ARN,
            party=2,
            wallet=WALLET,
            creator="11111111-1111-4111-8111-111111111111",
            confirmation=bytes(32),
        ),
        sealed=b"sealed",
    ),
    StoredShareSet(
        header=ShareSetHeader(
            version=2,
            environment="sandbox",
            key_arn=KEY_ARN,
            party=2,
            wallet_id=WALLET_ID,
            share_set_id=WALLET_ID,
            revision=2,
            creator=USER_ID,
            imported=True,
            legacy_wallet_id="old-1",
            active=EPOCH,
            pending=EPOCH,
            retired_at=None,
        ),
        active=b"sealed",
        pending=b"sealed",
        tombstone=b"sealed",
    ),
    WrappedKey(version=1, environment="sandbox", key_arn=KEY_ARN, ciphertext=b"ciphertext"),
    ShareFile(header=LocalHeader(version=1, environment="sandbox", party=1, wallet=WALLET), sealed=b"sealed"),
    StoreFile(version=1, kdf=KdfParameters(salt=bytes(16)), check=b"check"),
    NextFile(
        header=NextHeader(
            version=1,
            environment="sandbox",
            party=1,
            wallet=WALLET,
            confirmation=bytes(32),
            proofs=[bytes(64)],
        ),
        sealed=b"sealed",
    ),
    EpochFile(
        header=EpochHeader(version=1, environment="sandbox", wallet_id=WALLET.wallet_id, epoch=2),
        check=b"check",
    ),
    LocatorsFile(
        header=LocatorsHeader(version=1, environment="sandbox", wallet_id=WALLET.wallet_id),
        sealed=b"sealed",
    ),
    BackupFile(
        header=BackupHeader(
            version=1,
            kind="offline",
            environment="sandbox",
            wallet_id=WALLET.wallet_id,
            share_set_id=WALLET.share_set_id,
            suite=WALLET.suite,
            chain=WALLET.chain,
            network=WALLET.network,
            epoch=1,
            threshold=2,
            parties=3,
            party=1,
            backup_id="22222222-2222-4222-8222-222222222222",
            passcode=PasscodeSetup(salt=bytes(16), memory_kib=65536, iterations=3, parallelism=4),
        ),
        sealed=b"sealed",
    ),
]
"""Structures without a ``kind``."""

ENVELOPES: dict[type[msgspec.Struct], tuple[str, Any]] = {
    outer.LinkRequestFrame: ("body", outer.LinkRequest),
    outer.LinkReplyFrame: ("body", outer.LinkReply),
    outer.StorageRequestFrame: ("body", outer.StorageRequest),
    outer.StorageReplyFrame: ("body", outer.StorageReply),
    inner.Call: ("request", inner.Request),
    inner.Answer: ("reply", inner.Reply),
}
"""Each envelope, the field that holds its message, and the union of what it may hold."""

CLIENT_CONFIG = ConfigFile(
    api_url="http://127.0.0.1:8080",
    environment="sandbox",
    trust=TrustFile(
        roots=["ab" * 32], pcrs={index: [f"{index:0>2}" * 48] for index in ("0", "1", "2", "16")}
    ),
)


def enveloped() -> list[Any]:
    """Every message in every envelope that may hold it."""
    found = []
    for envelope, (field, union) in ENVELOPES.items():
        for kind in typing.get_args(union):
            rest = {"id": 5} if field == "body" else {}
            found.append(envelope(**{field: SAMPLES[kind], **rest}))
    return found
