"""Telling developers' endpoints what happened: a durable outbox behind the store, and a sender (``docs/spec/webhooks.md``).

Nothing here is trusted. Whoever holds a webhook's secret, this host included, can make a webhook up; it moves no funds and opens no
share, and the enclave's receipt that rides in ``data`` cannot be made up here.
"""
