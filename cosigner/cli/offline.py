"""``--offline``: two shares of a wallet, from this device's store and from files, and no connection."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit

from ..backups.files import open_offline  # noqa: TID252
from ..offline import OfflineWallet, fitting  # noqa: TID252
from . import opening
from .inputs import read_file
from .secrets import secret

if TYPE_CHECKING:
    from pathlib import Path

    from protocol.wallets import WalletInfo
    from threshold import KeyShare

    from .output import Output


def offline_wallet(options: argparse.Namespace, output: Output) -> OfflineWallet:
    """Two shares: this device's of ``--wallet``, if it is named, and those of ``--share-file``.

    :raises CosignerError: ``shares_mismatch``, ``usage``, and those of reading and opening.
    """
    infos: list[WalletInfo] = []
    shares: list[KeyShare] = []
    if options.wallet is not None:
        store = opening.unlocked(options, output, create=False)
        share, stored = store.load_any(options.wallet)
        infos.append(stored.info)
        shares.append(share)
    files: list[Path] = options.share_file or []
    passphrases: list[Path] = options.share_passphrase_file or []
    if len(passphrases) not in {0, 1, len(files)}:
        raise CosignerError(
            "usage", "Name one passphrase file for all shares, or one for each.", culprit=Culprit.CLIENT
        )
    for index, file in enumerate(files):
        at = passphrases[min(index, len(passphrases) - 1)] if passphrases else None
        passphrase = secret(at, f"passphrase of {file}", "--share-passphrase-file")
        with output.step(f"Opening {file}"):
            header, share = open_offline(read_file(file), passphrase)
        infos.append(header.wallet(share.group_public_key))
        shares.append(share)
    if len(set(infos)) != 1 and len(shares) > 1:
        raise CosignerError(
            "shares_mismatch",
            "These shares are of different wallets or epochs; they never fit together.",
            culprit=Culprit.CLIENT,
        )
    if not infos:
        raise CosignerError("usage", "Name two shares: --wallet and --share-file.", culprit=Culprit.CLIENT)
    return fitting(infos[0], shares)
