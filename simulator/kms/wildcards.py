"""`*` for any characters, `?` for one."""

from __future__ import annotations

import re
from typing import Final

_ARN_PARTS: Final = 6


def is_like(text: str, pattern: str) -> bool:
    """Does the whole text fit?"""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def is_like_arn(text: str, pattern: str) -> bool:
    """The same for ARNs: wildcards stay within one of the six parts (IAM User Guide, «ARN condition operators»)."""
    texts, patterns = text.split(":", _ARN_PARTS - 1), pattern.split(":", _ARN_PARTS - 1)
    return len(texts) == len(patterns) == _ARN_PARTS and all(map(is_like, texts, patterns))
