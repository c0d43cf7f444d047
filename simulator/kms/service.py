"""The KMS operations, on moto's key store, with what moto lacks: key policies, `Recipient`, exact contexts."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from moto.core.exceptions import JsonRESTError
from moto.kms.models import Key, KmsBackend

from simulator.kms.call import Call
from simulator.kms.envelope import Encoding
from simulator.kms.errors import ApiError
from simulator.kms.faults import ERRORS
from simulator.kms.fields import blob, flag, optional_number, optional_text, text
from simulator.kms.grants import Grant, grant_condition_keys
from simulator.kms.policy import KeyPolicy, MalformedPolicyError, Verdict, parse_policy
from simulator.kms.recipient import Verifier, read_recipient
from simulator.kms.release import release
from simulator.kms.store import KeyStore

MAX_PLAINTEXT: Final = 4096
MAX_CIPHERTEXT: Final = 6144
_BYTES_OF_SPEC: Final = {"AES_256": 32, "AES_128": 16}

Answer = dict[str, Any]


class KmsService:
    """One account's KMS in one region. `run` is thread-safe. `check` verifies attestation documents; `clock` gives
    aware datetimes.

    `encoding`: how envelopes are written; None chooses at random between the two that KMS has been seen to use.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        check: Verifier,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        encoding: Encoding | None = None,
    ) -> None:
        self._store = store
        self._backend: KmsBackend = store.backend
        self._check = check
        self._clock = clock
        self._encoding = encoding
        self._prefix = f"arn:aws:kms:{self._backend.region_name}:{self._backend.account_id}:key/"
        self._lock = threading.RLock()
        self._operations: dict[str, Callable[[Call], Answer]] = {
            "CreateGrant": self._create_grant,
            "CreateKey": self._create_key,
            "Decrypt": self._decrypt,
            "DescribeKey": self._describe_key,
            "Encrypt": self._encrypt,
            "GenerateDataKey": self._generate_data_key,
            "GenerateRandom": self._generate_random,
            "GetKeyPolicy": self._get_key_policy,
            "ListGrants": self._list_grants,
            "PutKeyPolicy": self._put_key_policy,
            "RetireGrant": self._retire_grant,
            "RevokeGrant": self._revoke_grant,
        }

    def run(self, call: Call) -> Answer:
        """Carry out the call; the answer is JSON-ready. Raises ApiError."""
        run = self._operations.get(call.operation)
        if run is None:
            raise ApiError("UnknownOperationException", f"{call.operation} is not simulated")
        error = ERRORS.get(call.fault) if call.fault else None
        if error is not None:
            raise error
        call.recipient = read_recipient(call.body, self._check, self._clock())
        try:
            with self._lock:
                return run(call)
        except JsonRESTError as refusal:  # moto's own refusals carry AWS's names
            raise ApiError(str(refusal.error_type), str(refusal.message)) from refusal

    def create_key(
        self, policy: str | None, *, description: str = "", claims: Mapping[str, Any] | None = None
    ) -> Key:
        """Make a symmetric key without asking who may (tests and composition roots). Raises ApiError.

        `claims`: members of KeyMetadata to be told instead of the true ones, such as `{"MultiRegion": True}`.
        """
        if policy is not None:
            _checked_policy(policy)
        with self._lock:
            key = self._backend.create_key(policy, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", description, None)
            self._store.claims[key.id] = dict(claims or {})
            self._store.save()
        return key

    def _create_key(self, call: Call) -> Answer:
        call.refuse_recipient()
        for name, only in (("KeySpec", "SYMMETRIC_DEFAULT"), ("KeyUsage", "ENCRYPT_DECRYPT")):
            if optional_text(call.body, name) not in (None, only):
                raise ApiError("UnsupportedOperationException", f"{name}: only {only} is simulated")
        if flag(call.body, "MultiRegion") or optional_text(call.body, "Origin") not in (None, "AWS_KMS"):
            raise ApiError("UnsupportedOperationException", "only single-region AWS_KMS keys are simulated")
        policy = optional_text(call.body, "Policy")
        if policy is not None:
            self._check_lockout(call, policy, f"{self._prefix}00000000-0000-0000-0000-000000000000", None)
        key = self.create_key(policy, description=optional_text(call.body, "Description") or "")
        call.key_arn = key.arn
        return {"KeyMetadata": self._metadata(key)}

    def _describe_key(self, call: Call) -> Answer:
        call.refuse_recipient()
        return {"KeyMetadata": self._metadata(self._authorized_key(call, text(call.body, "KeyId")))}

    def _metadata(self, key: Key) -> Answer:
        found = {name: value for name, value in key.to_dict()["KeyMetadata"].items() if value is not None}
        return {**found, **self._store.claims.get(key.id, {})}

    def _get_key_policy(self, call: Call) -> Answer:
        call.refuse_recipient()
        key = self._authorized_key(call, text(call.body, "KeyId"))
        return {"Policy": key.policy, "PolicyName": "default"}

    def _put_key_policy(self, call: Call) -> Answer:
        call.refuse_recipient()
        key = self._authorized_key(call, text(call.body, "KeyId"))
        policy = text(call.body, "Policy")
        self._check_lockout(call, policy, key.arn, key)
        self._backend.put_key_policy(key.id, policy)
        self._store.save()
        return {}

    def _create_grant(self, call: Call) -> Answer:
        call.refuse_recipient()
        key = self._resolve(call, text(call.body, "KeyId"))
        account = self._backend.account_id
        grant = Grant.from_request(call.body, key_arn=key.arn, account=account, now=self._clock().timestamp())
        self._authorize(call, key, grant=grant)
        grants = self._store.grants.setdefault(key.id, {})
        for existing in grants.values():
            if existing.same_as(grant):
                return {"GrantId": existing.id, "GrantToken": existing.token}
        grants[grant.id] = grant
        self._store.save()
        return {"GrantId": grant.id, "GrantToken": grant.token}

    def _list_grants(self, call: Call) -> Answer:
        call.refuse_recipient()
        key = self._authorized_key(call, text(call.body, "KeyId"))
        wanted = {
            "id": optional_text(call.body, "GrantId"),
            "grantee": optional_text(call.body, "GranteePrincipal"),
        }
        found = [
            grant
            for grant in self._store.grants_of(key)
            if all(value in (None, getattr(grant, name)) for name, value in wanted.items())
        ]
        limit = optional_number(call.body, "Limit", least=1, most=100) or 50
        start = _position(optional_text(call.body, "Marker"), found)
        page, rest = found[start : start + limit], found[start + limit :]
        more = {"NextMarker": rest[0].id} if rest else {}
        return {"Grants": [grant.entry() for grant in page], "Truncated": bool(rest), **more}

    def _revoke_grant(self, call: Call) -> Answer:
        call.refuse_recipient()
        key = self._authorized_key(call, text(call.body, "KeyId"))
        if self._store.grants.get(key.id, {}).pop(text(call.body, "GrantId"), None) is None:
            raise ApiError("NotFoundException", "Grant ID is not found")
        self._store.save()
        return {}

    def _retire_grant(self, call: Call) -> Answer:
        call.refuse_recipient()
        key, grant = self._grant_to_retire(call)
        call.key_arn, call.grant_id = key.arn, grant.id
        if not grant.may_be_retired_by(call.principal):
            self._authorize(call, key)
        call.stop_dry_run()
        del self._store.grants[key.id][grant.id]
        self._store.save()
        return {}

    def _grant_to_retire(self, call: Call) -> tuple[Key, Grant]:
        token = optional_text(call.body, "GrantToken")
        if token is None:
            key = self._resolve(call, text(call.body, "KeyId"))
            grant = self._store.grants.get(key.id, {}).get(text(call.body, "GrantId"))
            if grant is None:
                raise ApiError("NotFoundException", "Grant ID is not found")
            return key, grant
        for key_id, grants in self._store.grants.items():
            for grant in grants.values():
                if grant.token == token:
                    return self._backend.keys[key_id], grant
        raise ApiError("InvalidGrantTokenException", "Grant token is not valid")

    def _encrypt(self, call: Call) -> Answer:
        call.refuse_recipient()
        key = self._authorized_key(call, text(call.body, "KeyId"))
        plaintext = blob(call.body, "Plaintext", least=1, most=MAX_PLAINTEXT)
        ciphertext, arn = self._backend.encrypt(key.id, plaintext, _bound(call.context))
        return {"CiphertextBlob": _b64(ciphertext), "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def _decrypt(self, call: Call) -> Answer:
        ciphertext = blob(call.body, "CiphertextBlob", least=1, most=MAX_CIPHERTEXT)
        named = optional_text(call.body, "KeyId")
        key = self._key_of(ciphertext)
        if named is not None and self._resolve(call, named).id != key.id:
            raise ApiError("IncorrectKeyException", "The key ID in the request does not identify the key.")
        call.key_arn = key.arn
        self._authorize(call, key)
        plaintext, arn = self._backend.decrypt(ciphertext, _bound(call.context), key.id)
        return {
            "KeyId": call.reported_key_id(arn),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            **release(plaintext, call, self._encoding),
        }

    def _generate_data_key(self, call: Call) -> Answer:
        key = self._authorized_key(call, text(call.body, "KeyId"))
        spec = optional_text(call.body, "KeySpec")
        number = optional_number(call.body, "NumberOfBytes", least=1, most=1024)
        if (spec is None) == (number is None) or (spec is not None and spec not in _BYTES_OF_SPEC):
            raise ApiError("ValidationException", "Please specify either KeySpec or NumberOfBytes.")
        size = number if number is not None else _BYTES_OF_SPEC[str(spec)]
        plaintext, ciphertext, arn = self._backend.generate_data_key(
            key.id, _bound(call.context), size, cast("str", None)
        )
        return {
            "CiphertextBlob": _b64(ciphertext),
            "KeyId": call.reported_key_id(arn),
            **release(plaintext, call, self._encoding),
        }

    def _generate_random(self, call: Call) -> Answer:
        number = optional_number(call.body, "NumberOfBytes", least=1, most=1024)
        if number is None:
            raise ApiError("ValidationException", "NumberOfBytes is required")
        return release(secrets.token_bytes(number), call, self._encoding)

    def _authorized_key(self, call: Call, key_id: str) -> Key:
        key = self._resolve(call, key_id)
        self._authorize(call, key)
        return key

    def _authorize(self, call: Call, key: Key, *, grant: Grant | None = None) -> None:
        """The key policy allows it, or does not deny it while a grant allows it. `grant`: the one to be created."""
        more = grant_condition_keys(grant) if grant is not None else None
        request = call.request(key.arn, key=key, more=more)
        verdict = parse_policy(key.policy).judge(request)
        granted = any(
            held.allows(call.operation, call.principal, call.context)
            and (grant is None or held.covers(grant))
            for held in self._store.grants_of(key)
            if call.operation != "RetireGrant"  # a grant allows that for itself only
        )
        if verdict is Verdict.EXPLICIT_DENY or (verdict is Verdict.NO_STATEMENT and not granted):
            reason = (
                "with an explicit deny in a resource-based policy"
                if verdict is Verdict.EXPLICIT_DENY
                else f"because no resource-based policy allows the {request.action} action"
            )
            raise ApiError(
                "AccessDeniedException",
                f"User: {call.principal} is not authorized to perform: {request.action} "
                f"on resource: {key.arn} {reason}",
            )
        if not key.enabled:
            raise ApiError("DisabledException", f"{key.arn} is disabled.")
        call.stop_dry_run()

    def _check_lockout(self, call: Call, policy: str, arn: str, key: Key | None) -> None:
        parsed = _checked_policy(policy)
        if flag(call.body, "BypassPolicyLockoutSafetyCheck"):
            return
        later = Call("PutKeyPolicy", {}, principal=call.principal)
        if parsed.judge(later.request(arn, key=key)) is not Verdict.ALLOW:
            raise ApiError(
                "MalformedPolicyDocumentException",
                "The new key policy will not allow you to update the key policy in the future.",
            )

    def _resolve(self, call: Call, key_id: str) -> Key:
        """A key by id or ARN (of this account and region)."""
        key = self._backend.keys.get(key_id.removeprefix(self._prefix))
        if key is None:
            raise ApiError("NotFoundException", f"Key '{key_id}' does not exist")
        call.key_arn = key.arn
        return key

    def _key_of(self, ciphertext: bytes) -> Key:
        # moto's ciphertexts begin with the id of their key.
        key = self._backend.keys.get(ciphertext[:36].decode("ascii", "replace"))
        if key is None:
            raise ApiError("InvalidCiphertextException", "")
        return key


def _checked_policy(policy: str) -> KeyPolicy:
    try:
        return parse_policy(policy)
    except MalformedPolicyError as error:
        raise ApiError("MalformedPolicyDocumentException", str(error)) from error


def _position(marker: str | None, grants: list[Grant]) -> int:
    """Where the page begins: at the grant that the marker names."""
    if marker is None:
        return 0
    for position, grant in enumerate(grants):
        if grant.id == marker:
            return position
    raise ApiError("InvalidMarkerException", "Marker is not valid")


def _bound(context: Mapping[str, str]) -> dict[str, str]:
    """For moto, which authenticates names and values run together, so that {"ab": "c"} equals {"a": "bc"}; KMS does not."""
    return {"context": json.dumps(sorted(context.items()))} if context else {}


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()
