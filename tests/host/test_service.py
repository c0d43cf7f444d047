"""The host's own start."""

from __future__ import annotations

import pytest

from host import service
from tests.host.rig import Rig, configuration_for, short_folder


def test_a_server_that_cannot_start_ends_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """It once waited for ever: a module that the server imports by name was missing in an image."""

    async def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'uvicorn.lifespan'")

    monkeypatch.setattr(service._Server, "startup", missing)
    with short_folder() as folder:
        rig = Rig(folder, None, configuration_for(folder))
        with pytest.raises(ModuleNotFoundError):
            rig.start()
        assert rig.url == ""
