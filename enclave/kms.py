"""Data keys from KMS, by attested calls only: GenerateDataKey at genesis, Decrypt afterwards; and a look at the key before.

Every call for a data key makes an RSA key, has the NSM attest it, and sends the document as `Recipient`; KMS then
answers with an envelope for that key instead of the data key itself. There is no such call without `Recipient` here,
and no way to make one. An answer is believed only when it names exactly the key that was asked for, holds no
plaintext, and its envelope opens to 32 bytes.

DescribeKey, GetKeyPolicy and ListGrants take no `Recipient`. They return nothing secret; what they return is judged
by `enclave.key_policy`.

An envelope proves nothing about its sender (`enclave.cms`). What makes the data key right is TLS to KMS, and in the
end that the sealed records open with it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from enclave import aws
from enclave.cms import EnvelopeError, decrypt
from enclave.key_policy import Measurement, Verdict, judge_grants, judge_metadata, judge_policy
from enclave.kms_errors import Culprit, KmsError, Reaction
from enclave.nsm import Nsm, NsmError
from enclave.tls import TlsError

__all__ = ["AttestedKms", "KmsError"]

DATA_KEY_BYTES: Final = 32
ATTEMPTS: Final = 4
BACKOFF_BASE_S: Final = 0.2
BACKOFF_MAX_S: Final = 5.0
TIMEOUT_S: Final = 10.0
_RSA_BITS: Final = 2048
_MAX_CIPHERTEXT: Final = 6144
_MAX_GRANT_PAGES: Final = 8  # empty ones; the first grant settles the matter

T = TypeVar("T")

_Meaning = tuple[str, Culprit, Reaction]
_UNAVAILABLE: Final[_Meaning] = ("kms_unavailable", "kms", "retry")
_THROTTLED: Final[_Meaning] = ("kms_throttled", "kms", "retry")
_CREDENTIALS: Final[_Meaning] = ("kms_credentials_refused", "host", "retry")
_DENIED: Final[_Meaning] = ("kms_denied", "kms", "abort")
_KEY: Final[_Meaning] = ("kms_key_unusable", "kms", "abort")
_OTHER_REFUSAL: Final[_Meaning] = ("kms_request_refused", "kms", "abort")
_SERVER_ERROR: Final = 500

# KMS API Reference, errors of the operations used here, and «Common error types».
_REFUSALS: Final[dict[str, _Meaning]] = {
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "NotAuthorized": _DENIED,
    "Throttling": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "LimitExceededException": _THROTTLED,
    "RequestLimitExceeded": _THROTTLED,
    "DependencyTimeoutException": _UNAVAILABLE,
    "KMSInternalException": _UNAVAILABLE,
    "KeyUnavailableException": _UNAVAILABLE,
    "InternalFailure": _UNAVAILABLE,
    "ServiceUnavailable": _UNAVAILABLE,
    "ExpiredTokenException": _CREDENTIALS,
    "IncompleteSignature": _CREDENTIALS,
    "IncompleteSignatureException": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationToken": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "RequestExpired": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "DisabledException": _KEY,
    "IncorrectKeyException": _KEY,
    "InvalidArnException": _KEY,
    "InvalidKeyUsageException": _KEY,
    "KMSInvalidStateException": _KEY,
    "NotFoundException": _KEY,
    "InvalidCiphertextException": ("kms_ciphertext_refused", "host", "abort"),
}

_METHODS: Final = {
    "DescribeKey": "describe_key",
    "GetKeyPolicy": "get_key_policy",
    "ListGrants": "list_grants",
}


class AttestedKms:
    """KMS of one region, as an enclave may use it. Blocking; safe to use from several threads.

    `host`, `port`: the endpoint; the server's certificate must carry this name. `ca_pem`: the only authorities to accept, or None for the public ones that botocore ships. `dial`: opens the tunnel. `credentials`: asked for every request.
    `sleep`: waits between attempts. Making one reads botocore's service description (some 0.1 s). Raises KmsError.
    """

    def __init__(
        self,
        *,
        region: str,
        host: str,
        port: int = 443,
        dial: aws.Dial,
        credentials: aws.CredentialsProvider,
        nsm: Nsm,
        ca_pem: str | None = None,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._nsm = nsm
        self._sleep = sleep
        try:
            self._client = aws.client(
                "kms",
                region=region,
                host=host,
                port=port,
                dial=dial,
                credentials=credentials,
                ca_pem=ca_pem,
                timeout_s=timeout_s,
            )
        except TlsError as error:
            raise KmsError("kms_tls_failed", "host", "abort", str(error)) from error

    def judge_key(self, key_arn: str, *, ours: Measurement, accept_editable: bool) -> Verdict:
        """Whether the key at `key_arn` may hold a data key of an enclave that measures as `ours` (`enclave.key_policy`).

        Raises KmsError.
        """
        metadata = self._read("DescribeKey", KeyId=key_arn).get("KeyMetadata")
        if not isinstance(metadata, Mapping):
            raise KmsError("kms_answer_malformed", "kms", "abort", "DescribeKey told nothing of the key")
        judge_metadata(metadata, key_arn)
        policy = self._read("GetKeyPolicy", KeyId=key_arn, PolicyName="default").get("Policy")
        if not isinstance(policy, str):
            raise KmsError("kms_answer_malformed", "kms", "abort", "GetKeyPolicy gave no policy")
        verdict = judge_policy(policy, ours=ours, accept_editable=accept_editable)
        # Grants last: under a policy that lets nobody grant or edit, none can have come since it was read.
        judge_grants(self._grants(key_arn))
        return verdict

    def _grants(self, key_arn: str) -> list[object]:
        """The grants on the key, up to the first page that has any."""
        marker: dict[str, object] = {}
        for _ in range(_MAX_GRANT_PAGES):
            page = self._read("ListGrants", KeyId=key_arn, **marker)
            grants, more = page.get("Grants"), page.get("Truncated", False)
            if not isinstance(grants, list) or not isinstance(more, bool):
                raise KmsError("kms_answer_malformed", "kms", "abort", "ListGrants gave no list")
            if grants or not more:
                return grants
            following = page.get("NextMarker")
            if not isinstance(following, str) or not following:
                raise KmsError(
                    "kms_answer_malformed", "kms", "abort", "ListGrants promises a page that it does not name"
                )
            marker = {"Marker": following}
        raise KmsError("kms_answer_malformed", "kms", "abort", "ListGrants does not come to an end")

    def _read(self, action: str, **parameters: object) -> Mapping[str, object]:
        """One of the calls that only look. A role that may not look gets no data key either."""
        operation = getattr(self._client, _METHODS[action])
        try:
            return self._repeated(lambda: _call(operation, **parameters))
        except KmsError as error:
            if error.code != "kms_denied":
                raise
            message = f"the role may not {action}: {error.message}"
            raise KmsError("kms_policy_unreadable", "kms", "abort", message) from error

    def generate_data_key(self, key_arn: str, context: Mapping[str, str]) -> tuple[bytes, bytearray]:
        """A new data key under `key_arn`: (ciphertext to keep, 1 to 6144 bytes; the 32-byte key, for the caller to wipe).

        `context`: KMS's encryption context, at least one entry. Raises KmsError.
        """
        answer, data_key = self._attested(
            self._client.generate_data_key,
            key_arn,
            KeyId=key_arn,
            KeySpec="AES_256",
            EncryptionContext=_context(context),
        )
        ciphertext = answer.get("CiphertextBlob")
        if not isinstance(ciphertext, bytes) or not 0 < len(ciphertext) <= _MAX_CIPHERTEXT:
            raise KmsError("kms_answer_malformed", "kms", "abort", "no ciphertext of the data key")
        return ciphertext, data_key

    def decrypt_data_key(self, key_arn: str, ciphertext: bytes, context: Mapping[str, str]) -> bytearray:
        """The 32-byte data key inside `ciphertext`, which the caller wipes. Raises KmsError."""
        _, data_key = self._attested(
            self._client.decrypt,
            key_arn,
            KeyId=key_arn,
            CiphertextBlob=ciphertext,
            EncryptionContext=_context(context),
        )
        return data_key

    def _attested(
        self, operation: Callable[..., Any], key_arn: str, **parameters: object
    ) -> tuple[Mapping[str, object], bytearray]:
        recipient_key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)

        def attempt() -> tuple[Mapping[str, object], bytearray]:
            answer = _call(operation, Recipient=self._recipient(recipient_key), **parameters)
            return answer, _believe(answer, key_arn, recipient_key)

        return self._repeated(attempt)

    def _repeated(self, attempt: Callable[[], T]) -> T:
        """Call with a few attempts, waiting longer each time, never in step with other enclaves."""
        for number in range(1, ATTEMPTS + 1):
            try:
                return attempt()
            except KmsError as error:
                if error.reaction != "retry" or number == ATTEMPTS:
                    raise
            ceiling = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2**number)
            self._sleep(random.SystemRandom().uniform(ceiling / 2, ceiling))
        raise AssertionError("unreachable")

    def _recipient(self, key: rsa.RSAPrivateKey) -> dict[str, object]:
        spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            document = self._nsm.attest(None, None, spki)
        except NsmError as error:
            raise KmsError(
                "kms_nsm_failed", "enclave", "abort", f"no attestation document: {error}"
            ) from error
        return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}


def _believe(answer: Mapping[str, object], key_arn: str, recipient_key: rsa.RSAPrivateKey) -> bytearray:
    # First of all: whatever else is wrong, a data key in clear has been seen by whoever could see it.
    if answer.get("Plaintext"):
        raise KmsError("kms_plaintext_returned", "kms", "abort", "KMS returned the data key in clear")
    if answer.get("KeyId") != key_arn:
        raise KmsError("kms_key_mismatch", "kms", "abort", "the answer is about another key")
    envelope = answer.get("CiphertextForRecipient")
    if not isinstance(envelope, bytes):
        raise KmsError("kms_answer_malformed", "kms", "abort", "no envelope for this enclave")
    try:
        data_key = bytearray(decrypt(envelope, recipient_key))
    except EnvelopeError as error:
        raise KmsError("kms_envelope_refused", "kms", "abort", str(error)) from error
    if len(data_key) != DATA_KEY_BYTES:
        raise KmsError("kms_data_key_length", "kms", "abort", f"a data key of {len(data_key)} bytes")
    return data_key


def _call(operation: Callable[..., Any], **parameters: object) -> Mapping[str, object]:
    """Run one boto3 operation and translate whatever goes wrong."""
    try:
        answer: Mapping[str, object] = operation(**parameters)
    except ClientError as error:
        raise _refusal(error) from error
    except LookupError as error:
        raise KmsError("kms_credentials_missing", "host", "retry", "the host handed in none") from error
    except TlsError as error:
        raise KmsError("kms_tls_failed", "host", "abort", str(error)) from error
    except aws.TunnelError as error:
        raise KmsError("kms_tunnel_failed", "host", "retry", str(error)) from error
    except (
        aws.AnswerError,
        BotoCoreError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        # botocore's parsers meet values of unexpected types with these.
        raise KmsError("kms_answer_malformed", "kms", "abort", "not an answer of KMS's protocol") from error
    return answer


def _refusal(error: ClientError) -> KmsError:
    """The meaning of an error answer, by the name that AWS gives it."""
    details = error.response.get("Error", {})
    name = str(details.get("Code", ""))
    code, culprit, reaction = _REFUSALS.get(name, _OTHER_REFUSAL)
    if name not in _REFUSALS and error.response["ResponseMetadata"]["HTTPStatusCode"] >= _SERVER_ERROR:
        code, culprit, reaction = _UNAVAILABLE
    return KmsError(code, culprit, reaction, f"{name}: {details.get('Message', '')}")


def _context(context: Mapping[str, str]) -> dict[str, str]:
    if not context:
        raise ValueError("a data key without an encryption context could be used for any purpose")
    return dict(context)
