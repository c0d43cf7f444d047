"""Results for people and for programs: each function returns the JSON object and the lines."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from attestation import AWS_NITRO_ROOT_G1
from protocol.binding import AttestedKeys

from ..client import Wallet  # noqa: TID252
from ..session_keys import now_ms  # noqa: TID252
from .moments import when

if TYPE_CHECKING:
    from attestation import VerifiedAttestation
    from protocol.wallets import BackupInfo, WalletEntry, WalletStatus

    from ..audit import PcrComparison  # noqa: TID252
    from ..signed import BitcoinSignature, EthereumSignature, SolanaSignature  # noqa: TID252
    from ..store import StoredWallet  # noqa: TID252

Described = tuple[dict[str, object], list[str]]

_KEY_POLICIES: Final = {
    "pinned": "KMS gives the data keys to this code and manifest alone, and nobody may change that",
    "editable": "somebody may let other code at the data keys; this client accepts that",
    "unjudged": "the enclave has no data key yet",
}


_STATES: Final = {
    "active": "active",
    "unbacked": "UNBACKED: it signs nothing until a backup is proved; cosigner wallet backup",
    "retired": "deleted",
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
        "parties": entry.parties,
    }
    chain = f"{entry.chain} {entry.network}".rstrip()
    lines = [
        f"wallet            {entry.wallet_id}",
        f"chain             {chain} ({entry.suite})",
        f"address           {entry.address}",
        f"public key        {entry.public_key.hex()}",
        f"epoch             {entry.epoch}",
        f"shares            any 2 of {entry.parties} sign",
    ]
    return data, lines


def wallet_status(status: WalletStatus) -> Described:
    """What the enclave says of a wallet's state."""
    due = None if status.refresh_due is None else when(status.refresh_due)
    data: dict[str, object] = {
        "state": status.state,
        "custody": status.custody,
        "epoch_since": when(status.epoch_since),
        "refresh_due": due,
        "backed_up": status.backed_up,
        "pending_epoch": status.pending,
        "imported": status.imported,
        "legacy_wallet_id": status.legacy_wallet_id,
    }
    overdue = status.refresh_due is not None and status.refresh_due <= now_ms()
    lines = [
        f"state             {_STATES[status.state]}",
        f"shares since      {when(status.epoch_since)}",
        f"refresh due       {due or 'never'}{' (now: cosigner wallet refresh)' if overdue else ''}",
        f"backup            {'yes' if status.backed_up else 'NO: a lost device is a lost wallet; cosigner wallet backup'}",
    ]
    if status.imported:
        lines.append(
            f"imported          yes{f', was {status.legacy_wallet_id}' if status.legacy_wallet_id else ''}"
        )
    return data, lines


def backups(entry: Wallet, status: WalletStatus) -> Described:
    """The backups of a wallet."""
    data: dict[str, object] = {
        "wallet_id": entry.wallet_id,
        "backed_up": status.backed_up,
        "backups": [
            {
                "backup_id": info.backup_id,
                "epoch": info.epoch,
                "party": info.party,
                "passcode": info.passcode is not None,
                "created_at": when(info.created_at),
                "proved_at": None if info.proved_at is None else when(info.proved_at),
                "locations": info.locations,
                "restores": info.proved_at is not None and info.epoch == entry.epoch,
            }
            for info in status.backups
        ],
    }
    if not status.backups:
        return data, ["No backups. Make one: cosigner wallet backup"]
    lines = [
        f"{'backup':<36}  {'epoch':<6} {'made':<20}  {'passcode':<9} {'state':<9} at",
        *(
            f"{info.backup_id}  {info.epoch:<6} {when(info.created_at)}  {'yes' if info.passcode else 'no':<9} "
            f"{_backup_state(info, entry.epoch):<9} {', '.join(info.locations) or '-'}"
            for info in status.backups
        ),
    ]
    return data, lines


def _backup_state(info: BackupInfo, epoch: int) -> str:
    if info.proved_at is None:
        return "unproved"
    return "good" if info.epoch == epoch else "worthless"


def wallet_table(entries: list[StoredWallet], known: list[WalletEntry] | None = None) -> Described:
    """All wallets of a device; with ``known``, what the enclave knows of them, and those of its that are not here."""
    theirs = {entry.wallet.wallet_id: entry for entry in known or []}
    ours = {entry.info.wallet_id for entry in entries}
    rows = [_row(entry, theirs.get(entry.info.wallet_id)) for entry in entries]
    rows += [_elsewhere(entry) for wallet_id, entry in theirs.items() if wallet_id not in ours]
    data: dict[str, object] = {"wallets": [described for described, _ in rows]}
    if not rows:
        return data, ["No wallets here yet. Create one: cosigner wallet create --chain solana"]
    more = f" {'backup':<7} {'refresh due':<20} " if known is not None else " "
    lines = [f"{'wallet':<36}  {'chain':<8} {'network':<8} {'epoch':<5}{more}address"]
    for described, address in rows:
        told = " "
        if known is not None:
            backup = {True: "yes", False: "no", None: "-"}[described.get("backed_up")]
            told = f" {backup:<7} {described.get('refresh_due') or '-':<20} "
        network = described["network"] or "-"
        lines.append(
            f"{described['wallet_id']}  {described['chain']:<8} {network:<8} {described['epoch']:<5}{told}{address}"
        )
    if any(entry.pending for entry in entries):
        lines.append(
            "Pending: the enclave has not confirmed its share, so nothing may be sent there yet. `cosigner wallet list --resume` asks it; "
            "a wallet that stays pending was never finished."
        )
    if any(entry.renewing and not entry.pending for entry in entries):
        lines.append("Renewing: new shares wait to be put in force. `cosigner wallet list --resume` does it.")
    lines.append("`cosigner wallet show ID` compares an address with the enclave's before you use it.")
    return data, lines


def _row(entry: StoredWallet, theirs: WalletEntry | None) -> tuple[dict[str, Any], str]:
    described = Wallet.of(entry.info)
    told = {} if theirs is None else wallet_status(theirs.status)[0]
    if entry.pending:
        facts = {
            "wallet_id": described.wallet_id,
            "chain": described.chain,
            "network": described.network,
            "epoch": described.epoch,
            "status": "pending",
        }
        return facts | told, "(pending)"
    status = "renewing" if entry.renewing else "active"
    outdated = theirs is not None and theirs.wallet.epoch > described.epoch
    note = " (renewing)" if entry.renewing else " (outdated here: recover)" if outdated else ""
    facts = {**wallet(described)[0], "status": "outdated" if outdated and not entry.renewing else status}
    return facts | told, described.address + note


def _elsewhere(entry: WalletEntry) -> tuple[dict[str, Any], str]:
    """A wallet of the user's that this device has no share of."""
    described = Wallet.of(entry.wallet)
    retired = entry.status.state == "retired"
    facts = {**wallet(described)[0], "status": "retired" if retired else "elsewhere"}
    note = "deleted" if retired else "no share here: recover"
    return facts | wallet_status(entry.status)[0], f"{described.address} ({note})"


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
