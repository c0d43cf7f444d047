"""Pull the plug: let a function die at its n-th step on the file system, and do nothing any more after that."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

STEPS = ("open", "fsync", "rename", "replace", "unlink", "mkdir")


class PowerLoss(BaseException):
    """Nothing in the product may catch this and go on: the process is gone."""


def crash_at(step: int, action: Callable[[], object], *, after: bool = False) -> bool:
    """Run ``action`` and die before (or after) step number ``step``, counting from 0; whether it got that far.

    After the plug is pulled every further step fails, too, so that handlers that tidy up cannot.
    """
    done = 0
    dead = False

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal done, dead
            if dead:
                raise PowerLoss
            number, done = done, done + 1
            if number == step:
                dead = True
                if after:
                    real(*args, **kwargs)
                raise PowerLoss
            return real(*args, **kwargs)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, wrap(getattr(os, name)))
        try:
            action()
        except PowerLoss:
            return True
    return False


def steps_of(action: Callable[[], object]) -> int:
    """How many steps ``action`` makes."""
    number = 0

    def count(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal number
            number += 1
            return real(*args, **kwargs)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, count(getattr(os, name)))
        action()
    return number
