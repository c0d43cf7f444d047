"""The policy in force: layers as sealed records, and who may replace which.

The environment's layer is the manifest's until its administrators replace it. The layers of accounts, wallets and signers are absent
until somebody sets them; whether they may be, the environment's layer says (``optionalLayers``).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from enclave.records import CACHE_SECONDS, nothing_more
from policy import Policy, PolicyError, layer_bytes, layer_hash, parse_layer
from protocol.accounts import LayerName, PolicyLayer
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.receipts import PolicyVersion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enclave.manifest import Environment
    from enclave.records import Records
    from policy import Layer
    from protocol.accounts import SetPolicy

KIND: Final = "policies"
_MOST_ABSENT: Final = 100_000  # keys
NO_LAYER: Final = bytes(32)  # the hash of a layer that is absent
_MOST_PARSED: Final = 4 << 20  # bytes of content whose layers are kept in memory


class StoredLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One layer, as sealed. ``content`` is canonical, or empty when the layer was taken away."""

    version: Annotated[int, Meta(ge=1, le=1)]
    content: bytes


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """What decides on one action.

    :ivar versions: names these very rules.
    :ivar counted: names of the layers that have rolling totals or rates.
    :ivar signer: whose the totals of the layer ``signer`` are; empty: the user's.
    """

    policy: Policy
    versions: tuple[PolicyVersion, ...]
    counted: frozenset[str]
    signer: str = ""


@dataclass(frozen=True, slots=True)
class SignerRules:
    """The layer ``signer`` of a delegate: what the user approved, or what was said beside it later.

    :ivar name: whose the totals are, as a part of a record's key: the share set's id, and more where there are several such layers.
    :ivar content: canonical.
    """

    name: str
    version: int
    content: bytes


@dataclass(frozen=True, slots=True)
class _Parsed:
    """One layer's content, read."""

    layer: Layer
    hash: bytes
    counts: bool


class Rulebook:
    """The layers of one environment."""

    def __init__(self, environment: Environment, records: Records) -> None:
        self._records = records
        self._first = _canonical(environment.policy.encode()) if environment.policy else b""
        self._parsed: OrderedDict[bytes, _Parsed] = OrderedDict()
        self._size = 0
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._changes = 0

    async def in_force(
        self, user_id: str, wallet_id: str | None = None, delegate: SignerRules | None = None
    ) -> RulesInForce:
        """The rules for what a user does, with a wallet or without; or for what a delegate does with the user's wallet.

        :param delegate: in the place of the user's own layer ``signer``.
        :raises CosignerError: as :meth:`enclave.records.Records.read`.
        """
        wanted: list[tuple[LayerName, str]] = [("environment", ""), ("account", user_id)]
        if wallet_id is not None:
            wanted.append(("wallet", wallet_id))
        if wallet_id is not None and delegate is None:
            wanted.append(("signer", f"{wallet_id}:{user_id}"))
        found = [(name, subject, *await self._read(name, subject)) for name, subject in wanted]
        if delegate is not None:
            subject = f"{wallet_id}:{delegate.name}".replace("/", ":")
            found.append(("signer", subject, delegate.content, delegate.version))
        layers, versions, counted = [], [], []
        for name, subject, content, revision in found:
            if content:
                parsed = self._parse(content)
                layers.append(parsed.layer)
                versions.append(
                    PolicyVersion(layer=name, subject=subject, version=revision, hash=parsed.hash)
                )
                if parsed.counts:
                    counted.append(name)
        return RulesInForce(
            Policy(tuple(layers)),
            tuple(versions),
            frozenset(counted),
            "" if delegate is None else delegate.name,
        )

    async def show(self, layer: LayerName, subject: str) -> PolicyLayer:
        """One layer; with empty content where there is none."""
        content, revision = await self._read(layer, subject)
        named = self._parse(content).hash if content else NO_LAYER
        return PolicyLayer(layer=layer, subject=subject, version=revision, hash=named, content=content)

    async def replace(
        self, request: SetPolicy, require: Callable[[], Awaitable[object]] = nothing_more
    ) -> PolicyLayer:
        """Put another layer in force. Whether whoever asks may do that, the gate has decided.

        :param require: raises if whoever asks may do it no longer; asked right before the write.
        :raises CosignerError: ``policy_invalid``; ``user_conflict``: the layer is another than the request says; and as
            :meth:`enclave.records.Records.write`.
        """
        content = self.check(request)
        async with self._records.lock(KIND, _key(request.layer, request.subject)):
            before = await self.show(request.layer, request.subject)
            if before.hash != request.expected:
                raise CosignerError(
                    "user_conflict",
                    "The layer was changed in the meantime; look at it and decide again.",
                    culprit=Culprit.CLIENT,
                    reaction=Reaction.RETRY,
                )
            key = _key(request.layer, request.subject)
            found = await self._records.read(KIND, key, StoredLayer)
            expected = 0 if found is None else found.revision
            await require()
            await self._records.write(KIND, key, StoredLayer(version=1, content=content), expected=expected)
            self._absent.pop(key, None)
            self._changes += 1
            return await self.show(request.layer, request.subject)

    @staticmethod
    def check(request: SetPolicy) -> bytes:
        """The canonical content of the layer that a request wants; empty to take the layer away.

        :raises CosignerError: ``policy_invalid``.
        """
        if not request.content:
            if request.layer == "environment":
                raise _invalid("The environment's layer cannot be taken away.")
            return b""
        try:
            layer = parse_layer(request.content)
        except PolicyError as error:
            raise _invalid(str(error)) from None
        if layer.name != request.layer:
            raise _invalid(f"This is a layer of {layer.name}.")
        return layer_bytes(layer)

    async def _read(self, layer: LayerName, subject: str) -> tuple[bytes, int]:
        key = _key(layer, subject)
        found, changes = None, self._changes
        if self._absent.get(key, 0.0) <= time.monotonic():
            found = await self._records.read(KIND, key, StoredLayer)
        if found is None:
            if changes == self._changes:  # else it may have been made since it was not found
                self._remember_absent(key)
            return (self._first if layer == "environment" else b""), 0
        return found.value.content, found.revision

    def _remember_absent(self, key: str) -> None:
        """Most layers are absent. That one is, is believed as long as what a record holds."""
        now = time.monotonic()
        if self._absent.get(key, 0.0) <= now:
            self._absent[key] = now + CACHE_SECONDS
            self._absent.move_to_end(key)
        if len(self._absent) > _MOST_ABSENT:
            self._absent.popitem(last=False)

    def _parse(self, content: bytes) -> _Parsed:
        """Reading rules costs more than deciding by them, so what was read is kept."""
        known = self._parsed.get(content)
        if known is None:
            layer = parse_layer(content)
            counts = any(rule.counted for rule in layer.rules)
            known = self._parsed[content] = _Parsed(layer, layer_hash(layer), counts)
            self._size += len(content)
            while self._size > _MOST_PARSED:
                self._size -= len(self._parsed.popitem(last=False)[0])
        else:
            self._parsed.move_to_end(content)
        return known


def _canonical(raw: bytes) -> bytes:
    return layer_bytes(parse_layer(raw))


def _key(layer: LayerName, subject: str) -> str:
    """Where a layer is stored. A signer's subject is ``WALLET:USER``."""
    return f"{layer}/{subject.replace(':', '/')}" if subject else layer


def _invalid(message: str) -> CosignerError:
    return CosignerError("policy_invalid", message[:1000], culprit=Culprit.CLIENT)
