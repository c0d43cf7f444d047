"""Whether a KMS key may hold an environment's data key: its metadata, its grants and its policy, judged by an allow-list.

Pure: KMS's answers go in, a verdict comes out, or KmsError. The calls are made in `enclave.kms`, before every request
for a data key. Decisions and their reasons: `docs/adr/0012-key-policy-judged-by-the-enclave.md`; the rules one by one:
`docs/spec/manifest.md` §5.

What is not known to be harmless is refused. Patterns (`kms:*`, `kms:Describe*`) are refused even where all that they
match today is harmless: a pattern also matches actions that AWS adds later. IAM policies, service control policies and
Deny statements can only take away from what the key policy allows in a statement, so none of them is relied upon.

Sources: KMS API Reference (KeyMetadata, GetKeyPolicy, ListGrants), KMS Developer Guide («Key policies», «Condition keys
for AWS Nitro Enclaves»), IAM User Guide («Grammar of the IAM JSON policy language», «Condition operators»).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NoReturn

from protocol.envelope.nesting import is_deep

from .kms_errors import KmsError

MAX_POLICY: Final = 32 * 1024  # bytes; KMS's own limit (PutKeyPolicy)
_MAX_BRACKETS: Final = 2048

# Actions in lower case: IAM ignores case in them.

DATA_ACTIONS: Final = frozenset({"kms:decrypt", "kms:generatedatakey"})
"""What hands out data keys: for measured enclaves only."""

EDIT_ACTIONS: Final = frozenset({"kms:putkeypolicy"})
"""What changes the policy that is being judged."""

HARMLESS_ACTIONS: Final = frozenset(
    {
        # Looking.
        "kms:describekey",
        "kms:getkeypolicy",
        "kms:getkeyrotationstatus",
        "kms:listgrants",
        "kms:listkeypolicies",
        "kms:listkeyrotations",
        "kms:listresourcetags",
        # Availability, which is the operator's in any case.
        "kms:cancelkeydeletion",
        "kms:disablekey",
        "kms:enablekey",
        "kms:schedulekeydeletion",
        # New key material is made by KMS and known to nobody; old ciphertexts go on to open.
        "kms:disablekeyrotation",
        "kms:enablekeyrotation",
        # Takes grants away.
        "kms:revokegrant",
    }
)
"""What neither releases, plants nor re-encrypts a key, nor lets others do so: for anybody."""

_EXACT_OPERATORS: Final = frozenset({"StringEquals", "StringEqualsIgnoreCase"})
_REGISTERS: Final = {
    "kms:recipientattestation:imagesha384": 0,
    "kms:recipientattestation:pcr0": 0,
    "kms:recipientattestation:pcr16": 16,
}
"""The condition keys that say what an enclave runs: its image, and its manifest. Case is ignored in their names."""

_MEASUREMENT = re.compile(r"[0-9a-f]{96}")
_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9]+")
_POLICY_FIELDS: Final = frozenset({"Version", "Id", "Statement"})
_STATEMENT_FIELDS: Final = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_PRINCIPAL_KINDS: Final = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})

# KeyMetadata. A field that is missing here is refused: it may say something that these rules should look at.
_METADATA_MUST_BE: Final[dict[str, object]] = {
    "KeyManager": "CUSTOMER",
    "Origin": "AWS_KMS",  # imported material, and that of outside stores, is known to others
    "MultiRegion": False,  # a replica has a policy of its own
    "KeyUsage": "ENCRYPT_DECRYPT",
    "KeySpec": "SYMMETRIC_DEFAULT",
}
_METADATA_IGNORED: Final = frozenset(
    {
        "CreationDate",
        "CurrentKeyMaterialId",
        "CustomerMasterKeySpec",  # the old name of KeySpec
        "DeletionDate",
        "Description",
        "EncryptionAlgorithms",
        "PendingDeletionWindowInDays",
    }
)
_METADATA_KNOWN: Final = frozenset(
    {"AWSAccountId", "KeyId", "Arn", "Enabled", "KeyState", *_METADATA_MUST_BE, *_METADATA_IGNORED}
)


class Verdict(StrEnum):
    """What a key policy that was not refused amounts to."""

    PINNED = "pinned"  # it lets this very measurement at the data keys, no other, and nobody may change it
    EDITABLE = "editable"  # somebody may change it, or it lets other releases at the data keys


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an enclave runs. `image`: PCR0; `manifest`: PCR16; 48 bytes each."""

    image: bytes
    manifest: bytes


