"""Delegated access on the user's device: what is approved, and the ceremony that gives an app a share (``docs/spec/delegation.md``)."""

from __future__ import annotations

from .prompting import Prompt
from .share import DelegatedShare
from .terms import Limits

__all__ = ["DelegatedShare", "Limits", "Prompt"]
