"""Results for people and for programs: each function returns the JSON object and the lines."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from attestation import AWS_NITRO_ROOT_G1
from protocol.binding import AttestedKeys

from ..client import Wallet  # noqa: TID252

if TYPE_CHECKING:
    from attestation import VerifiedAttestation

    from ..audit import PcrComparison  # noqa: TID252
    from ..signed import BitcoinSignature, EthereumSignature, SolanaSignature  # noqa: TID252
    from ..store import StoredWallet  # noqa: TID252

Described = tuple[dict[str, object], list[str]]

_KEY_POLICIES: Final = {
    "pinned": "KMS gives the data keys to this code and manifest alone, and nobody may change that",
    "editable": "somebody may let other code at the data keys; this client accepts that",
    "unjudged": "the enclave has no data key yet",
}


def attestation(verified: VerifiedAttestation) -> Described:
    """A verified attestation; PCRs that are all zero are left out of the lines."""
    key_policy = AttestedKeys.decode(verified.user_data or b"").key_policy
    pcrs = {str(index): value.hex() for index, value in sorted(verified.pcrs.items())}
    data: dict[str, object] = {
        "verified": True,
        "module_id": verified.module_id,
        "pcrs": pcrs,
        "root_sha256": verified.root_sha256,
        "age_s": round(verified.age_s, 3),
        "key_policy": key_policy,
    }
    aws = verified.root_sha256 == AWS_NITRO_ROOT_G1
    lines = [
        f"The enclave is attested: {verified.module_id}",
        f"root              {verified.root_sha256} ({'AWS Nitro G1' if aws else 'NOT AWS: a root that this trust policy names'})",
        f"age               {verified.age_s:.1f} s",
        f"key policy        {key_policy} ({_KEY_POLICIES[key_policy]})",
        *(f"PCR{index:<14} {value}" for index, value in pcrs.items() if value.strip("0")),
    ]
    return data, lines


def rebuild_audit(verified: VerifiedAttestation, compared: list[PcrComparison]) -> Described:
    """A running enclave beside a rebuild of its image."""
    matches = all(pcr.matches for pcr in compared)
    data: dict[str, object] = {
        "matches": matches,
        "module_id": verified.module_id,
        "pcrs": {
            str(pcr.index): {
                "matches": pcr.matches,
                "running": pcr.running.hex() or None,
                "rebuilt": pcr.rebuilt.hex(),
            }
            for pcr in compared
        },
    }
    lines = [
        "The enclave runs what was built here."
        if matches
        else "The enclave does NOT run what was built here.",
        f"enclave           {verified.module_id}",
    ]
    for pcr in compared:
        label = f"PCR{pcr.index}"
        if pcr.matches:
            lines.append(f"{label:<17} match     {pcr.rebuilt.hex()}")
        else:
            lines += [
                f"{label:<17} MISMATCH  running {pcr.running.hex() or '(none)'}",
                f"{'':<17}           rebuilt {pcr.rebuilt.hex()}",
            ]
    return data, lines


def wallet(entry: Wallet) -> Described:
    """A wallet's public facts."""
    data: dict[str, object] = {
        "wallet_id": entry.wallet_id,
        "suite": entry.suite,
        "chain": entry.chain,
        "network": entry.network,
        "address": entry.address,
        "public_key": entry.public_key.hex(),
        "epoch": entry.epoch,
    }
    chain = f"{entry.chain} {entry.network}".rstrip()
    lines = [
        f"wallet            {entry.wallet_id}",
        f"chain             {chain} ({entry.suite})",
        f"address           {entry.address}",
        f"public key        {entry.public_key.hex()}",
        f"epoch             {entry.epoch}",
    ]
    return data, lines


def wallet_table(entries: list[StoredWallet]) -> Described:
    """All wallets of a device."""
    described = [(Wallet.of(entry.info), entry.pending) for entry in entries]
    data: dict[str, object] = {
        "wallets": [
            {**wallet(entry)[0], "status": "active"}
            if not pending
            else {
                "wallet_id": entry.wallet_id,
                "chain": entry.chain,
                "network": entry.network,
                "status": "pending",
            }
            for entry, pending in described
        ]
    }
    if not described:
        return data, ["No wallets here yet. Create one: cosigner wallet create --chain solana"]
    lines = [
        f"{'wallet':<36}  {'chain':<8} {'network':<8} address",
        *(
            f"{entry.wallet_id}  {entry.chain:<8} {entry.network or '-':<8} {'(pending)' if pending else entry.address}"
            for entry, pending in described
        ),
    ]
    if any(pending for _, pending in described):
        lines.append(
            "Pending: the enclave has not confirmed its share, so nothing may be sent there yet. `cosigner wallet list --resume` asks it; "
            "a wallet that stays pending was never finished."
        )
    lines.append("`cosigner wallet show ID` compares an address with the enclave's before you use it.")
    return data, lines


