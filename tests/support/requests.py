"""One well-formed request of every type that travels in the channel. They name wallets and users that need not exist."""

from __future__ import annotations

from typing import Any

from protocol import accounts as a
from protocol import messages as m
from protocol.receipts import GetLogHead

WALLET_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
USER_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SESSION_KEY = b"\x02" + bytes(32)
NEW_KEY = a.NewKey(algorithm="ed25519", public_key=bytes(44), proof=bytes(64))
NEW_PASSKEY = a.NewPasskey(client_data_json=b"{}", attestation_object=b"\xa0", discoverable=True)

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
)
