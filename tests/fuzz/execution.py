"""Run a target once, and tell a refusal from a finding."""

from __future__ import annotations

import re

from tests.fuzz.targets import Target


class Finding(Exception):  # noqa: N818
    """A target raised something that it does not declare, or accepted what it must not."""

    def __init__(self, target: Target, data: bytes, error: BaseException) -> None:
        super().__init__(
            f"{target.name}: {type(error).__name__}: {error}\ninput ({len(data)} bytes): {data.hex()}"
        )
        self.data = data


def execute(target: Target, data: bytes) -> str | None:
    """``None`` if ``data`` was accepted, else a text that is the same for refusals of the same kind.

    :raises Finding: neither. Panics of the native core arrive as ``BaseException``.
    """
    try:
        target.run(data)
    except KeyboardInterrupt:
        raise
    except target.refusals as refusal:
        said = re.sub(r"'[^']*'|`[^`]*`|\"[^\"]*\"|0x\w+|[0-9a-f]{8,}|\d+", "_", str(refusal))
        return f"{type(refusal).__name__} {getattr(refusal, 'code', '')} {said[:120]}"
    except BaseException as error:
        raise Finding(target, data, error) from error
    return None
