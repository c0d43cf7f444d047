"""The cache of certificates: it saves time, and changes no result."""

import threading
from datetime import timedelta

import pytest

from attestation import CertificateCache, TrustPolicy
from attestation.errors import AttestationError
from attestation.verify import ISSUED, verify
from simulator.pki import ca_extensions
from tests.attestation.corpus import Case, bad, good
from tests.attestation.minting import NOW, document, fields, key, mint_chain, normal_chain, policy

GOOD = document()


def warm(capacity: int = 256) -> CertificateCache:
    cache = CertificateCache(capacity)
    verify(GOOD, policy=policy(), at=NOW, cache=cache)
    return cache


def outcome(raw: bytes, cache: CertificateCache | None, **arguments: object) -> tuple[str, str]:
    try:
        verified = verify(raw, **{"policy": policy(), "at": NOW, **arguments}, cache=cache)  # type: ignore[arg-type]
    except AttestationError as error:
        return error.code, error.message
    return "verified", verified.root_sha256


def test_a_chain_fills_the_cache_once() -> None:
    cache = warm()
    assert len(cache) == 5
    verify(document(nonce=b"another"), policy=policy(), at=NOW, cache=cache)
    assert len(cache) == 5


@pytest.mark.parametrize("case", [*good(), *bad()], ids=lambda case: case.name)
def test_the_whole_corpus_has_the_same_outcome_with_a_warm_cache(case: Case) -> None:
    raw, cache = case.make(), warm()
    expected = outcome(raw, None, **case.expected)
    assert outcome(raw, cache, **case.expected) == expected
    assert outcome(raw, cache, **case.expected) == expected


def test_refused_chains_leave_nothing_behind() -> None:
    cache = CertificateCache()
    for case in bad():
        if case.code and case.code.startswith(("root_", "certificate_")):
            outcome(case.make(), cache)
            assert len(cache) == 0, case.name


def test_validity_is_judged_at_every_verification() -> None:
    cache = warm()
    late, early = NOW + timedelta(hours=4), NOW - timedelta(minutes=6)
    assert outcome(GOOD, cache, at=late)[0] == "certificate_expired"
    assert outcome(GOOD, cache, at=early)[0] == "certificate_not_yet_valid"
    assert outcome(GOOD, cache, at=ISSUED)[0] == "verified"


def test_trust_in_the_root_is_judged_at_every_verification() -> None:
    cache = warm()
    assert outcome(GOOD, cache, policy=TrustPolicy())[0] == "root_not_trusted"
    assert outcome(GOOD, cache, policy=TrustPolicy(roots=frozenset({"00" * 32})))[0] == "root_not_trusted"


def test_the_place_in_the_path_is_judged_at_every_verification() -> None:
    """Certificates that are all known, in a path of which they are no part."""
    cache = warm()
    bundle = fields()["cabundle"]
    for reordered in ([bundle[0], bundle[2], bundle[1], bundle[3]], [bundle[0], *bundle[2:]], bundle[:2]):
        assert outcome(document(cabundle=reordered), cache)[0] == "certificate_order"
    leaf_as_issuer = document(cabundle=[*bundle, fields()["certificate"]], certificate=bundle[3])
    assert outcome(leaf_as_issuer, cache) == outcome(leaf_as_issuer, None)


def test_path_lengths_are_judged_at_every_verification() -> None:
    """A certificate that is known from a short path ends a longer one."""
    cache = CertificateCache()
    root = normal_chain()["root"].der
    under_regional = {"issuer_name": "regional.test", "signer": key("regional")}
    short = mint_chain({"regional": {"extensions": ca_extensions(path_length=0)}, "leaf": under_regional})
    regional = short["regional"].der
    assert outcome(document(certificate=short["leaf"].der, cabundle=[root, regional]), cache)[0] == "verified"
    longer = mint_chain({"instance": under_regional})
    raw = document(certificate=longer["leaf"].der, cabundle=[root, regional, longer["instance"].der])
    assert outcome(raw, cache) == outcome(raw, None)
    assert outcome(raw, cache)[0] == "certificate_path_length"


def test_the_same_bytes_under_another_issuer_are_not_known() -> None:
    """The issuer's twin has its name and another key: only the signature tells them apart."""
    cache = warm()
    twin = {"instance": {"key": key("twin")}}
    forged = document(chain=twin, certificate=normal_chain()["leaf"].der, signer=key("leaf"))
    assert outcome(forged, cache)[0] == "certificate_signature"


def test_the_documents_own_signature_is_never_remembered() -> None:
    cache = warm()
    assert outcome(GOOD[:-1] + bytes([GOOD[-1] ^ 1]), cache)[0] == "signature_invalid"


def test_a_full_cache_forgets_what_was_not_used_longest() -> None:
    cache = warm(capacity=5)
    for number in range(3):
        other = document(chain={"leaf": {"common_name": f"enclave{number}.test"}})
        assert outcome(other, cache)[0] == "verified"
        assert len(cache) == 5
    assert outcome(GOOD, cache)[0] == "verified"
    tiny = warm(capacity=1)
    assert len(tiny) == 1
    assert outcome(GOOD, tiny)[0] == "verified"
    with pytest.raises(ValueError, match="at least one"):
        CertificateCache(0)


def test_what_every_document_shares_stays() -> None:
    cache = warm(capacity=6)
    for number in range(4):
        assert outcome(document(chain={"leaf": {"common_name": f"e{number}.test"}}), cache)[0] == "verified"
        # mint_chain makes the certificates above the leaf anew as well; only the root is always the same.
        assert cache._find(b"", normal_chain()["root"].der) is not None
    assert cache._find(normal_chain()["instance"].der, normal_chain()["leaf"].der) is None


def test_threads_may_share_it() -> None:
    cache, found = CertificateCache(capacity=3), []

    def work() -> None:
        found.extend(outcome(GOOD, cache)[0] for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["verified"] * 80
    assert len(cache) == 3
