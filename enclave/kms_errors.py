"""What can go wrong between enclave and KMS, as one exception with stable codes, and what to do about each."""

from __future__ import annotations

from typing import Final, Literal

Culprit = Literal["host", "kms", "enclave"]
Reaction = Literal["retry", "abort"]


class KmsError(Exception):
    """A data key could not be had, or must not be used.

    | code | culprit | reaction | when |
    |---|---|---|---|
    | `kms_denied` | kms | abort | the key policy refuses this enclave or these credentials |
    | `kms_throttled` | kms | retry | too many requests |
    | `kms_unavailable` | kms | retry | KMS has an internal problem |
    | `kms_credentials_missing` | host | retry | no credentials were pushed |
    | `kms_credentials_refused` | host | retry | expired, unknown or wrongly signed |
    | `kms_key_unusable` | kms | abort | no such key, disabled, deleted, or not of this ciphertext |
    | `kms_ciphertext_refused` | host | abort | another key's ciphertext, altered, or of another context |
    | `kms_request_refused` | kms | abort | any other refusal, such as of the attestation document |
    | `kms_tunnel_failed` | host | retry | no connection through the host, or it broke |
    | `kms_tls_failed` | host | abort | the other end is not KMS |
    | `kms_answer_malformed` | kms | abort | not an answer of KMS's protocol |
    | `kms_key_mismatch` | kms | abort | the answer names another key |
    | `kms_plaintext_returned` | kms | abort | the data key came in clear: treat it as known to others |
    | `kms_envelope_refused` | kms | abort | the envelope is malformed, for another key, or does not open |
    | `kms_data_key_length` | kms | abort | the envelope holds no 32-byte key |
    | `kms_nsm_failed` | enclave | abort | the NSM gave no attestation document, or no PCR |
    | `kms_policy_unreadable` | kms | abort | the role may not read the key's metadata, policy or grants |
    | `kms_key_metadata_refused` | kms | abort | not a customer's symmetric key of this region with material made by KMS |
    | `kms_key_has_grants` | kms | abort | a grant allows what the policy does not show |
    | `kms_policy_refused` | kms | abort | the key policy is malformed, or allows more than it may |
    | `kms_policy_editable` | kms | abort | somebody may change the policy, and the manifest wants it pinned |

    With reaction `retry` the call was already repeated (`enclave.kms.ATTEMPTS` in all); the caller may try again later.
    The last five come from `enclave.key_policy`, before any data key is asked for.
    """

    def __init__(self, code: str, culprit: Culprit, reaction: Reaction, message: str) -> None:
        message = message.encode("utf-8", "replace").decode()  # JSON can hold half of a surrogate pair
        super().__init__(code, culprit, reaction, message)
        self.code = code
        self.culprit: Culprit = culprit
        self.reaction: Reaction = reaction
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


_FORGED: Final = "find out who answered in the name of KMS before anything else"
_LATER: Final = "nothing: it is tried again"

NEXT_STEPS: Final[dict[str, str]] = {
    "kms_denied": "let the key policy name this release's PCR0, PCR1, PCR2 and PCR16, and the instance's role",
    "kms_throttled": _LATER,
    "kms_unavailable": _LATER,
    "kms_credentials_missing": "give the instance a role, or set credentials.source of the host",
    "kms_credentials_refused": "check the role's credentials and the clocks",
    "kms_key_unusable": "enable the key, or cancel its deletion",
    "kms_ciphertext_refused": "restore the stored data key of this environment",
    "kms_request_refused": "see the host's log; check the clocks",
    "kms_tunnel_failed": "let the host's tunnel reach KMS (tunnel.allow)",
    "kms_tls_failed": "check kms.host and kms.ca_pem of the manifest, and who answers there",
    "kms_answer_malformed": _FORGED,
    "kms_key_mismatch": _FORGED,
    "kms_plaintext_returned": _FORGED,
    "kms_envelope_refused": _FORGED,
    "kms_data_key_length": _FORGED,
    "kms_nsm_failed": "restart the enclave",
    "kms_policy_unreadable": "allow the role kms:DescribeKey, kms:GetKeyPolicy and kms:ListGrants on the key",
    "kms_key_metadata_refused": "use a customer managed, symmetric, single-region key of origin AWS_KMS",
    "kms_key_has_grants": "revoke every grant on the key",
    "kms_policy_refused": "put a key policy rendered for this release; the host's log names the statement",
    "kms_policy_editable": "put a policy that nobody may change, or say editable in the manifest",
    "storage_unavailable": "nothing: it is tried again once storage answers",
    "wrapped_key_rejected": "restore the stored data key of this environment",
}
"""For each code, what an operator should do. In words that anybody may read: they name no account and no role."""


def next_step(code: str) -> str:
    """What to do about `code`."""
    return NEXT_STEPS.get(code, "see the host's log")
