"""The part of the demonstration that is about delegated access: set up, approve, webhook, bot, refusal, revocation.

The developer's endpoint is a server on loopback around the receiver kit; the administrator is the mock stack's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import secrets
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from protocol.delegation import DelegationSettings, SetDelegationSettings
from protocol.envelope.errors import CosignerError, Culprit
from protocol.intents import subject_of

from . import approvals
from .delegate import create_delegated_evm_client, create_delegated_svm_client, delegated_sign_transaction
from .delegation import Limits
from .delegation.files import new_encryption_key
from .errors import EnclaveRefused
from .keys import SigningKey
from .webhooks import DecryptionKey, Delegation, Inbox, LocalSealer, Receiver, WebhookRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .client import AsyncClient
    from .config import ClientConfig
    from .wallets import Wallet

    Step = Callable[[str], AbstractContextManager[None]]

APP: Final = "Demo trading bot"
ADMINISTRATOR: Final = "operator"  # of the mock stack's manifest
_ADMINISTRATOR_KEY: Final = "stack/administrator.pem"
_DELIVERY: Final = 20.0  # seconds that a webhook may take
_LITTLE, _MUCH = 10**15, 2 * 10**18  # wei
_LIMITS: Final = {
    "ethereum": Limits(max_per_call="0.01", total="0.05"),
    "solana": Limits(max_per_call="0.1", total="1"),
}


async def show(
    client: AsyncClient, config: ClientConfig, wallets: dict[str, Wallet], directory: Path, step: Step
) -> dict[str, Any]:
    """Run this part; returns its report.

    :param wallets: by chain; ``ethereum`` and ``solana``.
    :param directory: of the demonstration; the mock stack's state lies in it.
    """
    private, key = new_encryption_key()
    with (
        tempfile.TemporaryDirectory(prefix="developer-", dir=directory) as state,
        developer() as endpoint,
    ):
        settings = DelegationSettings(
            enabled=True,
            prompt_users_on_sign_in=False,
            requires_delegation=False,
            app=APP,
            endpoint=endpoint.url,
            keys=[key],
        )
        with step("Setting up delegated access, as the administrator"):
            secret = await _configure(client, config.environment, settings, directory / _ADMINISTRATOR_KEY)
        inbox = Inbox(Path(state) / "inbox.sqlite3", LocalSealer(Path(state) / "sealing.key"))
        endpoint.receiver = Receiver(secret, DecryptionKey.from_pem(private), inbox)
        made = {}
        for chain, limits in _LIMITS.items():
            with step(f"Approving that the app signs for the {chain} wallet"):
                made[chain] = await client.approve_delegation(
                    wallets[chain].wallet_id, limits, lifetime=timedelta(days=1)
                )
        with step("Waiting for the webhooks"):
            delegations = [await arrival(inbox, wallets[chain].wallet_id) for chain in _LIMITS]
        async with (
            await create_delegated_evm_client(config.environment, config=config) as evm,
            await create_delegated_svm_client(config.environment, config=config) as svm,
        ):
            ethereum, solana = delegations
            with step("The app signs for Ethereum and Solana"):
                payment = _payment(_LITTLE)
                raw = await delegated_sign_transaction(evm, **_given(ethereum), transaction=payment)
                message = _transfer(wallets["solana"].address)
                wire = await delegated_sign_transaction(svm, **_given(solana), transaction=message)
            _check(raw, wire, message, wallets)
            with step("The app asks for more than was approved"):
                refusal = await _refused(
                    delegated_sign_transaction(evm, **_given(ethereum), transaction=_payment(_MUCH))
                )
            with step("Revoking"):
                await client.revoke_delegation(
                    wallets["ethereum"].wallet_id, made["ethereum"].terms.share_set_id
                )
            after = await _refused(
                delegated_sign_transaction(evm, **_given(ethereum), transaction=_payment(_LITTLE))
            )
            with step("Waiting for the webhook of the revocation"):
                await _departure(inbox, wallets["ethereum"].wallet_id)
        return {
            "app": APP,
            "delegations": [
                {"wallet_id": one.wallet_id, "share_set_id": one.terms.share_set_id} for one in made.values()
            ],
            "webhooks": endpoint.heard,
            "evm_transaction": raw,
            "solana_transaction": wire,
            "refusal": refusal,
            "revoked": after,
        }


def lines(report: dict[str, Any]) -> list[str]:
    """The report for a person."""
    return [
        "Delegated access",
        f"  app               {report['app']}, for {len(report['delegations'])} wallets; each has a share of its own, encrypted to the app",
        f"  webhooks          {', '.join(report['webhooks'])}",
        f"  the app signed    for Ethereum and Solana, checked by eth_account and solders: {report['evm_transaction'][:34]}…",
        f"  over its limit    {report['refusal']['code']}",
        f"  after revocation  {report['revoked']['code']}",
    ]


class Developer(ThreadingHTTPServer):
    """The developer's endpoint. What comes before the secret is known is asked for again by the sender."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.receiver: Receiver | None = None
        self.heard: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/webhooks"


