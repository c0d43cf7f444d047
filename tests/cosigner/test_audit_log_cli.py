"""``cosigner audit log``: what it prints, how it ends, and the question to the running enclave."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cosigner.audit_log import Trust
from cosigner.audit_log.live import head_over
from cosigner.cli import audit_logs
from cosigner.cli.main import main
from cosigner.config import ClientConfig
from host.audit_log import AuditLog
from host.audit_log.file import FileBackend
from host.log import Log as HostLog
from protocol.actions import Action
from protocol.envelope import cbor
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import SUFFIX
from protocol.receipts import CodeEvidence, Decision, Outcome
from tests.cosigner.test_audit_evidence import approved, by_key, by_passkey
from tests.support import logs, world
from tests.support.logs import MemoryLog, SettableClock, audit

START = 1_900_000_000_000
OTHER_USER = "5a0c1e2f-0000-4000-8000-000000000002"
OTHER_WALLET = "5a0c1e2f-0000-4000-8000-0000000000bb"


class Kept:
    """A log on disk, kept by the host's own code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.receipts: list[SignedEntry] = []
        asyncio.run(self._write())
        trust = {
            "roots": sorted(logs.POLICY.roots),
            "pcrs": {
                str(index): [value.hex() for value in values] for index, values in logs.POLICY.pcrs.items()
            },
        }
        self.trust = folder / "trust.json"
        self.trust.write_text(json.dumps(trust))
        self.receipt = folder / "receipt"
        self.receipt.write_bytes(cbor.encode(self.receipts[-2]))

    async def _write(self) -> None:
        kept = AuditLog(FileBackend(str(self.folder), log=HostLog()))

        class Host:
            async def append_log(self, *arguments: Any) -> None:
                await kept.append(*arguments)

            async def chain_heads(self, chain: bytes) -> Any:
                return await kept.heads(chain)

        clock = SettableClock(logs.now() - 60_000)
        first = logs.enclave(Host(), clock=clock)
        self.receipts += [
            await first.append(by_passkey()),
            await first.append(logs.denial(evidence=[CodeEvidence("totp", accepted=False)])),
        ]
        clock.now += 30_000
        second = logs.enclave(Host(), clock=clock)
        user = logs.decision().actor
        assert user is not None
        other = type(user)(OTHER_USER, "service", user.session_key, "")
        key_action = logs.action(subject=OTHER_WALLET)
        self.receipts += [
            await second.append(approved()),
            await second.append(
                logs.decision(action=key_action, actor=other, evidence=[by_key("p256", key_action.hash)])
            ),
            await second.append(Outcome(of=2, code="storage_unavailable", result=None)),
        ]
        await kept.close()

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.rglob(f"*{SUFFIX}"))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def verify(kept: Kept, *arguments: str) -> int:
    return main(["audit", "log", "verify", "--policy", str(kept.trust), str(kept.folder), *arguments])


