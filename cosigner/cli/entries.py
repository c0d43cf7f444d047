"""Entries of a log for a terminal, and as JSON."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from protocol.receipts import (
    CodeEvidence,
    Decision,
    Evidence,
    KeyEvidence,
    Opening,
    Outcome,
    PasskeyEvidence,
    TokenEvidence,
)

if TYPE_CHECKING:
    from protocol.receipts import Entry

_INDENT: Final = " " * 26
_WIDEST: Final = 120  # characters of a summary or a reason
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = 253_402_300_799_999  # the last millisecond of the year 9999


def chosen(entry: Entry, options: argparse.Namespace) -> bool:
    """Whether an entry passes the filters. Openings and outcomes do if no filter asks for what they do not have; outcomes also go with their
    decisions.
    """
    if options.since is not None and entry.time < options.since * 1000:
        return False
    body = entry.body
    if not isinstance(body, Decision):
        return options.wallet is None and options.user is None and not options.denied
    return (
        (options.wallet is None or options.wallet in (body.action.subject, _wallet_made(body)))
        and (options.user is None or (body.actor is not None and body.actor.user_id == options.user))
        and not (options.denied and body.allowed)
    )


def lines(entry: Entry) -> list[str]:
    """Two to four lines: when and what; by whom, on what evidence; what the payload does; why it was denied."""
    head = f"{written(entry.time)}  {entry.chain.hex()[:8]}#{entry.sequence}"
    match entry.body:
        case Opening(earlier=earlier):
            after = ", ".join(f"{link.chain.hex()[:8]}#{link.sequence}" for link in earlier)
            return [f"{head}  an enclave began its log" + (f", after {after}" if after else "")]
        case Outcome(of=of, code=code):
            return [f"{head}  entry {of} " + (f"came to nothing: {code}" if code else "was carried out")]
        case Decision() as decision:
            return [f"{head}  {_headline(decision)}", *(_INDENT + line for line in _details(decision))]


def _headline(decision: Decision) -> str:
    action = decision.action
    subject = f" {action.subject}" if action.subject else ""
    verdict = "allowed" if decision.allowed else "DENIED "
    return f"{verdict}  {action.operation}{subject}" + ("" if decision.allowed else f"  [{decision.code}]")


def _details(decision: Decision) -> list[str]:
    actor = decision.actor
    who = "nobody logged in" if actor is None else f"{actor.kind} {actor.user_id}"
    given = [_evidence_name(item) for item in decision.evidence]
    given += [f"approved by {approval.approver}" for approval in decision.approvals]
    found = [f"{who}, {decision.action.environment}: {', '.join(given) or 'session key alone'}"]
    if decision.summary:
        found.append(_shortened(_readable(decision.summary)))
    if not decision.allowed and decision.reasons:
        found.append(_shortened(_reason(decision.reasons)))
    if decision.epoch is not None or decision.policies:
        versions = " ".join(f"{p.layer}@{p.version}:{p.hash.hex()[:8]}" for p in decision.policies)
        epoch = "" if decision.epoch is None else f"epoch {decision.epoch}"
        found.append("  ".join(part for part in (epoch, versions) if part))
    return found


def _wallet_made(decision: Decision) -> object:
    """The wallet that a key generation is to make (:mod:`protocol.summaries`); its action's subject is empty."""
    summary = _json(decision.summary)
    return summary.get("wallet_id") if isinstance(summary, dict) else None


def _json(text: str) -> Any:  # noqa: ANN401  (JSON)
    """The value, or the text itself if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _readable(summary: str) -> str:
    """``chain solana, parties 2``: single values first, lists and objects after them."""
    value = _json(summary)
    if not isinstance(value, dict):
        return summary
    nested = {name for name, item in value.items() if isinstance(item, dict | list)}
    parts = [
        f"{name} {item}" for name, item in value.items() if name not in nested and item not in ("", None)
    ]
    parts += [f"{name} {json.dumps(value[name], separators=(',', ':'))}" for name in value if name in nested]
    return ", ".join(parts)


def _evidence_name(item: Evidence) -> str:
    match item:
        case PasskeyEvidence(assertion=assertion):
            return f"passkey {assertion.credential_id.hex()[:12]}"
        case KeyEvidence(signature=signature):
            return f"key {signature.credential_id.hex()[:12]}"
        case TokenEvidence(what=what):
            return what
        case CodeEvidence(what=what, accepted=accepted):
            return what if accepted else f"{what} (wrong)"
        case _:
            return "evidence that did not hold"


def _reason(reasons: str) -> str:
    """The message of a decision's tree (:func:`policy.rendering.tree`), or the text itself."""
    tree = _json(reasons)
    message = tree.get("message") if isinstance(tree, dict) else None
    return message if isinstance(message, str) else reasons


def _shortened(text: str) -> str:
    """One line that a terminal can show whatever it holds."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= _WIDEST else clean[: _WIDEST - 1] + "…"


def data(entry: Entry, digest: bytes) -> dict[str, Any]:
    """An entry as JSON values, whole; bytes are hexadecimal."""
    found: dict[str, Any] = _hexadecimal(msgspec.to_builtins(entry, builtin_types=(bytes,)))
    found["hash"] = digest.hex()
    if isinstance(entry.body, Decision):
        found["body"]["action_hash"] = entry.body.action.hash.hex()
    return found


def _hexadecimal(value: Any) -> Any:  # noqa: ANN401  (JSON)
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: _hexadecimal(item) for key, item in value.items()}
        case list():
            return [_hexadecimal(item) for item in value]
        case _:
            return value


def written(milliseconds: int) -> str:
    """``2026-01-31T12:00:00.123Z``."""
    at = _EPOCH + timedelta(milliseconds=min(milliseconds, _LATEST))
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
