"""Builds what is measured: ramdisks and the enclave image file, byte for byte the same from the same input."""
