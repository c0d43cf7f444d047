"""``cosigner audit log``. Exit codes: 0 nothing was found, 1 something was."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import msgspec

from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.segments import entry_hash
from protocol.receipts import Entry, Outcome, open_entry

from ..audit_log import (  # noqa: TID252
    Placed,
    Problem,
    Report,
    Trust,
    read_documents,
    read_log,
    read_receipts,
    verify_log,
)
from ..audit_log.live import live_head  # noqa: TID252
from ..config import ClientConfig, TrustFile, trust_policy  # noqa: TID252
from . import entries
from .inputs import read_file

if TYPE_CHECKING:
    from ..audit_log import ChainReport  # noqa: TID252
    from .output import Output


async def verify(options: argparse.Namespace, output: Output) -> int:
    """``cosigner audit log verify``; 1 if anything was found."""
    trust = _trust(options)
    live = None
    if options.live:  # before the files are read: what the enclave has confirmed by now must be in them
        with output.step("Asking the enclave for its newest entry"):
            live = await live_head(ClientConfig.load(options.config))
    report = verify_log(
        read_log(options.files),
        trust,
        receipts=read_receipts(options.receipt),
        documents=read_documents(options.document),
        live=live,
    )
    output.result(_data(report), _lines(report))
    return 0 if report.good else 1


async def show(options: argparse.Namespace, output: Output) -> int:
    """``cosigner audit log show``; 1 if something could not be read."""
    found: list[tuple[Entry, bytes]] = []
    problems: list[Problem] = []
    for item in read_log(options.files):
        try:
            if isinstance(item, Placed):
                found.append((open_entry(item.record.signed), entry_hash(item.record.signed.entry)))
            else:
                problems.append(item)
        except CosignerError as error:
            problems.append(_unreadable(item, error))
    wanted = {(entry.chain, entry.sequence) for entry, _ in found if entries.chosen(entry, options)}
    chosen = [
        (entry, digest)
        for entry, digest in found
        if (entry.chain, entry.sequence) in wanted
        or (isinstance(entry.body, Outcome) and (entry.chain, entry.body.of) in wanted)
    ]
    chosen.sort(key=lambda pair: (pair[0].time, pair[0].chain, pair[0].sequence))
    lines = [line for entry, _ in chosen for line in entries.lines(entry)]
    lines += ["", f"{len(chosen)} of {len(found)} entries. Only their own signatures were checked."]
    data = {
        "entries": [entries.data(entry, digest) for entry, digest in chosen],
        "problems": [_problem_data(problem) for problem in problems],
    }
    output.result(data, [*lines, *(_problem_line(problem) for problem in problems)])
    return 1 if problems else 0


def _unreadable(item: Placed | Problem, error: CosignerError) -> Problem:
    record = item.record if isinstance(item, Placed) else None
    return Problem(
        "entry_signature" if error.code == "receipt_signature" else "entry_malformed",
        error.message,
        b"" if record is None else record.chain,
        None if record is None else record.sequence,
        item.file if isinstance(item, Placed) else item.where,
    )


def _trust(options: argparse.Namespace) -> Trust:
    if options.policy is None:
        loaded = ClientConfig.load(options.config)
        return Trust(loaded.policy, loaded.accept_editable_key_policy)
    if options.live:
        raise CosignerError(
            "usage",
            "--live needs a client configuration: give --config in place of --policy.",
            culprit=Culprit.CLIENT,
        )
    try:
        parsed = msgspec.json.decode(read_file(options.policy), type=TrustFile, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CosignerError(
            "config_invalid",
            f"The trust policy {options.policy} is not valid: {error}",
            culprit=Culprit.CLIENT,
        ) from None
    return Trust(trust_policy(parsed), parsed.accept_editable_key_policy)


# --- how a report reads ----------------------------------------------------------------------------------------------------


def _lines(report: Report) -> list[str]:
    lines: list[str] = []
    for chain in report.chains:
        lines += [
            f"chain   {chain.chain.hex()}",
            f"  enclave  {chain.module_id or 'not believed'}"
            + (f", key policy {chain.key_policy}" if chain.key_policy else ""),
            f"  time     {entries.written(chain.first_ms)} to {entries.written(chain.last_ms)}",
            f"  entries  {chain.entries} (numbers up to {chain.last}): {chain.allowed} allowed, {chain.denied} denied",
            f"  end      {_end(chain)}",
            "",
        ]
    lines += [f"note    {note}" for note in report.notes]
    lines += [_problem_line(problem) for problem in report.problems]
    if report.notes or report.problems:
        lines.append("")
    count = sum(chain.entries for chain in report.chains)
    verdict = "GOOD" if report.good else "FAILED"
    findings = "" if report.good else f", {len(report.problems)} found wrong"
    return [*lines, f"{verdict}    {count} entries in {len(report.chains)} chains{findings}"]


def _end(chain: ChainReport) -> str:
    if chain.end_is_certain:
        rest = chain.last - chain.vouched
        return "complete: the running enclave named entry {}{}".format(
            chain.vouched, f", {rest} came after" if rest else ", the last"
        )
    by = {"receipt": "a receipt", "chain": "a later chain", "live": "the running enclave"}.get(
        chain.vouched_by
    )
    known = (
        "nothing outside the chain refers to it" if by is None else f"{by} refers to entry {chain.vouched}"
    )
    return f"{known}; if entries after {chain.last} were cut off, this cannot tell"


def _problem_line(problem: Problem) -> str:
    place = []
    if problem.chain:
        place.append(f"chain {problem.chain.hex()[:16]}…")
    if problem.sequence is not None:
        place.append(f"entry {problem.sequence}")
    if problem.where:
        place.append(problem.where)
    return f"WRONG   {', '.join(place)}{': ' if place else ''}{problem.message} [{problem.code}]"


def _data(report: Report) -> dict[str, object]:
    return {
        "good": report.good,
        "chains": [
            {
                "chain": chain.chain.hex(),
                "module_id": chain.module_id,
                "key_policy": chain.key_policy,
                "first": entries.written(chain.first_ms),
                "last": entries.written(chain.last_ms),
                "entries": chain.entries,
                "last_sequence": chain.last,
                "allowed": chain.allowed,
                "denied": chain.denied,
                "earlier": [other.hex() for other in chain.earlier],
                "vouched": None if chain.vouched < 0 else {"sequence": chain.vouched, "by": chain.vouched_by},
                "end_is_certain": chain.end_is_certain,
            }
            for chain in report.chains
        ],
        "problems": [_problem_data(problem) for problem in report.problems],
        "notes": report.notes,
    }


def _problem_data(problem: Problem) -> dict[str, object]:
    return {
        "code": problem.code,
        "message": problem.message,
        "chain": problem.chain.hex() or None,
        "sequence": problem.sequence,
        "where": problem.where or None,
    }
