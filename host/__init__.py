"""The untrusted process on the parent instance.

It carries bytes between clients and the enclave, keeps the enclave's sealed records, and starts and feeds the enclave. It is
trusted for availability alone: of what it forwards it can parse the envelope (``protocol.envelope``) and nothing else.

``config``      the configuration file
``api``         HTTP for clients, over ``http`` (requests, problems, limits)
``link``        the one connection to the enclave; ``whereabouts``, where it is
``supervisor``  starts, provisions and restarts the enclave (``process``, ``credentials``)
``storage``     the store of sealed records, and ``storage_port``, where the enclave reaches it
``tunnel``      byte tunnels to allowed destinations
``obituary_port``  where an enclave says why it ends
``service``     puts the parts together

A process of its own: ``nitro``, the launcher of a Nitro enclave.
"""
