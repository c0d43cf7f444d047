"""What a Solana message does with the wallet's signature.

A program has the signature of those accounts only that its instruction lists. So an instruction that does not list the wallet can do
nothing in its name; it is left out, but for what it does to the fee. Of the others a few are known; every other one is blind.
"""

from __future__ import annotations

from typing import Final

from . import facts as f
from .addresses import SVM
from .assets import Coin
from .associated import ASSOCIATED_TOKEN, TOKEN, TOKEN_2022, associated_account
from .facts import MESSAGE, Facts, Party
from .summary import SolanaInstruction, SolanaTransaction

SYSTEM: Final = "11111111111111111111111111111111"
COMPUTE_BUDGET: Final = "ComputeBudget111111111111111111111111111111"
_MEMO: Final = ("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr", "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
_PRECOMPILES: Final = (
    "Ed25519SigVerify111111111111111111111111111",
    "KeccakSecp256k11111111111111111111111111111",
    "Secp256r1SigVerify1111111111111111111111111",
)
SOL: Final = Coin(SVM, None, None)
LAMPORTS_PER_SIGNATURE: Final = 5_000
MAX_COMPUTE_UNITS: Final = 1_400_000
TOKEN_ACCOUNT_RENT: Final = 2_039_280  # lamports: (165 bytes + 128) * 3480 * 2 years
_MANY: Final = "A program that has the wallet's signature can pay anybody."


def transaction(summary: SolanaTransaction) -> Facts:
    """A message. The fee counts if the wallet pays it."""
    facts = Facts(SVM)
    if summary.fee_payer == summary.wallet:
        _fee(facts, summary)
    for instruction in summary.instructions:
        if summary.wallet in instruction.accounts:
            facts.programs.add(instruction.program)
            if not _is_known(facts, instruction, summary.wallet):
                _conceal(facts, instruction)
    for party in facts.recipients:
        if party.mint is not None and party.address not in facts.owners:
            facts.unknown_parties = facts.unknown_parties or (
                "Whose token account this is, the message does not say."
            )
    return facts


def text() -> Facts:
    """A text: for whoever accepts it."""
    return Facts.opaque(SVM, MESSAGE, "What is done with a message is not known.")


def _conceal(facts: Facts, instruction: SolanaInstruction) -> None:
    facts.callees.append(instruction.program)
    facts.conceal(f.INSTRUCTION, instruction.program, f.EVERYTHING, _MANY)


def _is_known(facts: Facts, instruction: SolanaInstruction, wallet: str) -> bool:
    """Note what a known instruction does; ``False``, with nothing noted, if it is not known."""
    if instruction.program == SYSTEM:
        return _system(facts, instruction, wallet)
    if instruction.program in {TOKEN, TOKEN_2022}:
        return _token(facts, instruction)
    if instruction.program == ASSOCIATED_TOKEN:
        return _associated(facts, instruction, wallet)
    return instruction.program in _MEMO  # says who signed, and nothing else


def _system(facts: Facts, instruction: SolanaInstruction, wallet: str) -> bool:
    """``Transfer`` (2) and ``AdvanceNonceAccount`` (4): ``u32``, and for the former ``u64`` lamports, little endian."""
    accounts, data = instruction.accounts, instruction.data
    if data == b"\x04\0\0\0":
        return True  # only replaces the blockhash
    if len(data) != 12 or data[:4] != b"\x02\0\0\0" or len(accounts) != 2:  # noqa: PLR2004
        return False
    source, destination = accounts
    if source != wallet:
        return True  # somebody else pays the wallet
    if destination is None:
        return False
    facts.add(SOL, int.from_bytes(data[4:], "little"))
    facts.recipients.append(Party(destination, via=SYSTEM))
    return True


def _token(facts: Facts, instruction: SolanaInstruction) -> bool:
    """``Transfer`` (3) and ``TransferChecked`` (12): ``u8``, ``u64`` amount, for the latter ``u8`` decimals."""
    accounts, data = instruction.accounts, instruction.data
    match data[:1], len(data), accounts:
        case b"\x03", 9, (str(), str(destination), str(), *_):
            # The mint is that of the source account, which only the chain knows.
            facts.recipients.append(
                Party(destination, via=instruction.program, mint="", program=instruction.program)
            )
            facts.conceal(f.UNNAMED_MINT, destination, f.TOKENS)
            return True
        case b"\x0c", 10, (str(), str(mint), str(destination), str(), *_):
            facts.recipients.append(
                Party(destination, via=instruction.program, mint=mint, program=instruction.program)
            )
            facts.add(Coin(SVM, None, mint), int.from_bytes(data[1:9], "little"))
            return True
    return False


def _associated(facts: Facts, instruction: SolanaInstruction, wallet: str) -> bool:
    """``Create`` (no data, or 0) and ``CreateIdempotent`` (1), for the Token program: costs the payer a known rent."""
    match instruction.data, instruction.accounts:
        case b"" | b"\0" | b"\x01", (payer, account, str(owner), str(mint), program_system, program, *_):
            if program_system != SYSTEM or program != TOKEN:
                return False
            if account != associated_account(owner, mint, TOKEN):
                return False
            if payer == wallet:
                facts.add(SOL, TOKEN_ACCOUNT_RENT)
                facts.recipients.append(Party(owner, via=ASSOCIATED_TOKEN))
            facts.owners[account] = owner
            return True
    return False


def _fee(facts: Facts, summary: SolanaTransaction) -> None:
    """Signatures, those that precompiled programs check included, and the price of compute units."""
    signatures, price, units = summary.signatures, 0, MAX_COMPUTE_UNITS
    for instruction in summary.instructions:
        data = instruction.data
        if instruction.program in _PRECOMPILES:
            signatures += data[0] if data else 0
        elif instruction.program == COMPUTE_BUDGET:
            match data[:1], len(data):
                case b"\x01" | b"\x04", 5:
                    pass  # the sizes of heap and loaded accounts
                case b"\x02", 5:
                    units = min(int.from_bytes(data[1:], "little"), MAX_COMPUTE_UNITS)
                case b"\x03", 9:
                    price = int.from_bytes(data[1:], "little")
                case _:
                    _conceal(facts, instruction)
    facts.add(SOL, signatures * LAMPORTS_PER_SIGNATURE + -(-price * units // 1_000_000))
