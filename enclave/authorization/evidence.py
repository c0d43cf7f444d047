"""What vouches for one action beside its session: an assertion or signature of the user's own credential, a device code, a second factor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from enclave.accounts import credentials
from enclave.accounts.user import Evidence
from enclave.authn import keys, passkeys
from protocol.actions import DeviceCode, KeySignature, PasskeyAssertion
from protocol.envelope.errors import CosignerError, Culprit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enclave.accounts.user import Credential, UserRecord
    from enclave.manifest import FactorName, RelyingParty
    from protocol.actions import Authorization, RecoveryCode, TotpCode

    from .requirements import Requirement

CREDENTIAL_FACTORS: Final = frozenset({"passkey", "signing_key"})


@dataclass(frozen=True, slots=True)
class Vouched:
    """A user's credential has signed.

    :ivar sign_count: what the authenticator counts now; to be stored if it is another than before.
    """

    factor: FactorName
    credential: Credential
    sign_count: int = 0


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified for one action.

    :ivar factors: the session key's, and more.
    :ivar device_code: named in place of a credential; whoever adds the credential verifies and spends it.
    """

    factors: frozenset[str]
    vouched: Vouched | None = None
    device_code: str | None = None

    def plus(self, factor: FactorName) -> Verified:
        """The same with one factor more."""
        return replace(self, factors=self.factors | {factor})

    def facts(self) -> Evidence:
        """For whoever changes the user's record."""
        return Evidence(
            credential=None if self.vouched is None else self.vouched.credential.credential_id,
            device_code=self.device_code is not None,
            second_factor="totp" in self.factors,
        )


def verify_by_credential(
    record: UserRecord | None,
    evidence: PasskeyAssertion | KeySignature,
    digest: bytes,
    *,
    relying_party: RelyingParty | None,
) -> Vouched:
    """Verify an assertion or a signature over ``digest`` by one of a user's active credentials.

    :raises CosignerError: ``credential_unknown``, ``credential_inactive``, ``evidence_invalid``.
    """
    if record is None:
        raise CosignerError("credential_unknown", "There is no such user.", culprit=Culprit.CLIENT)
    credential = credentials.find_active(record, evidence.credential_id)
    if isinstance(evidence, KeySignature):
        if credential.algorithm is None:
            raise _invalid("This credential is a passkey; it does not sign by itself.")
        keys.verify(credential.algorithm, credential.public_key, digest, evidence.signature)
        return Vouched("signing_key", credential)
    if credential.type != "passkey" or relying_party is None:
        raise _invalid("This credential is a key, not a passkey.")
    count = passkeys.verify_assertion(
        evidence, challenge=digest, credential=credential, relying_party=relying_party
    )
    return Vouched("passkey", credential, count)


def verify_first(
    record: UserRecord,
    authorization: Authorization | None,
    digest: bytes,
    *,
    requirement: Requirement,
    relying_party: RelyingParty | None,
) -> Verified:
    """The evidence of an action but for its second factor.

    :param digest: the action's hash.
    :raises CosignerError: as :func:`verify_by_credential`; ``evidence_invalid``: a device code for something that it is not good for.
    """
    first = None if authorization is None else authorization.first
    factors = frozenset({"session_key"})
    match first:
        case None:
            return Verified(factors)
        case DeviceCode(code=code):
            if not requirement.device_code:
                raise _invalid("A device code is good for adding a credential and nothing else.")
            return Verified(factors, device_code=code)
        case _:
            vouched = verify_by_credential(record, first, digest, relying_party=relying_party)
            return Verified(factors | {vouched.factor}, vouched)


def require_factors(
    record: UserRecord,
    evidence: Verified,
    *,
    requirement: Requirement,
    step_up: Sequence[FactorName],
    second: TotpCode | RecoveryCode | None,
) -> None:
    """That enough vouches for the action. The second factor is not verified yet: a missing first one must not cost a code.

    Where a device code may stand in for a credential, it may for the one that ``step_up`` asks for, too; and whoever has none yet can
    register the first.

    :raises CosignerError: ``factor_required``.
    """
    has_one = bool(record.active_credentials)
    if requirement.strong and not has_one:
        raise factor_required(["passkey", "signing_key"])
    waived = requirement.device_code and (evidence.device_code is not None or not has_one)
    if requirement.credential and has_one and evidence.vouched is None and not waived:
        raise factor_required(["passkey", "signing_key"])
    first = [factor for factor in step_up if factor in CREDENTIAL_FACTORS]
    if first and not evidence.factors & set(first) and not waived:
        raise factor_required(first)
    if "totp" in step_up and second is None:
        raise factor_required(["totp"])


def factor_required(factors: Sequence[str]) -> CosignerError:
    """What else the action needs: one of these factors."""
    return CosignerError(
        "factor_required",
        f"This must also be authorized by {' or '.join(factors)}.",
        culprit=Culprit.CLIENT,
        needs=factors,
    )


def _invalid(message: str) -> CosignerError:
    return CosignerError("evidence_invalid", message, culprit=Culprit.CLIENT)
