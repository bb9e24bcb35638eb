"""Fields of OpenAI's that concern its service; every client may send them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ingot.server.schemas.common import Strict

EndUser = Annotated[str, Field(max_length=128)]
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64)],
        Annotated[str, Field(max_length=512)],
    ],
    Field(max_length=16),
]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]


class ServiceFields(Strict):
    """Fields about accounts, tiers and caches of OpenAI's service.

    Those that only advise its machinery are accepted without effect, because a client
    cannot leave them out and an answer is the same with them.
    """

    user: EndUser | None = None
    """Shares the engine fairly with the key's other end users; a field in the log."""
    safety_identifier: EndUser | None = None
    """Takes the place of ``user`` where that is absent."""
    metadata: Metadata | None = None
    """Belongs to what is stored; without effect on what is not."""
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    """Without effect: there is one tier, and the answer names it (``default``)."""
    prompt_cache_key: Annotated[str, Field(max_length=1024)] | None = None
    """Without effect: it would choose among machines, and here prefixes are always cached."""
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    """Without effect: a prefix is kept while there is space."""

    @property
    def end_user(self) -> str | None:
        """The client's own end user."""
        return self.user or self.safety_identifier
