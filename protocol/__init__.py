"""The contract between client, host and enclave.

``protocol.envelope``
    All that the untrusted host may parse: framing, link requests, storage and tunnel messages.
``protocol.channel``
    The encrypted channel between a client and the enclave (HPKE handshake, records).
``protocol.messages``
    The requests and replies that travel inside that channel.

The formats are specified in ``docs/spec/wire.md`` and ``docs/spec/channel.md``.
"""
