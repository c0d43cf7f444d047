"""The trusted core: everything that runs inside the enclave.

Rooms: ``boot`` (phases), ``manifest`` (what is measured into PCR16), ``nsm`` and ``kms`` (AWS), ``keys`` and ``vault`` (data keys,
sealed shares), ``identity`` (channel key and attestation), ``sessions`` and ``server`` (frames, records), ``wallets`` and ``signing``
(ceremonies). ``app`` puts them together; ``main`` is the production composition root.
"""
