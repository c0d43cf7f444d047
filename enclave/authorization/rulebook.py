"""The policy in force: layers as sealed records, and who may replace which.

The environment's layer is the manifest's until its administrators replace it. The layers of accounts, wallets and signers are absent
until somebody sets them; whether they may be, the environment's layer says (``optionalLayers``).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from policy import Policy, PolicyError, layer_bytes, layer_hash, parse_layer, policy_hash
from protocol.accounts import LayerName, PolicyLayer
from protocol.envelope.errors import CosignerError, Culprit, Reaction

if TYPE_CHECKING:
    from enclave.manifest import Environment
    from enclave.records import Records
    from policy import Layer
    from protocol.accounts import SetPolicy

KIND: Final = "policies"
NO_LAYER: Final = bytes(32)  # the hash of a layer that is absent
_MOST_PARSED: Final = 1024


class StoredLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One layer, as sealed. ``content`` is canonical, or empty when the layer was taken away."""

    version: Annotated[int, Meta(ge=1, le=1)]
    content: bytes


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """What decides on one action.

    :ivar hash: names these very rules; 32 bytes, zeros if there are none.
    :ivar counted: names of the layers that have rolling totals.
    """

    policy: Policy
    hash: bytes
    counted: frozenset[str]


NO_RULES: Final = RulesInForce(Policy(()), NO_LAYER, frozenset())


class Rulebook:
    """The layers of one environment."""

    def __init__(self, environment: Environment, records: Records) -> None:
        self._records = records
        self._first = _canonical(environment.policy.encode()) if environment.policy else b""
        self._parsed: OrderedDict[tuple[bytes, ...], RulesInForce] = OrderedDict()

    async def in_force(self, user_id: str, wallet_id: str | None = None) -> RulesInForce:
        """The rules for what a user does, with a wallet or without.

        :raises CosignerError: as :meth:`enclave.records.Records.read`.
        """
        contents = [
            (await self._read("environment", ""))[0],
            (await self._read("account", user_id))[0],
        ]
        if wallet_id is not None:
            contents.append((await self._read("wallet", wallet_id))[0])
            contents.append((await self._read("signer", f"{wallet_id}:{user_id}"))[0])
        return self._parse(tuple(contents))

    async def show(self, layer: LayerName, subject: str) -> PolicyLayer:
        """One layer; with empty content where there is none."""
        content, revision = await self._read(layer, subject)
        named = layer_hash(parse_layer(content)) if content else NO_LAYER
        return PolicyLayer(layer=layer, subject=subject, version=revision, hash=named, content=content)

    async def replace(self, request: SetPolicy) -> PolicyLayer:
        """Put another layer in force. Whether whoever asks may do that, the gate has decided.

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
            await self._records.write(KIND, key, StoredLayer(version=1, content=content), expected=expected)
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
        found = await self._records.read(KIND, _key(layer, subject), StoredLayer)
        if found is None:
            return (self._first if layer == "environment" else b""), 0
        return found.value.content, found.revision

    def _parse(self, contents: tuple[bytes, ...]) -> RulesInForce:
        """Reading rules costs more than deciding by them, so what was read is kept."""
        known = self._parsed.get(contents)
        if known is None:
            layers = tuple(parse_layer(content) for content in contents if content)
            policy = Policy(layers)
            counted = frozenset(layer.name for layer in layers if _counts(layer))
            known = RulesInForce(policy, policy_hash(policy) if layers else NO_LAYER, counted)
            self._parsed[contents] = known
            if len(self._parsed) > _MOST_PARSED:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(contents)
        return known


def _counts(layer: Layer) -> bool:
    return any(limit.total is not None for rule in layer.rules for limit in rule.limits)


def _canonical(raw: bytes) -> bytes:
    return layer_bytes(parse_layer(raw))


def _key(layer: LayerName, subject: str) -> str:
    """Where a layer is stored. A signer's subject is ``WALLET:USER``."""
    return f"{layer}/{subject.replace(':', '/')}" if subject else layer


def _invalid(message: str) -> CosignerError:
    return CosignerError("policy_invalid", message[:1000], culprit=Culprit.CLIENT)
