"""A spy on the vault: what was opened, and what was handed out or taken in."""

from __future__ import annotations

from dataclasses import dataclass, field

from enclave.vault import OpenedWallet
from tests.support.world import ENVIRONMENT, Host


@dataclass
class Spy:
    """What happened at the vault since the spy came.

    :ivar opened: wallets whose record was opened.
    :ivar released: shares that were handed out.
    :ivar created: wallets whose share was taken in.
    :ivar changed: wallets of which another share was kept, counts, or was destroyed.
    """

    opened: list[str] = field(default_factory=list)
    released: int = 0
    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def untouched(self) -> bool:
        """Nothing at all happened."""
        return not (self.opened or self.released or self.created or self.changed)


class _Watched:
    """An opened wallet whose share is counted when it is handed out."""

    def __init__(self, opened: OpenedWallet, spy: Spy) -> None:
        self._opened = opened
        self._spy = spy

    def __getattr__(self, name):
        return getattr(self._opened, name)

    def release(self, permit):
        share = self._opened.release(permit)
        self._spy.released += 1
        return share


def watch(host: Host, environment: str = ENVIRONMENT) -> Spy:
    """Watch the vault of the enclave that runs now."""
    assert host.enclave is not None
    spy = Spy()
    vault = host.enclave.environments.in_service(environment)._rooms.vault
    real_open, real_create = vault.open, vault.create

    async def opened(wallet_id, *share_set):
        spy.opened.append(wallet_id)
        return _Watched(await real_open(wallet_id, *share_set), spy)

    async def create(permit, share, wallet, **rest):
        made = await real_create(permit, share, wallet, **rest)
        spy.created.append(wallet.wallet_id)
        return made

    def changing(real):
        async def change(permit, opened, *rest, **more):
            changed = await real(permit, opened, *rest, **more)
            if changed.revision != opened.revision:
                spy.changed.append(opened.wallet.wallet_id)
            return changed

        return change

    vault.open, vault.create = opened, create
    for name in ("keep_pending", "commit", "abort", "retire"):
        setattr(vault, name, changing(getattr(vault, name)))
    return spy
