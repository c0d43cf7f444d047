"""Real transactions for a wallet, made by libraries that this project did not write."""

from __future__ import annotations

import hashlib

from embit.psbt import PSBT
from embit.script import Script, address_to_scriptpubkey
from embit.transaction import Transaction, TransactionInput, TransactionOutput
from solders.hash import Hash
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

RECIPIENT = hashlib.sha256(b"recipient").digest()


def solana_message(address: str, *, also: str | None = None) -> bytes:
    """A transfer from ``address``; if ``also`` is given a second one from there, so that it must sign as well."""
    payer = Pubkey.from_string(address)
    payers = [payer, *([Pubkey.from_string(also)] if also else [])]
    instructions = [
        transfer(TransferParams(from_pubkey=source, to_pubkey=Pubkey(RECIPIENT), lamports=1_000))
        for source in payers
    ]
    return bytes(Message.new_with_blockhash(instructions, payer, Hash(hashlib.sha256(b"blockhash").digest())))


def psbt(address: str, *, inputs: int = 1, foreign: int = 0) -> bytes:
    """A spend of ``inputs`` outputs of ``address``, and of ``foreign`` outputs of somebody else."""
    ours = address_to_scriptpubkey(address)
    scripts = [ours] * inputs + [Script(b"\x51\x20" + RECIPIENT)] * foreign
    unsigned = Transaction(
        vin=[TransactionInput(hashlib.sha256(bytes([i])).digest(), i) for i in range(len(scripts))],
        vout=[TransactionOutput(50_000 * len(scripts), Script(b"\x00\x14" + RECIPIENT[:20]))],
    )
    made = PSBT(unsigned)
    for scope, script in zip(made.inputs, scripts, strict=True):
        scope.witness_utxo = TransactionOutput(60_000, script)
    return bytes(made.serialize())
