"""Encrypted backups of the user's shares: their files, and the places where they lie (``docs/spec/backups.md``)."""
