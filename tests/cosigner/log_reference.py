"""A second verifier of logs, written from ``docs/spec/receipts.md`` alone, for comparison. It knows neither evidence nor reports."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HEADER = b"COSIGNER LOG v1\n"


class BadError(Exception):
    """A check failed; its number in §7."""


def check(number: int, condition: object) -> None:
    if not condition:
        raise BadError(number)


def records(segment: bytes) -> list[tuple[bytes, int, bytes, bytes]]:
    """§5: chain, sequence, signature, entry."""
    check(1, segment.startswith(HEADER))
    rest, found = segment[len(HEADER) :], []
    while rest:
        check(1, len(rest) >= 8)
        length, crc = int.from_bytes(rest[:4], "big"), int.from_bytes(rest[4:8], "big")
        body, rest = rest[8 : 8 + length], rest[8 + length :]
        check(1, len(body) == length > 104 and length <= 104 + 262_144 and zlib.crc32(body) == crc)
        found.append((body[:32], int.from_bytes(body[32:40], "big"), body[40:104], body[104:]))
    return found


def entry_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"cosigner/log-entry/v1" + entry).digest()


def parse(raw: bytes) -> dict[str, Any]:
    """§2, as far as the chain needs it."""
    try:
        entry = cbor2.loads(raw)
    except Exception:
        raise BadError(2) from None
    check(2, isinstance(entry, dict) and cbor2.dumps(entry, canonical=True) == raw)
    check(
        2,
        set(entry) == {"version", "chain", "sequence", "previous", "time", "body"} and entry["version"] == 1,
    )
    kind = entry["body"]["kind"]
    check(2, kind in {"opening", "decision", "outcome"})
    check(2, (kind == "opening") == (entry["sequence"] == 0) == (entry["previous"] == bytes(32)))
    return dict(entry)


def opening_document(entry: dict[str, Any], pcrs: dict[int, bytes]) -> None:
    """Checks 11 to 13 without certificates, which are another specification's."""
    payload = cbor2.loads(cbor2.loads(entry["body"]["document"])[2])
    check(11, all(payload["pcrs"].get(index) == value for index, value in pcrs.items()))
    nonce = hashlib.sha256(
        b"cosigner/log-opening/v1" + cbor2.dumps([entry["chain"], entry["body"]["earlier"]], canonical=True)
    ).digest()
    check(12, payload["nonce"] == nonce and abs(payload["timestamp"] - entry["time"]) <= 300_000)
    keys = cbor2.loads(payload["user_data"])
    check(13, keys["receipt_key"] == entry["chain"] and keys["key_policy"] == "pinned")


def verify(segments: list[bytes], pcrs: dict[int, bytes]) -> dict[bytes, int]:
    """The last number of each chain of a good log.

    :raises BadError: it is not good.
    """
    chains: dict[bytes, dict[int, tuple[bytes, dict[str, Any]]]] = {}
    for segment in segments:
        before: dict[bytes, int] = {}
        for chain, sequence, signature, raw in records(segment):
            entry = parse(raw)
            digest = entry_hash(raw)
            try:
                Ed25519PublicKey.from_public_bytes(entry["chain"]).verify(
                    signature,
                    b"cosigner/log-signature/v1"
                    + entry["chain"]
                    + entry["sequence"].to_bytes(8, "big")
                    + digest,
                )
            except InvalidSignature:
                raise BadError(3) from None
            check(4, (chain, sequence) == (entry["chain"], entry["sequence"]))
            check(5, before.get(chain, -1) < sequence)
            before[chain] = sequence
            known = chains.setdefault(chain, {})
            check(6, sequence not in known)
            known[sequence] = (digest, entry)
    check(17, chains)
    for known in chains.values():
        check(8, sorted(known) == list(range(len(known))))
        for sequence in range(1, len(known)):
            (digest, earlier), (_, entry) = known[sequence - 1], known[sequence]
            check(9, entry["previous"] == digest and entry["time"] >= earlier["time"])
            if entry["body"]["kind"] == "outcome":
                origin = known[entry["body"]["of"]][1]["body"]
                check(10, origin["kind"] == "decision" and origin["allowed"])
        opening_document(known[0][1], pcrs)
        for link in known[0][1]["body"]["earlier"]:
            there = chains.get(link["chain"], {}).get(link["sequence"])
            check(14, there is not None and there[0] == link["hash"])
    return {chain: len(known) - 1 for chain, known in chains.items()}
