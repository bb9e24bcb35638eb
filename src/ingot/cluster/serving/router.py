"""Ray's prefix-aware router, where replicas end at any time."""

from __future__ import annotations

from typing import Any

# Not ``ray.serve.llm``, which also holds this router but asks for vLLM's configuration.
from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_aware_router import (
    PrefixCacheAffinityRouter,
)


class EngineRouter(PrefixCacheAffinityRouter):  # type: ignore[misc]  # Ray has no types
    """Sends a prompt to the replica that has seen its beginning.

    Ray's router may name a replica that has just ended, which it does not know any more. The
    request then goes to the less busy of two others, as it does where nothing is known.
    """

    async def choose_replicas(
        self, candidate_replicas: list[Any], pending_request: Any | None = None
    ) -> list[list[Any]]:
        """Return the replicas for a request, best first."""
        try:
            chosen: list[list[Any]] = await super().choose_replicas(
                candidate_replicas, pending_request
            )
        except KeyError:
            chosen = await super().choose_replicas(candidate_replicas, None)
        return chosen