def test_a_good_log(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(kept, "--receipt", str(kept.receipt)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "GOOD    7 entries in 2 chains"
    assert sum("key policy pinned" in line for line in lines) == 2
    assert (
        sum(
            "a later chain refers to entry 2; if entries after 2 were cut off, this cannot tell" in line
            for line in lines
        )
        == 1
    )
    assert sum("a receipt refers to entry 2" in line for line in lines) == 1


def test_a_good_log_for_programs(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(kept, "--json") == 0
    body = json.loads(capsys.readouterr().out)
    assert body["good"] is True and body["problems"] == []
    first, second = body["chains"]
    assert first["vouched"] == {"sequence": 2, "by": "chain"}
    assert (second["vouched"], second["end_is_certain"], second["earlier"]) == (None, False, [first["chain"]])
    assert (second["entries"], second["allowed"], second["denied"]) == (4, 2, 0)


def test_a_bad_log_says_what_and_where(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept.files[0]
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert verify(kept) == 1
    text = capsys.readouterr().out
    assert f"{path}: The file is damaged." in text and "[segment_damaged]" in text
    assert text.splitlines()[-1].startswith("FAILED")
    assert verify(kept, "--json") == 1
    body = json.loads(capsys.readouterr().out)
    assert body["problems"][0]["where"] == str(path)


def test_files_are_read_once_however_they_are_named(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(kept, str(kept.files[0]), str(kept.folder)) == 0
    assert "7 entries" in capsys.readouterr().out


def test_what_cannot_be_read_is_an_error(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--receipt", "/no/where"], ["--document", "/no/where"], ["/no/where"]):
        assert verify(kept, *arguments) == 1
        assert "input_unreadable" in capsys.readouterr().err
    big = tmp_path / "big"
    big.write_bytes(bytes(20_000))
    assert verify(kept, "--document", str(big)) == 1
    assert "input_too_large" in capsys.readouterr().err
    assert verify(kept, "--receipt", str(big)) == 1
    assert "receipt_invalid" in capsys.readouterr().out


def test_a_trust_policy_that_is_none_is_refused(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.trust.write_text('{"roots": []}')
    assert verify(kept) == 1
    assert "config_invalid" in capsys.readouterr().err
    kept.trust.write_text(json.dumps({"roots": ["ab" * 32], "pcrs": {}}))
    assert verify(kept) == 1
    assert "must pin PCR" in capsys.readouterr().err


def test_a_client_configuration_can_give_the_policy(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "client.json"
    trust = json.loads(kept.trust.read_text())
    config.write_text(json.dumps({"api_url": "http://h", "environment": "sandbox", "trust": trust}))
    assert main(["audit", "log", "verify", str(kept.folder), "--config", str(config)]) == 0


def test_the_live_head_needs_a_configuration(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(kept, "--live") == 1
    assert "--config" in capsys.readouterr().err


# --- show ------------------------------------------------------------------------------------------------------------------


def show(kept: Kept, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["audit", "log", "show", str(kept.folder), *arguments]) == 0
    return capsys.readouterr().out


def test_a_log_reads_in_the_order_of_its_times(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    lines = show(kept, capsys).splitlines()
    heads = [line for line in lines if not line.startswith(" ") and "#" in line]
    assert [line.split()[1].split("#")[1] for line in heads] == ["0", "1", "2", "0", "1", "2", "3"]
    assert "an enclave began its log, after " in heads[3]
    assert f"allowed  sign {logs.WALLET}" in heads[1]
    assert heads[2].endswith("[policy_denied]") and "DENIED" in heads[2]
    assert "entry 2 came to nothing: storage_unavailable" in heads[6]
    text = "\n".join(lines)
    assert "No rule allows it." in text and "totp (wrong)" in text
    assert (
        "approved by administrator:ada" in text
        and "sandbox: passkey " in text
        and ": key 000000000000" in text
    )
    assert lines[-1] == "7 of 7 entries. Only their own signatures were checked."


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--denied"], 1),
        (["--wallet", logs.WALLET], 3),
        (["--wallet", OTHER_WALLET], 2),  # with its outcome
        (["--user", OTHER_USER], 2),
        (["--user", OTHER_USER, "--denied"], 0),
        (["--since", "2001-01-01T00:00:00Z"], 7),
        (["--since", "2999-01-01T00:00:00Z"], 0),
    ],
)
def test_filters(kept: Kept, capsys: pytest.CaptureFixture[str], arguments: list[str], count: int) -> None:
    assert show(kept, capsys, *arguments).splitlines()[-1].startswith(f"{count} of 7 entries.")
    body = json.loads(show(kept, capsys, *arguments, "--json"))
    assert len(body["entries"]) == count


def test_for_programs_an_entry_is_whole(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    body = json.loads(show(kept, capsys, "--json"))
    decision = body["entries"][1]["body"]
    assert decision["evidence"][0]["kind"] == "passkey"
    members = {
        name: bytes.fromhex(value) if name in {"session", "body", "nonce"} else value
        for name, value in decision["action"].items()
    }
    assert Action(**members).hash.hex() == decision["action_hash"]


def test_a_damaged_file_is_shown_as_far_as_it_reads(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept.files[0]
    path.write_bytes(path.read_bytes()[:-5])
    assert main(["audit", "log", "show", str(kept.folder)]) == 1
    text = capsys.readouterr().out
    assert "6 of 6 entries" in text and "ends inside a record" in text


def test_entries_that_were_altered_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = MemoryLog()
    asyncio.run(logs.filled(storage, 2))
    records = storage.records()
    records[1] = logs.altered(records[1], time=1)
    path = tmp_path / "a.seg"
    path.write_bytes(logs.segment(records))
    assert main(["audit", "log", "show", str(path)]) == 1
    text = capsys.readouterr().out
    assert "2 of 2 entries" in text and "[entry_signature]" in text


def test_no_entry_can_write_to_the_terminal_what_it_likes(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = MemoryLog()
    evil = logs.denial(summary="\x1b[2J\x07 gone\nGOOD", reasons="\x1b]0;x\x07")
    asyncio.run(logs.enclave(storage).append(evil))
    path = kept.folder / f"evil{SUFFIX}"
    path.write_bytes(logs.segment(storage.records()))
    assert main(["audit", "log", "show", str(path)]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\x07" not in text and "\nGOOD" not in text


# --- the running enclave ---------------------------------------------------------------------------------------------------


def test_the_running_enclave_names_its_newest_entry_and_the_log_holds_it() -> None:
    async def scenario() -> None:
        host = world.Host()
        await host.start_enclave()
        config = ClientConfig("http://host.invalid", world.ENVIRONMENT, world.POLICY)
        link = await head_over(world.ThroughHost(host), config)  # type: ignore[arg-type]
        (chain,) = host.storage.log
        assert (link.chain, link.sequence) == (chain, 0)
        kept = logs.records(chain, host.storage.log[chain])
        report = audit(kept, trust=Trust(world.POLICY), live=link)
        assert report.good and report.chains[0].end_is_certain

    asyncio.run(scenario())


def test_a_live_head_that_is_not_in_the_log_fails_the_audit(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ClientConfig("http://host.invalid", "sandbox", logs.POLICY)
    monkeypatch.setattr(audit_logs.ClientConfig, "load", lambda _: config)
    storage = MemoryLog()
    log = asyncio.run(logs.filled(storage, 2))

    async def live(_: ClientConfig) -> Any:
        from protocol.receipts import check_head

        head = await log.head(bytes(32))
        return check_head(head, nonce=bytes(32), receipt_key=next(iter(storage.chains)))

    monkeypatch.setattr(audit_logs, "live_head", live)
    assert main(["audit", "log", "verify", str(kept.folder), "--live"]) == 1
    assert "[chain_missing]" in capsys.readouterr().out
    path = kept.folder / f"more{SUFFIX}"
    path.write_bytes(logs.segment(storage.records()))
    assert main(["audit", "log", "verify", str(kept.folder), "--live"]) == 0
    assert "complete: the running enclave named entry 2, the last" in capsys.readouterr().out
    assert isinstance(logs.opened(storage.records()[1]).body, Decision)


def test_the_making_of_a_wallet_is_about_that_wallet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = MemoryLog()
    made = logs.decision(
        action=logs.action(operation="dkg_begin", subject=""),
        summary=json.dumps({"accounts": [1], "wallet_id": OTHER_WALLET, "chain": "solana", "network": ""}),
    )
    log = logs.enclave(storage)

    async def scenario() -> None:
        await log.append(made)
        await log.append(logs.decision(1, summary="[1]"))
        await log.append(logs.decision(2, summary="not JSON"))

    asyncio.run(scenario())
    path = tmp_path / "a.seg"
    path.write_bytes(logs.segment(storage.records()))
    assert main(["audit", "log", "show", str(path), "--wallet", OTHER_WALLET]) == 0
    text = capsys.readouterr().out
    assert "1 of 4 entries" in text
    assert f"wallet_id {OTHER_WALLET}, chain solana, accounts [1]" in text
