"""Who the enclave is to its clients: a rotating channel key, vouched for by attestation documents."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from protocol.binding import AttestedKeys
from protocol.channel import KEY_ID_LENGTH, ChannelKey
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import Attested

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.binding import KeyPolicy

    from .nsm import Nsm

ROTATION: Final = 3600.0  # seconds a channel key is handed out
GRACE: Final = 600.0  # seconds more during which hellos to it are still answered


class Identity:
    """Holds the current channel key and, for a while, the one before.

    :param key_policy: what documents say of the KMS keys' policies at the time.
    :param receipt_key: the public key that signs the log of decisions, 32 bytes.
    """

    def __init__(
        self,
        nsm: Nsm,
        key_policy: Callable[[], KeyPolicy],
        receipt_key: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nsm = nsm
        self._key_policy = key_policy
        self._receipt_key = receipt_key
        self._clock = clock
        self._current = ChannelKey()
        self._made = clock()
        self._previous: ChannelKey | None = None

    async def attest(self, nonce: bytes) -> Attested:
        """An attestation document over ``nonce`` and the current channel key.

        :raises NsmError: the NSM refused.
        """
        self._rotate()
        key = self._current
        return Attested(document=await self._document(key, nonce), channel_key=key.public_bytes)

    async def document(self, nonce: bytes) -> bytes:
        """A document over ``nonce`` for the log of decisions.

        :raises NsmError: the NSM refused.
        """
        return await self._document(self._current, nonce)

    async def _document(self, key: ChannelKey, nonce: bytes) -> bytes:
        keys = AttestedKeys(
            version=1,
            channel_key=key.hash,
            key_policy=self._key_policy(),
            receipt_key=self._receipt_key,
        )
        return await asyncio.to_thread(self._nsm.attest, keys.encode(), nonce, None)

    def key_for(self, hello: bytes) -> ChannelKey:
        """The key that a client hello names.

        :raises CosignerError: ``channel_key_unknown``: fetch a new attestation document and try again.
        """
        self._rotate()
        for key in (self._current, self._previous):
            if key is not None and hello[:KEY_ID_LENGTH] == key.key_id:
                return key
        raise CosignerError(
            "channel_key_unknown",
            "The channel key was rotated, or the enclave restarted; fetch a new attestation document.",
            culprit=Culprit.CLIENT,
            reaction=Reaction.RETRY,
        )

    def _rotate(self) -> None:
        age = self._clock() - self._made
        if age >= ROTATION:
            self._previous = self._current if age < ROTATION + GRACE else None
            self._current, self._made = ChannelKey(), self._clock()
        elif age >= GRACE:
            self._previous = None
