"""Users: what the enclave knows of them, and every way in which that may change (``docs/spec/accounts.md``).

The rules stand in pure functions from record to record, one module for each part of a user's life; :mod:`.directory` stores what they
return, :mod:`.service` serves the requests.
"""
