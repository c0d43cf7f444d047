"""What is refused, and by which code."""

from __future__ import annotations

import typing

import pytest

from protocol.envelope.errors import CosignerError


async def refuses(code: str, awaitable: typing.Awaitable[typing.Any]) -> CosignerError:
    """The refusal of a call, which must have this code."""
    with pytest.raises(CosignerError) as refused:
        await awaitable
    assert refused.value.code == code, refused.value
    return refused.value
