"""Delegated access: an app signs for its user, within limits, until revoked (``docs/spec/delegation.md``)."""
