"""A stock JWT issuer for the mock stack: `python -m simulator.issuer`, or `IssuerSimulator` in tests. See README.md."""

from simulator.issuer.keys import KeyRing
from simulator.issuer.server import HOST, ISSUER, IssuerSimulator
from simulator.issuer.tokens import TokenError, TokenMaker

__all__ = ["HOST", "ISSUER", "IssuerSimulator", "KeyRing", "TokenError", "TokenMaker"]
