"""What the untrusted host may parse, and nothing more (``docs/spec/wire.md``).

The host sees lengths, request kinds and session identifiers. Session contents are opaque bytes to it.
"""
