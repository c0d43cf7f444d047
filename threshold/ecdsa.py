"""Two-party ECDSA over secp256k1 in one round trip (DKLs19; ``docs/spec/ecdsa.md``).

The *client* starts, the *enclave* answers. Once in a session, inside the handshake:

1. client: :func:`ecdsa_setup_begin`, send the message;
2. enclave: :func:`ecdsa_setup_respond`, send the answer; :meth:`EcdsaEnclaveSetup.bind` the session's context;
3. client: :meth:`EcdsaClientSetup.finish` with the answer and the same context.

Then, for each signature, also for several at once:

1. client: :func:`ecdsa_begin`, send message 1;
2. enclave: :func:`ecdsa_respond`, send message 2;
3. client: :meth:`EcdsaPending.finish`, which verifies what it returns.

An error whose ``reaction`` is ``burn`` means that the session's oblivious transfers are gone, on this side at least: open
a new session.
"""

from __future__ import annotations

from ._native import (
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

SETUP_LEN = 4098
"""Length of the client's setup message, in bytes."""
SETUP_ANSWER_LEN = 8194
"""Length of the enclave's setup answer, in bytes."""
MESSAGE1_LEN = 15_515
"""Length of message 1, in bytes."""
MESSAGE2_LEN = 66_851
"""Length of message 2, in bytes."""

__all__ = [
    "MESSAGE1_LEN",
    "MESSAGE2_LEN",
    "SETUP_ANSWER_LEN",
    "SETUP_LEN",
    "EcdsaClientOt",
    "EcdsaClientSetup",
    "EcdsaEnclaveOt",
    "EcdsaEnclaveSetup",
    "EcdsaPending",
    "derive_public_key",
    "ecdsa_begin",
    "ecdsa_respond",
    "ecdsa_setup_begin",
    "ecdsa_setup_respond",
]