def solana_signature(signed: SolanaSignature) -> Described:
    """A signed Solana message."""
    transaction = base64.b64encode(signed.transaction).decode() if signed.transaction else None
    data: dict[str, object] = {
        "signature": signed.signature.hex(),
        "transaction": transaction,
        "summary": jsonable(signed.summary),
    }
    lines = [
        *_solana_lines(signed.summary),
        f"signature         {signed.signature.hex()}",
        f"transaction       {transaction or 'needs signatures of others'}",
    ]
    return data, lines


def bitcoin_signature(signed: BitcoinSignature) -> Described:
    """A signed PSBT."""
    data: dict[str, object] = {
        "psbt": base64.b64encode(signed.psbt).decode(),
        "transaction": signed.transaction.hex() if signed.transaction else None,
        "signatures": {str(index): value.hex() for index, value in signed.signatures.items()},
        "summary": jsonable(signed.summary),
    }
    lines = [
        *_bitcoin_lines(signed.summary),
        f"psbt              {data['psbt']}",
        f"transaction       {data['transaction'] or 'needs signatures of others'}",
    ]
    return data, lines


def evm_signature(signed: EthereumSignature) -> Described:
    """A signed EVM transaction, message or typed data."""
    transaction = signed.transaction
    data: dict[str, object] = {
        "signature": "0x" + signed.signature.hex(),
        "digest": "0x" + signed.digest.hex(),
        "transaction": None if transaction is None else "0x" + transaction.hex(),
        "transaction_hash": None if signed.transaction_hash is None else "0x" + signed.transaction_hash.hex(),
        "summary": jsonable(signed.summary),
    }
    lines = [
        *_evm_lines(signed.summary),
        f"digest            {data['digest']}",
        f"signature         {data['signature']}",
    ]
    if transaction is not None:
        lines += [f"transaction       {data['transaction']}", f"transaction hash  {data['transaction_hash']}"]
    return data, lines


def _evm_lines(summary: Any) -> list[str]:  # noqa: ANN401  (JSON-like; shapes: threshold.tasks)
    lines = [f"from              {summary['from']}"]
    if "chain_id" in summary:
        lines += [
            f"chain id          {summary['chain_id']}",
            f"to                {summary['to'] or '(contract creation)'}",
            f"value             {summary['value']} wei",
            f"nonce             {summary['nonce']}",
            f"fee               at most {summary['max_fee']} wei",
        ]
        if summary["call"]:
            lines.append(f"call              {json.dumps(jsonable(summary['call']))}")
        elif summary["data_length"]:
            selector = summary["selector"]
            name = selector.hex() if isinstance(selector, bytes) else selector
            lines.append(f"call              {name or 'no selector'}, {summary['data_length']} bytes of data")
    elif "primary_type" in summary:
        lines += [
            f"typed data        {summary['primary_type']}",
            f"domain            {json.dumps(jsonable(summary['domain']))}",
        ]
    else:
        text = summary["text"]  # quoted: it could hold line breaks that look like ours
        lines.append(
            f"message           {'(not text)' if text is None else json.dumps(text, ensure_ascii=False)}"
        )
    return lines


def jsonable(value: object) -> object:
    """Bytes as hexadecimal text, all the way down."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {str(name): jsonable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [jsonable(inner) for inner in value]
        case _:
            return value


def _solana_lines(summary: Any) -> list[str]:  # noqa: ANN401  (JSON-like; shapes: threshold.payload.SolanaSummary)
    return [
        f"fee payer         {summary['fee_payer']}",
        f"blockhash         {summary['recent_blockhash']}",
        *(f"instruction       {_instruction(entry)}" for entry in summary["instructions"]),
    ]


def _instruction(entry: dict[str, Any]) -> str:
    amount = entry.get("lamports", entry.get("amount"))
    receiver = entry.get("to", entry.get("destination"))
    if amount is not None and receiver is not None:
        unit = "lamports" if "lamports" in entry else f"base units of {entry.get('mint', 'a token')}"
        return f"{entry['kind']}: {amount} {unit} from {entry.get('from', entry.get('source'))} to {receiver}"
    program = entry["program"] or "a program from a lookup table"
    return f"{program}, {len(entry['accounts'])} accounts, {len(entry['data'])} bytes of data (not decoded)"


def _bitcoin_lines(summary: Any) -> list[str]:  # noqa: ANN401  (JSON-like; shapes: threshold.payload.PsbtSummary)
    ours = [entry for entry in summary["inputs"] if entry["ours"]]
    spent = sum(entry["amount"] for entry in ours)
    return [
        f"inputs            {len(ours)} of {len(summary['inputs'])} are this wallet's, {spent} sat",
        *(
            f"output            {entry['amount']} sat to {entry['address'] or entry['script'].hex()}"
            + (" (this wallet)" if entry["ours"] else "")
            for entry in summary["outputs"]
        ),
        f"fee               {summary['fee']} sat",
        f"transaction id    {summary['txid']}",
    ]