def judge_metadata(metadata: Mapping[str, object], key_arn: str) -> None:
    """Judge DescribeKey's `KeyMetadata`.

    Raises KmsError: `kms_key_mismatch`, `kms_key_metadata_refused`, `kms_key_unusable` (not enabled).
    """
    _, _, _, _, account, resource = key_arn.split(":", 5)
    identity = (metadata.get("Arn"), metadata.get("KeyId"), metadata.get("AWSAccountId", account))
    if identity != (key_arn, resource.removeprefix("key/"), account):
        raise KmsError("kms_key_mismatch", "kms", "abort", "DescribeKey tells of another key")
    for name, expected in _METADATA_MUST_BE.items():
        found = metadata.get(name)
        if found != expected or type(found) is not type(expected):
            _refuse_key(f"{name} is {_quoted(found)}, not {expected}")
    unknown = metadata.keys() - _METADATA_KNOWN
    if unknown:
        _refuse_key(f"it has {', '.join(map(_quoted, sorted(unknown)))}, which a plain key of KMS has not")
    if metadata.get("Enabled") is not True or metadata.get("KeyState") != "Enabled":
        state = _quoted(metadata.get("KeyState"))
        raise KmsError("kms_key_unusable", "kms", "abort", f"the key's state is {state}")


def judge_grants(grants: Sequence[object]) -> None:
    """A grant allows operations beside the policy, and which ones can be changed at any time: there must be none.

    Raises KmsError `kms_key_has_grants`.
    """
    if grants:
        raise KmsError(
            "kms_key_has_grants", "kms", "abort", "the key has grants, which the policy does not show"
        )


def judge_policy(text: str, *, ours: Measurement, accept_editable: bool) -> Verdict:
    """Judge the text of a key policy, from the place of an enclave that measures as `ours`.

    `accept_editable`: whether the manifest takes a policy that somebody may change, or that names other releases.
    Raises KmsError: `kms_policy_refused`, `kms_policy_editable`.
    """
    statements = [_parse(raw, _name(number, raw)) for number, raw in enumerate(_statements(text), start=1)]
    allowing = [statement for statement in statements if statement.allows]  # a Deny takes away
    foreign = [statement for statement in allowing if _lets_out(statement, to_other_than=ours)]
    editing = [statement for statement in allowing if statement.actions & EDIT_ACTIONS]
    if accept_editable:
        return Verdict.EDITABLE if foreign or editing else Verdict.PINNED
    if foreign:
        _refuse(
            foreign[0].name, "lets another release at the data keys, and the manifest wants this one alone"
        )
    if editing:
        why = f"{editing[0].name} lets somebody change the key policy, and the manifest wants it pinned"
        raise KmsError("kms_policy_editable", "kms", "abort", why)
    return Verdict.PINNED


@dataclass(frozen=True, slots=True)
class _Statement:
    """One statement, well-formed. `actions` are in lower case and empty for NotAction, which only a Deny may have."""

    name: str
    allows: bool
    actions: frozenset[str]
    everybody: bool  # its principals are not all identities of AWS accounts that it names
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]]


def _lets_out(statement: _Statement, *, to_other_than: Measurement) -> bool:
    """Whether an Allow statement lets another release at the data keys. Raises KmsError if it lets out anything else."""
    unknown = statement.actions - DATA_ACTIONS - EDIT_ACTIONS - HARMLESS_ACTIONS
    if unknown:
        _refuse(statement.name, f"allows {', '.join(map(_quoted, sorted(unknown)[:8]))}")
    if not statement.actions & DATA_ACTIONS:
        return False
    if statement.everybody:
        # Anybody can run this image under this manifest; the key decides for whom it opens.
        _refuse(statement.name, "lets everybody at the data keys: name the account or the role")
    return _measurement(statement) != to_other_than


def _measurement(statement: _Statement) -> Measurement:
    """The one measurement to which a statement's conditions confine it.

    All conditions of a statement must hold, so those on other keys only narrow it further; their operators must be
    exact ones all the same, so that nobody has to know what the others do.
    """
    found: dict[int, bytes] = {}
    for operator, tests in statement.conditions.items():
        if operator not in _EXACT_OPERATORS:
            # Not IfExists: true without an attestation document. Not ForAllValues: true for no value at all.
            _refuse(
                statement.name, f"has data keys under the operator {_quoted(operator)}, which is not exact"
            )
        for key, values in tests.items():
            register = _REGISTERS.get(
                key.lower() if key.isascii() else key
            )  # lower() makes a k of the Kelvin sign
            if register is None:
                continue
            value = _pinned_value(statement, operator, key, values)
            if found.setdefault(register, value) != value:
                _refuse(statement.name, f"contradicts itself on PCR{register}")
    if found.keys() != {0, 16}:
        _refuse(statement.name, "has data keys without conditions on both the image (PCR0) and PCR16")
    return Measurement(image=found[0], manifest=found[16])


def _pinned_value(statement: _Statement, operator: str, key: str, values: tuple[str, ...]) -> bytes:
    """The 48 bytes that a condition on a measurement asks for. KMS writes measurements in lower-case hexadecimal."""
    if len(values) != 1:
        _refuse(statement.name, f"gives {len(values)} values for {_quoted(key)}: one release, one statement")
    value = values[0].lower() if operator == "StringEqualsIgnoreCase" else values[0]
    if not _MEASUREMENT.fullmatch(value):
        _refuse(statement.name, f"compares {_quoted(key)} with something that is not a measurement")
    if not value.strip("0"):
        _refuse(
            statement.name, f"compares {_quoted(key)} with zeros, which is what debug enclaves measure as"
        )
    return bytes.fromhex(value)


# --- reading ---------------------------------------------------------------------------------------------------------


