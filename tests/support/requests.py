"""One well-formed request of every type that travels in the channel. They name wallets and users that need not exist."""

from __future__ import annotations

from typing import Any

from protocol import accounts as a
from protocol import delegation as d
from protocol import lifecycle as life
from protocol import messages as m
from protocol import wallets as w
from protocol.hybrid import Envelope
from protocol.receipts import GetLogHead

WALLET_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
USER_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SESSION_KEY = b"\x02" + bytes(32)
NEW_KEY = a.NewKey(algorithm="ed25519", public_key=bytes(44), proof=bytes(64))
NEW_PASSKEY = a.NewPasskey(client_data_json=b"{}", attestation_object=b"\xa0", discoverable=True)

PASSCODE = w.PasscodeSetup(salt=bytes(16), memory_kib=65536, iterations=3, parallelism=4)
SHARE_SET_ID = "2b1f8c3e-7c7e-4d2a-9d5b-3b6a1f0c9e11"
ENVELOPE = Envelope(alg="HYBRID-RSA-AES-256", iv="AAAA", ct="AAAA", tag="AAAA", ek="AAAA", kid="key-1")
TERMS = d.DelegationTerms(
    share_set_id=SHARE_SET_ID,
    app="App",
    rules=b"{}",
    expires_at=1,
    kid="key-1",
    key_hash=bytes(32),
)
SETTINGS = d.DelegationSettings(
    enabled=True,
    prompt_users_on_sign_in=True,
    requires_delegation=False,
    app="App",
    endpoint="https://app.example/webhooks",
    keys=[d.DeveloperKey(kid="key-1", public_key=bytes(294), state="active")],
)

LIFECYCLE: tuple[Any, ...] = (
    life.BeginReshare(
        wallet_id=WALLET_ID,
        epoch=1,
        purpose="reshare",
        dealer=1,
        threshold=2,
        parties=3,
        message1=b"message 1",
    ),
    life.FinishReshare(
        wallet_id=WALLET_ID, message2=b"message 2", confirmations=[bytes(32), bytes(range(32))]
    ),
    life.CommitReshare(wallet_id=WALLET_ID, epoch=2, proofs=[bytes(64), bytes(65)]),
    life.AbortReshare(wallet_id=WALLET_ID, epoch=2),
    life.ImportWallet(
        wallet_id=WALLET_ID,
        suite="frost-ed25519",
        chain="solana",
        network="",
        threshold=2,
        parties=2,
        legacy_wallet_id="old-1",
        message1=b"message 1",
        message2=b"message 2",
        confirmations=[bytes(32)],
    ),
    life.ExportShare(wallet_id=WALLET_ID, epoch=1, wrapping_key=bytes(range(32))),
    life.DeleteWallet(wallet_id=WALLET_ID),
    life.ListWallets(),
    life.BeginBackup(wallet_id=WALLET_ID, epoch=1, party=1, passcode=PASSCODE, passcode_proof=bytes(32)),
    life.ConfirmBackup(
        wallet_id=WALLET_ID, backup_id=SHARE_SET_ID, locations=["service", "file"], proof=bytes(64)
    ),
    life.OpenBackup(wallet_id=WALLET_ID, backup_id=SHARE_SET_ID, passcode_proof=bytes(32)),
    life.RemoveBackup(wallet_id=WALLET_ID, backup_id=SHARE_SET_ID),
)

