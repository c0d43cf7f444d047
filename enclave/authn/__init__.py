"""Who somebody is: verifiers of logins, keys, passkeys and codes.

All of them are pure: bytes, keys and the time go in; what was verified comes out, or a refusal is raised. They keep nothing and know
no records. Only :mod:`.jwks_fetching` reaches outside, to fetch an issuer's keys over TLS that ends here.

=======================  ===============================================================================
:mod:`.clock`            what time it is
:mod:`.logins`           all issuers of an environment: fetching keys where it must, verifying
:mod:`.jwt`              one login: a JWT of a trusted issuer
:mod:`.jwks`             whose keys sign JWTs: pinned in the manifest
:mod:`.jwks_fetching`    the same, fetched from a URL that stands there
:mod:`.session_keys`     a session key's proofs
:mod:`.passkeys`         WebAuthn registrations and assertions (level 3, §7.1 and §7.2)
:mod:`.webauthn_forms`   the strict reading of what passkeys consist of
:mod:`.keys`             raw keys: Ed25519, P-256, RSA
:mod:`.credentials`      what a verified registration gives
:mod:`.totp`             time-based codes (RFC 6238)
:mod:`.codes`            one-time codes
=======================  ===============================================================================
"""
