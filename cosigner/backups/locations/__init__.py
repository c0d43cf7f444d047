"""Places where encrypted backups lie: small adapters behind one interface (``docs/spec/backups.md``).

What is stored is ciphertext. A location is trusted with availability only: it may lose, withhold, swap and roll back what it keeps, and
whoever opens a backup finds that out.
"""

from .interface import MAX_BACKUP, BackupLocation, LocationError
from .opening import SYNTAX, Service, open_location
from .secrets import LocationSecrets, SecretFile, Token

__all__ = [
    "MAX_BACKUP",
    "SYNTAX",
    "BackupLocation",
    "LocationError",
    "LocationSecrets",
    "SecretFile",
    "Service",
    "Token",
    "open_location",
]
