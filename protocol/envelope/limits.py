"""Every size and count limit of the wire, in bytes unless the name says otherwise (``docs/spec/wire.md``)."""

from __future__ import annotations

from typing import Final

MAX_FRAME: Final = 1 << 20  # one link, storage or tunnel frame
MAX_RECORD: Final = MAX_FRAME - 1024  # one channel record, leaving room for its envelope
MAX_HELLO: Final = 64 << 10  # client hello and enclave hello
MAX_DEPTH: Final = 16  # nesting of CBOR containers
MAX_MANIFEST: Final = 64 << 10
MAX_STORED_VALUE: Final = 64 << 10
MAX_STORAGE_KEY: Final = 256
MAX_LIST: Final = 1000  # keys in one storage listing
MAX_LOG_ENTRY: Final = 256 << 10  # one entry of the log of decisions, without its signature
MAX_LOG_BATCH: Final = 512 << 10  # entries appended at once, all together
MAX_LOG_ENTRIES: Final = 512  # entries appended at once
MAX_LOG_HEADS: Final = 16  # newest entries of earlier logs that the host shows
MAX_NEEDS: Final = 32  # factors or approvers that one fault names
MAX_EVENT_DATA: Final = 32 << 10  # what a webhook says, as JSON
MAX_EVENT_ENDPOINT: Final = 512
MAX_HTTP_BODY: Final = MAX_FRAME
MIN_NONCE: Final = 16  # attestation nonce
MAX_NONCE: Final = 64
SESSION_ID_LENGTH: Final = 16
