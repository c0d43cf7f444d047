"""Who may do what: evidence, ownership, policy, usage and receipts, in one order, for every request (``docs/spec/authorization.md``).

Nothing that touches a share runs without a :class:`~enclave.authorization.permits.Permit`, and only this package makes any.
"""