def _statements(text: str) -> list[object]:
    """The statements of a policy, not yet looked at. Raises KmsError."""
    try:
        raw = text.encode()
        if len(raw) > MAX_POLICY:
            _refuse_policy(f"it has more than {MAX_POLICY} bytes")
        if is_deep(raw, _MAX_BRACKETS):
            _refuse_policy("it is nested too deeply")
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _refuse_policy(f"it is not JSON: {error}")
    if not isinstance(document, dict) or not document.keys() <= _POLICY_FIELDS:
        _refuse_policy("it is not an object with Version, Id and Statement")
    if document.get("Version") != "2012-10-17":
        _refuse_policy("its Version is not 2012-10-17")
    if not isinstance(document.get("Id", ""), str):
        _refuse_policy("its Id is not a string")
    statements = document.get("Statement")
    if isinstance(statements, dict):  # brackets are optional around a single one
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        _refuse_policy("it has no Statement")
    return statements


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object without two members of one name. Case is ignored, as IAM ignores it in condition keys."""
    if len({name.lower() for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _name(number: int, raw: object) -> str:
    sid = raw.get("Sid") if isinstance(raw, dict) else None
    return f"statement {number} ({_quoted(sid)})" if isinstance(sid, str) and sid else f"statement {number}"


def _parse(raw: object, name: str) -> _Statement:
    """Read one statement; Deny statements are read as strictly as the others. Raises KmsError."""
    if not isinstance(raw, dict) or not raw.keys() <= _STATEMENT_FIELDS:
        _refuse(name, "is not an object of the elements of a statement")
    if not isinstance(raw.get("Sid", ""), str):
        _refuse(name, "has a Sid that is not a string")
    allows = raw.get("Effect") == "Allow"
    if not allows and raw.get("Effect") != "Deny":
        _refuse(name, "has an Effect other than Allow and Deny")
    for element in ("Principal", "Action", "Resource"):
        if (element in raw) == (f"Not{element}" in raw):
            _refuse(name, f"has not exactly one of {element} and Not{element}")
        if allows and f"Not{element}" in raw:
            _refuse(name, f"allows everything but something: Not{element}")
    _strings(raw.get("Resource", raw.get("NotResource")), name, "Resource")
    actions = _strings(raw.get("Action", raw.get("NotAction")), name, "Action")
    patterns = [action for action in actions if not _ACTION.fullmatch(action)]
    if allows and patterns:
        _refuse(name, f"allows {_quoted(patterns[0])}, which is a pattern or no action")
    return _Statement(
        name=name,
        allows=allows,
        actions=frozenset(action.lower() for action in actions) if "Action" in raw else frozenset(),
        everybody=_is_everybody(raw.get("Principal", raw.get("NotPrincipal")), name),
        conditions=_conditions(raw.get("Condition", {}), name),
    )


def _is_everybody(principal: object, name: str) -> bool:
    """Whether a principal element is anything but a list of identities of AWS accounts. Raises KmsError."""
    if principal == "*":
        return True
    if not isinstance(principal, dict) or not principal or not principal.keys() <= _PRINCIPAL_KINDS:
        _refuse(name, "has a principal of no known form")
    identities = [text for kind in principal for text in _strings(principal[kind], name, "Principal")]
    return principal.keys() != {"AWS"} or any("*" in text for text in identities)


def _conditions(value: object, name: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Operator to condition key to values. Raises KmsError."""
    if not isinstance(value, dict):
        _refuse(name, "has a Condition that is not an object")
    conditions: dict[str, dict[str, tuple[str, ...]]] = {}
    for operator, tests in value.items():
        if not isinstance(tests, dict) or not tests:
            _refuse(name, f"has nothing to test under {_quoted(operator)}")
        conditions[operator] = {
            key: _strings(expected, name, "Condition", scalars=True) for key, expected in tests.items()
        }
    return conditions


def _strings(value: Any, name: str, element: str, *, scalars: bool = False) -> tuple[str, ...]:  # noqa: ANN401 - it comes out of JSON
    """A string or a list of at least one; with `scalars` numbers and booleans, too, which stand for no measurement."""
    values = value if isinstance(value, list) else [value]
    kinds = (str, bool, int, float) if scalars else (str,)
    if not values or not all(isinstance(entry, kinds) and entry != "" for entry in values):
        _refuse(name, f"has a {element} that is not a string or a list of strings")
    return tuple(entry if isinstance(entry, str) else json.dumps(entry) for entry in values)


# --- refusing --------------------------------------------------------------------------------------------------------


def _refuse(statement: str, why: str) -> NoReturn:
    raise KmsError("kms_policy_refused", "kms", "abort", f"{statement} {why}")


def _refuse_policy(why: str) -> NoReturn:
    raise KmsError("kms_policy_refused", "kms", "abort", f"the key policy was refused: {why}")


def _refuse_key(why: str) -> NoReturn:
    raise KmsError("kms_key_metadata_refused", "kms", "abort", f"the key was refused: {why}")


def _quoted(value: object) -> str:
    """Words of somebody else, short and in ASCII."""
    return ascii(value)[:64]
