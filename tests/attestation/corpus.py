"""The corpus: one good document for each form, and one for each way to be bad, with the code that it must get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from simulator.pki import ca_extensions, issue, key_usage, leaf_extensions
from tests.attestation.minting import (
    NONCE,
    NOW,
    PCR0,
    PCR1,
    PCR2,
    POSITIONS,
    PUBLIC_KEY,
    REMOVED,
    USER_DATA,
    document,
    fields,
    key,
    mint_chain,
    normal_chain,
)

P384_ORDER = (
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
ZERO = bytes(48)


@dataclass(frozen=True)
class Case:
    """`code` None: the document must verify. `expected`: what the relying party expects of the fields."""

    name: str
    make: Callable[[], bytes]
    code: str | None = None
    expected: Mapping[str, bytes] = field(default_factory=dict)


def good() -> list[Case]:
    return [
        *_forms(),
        Case("empty user_data and nonce", partial(document, user_data=b"", nonce=b"")),
        Case(
            "largest fields",
            partial(document, user_data=bytes(1024), nonce=bytes(1024), public_key=bytes(1024)),
            expected={"nonce": bytes(1024)},
        ),
        Case(
            "all 32 PCRs", partial(document, pcrs={**fields()["pcrs"], **dict.fromkeys(range(17, 32), ZERO)})
        ),
        Case("fields in another order", lambda: document(payload=_reversed_fields)),
        Case("exactly as old as allowed", partial(document, timestamp=_ms(-300))),
        Case("exactly as far ahead as allowed", partial(document, timestamp=_ms(5))),
        Case("leaf directly under the root", _leaf_under_root),
        Case("no path lengths", partial(document, chain=_all(extensions=ca_extensions(path_length=None)))),
    ]


def _forms() -> list[Case]:
    """Either kind of map, with the tag or without, optional fields set, null or absent: all of them are in use."""
    expected = {"nonce": NONCE, "user_data": USER_DATA, "public_key": PUBLIC_KEY}
    optional: dict[str, dict[str, Any]] = {
        "fields set": {},
        "fields null": dict.fromkeys(expected),
        "fields absent": dict.fromkeys(expected, REMOVED),
    }

    def form(indefinite: bool, tag: bytes, changes: dict[str, Any]) -> bytes:
        return tag + document(indefinite=indefinite, **changes)

    return [
        Case(
            f"{'indefinite' if indefinite else 'definite'} map, {'tag 18' if tag else 'no tag'}, {name}",
            partial(form, indefinite, tag, changes),
            expected={} if changes else expected,
        )
        for indefinite in (True, False)
        for tag in (b"", b"\xd2")
        for name, changes in optional.items()
    ]


def bad() -> list[Case]:
    return [*_structure(), *_header(), *_payload(), *_root(), *_chain(), *_signature(), *_judgement()]


def _structure() -> list[Case]:
    return [
        Case("empty", lambda: b"", "too_large"),
        Case("16 KiB and a byte", lambda: document().ljust(16 * 1024 + 1, b"\0"), "too_large"),
        Case("not CBOR", lambda: b"\xff\xfe\xfd", "cbor_malformed"),
        Case("cut short", lambda: document()[:-1], "cbor_malformed"),
        Case("cut to half", lambda: document()[:2000], "cbor_malformed"),
        Case("only the tag", lambda: b"\xd2", "cbor_malformed"),
        Case("tagged twice", lambda: b"\xd2\xd2" + document(), "cbor_malformed"),
        Case("tag 18 in two bytes", lambda: b"\xd8\x12" + document(), "cbor_malformed"),
        Case("tag 17", lambda: b"\xd1" + document(), "cbor_malformed"),
        Case("tag 55799", lambda: b"\xd9\xd9\xf7" + document(), "cbor_malformed"),
        Case("indefinite array", lambda: b"\x9f" + document()[1:] + b"\xff", "cbor_malformed"),
        Case("indefinite byte string", _indefinite_byte_string, "cbor_malformed"),
        Case("nested a thousand deep", lambda: b"\x81" * 1000, "cbor_malformed"),
        Case("huge length without content", lambda: b"\x84\x5b" + b"\x7f" * 8, "cbor_malformed"),
        Case("regular expression tag", lambda: b"\xd8\x23\x64(a+)", "cbor_malformed"),
        Case("bigfloat tag", lambda: bytes.fromhex("c5821a7fffffff03"), "cbor_malformed"),
        Case("one byte behind", lambda: document() + b"\0", "trailing_bytes"),
        Case("two documents", lambda: document() * 2, "trailing_bytes"),
        Case("long array head", lambda: b"\x98\x04" + document()[1:], "cbor_not_canonical"),
        Case("long payload length", _long_payload_length, "cbor_not_canonical"),
        Case("three parts", lambda: document(outer=lambda parts: parts[:3]), "cose_structure"),
        Case("five parts", lambda: document(outer=lambda parts: [*parts, b""]), "cose_structure"),
        Case("a map", lambda: cbor2.dumps({1: 2}), "cose_structure"),
        Case("detached payload", lambda: document(outer=_replace(2, None)), "cose_structure"),
        Case("payload as text", lambda: document(outer=_replace(2, "payload")), "cose_structure"),
        Case("payload not wrapped", lambda: document(outer=_replace(2, {"a": 1})), "cose_structure"),
        Case("signature as array", lambda: document(outer=_replace(3, [1, 2])), "cose_structure"),
        Case("unprotected header null", lambda: document(outer=_replace(1, None)), "cose_structure"),
    ]


def _header() -> list[Case]:
    def protected(*header: object) -> Callable[[], bytes]:
        content = header[0] if isinstance(header[0], bytes) else cbor2.dumps(header[0])
        return lambda: document(outer=_replace(0, content))

    return [
        Case("ES256", protected({1: -7}), "cose_algorithm"),
        Case("no signature (QEMU's -1)", protected({1: -1}), "cose_algorithm"),
        Case("no algorithm", protected({}), "cose_algorithm"),
        Case("empty protected header", protected(b""), "cose_algorithm"),
        Case("another protected parameter", protected({1: -35, 4: b"kid"}), "cose_algorithm"),
        Case("long integer in the header", protected(bytes.fromhex("a118013822")), "cose_algorithm"),
        Case(
            "key id unprotected", lambda: document(outer=_replace(1, {4: b"kid"})), "cose_unprotected_header"
        ),
        Case(
            "algorithm unprotected", lambda: document(outer=_replace(1, {1: -35})), "cose_unprotected_header"
        ),
        Case("DER signature", lambda: document(outer=_der_signature), "signature_length"),
        Case("no signature bytes", lambda: document(outer=_replace(3, b"")), "signature_length"),
        Case("64 zero bytes", lambda: document(outer=_replace(3, bytes(64))), "signature_length"),
        Case("a byte too much", lambda: document(outer=_replace(3, bytes(97))), "signature_length"),
    ]


def _payload() -> list[Case]:
    def raw(alter: Callable[[bytes], bytes], *, indefinite: bool = True) -> Callable[[], bytes]:
        return lambda: document(payload=alter, indefinite=indefinite)

    def with_(**changes: Any) -> Callable[[], bytes]:
        return partial(document, **changes)

    pcrs = fields()["pcrs"]
    duplicate = cbor2.dumps("digest") + cbor2.dumps("SHA384")
    timestamp = cbor2.dumps(fields()["timestamp"])
    cases = [
        Case("payload is an array", raw(lambda _: cbor2.dumps([1])), "payload_malformed"),
        Case("payload is empty", raw(lambda _: b""), "payload_malformed"),
        Case("payload cut short", raw(lambda p: p[:-1]), "payload_malformed"),
        Case("payload with trailing byte", raw(lambda p: p + b"\0"), "payload_malformed"),
        Case("payload tagged", raw(lambda p: b"\xd9\xd9\xf7" + p), "payload_malformed"),
        Case("duplicate key", raw(lambda p: p[:-1] + duplicate + b"\xff"), "payload_malformed"),
        Case(
            "duplicate key, definite",
            raw(lambda p: b"\xaa" + p[1:] + duplicate, indefinite=False),
            "payload_malformed",
        ),
        Case(
            "duplicate PCR",
            raw(lambda p: p.replace(b"\x03\x58\x30", b"\x05\x58\x30", 1)),
            "payload_malformed",
        ),
        Case("long map head", raw(lambda p: b"\xb8\x09" + p[1:], indefinite=False), "payload_malformed"),
        Case(
            "long PCR index",
            raw(lambda p: p.replace(b"pcrs\xb1\x00", b"pcrs\xb1\x18\x00", 1)),
            "payload_malformed",
        ),
        Case("indefinite PCR map", raw(_indefinite_pcrs), "payload_malformed"),
        Case(
            "indefinite text",
            raw(lambda p: p.replace(b"\x66SHA384", b"\x7f\x66SHA384\xff")),
            "payload_malformed",
        ),
        Case("timestamp as bignum", raw(lambda p: p.replace(timestamp, _bignum())), "payload_malformed"),
        Case(
            "timestamp as date", raw(lambda p: p.replace(timestamp, b"\xc1" + timestamp)), "payload_malformed"
        ),
        Case("bad UTF-8", raw(lambda p: p.replace(b"SHA384", b"SHA\xff84")), "payload_malformed"),
        Case("unknown field", with_(extra=1), "field_unknown"),
        Case("number as field name", raw(lambda p: p[:-1] + b"\x01\x02\xff"), "field_unknown"),
        Case("field name in another case", with_(nonce=REMOVED, Nonce=NONCE), "field_unknown"),
        Case("digest SHA256", with_(digest="SHA256"), "digest_unsupported"),
        Case("digest in lower case", with_(digest="sha384"), "digest_unsupported"),
        Case("PCR 32", with_(pcrs={**pcrs, 32: PCR0}), "pcr_malformed"),
        Case("PCR -1", with_(pcrs={**pcrs, -1: PCR0}), "pcr_malformed"),
        Case("PCR index as text", with_(pcrs={**pcrs, "17": PCR0}), "pcr_malformed"),
        Case("PCR of 32 bytes", with_(pcrs={**pcrs, 3: bytes(32)}), "pcr_malformed"),
        Case("PCR of 64 bytes", with_(pcrs={**pcrs, 3: bytes(64)}), "pcr_malformed"),
        Case("PCR as text", with_(pcrs={**pcrs, 3: "0" * 48}), "pcr_malformed"),
    ]
    wrong_type: dict[str, list[object]] = {
        "module_id": [b"i-1", 1, None],
        "digest": [b"SHA384", None],
        "timestamp": ["now", 1.5, True, None, -1.0],
        "pcrs": [[PCR0], None],
        "certificate": ["pem", None, [b"x"]],
        "cabundle": [b"x", None, {0: b"x"}, ["pem"]],
        "public_key": ["key", 1, True],
        "user_data": ["data", [], {}],
        "nonce": ["nonce", 1],
    }
    wrong_size: dict[str, list[object]] = {
        "module_id": ["", "i" * 257, "i-1\n", "i 1", "i-\x1b[2J", "ï-1"],
        "timestamp": [0, -1, 2**63, 253_402_300_800_000],
        "pcrs": [{}, dict.fromkeys(range(33), PCR0)],
        "certificate": [b"", bytes(1025)],
        "cabundle": [[], [b"x"] * 9, [b""], [bytes(1025)]],
        "public_key": [b"", bytes(1025)],
        "user_data": [bytes(1025)],
        "nonce": [bytes(1025)],
    }
    for required in ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"):
        cases.append(Case(f"no {required}", with_(**{required: REMOVED}), "field_missing"))
    for code, values in (("field_type", wrong_type), ("field_size", wrong_size)):
        for name, wrong in values.items():
            for number, value in enumerate(wrong):
                cases.append(Case(f"{name}: {code} {number}", with_(**{name: value}), code))
    return cases


def _root() -> list[Case]:
    def bundle(alter: Callable[[list[bytes]], list[bytes]]) -> Callable[[], bytes]:
        return lambda: document(cabundle=alter(fields()["cabundle"]))

    return [
        Case("another root", partial(document, chain={"root": {"key": key("other root")}}), "root_not_trusted"),
        Case("leaf first", bundle(lambda certificates: certificates[::-1]), "root_not_trusted"),
        Case("no root", bundle(lambda certificates: certificates[1:]), "root_not_trusted"),
        Case("root reissued with the same key", partial(document, chain={"root": {"not_after": NOW + DAY}}), "root_not_trusted"),
    ]  # fmt: skip


def _chain() -> list[Case]:
    def chain(**changes: Mapping[str, Any]) -> Callable[[], bytes]:
        return partial(document, chain=changes)

    def bundle(alter: Callable[[list[bytes]], list[bytes]]) -> Callable[[], bytes]:
        return lambda: document(cabundle=alter(fields()["cabundle"]))

    no_usage = [(x509.BasicConstraints(ca=True, path_length=None), True)]
    no_cert_sign = [*no_usage, (key_usage(digital_signature=True), True)]
    usage_only = [(key_usage(digital_signature=True, key_cert_sign=True), True)]
    leaf_constraints = (x509.BasicConstraints(ca=False, path_length=None), True)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    name_constraints = x509.NameConstraints([x509.DNSName("example.org")], None)
    cases = [
        Case("garbage certificate", partial(document, certificate=b"\x30\x03\x02\x01\x01"), "certificate_malformed"),
        Case("garbage in the bundle", bundle(lambda c: [c[0], b"garbage", *c[2:]]), "certificate_malformed"),
        Case("byte behind a certificate", lambda: document(certificate=normal_chain()["leaf"].der + b"\0"), "certificate_malformed"),
        Case("unused bits in a certificate's signature", _unused_bits, "certificate_malformed"),
        Case("certificate in PEM", lambda: document(certificate=normal_chain()["leaf"].pem), "certificate_malformed"),
        Case("leaf P-256", chain(leaf={"key": key("leaf", "P-256")}), "certificate_algorithm"),
        Case("leaf P-521", partial(document, chain={"leaf": {"key": key("leaf", "P-521")}}, signer=key("leaf")), "certificate_algorithm"),
        Case("instance P-256", chain(instance={"key": key("instance", "P-256")}), "certificate_algorithm"),
        Case("leaf RSA", _rsa_leaf, "certificate_algorithm"),
        Case("leaf signed with SHA-256", chain(leaf={"algorithm": hashes.SHA256()}), "certificate_algorithm"),
        Case("zonal signed with SHA-512", chain(zonal={"algorithm": hashes.SHA512()}), "certificate_algorithm"),
        Case("unknown critical extension", _extended("leaf", unknown), "certificate_extension"),
        Case("name constraints", _extended("zonal", name_constraints), "certificate_extension"),
        Case("order of the bundle", bundle(lambda c: [c[0], c[2], c[1], c[3]]), "certificate_order"),
        Case("no zonal certificate", bundle(lambda c: [c[0], c[1], c[3]]), "certificate_order"),
        Case("no instance certificate", bundle(lambda c: c[:3]), "certificate_order"),
        Case("another issuer's name", chain(leaf={"issuer_name": "somebody.else"}), "certificate_order"),
        Case("another issuer's key", chain(leaf={"signer": key("stranger")}), "certificate_signature"),
        Case("regional of another root", chain(regional={"signer": key("stranger")}), "certificate_signature"),
        Case("altered leaf", _altered_leaf, "certificate_signature"),
        Case("regional is no CA", chain(regional={"extensions": [leaf_constraints, *usage_only]}), "certificate_authority"),
        Case("instance without constraints", chain(instance={"extensions": usage_only}), "certificate_authority"),
        Case("leaf is a CA", chain(leaf={"extensions": ca_extensions(path_length=0)}), "certificate_authority"),
        Case("leaf issues a leaf", _leaf_issues_leaf, "certificate_authority"),
        Case("regional path length 1", chain(regional={"extensions": ca_extensions(path_length=1)}), "certificate_path_length"),
        Case("zonal path length 0", chain(zonal={"extensions": ca_extensions(path_length=0)}), "certificate_path_length"),
        Case("instance may not sign certificates", chain(instance={"extensions": no_cert_sign}), "certificate_key_usage"),
        Case("zonal without key usage", chain(zonal={"extensions": no_usage}), "certificate_key_usage"),
        Case("leaf may not sign data", chain(leaf={"extensions": [leaf_constraints, (key_usage(crl_sign=True), True)]}), "certificate_key_usage"),
        Case("leaf may sign certificates", chain(leaf={"extensions": [leaf_constraints, *usage_only]}), "certificate_key_usage"),
        Case("leaf without key usage", chain(leaf={"extensions": [leaf_constraints]}), "certificate_key_usage"),
    ]  # fmt: skip
    for position in POSITIONS[1:]:
        expired = {"not_before": NOW - 2 * DAY, "not_after": NOW - SECOND}
        early = {"not_before": NOW + SECOND, "not_after": NOW + DAY}
        cases.append(Case(f"{position} expired", chain(**{position: expired}), "certificate_expired"))
        cases.append(
            Case(f"{position} not yet valid", chain(**{position: early}), "certificate_not_yet_valid")
        )
    return cases


def _signature() -> list[Case]:
    def signature(alter: Callable[[bytes], bytes]) -> Callable[[], bytes]:
        return lambda: document(outer=lambda parts: [*parts[:3], alter(parts[3])])

    order = P384_ORDER.to_bytes(48, "big")
    return [
        Case("signed by a stranger", partial(document, signer=key("stranger")), "signature_invalid"),
        Case("signed by the instance", partial(document, signer=key("instance")), "signature_invalid"),
        Case("a bit flipped in r", signature(lambda s: bytes([s[0] ^ 1]) + s[1:]), "signature_invalid"),
        Case("a bit flipped in s", signature(lambda s: s[:-1] + bytes([s[-1] ^ 1])), "signature_invalid"),
        Case("r and s exchanged", signature(lambda s: s[48:] + s[:48]), "signature_invalid"),
        Case("all zero", signature(lambda _: bytes(96)), "signature_invalid"),
        Case("s zero", signature(lambda s: s[:48] + bytes(48)), "signature_invalid"),
        Case("r and s the group order", signature(lambda _: order * 2), "signature_invalid"),
        Case("all ones", signature(lambda _: b"\xff" * 96), "signature_invalid"),
        Case("payload altered after signing", lambda: document(outer=_alter_nonce), "signature_invalid"),
        Case(
            "signed with SHA-256",
            lambda: document(outer=partial(_resign, hashes.SHA256())),
            "signature_invalid",
        ),
        Case("signed without context", lambda: document(outer=_sign_bare_payload), "signature_invalid"),
        Case(
            "signature of another document", lambda: document(outer=_borrowed_signature), "signature_invalid"
        ),
    ]


def _judgement() -> list[Case]:
    pcrs = fields()["pcrs"]
    unpinned = {index: value for index, value in pcrs.items() if index != 16}
    return [
        Case("a millisecond too old", partial(document, timestamp=_ms(-300) - 1), "too_old"),
        Case("replayed after an hour", lambda: document(timestamp=_ms(-3600), chain=_older_leaf()), "too_old"),
        Case("a millisecond too far ahead", partial(document, timestamp=_ms(5) + 1), "from_future"),
        Case("from next year", partial(document, timestamp=_ms(365 * 86400)), "from_future"),
        Case("debug mode", partial(document, pcrs={**pcrs, 0: ZERO, 1: ZERO, 2: ZERO}), "debug_mode"),
        Case("PCR0 zero", partial(document, pcrs={**pcrs, 0: ZERO}), "debug_mode"),
        Case("PCR1 zero", partial(document, pcrs={**pcrs, 1: ZERO}), "debug_mode"),
        Case("PCR2 zero", partial(document, pcrs={**pcrs, 2: ZERO}), "debug_mode"),
        Case("no PCR2", partial(document, pcrs={0: PCR0, 1: PCR1}), "debug_mode"),
        Case("another image", partial(document, pcrs={**pcrs, 0: PCR1}), "pcr_mismatch"),
        Case("another kernel", partial(document, pcrs={**pcrs, 1: PCR2}), "pcr_mismatch"),
        Case("another application", partial(document, pcrs={**pcrs, 2: PCR0}), "pcr_mismatch"),
        Case("another manifest", partial(document, pcrs={**pcrs, 16: PCR0}), "pcr_mismatch"),
        Case("manifest never measured", partial(document, pcrs={**pcrs, 16: ZERO}), "pcr_mismatch"),
        Case("manifest's PCR not locked", partial(document, pcrs=unpinned), "pcr_missing"),
        Case("nonce replayed", partial(document, nonce=b"of an earlier exchange"), "nonce_mismatch", {"nonce": NONCE}),
        *(
            case
            for name in ("nonce", "user_data", "public_key")
            for case in (
                Case(f"no {name}", partial(document, **{name: None}), f"{name}_missing", {name: b"expected"}),
                Case(f"{name} absent", partial(document, **{name: REMOVED}), f"{name}_missing", {name: b"expected"}),
                Case(f"another {name}", document, f"{name}_mismatch", {name: b"expected"}),
                Case(f"longer {name}", partial(document, **{name: b"expected!"}), f"{name}_mismatch", {name: b"expected"}),
                Case(f"shorter {name}", partial(document, **{name: b"expecte"}), f"{name}_mismatch", {name: b"expected"}),
            )
        ),
    ]  # fmt: skip


def _ms(seconds: float) -> int:
    return round((NOW.timestamp() + seconds) * 1000)


def _all(**changes: Any) -> dict[str, dict[str, Any]]:
    return dict.fromkeys(POSITIONS[1:-1], changes)


def _replace(position: int, value: object) -> Callable[[list[Any]], list[Any]]:
    return lambda parts: [*parts[:position], value, *parts[position + 1 :]]


def _reversed_fields(_: bytes) -> bytes:
    items = list(fields().items())[::-1]
    return b"\xbf" + b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in items) + b"\xff"


def _indefinite_pcrs(payload: bytes) -> bytes:
    pcrs = cbor2.dumps(fields()["pcrs"])
    return payload.replace(pcrs, b"\xbf" + pcrs[1:] + b"\xff")


def _bignum() -> bytes:
    digits = fields()["timestamp"].to_bytes(8, "big").lstrip(b"\0")
    return b"\xc2" + cbor2.dumps(digits)


def _indefinite_byte_string() -> bytes:
    protected, _, payload, signature = cbor2.loads(document())
    chunked = b"\x5f" + cbor2.dumps(payload[:100]) + cbor2.dumps(payload[100:]) + b"\xff"
    return b"\x84" + cbor2.dumps(protected) + b"\xa0" + chunked + cbor2.dumps(signature)


def _long_payload_length() -> bytes:
    protected, _, payload, signature = cbor2.loads(document())
    long = b"\x5a" + len(payload).to_bytes(4, "big") + payload
    return b"\x84" + cbor2.dumps(protected) + b"\xa0" + long + cbor2.dumps(signature)


def _der_signature(parts: list[Any]) -> list[Any]:
    r, s = int.from_bytes(parts[3][:48], "big"), int.from_bytes(parts[3][48:], "big")
    return [*parts[:3], encode_dss_signature(r, s)]


def _leaf_under_root() -> bytes:
    root = normal_chain()["root"]
    chain = mint_chain({"leaf": {"issuer_name": "test.nitro", "signer": root.key}})
    return document(certificate=chain["leaf"].der, cabundle=[root.der])


def _rsa_leaf() -> bytes:
    instance = normal_chain()["instance"]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(instance.certificate.subject)
        .public_key(rsa.generate_private_key(65537, 2048).public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    return document(
        certificate=builder.sign(instance.key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)
    )


def _extended(position: str, extension: x509.ExtensionType) -> Callable[[], bytes]:
    normal = normal_chain()[position].certificate.extensions
    kept = [
        (normal.get_extension_for_class(kind).value, True) for kind in (x509.BasicConstraints, x509.KeyUsage)
    ]
    return partial(document, chain={position: {"extensions": [*kept, (extension, True)]}})


def _unused_bits() -> bytes:
    """The last bit of the signature declared unused, in a certificate where that bit is zero."""
    for _ in range(64):
        leaf = mint_chain({"leaf": {"common_name": "enclave.test"}})["leaf"]
        signature = leaf.certificate.signature
        if signature[-1] % 2 == 0:
            break
    der = leaf.der.removesuffix(b"\0" + signature) + b"\1" + signature
    return document(certificate=der)


def _altered_leaf() -> bytes:
    der = normal_chain()["leaf"].der
    return document(certificate=der.replace(b"enclave.test", b"enclave.tesT"))


def _leaf_issues_leaf() -> bytes:
    """A leaf must not be able to vouch for others, whatever path lengths its issuers allow."""
    chain = mint_chain(_all(extensions=ca_extensions(path_length=None)))
    leaf, forger = chain["leaf"], key("forger")
    forged = issue(
        leaf,
        subject=leaf.certificate.subject,
        key=forger,
        not_before=NOW - SECOND,
        not_after=NOW + DAY,
        extensions=leaf_extensions(),
    )
    bundle = [chain[position].der for position in POSITIONS]
    return document(certificate=forged.der, cabundle=bundle, signer=forger)


def _older_leaf() -> dict[str, dict[str, Any]]:
    return {
        "leaf": {"not_before": NOW - timedelta(hours=1, seconds=3), "not_after": NOW + timedelta(hours=2)}
    }


def _alter_nonce(parts: list[Any]) -> list[Any]:
    return _replace(2, parts[2].replace(NONCE, NONCE[::-1]))(parts)


def _resign(algorithm: hashes.HashAlgorithm, parts: list[Any]) -> list[Any]:
    signed = cbor2.dumps(["Signature1", parts[0], b"", parts[2]])
    return [*parts[:3], _raw(key("leaf").sign(signed, ec.ECDSA(algorithm)))]


def _sign_bare_payload(parts: list[Any]) -> list[Any]:
    return [*parts[:3], _raw(key("leaf").sign(parts[2], ec.ECDSA(hashes.SHA384())))]


def _borrowed_signature(parts: list[Any]) -> list[Any]:
    return [*parts[:3], cbor2.loads(document(nonce=b"another"))[3]]


def _raw(der: bytes) -> bytes:
    r, s = decode_dss_signature(der)
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")
