"""Every document of the corpus gets exactly its code, whatever form it comes in."""

import hashlib
import json
from datetime import datetime
from pathlib import Path

import cbor2
import pytest

from attestation import policy_file
from attestation.document import parse
from attestation.errors import CODES, AttestationError
from attestation.verify import verify
from tests.attestation.corpus import Case, bad, good
from tests.attestation.export import main
from tests.attestation.minting import NOW, policy

PARSER_STEPS = {1, 2, 3}


@pytest.mark.parametrize("case", good(), ids=lambda case: case.name)
def test_good_documents_verify(case: Case) -> None:
    verified = verify(case.make(), policy=policy(), at=NOW, **case.expected)
    assert verified.module_id.startswith("i-0123")
    assert verified.checked_at == NOW


@pytest.mark.parametrize("case", bad(), ids=lambda case: case.name)
def test_bad_documents_are_refused_with_their_code(case: Case) -> None:
    with pytest.raises(AttestationError) as caught:
        verify(case.make(), policy=policy(), at=NOW, **case.expected)
    assert caught.value.code == case.code
    assert caught.value.step == CODES[caught.value.code][0]


def test_the_corpus_covers_every_code_and_has_not_shrunk() -> None:
    assert {case.code for case in bad()} == CODES.keys()
    assert len(good()) >= 20
    assert len(bad()) >= 160
    names = [case.name for case in (*good(), *bad())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", bad(), ids=lambda case: case.name)
def test_the_parser_refuses_exactly_what_belongs_to_its_steps(case: Case) -> None:
    if CODES[case.code or ""][0] not in PARSER_STEPS:
        parse(case.make())
        return
    with pytest.raises(AttestationError) as caught:
        parse(case.make())
    assert caught.value.code == case.code


def test_minted_documents_have_the_form_of_real_ones() -> None:
    protected, unprotected, payload, signature = cbor2.loads(good()[0].make())
    assert protected.hex() == "a1013822"
    assert unprotected == {}
    assert payload[:1] == b"\xbf"
    assert len(signature) == 96


def test_the_corpus_as_files_gives_every_verdict_from_the_files_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "corpus")]) == 0
    assert str(len(good()) + len(bad())) in capsys.readouterr().out
    folder = tmp_path / "corpus"
    index = json.loads((folder / "index.json").read_text())
    trusted = policy_file.load((folder / index["policy"]).read_bytes())
    assert trusted.roots == {hashlib.sha256((folder / "root.der").read_bytes()).hexdigest()}
    at = datetime.fromisoformat(index["at"])
    assert len(index["documents"]) == len(good()) + len(bad())
    assert len(list(folder.glob("*.cbor"))) == len(index["documents"])
    for entry in index["documents"]:
        raw = (folder / entry["file"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == entry["sha256"]
        expected = {name: bytes.fromhex(value) for name, value in entry["expected"].items()}
        code = step = None
        try:
            verify(raw, policy=trusted, at=at, **expected)
        except AttestationError as error:
            code, step = error.code, error.step
        assert (code, step) == (entry["code"], entry["step"]), entry["name"]


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