DELEGATION: tuple[Any, ...] = (
    d.GetDelegationSettings(),
    d.SetDelegationSettings(settings=SETTINGS, version=0, new_secret=True),
    d.PingWebhook(),
    d.BeginDelegation(
        wallet_id=WALLET_ID,
        epoch=1,
        terms=TERMS,
        dealer=1,
        threshold=2,
        parties=2,
        message1=b"message 1",
        delegate_message1=b"message 1",
    ),
    d.FinishDelegation(
        wallet_id=WALLET_ID,
        share_set_id=SHARE_SET_ID,
        message2=b"message 2",
        confirmations=[bytes(32)],
        delegate_message2=b"message 2",
        delegate_confirmation=bytes(32),
    ),
    d.CommitDelegation(
        wallet_id=WALLET_ID,
        share_set_id=SHARE_SET_ID,
        epoch=2,
        proofs=[bytes(64)],
        delegate_proof=bytes(64),
        encrypted_share=ENVELOPE,
    ),
    d.ListDelegations(wallet_id=WALLET_ID),
    d.RevokeDelegation(wallet_id=WALLET_ID, share_set_id=SHARE_SET_ID),
    d.RevokeDelegationAsAdministrator(wallet_id=WALLET_ID, share_set_id=SHARE_SET_ID),
    d.TightenDelegation(wallet_id=WALLET_ID, share_set_id=SHARE_SET_ID, rules=b"{}", expires_at=1),
    d.DenyDelegation(denied=True),
    d.DelegateLogin(
        wallet_id=WALLET_ID, share_set_id=SHARE_SET_ID, api_key="dyn_" + "A" * 43, proof=bytes(64)
    ),
)

REQUESTS: tuple[Any, ...] = (
    m.BeginDkg(
        wallet_id=WALLET_ID,
        suite="frost-ed25519",
        chain="solana",
        network="",
        threshold=2,
        parties=2,
        message1=b"message 1",
    ),
    m.FinishDkg(wallet_id=WALLET_ID, message2=b"message 2", confirmation=bytes(32)),
    m.GetWallet(wallet_id=WALLET_ID),
    m.Sign(
        wallet_id=WALLET_ID,
        epoch=1,
        payload=m.SolanaPayload(message=b"message"),
        path=[0, 5],
        commitments=[bytes(64)],
    ),
    m.SignEcdsa(
        wallet_id=WALLET_ID,
        epoch=1,
        payload=m.EvmTransactionPayload(transaction=b"transaction"),
        path=[],
        message1=b"message 1",
    ),
    m.Close(),
    a.Login(
        jwt="e30.e30.AAAA",
        session_key=SESSION_KEY,
        proof=bytes(64),
        previous=SESSION_KEY,
        previous_proof=bytes(64),
        lifetime=3600,
    ),
    a.KeyLogin(
        user_id=USER_ID,
        credential_id=bytes(32),
        signature=bytes(64),
        session_key=SESSION_KEY,
        proof=bytes(64),
        lifetime=3600,
    ),
    a.ListSessionKeys(),
    a.RevokeSessionKeys(session_keys=[SESSION_KEY]),
    a.LinkLogin(jwt="e30.e30.AAAA"),
    a.UnlinkLogin(login="ab" * 32),
    a.GetAccount(),
    a.BeginCredential(),
    a.AddCredential(name="phone", challenge=bytes(32), credential=NEW_PASSKEY),
    a.ChangeCredential(credential_id=bytes(32), name="new", active=False),
    a.RemoveCredential(credential_id=bytes(32)),
    a.MakeDeviceCode(),
    a.BeginTotp(),
    a.ConfirmTotp(code="000000"),
    a.NewRecoveryCodes(),
    a.RemoveTotp(),
    a.SetRecoveryKey(algorithm="ed25519", public_key=bytes(44)),
    a.Recover(
        user_id=USER_ID,
        challenge=bytes(32),
        name="phone",
        credential=NEW_KEY,
        session_key=SESSION_KEY,
        proof=bytes(64),
        signature=bytes(64),
        gate=bytes(64),
    ),
    a.CancelRecovery(),
    a.HandOver(wallet_id=WALLET_ID, user_id=USER_ID),
    a.NewServiceAccount(name="desk", challenge=bytes(32), credential=NEW_KEY),
    a.SetPolicy(layer="wallet", subject=WALLET_ID, expected=bytes(32), content=b"{}"),
    a.GetPolicy(layer="account", subject=USER_ID),
    GetLogHead(nonce=bytes(32)),
    *LIFECYCLE,
    *DELEGATION,
)
