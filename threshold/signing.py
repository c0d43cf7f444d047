"""FROST (RFC 9591) in one round trip, and signature verification (``docs/spec/threshold.md``, "Signing").

Initiator: :func:`frost_begin`, send the commitments with the request; responder: :func:`frost_respond`, answer with
its commitments and signature shares; initiator: :meth:`SigningNonces.finish`, which verifies what it returns. For
t > 2 the signers between use the ordinary two rounds: :func:`frost_begin`, then :meth:`SigningNonces.sign` when
everybody's commitments are known.
"""

from __future__ import annotations

from ._native import SigningNonces, frost_begin, frost_respond, verify_signature

__all__ = ["SigningNonces", "frost_begin", "frost_respond", "verify_signature"]
