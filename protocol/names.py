"""Names that several layers of the protocol use."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

EnvironmentId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]
