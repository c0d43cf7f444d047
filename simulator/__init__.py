"""Fakes with real behaviour: NSM, KMS, root CA. Never part of a production image."""
