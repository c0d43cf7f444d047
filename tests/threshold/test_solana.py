"""Solana messages built by ``solders``: what is reported, what is signed, and what is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.token.associated import get_associated_token_address
from solders.transaction import Transaction, VersionedTransaction

from tests.threshold.ceremonies import generate, sign
from threshold import KeyShare, PayloadError, Suite
from threshold.payload import solana_address, solana_assemble, solana_inspect, solana_text_inspect
from threshold.tasks import signing_task

BLOCKHASH = Hash(bytes(range(32)))
OTHER = Pubkey(bytes([7]) * 32)
TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")


@pytest.fixture(scope="module")
def shares() -> dict[int, KeyShare]:
    return generate(Suite.FROST_ED25519)


def payer_of(shares: dict[int, KeyShare]) -> Pubkey:
    return Pubkey(shares[1].group_public_key)


def legacy(payer: Pubkey, *instructions: Instruction) -> bytes:
    return bytes(Message.new_with_blockhash(instructions or [pay(payer)], payer, BLOCKHASH))


def v0(
    payer: Pubkey, *instructions: Instruction, tables: list[AddressLookupTableAccount] | None = None
) -> bytes:
    message = MessageV0.try_compile(payer, list(instructions) or [pay(payer)], tables or [], BLOCKHASH)
    return bytes(to_bytes_versioned(message))


def pay(payer: Pubkey, lamports: int = 5_000) -> Instruction:
    return transfer(TransferParams(from_pubkey=payer, to_pubkey=OTHER, lamports=lamports))


def refused(message: bytes) -> str:
    with pytest.raises(PayloadError) as caught:
        solana_inspect(message)
    assert caught.value.message
    return caught.value.code


def test_addresses_are_those_of_solders(shares: dict[int, KeyShare]) -> None:
    assert solana_address(shares[1].group_public_key) == str(payer_of(shares))
    for length in (0, 31, 33):
        with pytest.raises(PayloadError) as caught:
            solana_address(bytes(length))
        assert caught.value.code == "invalid_public_key"


def test_a_legacy_transfer_is_reported_signed_and_accepted(shares: dict[int, KeyShare]) -> None:
    payer = payer_of(shares)
    message = legacy(payer)
    summary = solana_inspect(message)
    assert summary["version"] == "legacy"
    assert summary["signed_bytes"] == message
    assert summary["recent_blockhash"] == str(BLOCKHASH)
    assert summary["fee_payer"] == str(payer)
    assert summary["required_signers"] == [str(payer)]
    assert summary["accounts"] == [
        {"address": str(payer), "signer": True, "writable": True},
        {"address": str(OTHER), "signer": False, "writable": True},
        {"address": "11111111111111111111111111111111", "signer": False, "writable": False},
    ]
    assert summary["address_table_lookups"] == []
    assert summary["instructions"] == [
        {
            "program": "11111111111111111111111111111111",
            "accounts": [str(payer), str(OTHER)],
            "data": (2).to_bytes(4, "little") + (5_000).to_bytes(8, "little"),
            "kind": "system.transfer",
            "from": str(payer),
            "to": str(OTHER),
            "lamports": 5_000,
        }
    ]
    (signature,) = sign(shares, [summary["signed_bytes"]])
    wire = solana_assemble(message, {bytes(payer): signature})
    transaction = Transaction.from_bytes(wire)
    transaction.verify()
    assert bytes(transaction) == wire
    assert transaction.signatures == [Signature(signature)]


def test_a_v0_transfer_is_reported_signed_and_accepted(shares: dict[int, KeyShare]) -> None:
    payer = payer_of(shares)
    message = v0(payer)
    summary = solana_inspect(message)
    assert summary["version"] == 0
    assert summary["instructions"][0]["kind"] == "system.transfer"
    (signature,) = sign(shares, [summary["signed_bytes"]])
    wire = solana_assemble(message, {bytes(payer): signature})
    transaction = VersionedTransaction.from_bytes(wire)
    assert transaction.verify_with_results() == [True]
    assert bytes(transaction) == wire


def token_instruction(data: bytes, *accounts: Pubkey, program: Pubkey = TOKEN_PROGRAM) -> Instruction:
    return Instruction(program, data, [AccountMeta(account, False, True) for account in accounts])


def test_token_transfers_are_decoded(shares: dict[int, KeyShare]) -> None:
    payer = payer_of(shares)
    mint = Pubkey(bytes([9]) * 32)
    source, destination = (get_associated_token_address(owner, mint) for owner in (payer, OTHER))
    amount = (10**12).to_bytes(8, "little")
    plain = token_instruction(b"\x03" + amount, source, destination, payer)
    checked = token_instruction(b"\x0c" + amount + b"\x06", source, mint, destination, payer)
    for message in (legacy(payer, plain, checked), v0(payer, plain, checked)):
        first, second = solana_inspect(message)["instructions"]
        common = {
            "source": str(source),
            "destination": str(destination),
            "owner": str(payer),
            "amount": 10**12,
        }
        assert {name: first.get(name) for name in common} == common
        assert {name: second.get(name) for name in common} == common
        assert (first["kind"], second["kind"]) == ("spl-token.transfer", "spl-token.transferChecked")
        assert (second["mint"], second["decimals"]) == (str(mint), 6)


def test_unknown_instructions_have_no_kind(shares: dict[int, KeyShare]) -> None:
    payer = payer_of(shares)
    amount = bytes(8)
    strangers = [
        token_instruction(b"\x03" + amount, payer, OTHER),
        token_instruction(b"\x03" + amount + b"\0", payer, OTHER, payer),
        token_instruction(b"\x04" + amount, payer, OTHER, payer),
        token_instruction(b"", payer, OTHER, payer),
        token_instruction(b"\x03" + amount, payer, OTHER, payer, program=OTHER),
        Instruction(Pubkey.default(), b"\x02\0\0\0" + bytes(7), [AccountMeta(payer, True, True)] * 2),
        Instruction(Pubkey.default(), b"\x02\0\0\0" + bytes(8), [AccountMeta(payer, True, True)] * 3),
        Instruction(Pubkey.default(), b"\x03\0\0\0" + bytes(8), [AccountMeta(payer, True, True)] * 2),
    ]
    for instruction in solana_inspect(legacy(payer, *strangers))["instructions"]:
        assert instruction["kind"] is None
        assert set(instruction) == {"program", "accounts", "data", "kind"}


def test_accounts_from_lookup_tables_have_no_name(shares: dict[int, KeyShare]) -> None:
    payer = payer_of(shares)
    table = AddressLookupTableAccount(Pubkey(bytes([8]) * 32), [Pubkey(bytes([6]) * 32), OTHER])
    summary = solana_inspect(v0(payer, tables=[table]))
    assert summary["address_table_lookups"] == [{"table": str(table.key), "writable": [1], "readonly": []}]
    (instruction,) = summary["instructions"]
    assert instruction["accounts"] == [str(payer), None]
    assert instruction["kind"] is None


def test_all_required_signers_must_sign(shares: dict[int, KeyShare]) -> None:
    payer = payer_of(shares)
    second = Keypair.from_seed(bytes([1]) * 32)
    message = legacy(
        payer, pay(payer), transfer(TransferParams(from_pubkey=second.pubkey(), to_pubkey=payer, lamports=1))
    )
    assert solana_inspect(message)["required_signers"] == [str(payer), str(second.pubkey())]
    ours = sign(shares, [message])[0]
    theirs = bytes(second.sign_message(message))
    wire = solana_assemble(message, {bytes(second.pubkey()): theirs, bytes(payer): ours})
    Transaction.from_bytes(wire).verify()

    def code(signatures: dict[bytes, bytes]) -> tuple[str, str | None]:
        with pytest.raises(PayloadError) as caught:
            solana_assemble(message, signatures)
        return caught.value.code, caught.value.field

    mine, yours = bytes(payer), bytes(second.pubkey())
    assert code({mine: ours}) == ("solana_missing_signature", str(second.pubkey()))
    assert code({}) == ("solana_missing_signature", str(payer))
    assert code({mine: ours, yours: ours}) == ("solana_signature_invalid", str(second.pubkey()))
    assert code({mine: ours, yours: theirs[:-1]}) == ("solana_signature_invalid", str(second.pubkey()))
    assert code({mine: ours, yours: theirs, bytes(OTHER): theirs}) == (
        "solana_unexpected_signature",
        str(OTHER),
    )
    assert code({mine: ours, yours: theirs, b"": theirs}) == ("solana_unexpected_signature", None)


def test_only_one_encoding_of_a_message_is_read(shares: dict[int, KeyShare]) -> None:
    payer = payer_of(shares)
    for message in (legacy(payer), v0(payer)):
        assert refused(message + b"\0") == "solana_malformed"
        for length in range(len(message)):
            assert refused(message[:length]).startswith("solana_")
        at = 3 if message[0] < 0x80 else 4  # the number of accounts, in two bytes instead of one
        assert (
            refused(message[:at] + bytes([message[at] | 0x80, 0]) + message[at + 1 :]) == "solana_malformed"
        )


def test_other_versions_are_refused(shares: dict[int, KeyShare]) -> None:
    message = v0(payer_of(shares))
    for version in (0x81, 0x82, 0xFF):
        assert refused(bytes([version]) + message[1:]) == "solana_version_unsupported"
    assert refused(b"\xffsolana offchain" + bytes(50)) == "solana_version_unsupported"
    assert refused(b"") == "solana_malformed"


def test_contradictions_are_refused(shares: dict[int, KeyShare]) -> None:
    message = bytearray(legacy(payer_of(shares)))
    for at, value in ((0, 0), (0, 4), (1, 1), (2, 3)):
        changed = bytearray(message)
        changed[at] = value
        assert refused(bytes(changed)) == "solana_invalid"
    changed = bytearray(message)
    changed[4 + 32 : 4 + 64] = message[4 : 4 + 32]  # the payee is the payer: an account twice
    assert refused(bytes(changed)) == "solana_invalid"


def test_a_transaction_must_fit_its_packet(shares: dict[int, KeyShare]) -> None:
    payer = payer_of(shares)

    def sized(data: int) -> bytes:
        return legacy(payer, Instruction(OTHER, bytes(data), []))

    longest = next(data for data in range(1_300, 0, -1) if len(sized(data)) == 1232 - 65)
    assert solana_inspect(sized(longest))["instructions"][0]["kind"] is None
    assert refused(sized(longest + 1)) == "solana_too_large"
    assert refused(bytes(10**6)) == "solana_too_large"


_PAYER = Pubkey(bytes([3]) * 32)
_TABLE = AddressLookupTableAccount(Pubkey(bytes([8]) * 32), [OTHER])
_VALID = [legacy(_PAYER), v0(_PAYER), v0(_PAYER, tables=[_TABLE])]


@given(
    message=st.sampled_from(_VALID),
    changes=st.lists(
        st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=3)), min_size=1, max_size=3
    ),
    cut=st.integers(0, 3),
)
def test_changed_messages_are_refused_or_reproduced(
    message: bytes, changes: list[tuple[int, bytes]], cut: int
) -> None:
    """Whatever parses is what ``solders`` parses too, and encodes to exactly the same bytes."""
    mutable = bytearray(message)
    for at, replacement in changes:
        mutable[at % len(message) : at % len(message) + cut] = replacement
    changed = bytes(mutable)
    try:
        summary = solana_inspect(changed)
    except PayloadError:
        return
    assert summary["signed_bytes"] == changed
    independent = Message.from_bytes(changed) if changed[0] < 0x80 else MessageV0.from_bytes(changed[1:])
    again = bytes(independent) if changed[0] < 0x80 else b"\x80" + bytes(independent)
    assert again == changed
    count = independent.header.num_required_signatures
    assert summary["required_signers"] == [str(key) for key in independent.account_keys[:count]]


@given(message=st.binary(max_size=1300))
def test_rubbish_is_refused_or_reproduced(message: bytes) -> None:
    with suppress(PayloadError):
        assert solana_inspect(message)["signed_bytes"] == message


def test_a_text_is_signed_as_wallet_adapters_sign_it(shares: dict[int, KeyShare]):
    text = b"Sign in to example.com\n\nNonce: 12"
    task = signing_task(
        "solana_text", text, chain="solana", public_key=shares[1].group_public_key, network=""
    )
    assert task.digests == [text]
    assert task.summary["text"] == text.decode()
    (signature,) = sign(shares, task.digests)
    assert Signature(signature).verify(payer_of(shares), text)


@given(st.binary(max_size=80))
def test_a_text_shows_as_what_it_is(content: bytes):
    with suppress(PayloadError):
        text = solana_text_inspect(content)
        assert text.encode() == content
        assert all(c.isprintable() or c in "\n\r\t\u200c\u200d\u3000\xa0" or c.isspace() for c in text)


def test_a_transaction_is_no_text(shares: dict[int, KeyShare]):
    for message in (legacy(payer_of(shares)), v0(payer_of(shares))):
        with pytest.raises(PayloadError) as caught:
            solana_text_inspect(message)
        assert caught.value.code == "solana_text_invalid"
