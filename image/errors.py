"""The one exception of this package."""

from __future__ import annotations


class ImageError(Exception):
    """The image cannot be built from this input. The message says what is wrong with which file."""
