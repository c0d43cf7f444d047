"""A bot that signs for users on a schedule, with what they delegated, within what they approved.

    python examples/delegated_bot.py --state ./delegations --config client.json --pay 0xADDRESS --wei 1000 --every 60

It reads the inbox that ``examples/webhook_receiver.py`` fills. Every round it signs one small payment for each delegation in force, and
prints the signed transaction: an EIP-1559 transfer for EVM wallets, a transfer to itself for Solana wallets. A refusal (over the limits,
expired, revoked) is printed and the next one is tried. Sending is left to you: the nonce and the blockhash come from your own node.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from solders.hash import Hash
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from cosigner import CosignerError
from cosigner.config import ClientConfig
from cosigner.delegate import (
    DelegatedEvmClient,
    DelegatedSvmClient,
    create_delegated_evm_client,
    create_delegated_svm_client,
    delegated_sign_transaction,
)
from cosigner.webhooks import Delegation, Inbox, LocalSealer


def evm_payment(to: str, wei: int, nonce: int, chain_id: int) -> dict[str, Any]:
    """A type-2 transaction. Ask your node for nonce and fees."""
    return {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "to": to,
        "value": wei,
        "gas": 21_000,
        "maxFeePerGas": 30 * 10**9,
        "maxPriorityFeePerGas": 10**9,
        "data": "0x",
    }


def solana_payment(address: str, lamports: int, blockhash: bytes) -> bytes:
    """A transfer to the wallet itself. Ask your node for a recent blockhash."""
    payer = Pubkey.from_string(address)
    instruction = transfer(TransferParams(from_pubkey=payer, to_pubkey=payer, lamports=lamports))
    return bytes(Message.new_with_blockhash([instruction], payer, Hash(blockhash)))


class Bot:
    """Signs for every delegation of an inbox."""

    def __init__(
        self,
        inbox: Inbox,
        clients: Mapping[str, DelegatedEvmClient | DelegatedSvmClient],
        options: argparse.Namespace,
    ) -> None:
        self._inbox = inbox
        self._clients = clients
        self._options = options
        self._round = 0

    async def run_once(self) -> list[dict[str, Any]]:
        """One round: what was signed, and what was refused and why."""
        results = [await self._sign(delegation) for delegation in self._inbox.delegations()]
        self._round += 1
        return results

    async def _sign(self, delegation: Delegation) -> dict[str, Any]:
        result: dict[str, Any] = {"walletId": delegation.wallet_id, "chain": delegation.chain}
        transaction: Mapping[str, Any] | bytes
        if delegation.chain == "EVM":
            transaction = evm_payment(
                self._options.pay, self._options.wei, self._round, self._options.chain_id
            )
        else:
            transaction = solana_payment(delegation.public_key, 1, secrets.token_bytes(32))
        try:
            signed = await delegated_sign_transaction(
                self._clients[delegation.chain],
                wallet_id=delegation.wallet_id,
                wallet_api_key=delegation.opened.api_key,
                key_share=delegation.opened.share,
                transaction=transaction,
            )
        except CosignerError as error:
            return result | {"refused": error.code, "message": error.message}
        return result | {"transaction": signed}


async def run(options: argparse.Namespace) -> None:
    config = ClientConfig.load(options.config)
    inbox = Inbox(options.state / "inbox.sqlite3", LocalSealer(options.state / "sealing.key"))
    async with (
        await create_delegated_evm_client(config.environment, config=config) as evm,
        await create_delegated_svm_client(config.environment, config=config) as svm,
    ):
        bot = Bot(inbox, {"EVM": evm, "SVM": svm}, options)
        while True:
            for result in await bot.run_once():
                print(json.dumps(result), flush=True)
            if options.once:
                return
            await asyncio.sleep(options.every)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Signs for users on a schedule, with what they delegated.")
    parser.add_argument("--state", type=Path, required=True, metavar="FOLDER", help="of the webhook receiver")
    parser.add_argument("--config", type=Path, metavar="FILE", help="client configuration")
    parser.add_argument("--pay", default="0x000000000000000000000000000000000000dEaD", metavar="ADDRESS")
    parser.add_argument("--wei", type=int, default=1_000)
    parser.add_argument("--chain-id", type=int, default=11155111, help="default: Sepolia")
    parser.add_argument("--every", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--once", action="store_true", help="one round, then stop")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(run(options))
    except CosignerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
