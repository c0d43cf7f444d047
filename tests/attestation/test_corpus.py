"""Every document of the corpus gets exactly its code, whatever form it comes in."""

import cbor2
import pytest

from attestation.document import parse
from attestation.errors import CODES, AttestationError
from attestation.verify import verify
from tests.attestation.corpus import Case, bad, good
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
    assert len(good()) >= 14
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
