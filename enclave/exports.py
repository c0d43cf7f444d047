"""The enclave's share leaves, sealed for one answer: the key is put together on the user's own device, never here (``docs/spec/lifecycle.md`` §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.envelope import cbor
from protocol.lifecycle import ExportedShare
from threshold import SealingKey

from .work import compute

if TYPE_CHECKING:
    from protocol.lifecycle import ExportShare

    from .authorization.permits import Permit
    from .vault import OpenedWallet


async def export_share(permit: Permit, opened: OpenedWallet, request: ExportShare) -> ExportedShare:
    """Seal the share under the key that the client chose for this answer.

    :raises CosignerError: ``epoch_stale``, ``epoch_superseded``, ``wallet_retired``.
    :raises ThresholdError: ``invalid_parameter``: the key is all zeros.
    """
    opened.require_epoch(request.epoch)
    wrapping_key = SealingKey.from_data_key(request.wrapping_key)
    bound = cbor.encode(opened.wallet)
    sealed = await compute(wrapping_key.seal_share, opened.release(permit), bound)
    return ExportedShare(wallet=opened.wallet, sealed=sealed)
