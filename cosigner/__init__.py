"""The client of Cosigner: holds the user's share, verifies the enclave, signs together with it.

>>> from cosigner import Client, ClientConfig, ShareStore
>>> store = ShareStore.unlock(Path("shares"), passphrase)            # doctest: +SKIP
>>> with Client(ClientConfig.load(), store) as client:               # doctest: +SKIP
...     client.login(jwt)
...     wallet = client.create_wallet("solana")
...     signed = client.sign_solana(wallet.wallet_id, message)
"""

from .client import AsyncClient, Wallet
from .config import ClientConfig
from .errors import (
    AttestationRefused,
    CosignerError,
    EnclaveRefused,
    HostError,
    PayloadError,
    ProtocolError,
    StoreError,
    ThresholdError,
)
from .evidence import Evidence
from .keys import SigningKey
from .signed import BitcoinSignature, EthereumSignature, SolanaSignature
from .store import ShareStore
from .sync import Client

__all__ = [
    "AsyncClient",
    "AttestationRefused",
    "BitcoinSignature",
    "Client",
    "ClientConfig",
    "CosignerError",
    "EnclaveRefused",
    "EthereumSignature",
    "Evidence",
    "HostError",
    "PayloadError",
    "ProtocolError",
    "ShareStore",
    "SigningKey",
    "SolanaSignature",
    "StoreError",
    "ThresholdError",
    "Wallet",
]