class _Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        developer = self.server
        if not isinstance(developer, Developer):
            raise TypeError
        body = self.rfile.read(min(int(self.headers.get("content-length", "0")), 1 << 20))
        status = 503
        if developer.receiver is not None:
            try:
                event, result = developer.receiver.receive(dict(self.headers.items()), body)
                status = 200
                if result == "new":
                    developer.heard.append(event.event_name)
            except WebhookRefused as refusal:
                status = refusal.status
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        """Nothing is logged."""


@contextlib.contextmanager
def developer() -> Iterator[Developer]:
    """An endpoint for as long as the context lasts."""
    server = Developer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def _configure(
    client: AsyncClient, environment: str, settings: DelegationSettings, key_file: Path
) -> str:
    request = SetDelegationSettings(settings, version=0, new_secret=True)
    draft = approvals.draft(request, environment=environment, subject=subject_of(request, ""))
    key = SigningKey.from_pem(await asyncio.to_thread(key_file.read_bytes))
    approval = approvals.by_administrator(draft, ADMINISTRATOR, key)
    done = await client.configure_delegation(settings, new_secret=True, approvals=[approval])
    return done.webhook_secret


async def arrival(inbox: Inbox, wallet_id: str) -> Delegation:
    """The newest delegation of a wallet, once its webhook has come."""
    found = await _until(lambda: inbox.delegation(wallet_id))
    if not isinstance(found, Delegation):
        raise _failed("the webhook of a delegation did not arrive")
    return found


async def _departure(inbox: Inbox, wallet_id: str) -> None:
    if not await _until(lambda: inbox.delegation(wallet_id) is None):
        raise _failed("the webhook of a revocation did not arrive")


async def _until(look: Callable[[], Any]) -> Any:  # noqa: ANN401  (whatever is looked for)
    """What ``look`` finds within the time that a webhook may take."""
    deadline = asyncio.get_running_loop().time() + _DELIVERY
    while not (found := await asyncio.to_thread(look)):
        if asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(0.05)
    return found


def _given(delegation: Delegation) -> dict[str, Any]:
    return {
        "wallet_id": delegation.wallet_id,
        "wallet_api_key": delegation.opened.api_key,
        "key_share": delegation.opened.share,
    }


async def _refused(signing: Any) -> dict[str, str]:  # noqa: ANN401  (an awaitable)
    try:
        await signing
    except EnclaveRefused as error:
        return {"code": error.code, "message": error.message}
    raise _failed("the app signed what it must not")


def _payment(wei: int) -> dict[str, Any]:
    return {
        "type": 2,
        "chainId": 11155111,
        "nonce": 0,
        "to": "0x000000000000000000000000000000000000dEaD",
        "value": wei,
        "gas": 21_000,
        "maxFeePerGas": 30 * 10**9,
        "maxPriorityFeePerGas": 10**9,
        "data": "0x",
    }


def _transfer(address: str) -> bytes:
    from solders.hash import Hash
    from solders.message import Message
    from solders.pubkey import Pubkey
    from solders.system_program import TransferParams, transfer

    payer = Pubkey.from_string(address)
    to = Pubkey(hashlib.sha256(b"cosigner demo recipient").digest())
    instruction = transfer(TransferParams(from_pubkey=payer, to_pubkey=to, lamports=1_000))
    return bytes(Message.new_with_blockhash([instruction], payer, Hash(secrets.token_bytes(32))))


def _check(raw: str, wire: str, message: bytes, wallets: dict[str, Wallet]) -> None:
    from eth_account import Account
    from solders.transaction import Transaction

    if Account.recover_transaction(raw) != wallets["ethereum"].address:
        raise _failed("eth_account recovers another sender from what the app signed")
    transaction = Transaction.from_bytes(base64.b64decode(wire))
    if bytes(transaction.message) != message:
        raise _failed("what the app signed for Solana is another message")
    transaction.verify()


def _failed(why: str) -> CosignerError:
    return CosignerError("demo_check_failed", f"Delegated access: {why}.", culprit=Culprit.ENCLAVE)
