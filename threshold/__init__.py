"""Key shares, distributed key generation, sealing and threshold signatures: the Python face of the native core.

Secret scalars live in Rust and are zeroized there; Python holds opaque handles that cannot be printed, compared,
hashed, copied or pickled. Every computation runs without the interpreter lock. Each protocol state is used once:
a second use raises ``state_consumed``, also when the first one failed.

==================  ====================================================================================
:mod:`.suites`      the suites by name
:mod:`.dkg`         distributed key generation
:mod:`.keys`        key shares and their sealing
:mod:`.reshare`     new shares of the same key for another group; receiving an imported key
:mod:`.signing`     FROST in one round trip; signature verification
:mod:`.ecdsa`       two-party ECDSA in one round trip; derived public keys
:mod:`.payload`     what is signed: Solana messages, Bitcoin PSBTs; addresses
:mod:`.tasks`       from a payload to the digests and tweaks to sign
:mod:`.errors`      :class:`ThresholdError`, :class:`PayloadError`
:mod:`.device`      whole keys and passcodes, on the user's own device only; not imported from here
==================  ====================================================================================

Byte formats: ``docs/spec/threshold.md``, ``docs/spec/seal.md``, ``docs/spec/ecdsa.md``.
"""

from __future__ import annotations

from .dkg import DkgRound1, DkgRound2, DkgRound3, dkg_start
from .ecdsa import (
    EcdsaClientOt,
    EcdsaClientSetup,
    EcdsaEnclaveOt,
    EcdsaEnclaveSetup,
    EcdsaPending,
    derive_public_key,
    ecdsa_begin,
    ecdsa_respond,
    ecdsa_setup_begin,
    ecdsa_setup_respond,
)
from .errors import PayloadError, ThresholdError
from .keys import KeyShare, SealingKey
from .reshare import (
    ReshareRound1,
    ReshareRound2,
    ReshareRound3,
    import_receive,
    reshare_join,
    reshare_start,
)
from .signing import SigningNonces, frost_begin, frost_respond, verify_signature
from .suites import Suite

__all__ = [
    "DkgRound1",
    "DkgRound2",
    "DkgRound3",
    "EcdsaClientOt",
    "EcdsaClientSetup",
    "EcdsaEnclaveOt",
    "EcdsaEnclaveSetup",
    "EcdsaPending",
    "KeyShare",
    "PayloadError",
    "ReshareRound1",
    "ReshareRound2",
    "ReshareRound3",
    "SealingKey",
    "SigningNonces",
    "Suite",
    "ThresholdError",
    "derive_public_key",
    "dkg_start",
    "ecdsa_begin",
    "ecdsa_respond",
    "ecdsa_setup_begin",
    "ecdsa_setup_respond",
    "frost_begin",
    "frost_respond",
    "import_receive",
    "reshare_join",
    "reshare_start",
    "verify_signature",
]
