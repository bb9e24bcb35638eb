"""The route ``GET /ingots/{name}``: a model's manifest and the costs that follow from its sizes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ingot.artifact import (
    Ingot,
    Scheme,
    fused_matrices,
    knows_conversations,
    packed_tensors,
)
from ingot.inference.config import Weights
from ingot.server.engine.service import Service
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response


@dataclass(frozen=True)
class IngotFacts:
    """The sizes, costs and provenance of a served model."""

    name: str
    digest: str
    dtype: str
    format: str
    """Of the weights in memory: ``int8`` and the like where they are quantized, else the dtype."""
    quantized: bool
    """Whether the ingot itself is, so that there is nothing left to round."""
    tensors: int
    parameters: int
    weight_bytes: int
    """Of all tensors, in the ingot's own format."""
    memory_bytes: int
    """Of all weights in memory: those of a copy that was rounded when loaded, else as stored."""
    kv_bytes_per_token: int
    """Keys and values of one token of context, at two bytes per value."""
    training_flops_per_token: float
    """Forward and backward, in sequences of the whole context."""
    inference_flops_per_token: int
    """Forward only, with half a context before the token."""
    chat: bool
    """Whether it has seen conversations; a base model continues text."""
    generation: dict[str, Any]
    """Sampling parameters that the model recommends, by their names in a request."""
    config: dict[str, Any]
    """The model's architecture, as in ``config.json``."""
    provenance: dict[str, Any]
    """How it was trained: recipe, tokens, FLOPs, wall time, losses."""


def add_ingot_facts(router: Router, service: Service) -> None:
    """Add the route that describes a served model."""

    @router.get("/ingots/{name}", described=False)
    async def ingot_facts(request: Request) -> Response:
        """Describe a served model."""
        model = service.models.find(request.path_params["name"])
        return json_response(facts_of(model.name, model.ingot, model.weights))


def facts_of(name: str, ingot: Ingot, weights: Weights = "stored") -> IngotFacts:
    """Return the facts of an open ingot that is served as ``name``, with weights of a format."""
    config, manifest = ingot.config, ingot.manifest
    context = config.max_position_embeddings
    return IngotFacts(
        name=name,
        digest=manifest.digest,
        dtype=manifest.dtype,
        format=_format_in_memory(ingot, weights),
        quantized=bool(ingot.packed_shapes),
        tensors=len(manifest.tensors),
        parameters=config.parameters,
        weight_bytes=ingot.weight_bytes,
        memory_bytes=_bytes_in_memory(ingot, weights),
        kv_bytes_per_token=config.kv_bytes(),
        training_flops_per_token=config.training_flops(context),
        inference_flops_per_token=config.forward_flops((context + 1) // 2),
        chat=knows_conversations(ingot),
        generation=ingot.generation.sampling(),
        config=dataclasses.asdict(config),
        provenance=manifest.provenance.model_dump(mode="json"),
    )


def _format_in_memory(ingot: Ingot, weights: Weights) -> str:
    kinds = {shape.kind for shape in ingot.packed_shapes.values()}
    if kinds:
        return " and ".join(sorted(kinds))
    return ingot.manifest.dtype if weights == "stored" else weights


def _bytes_in_memory(ingot: Ingot, weights: Weights) -> int:
    if weights == "stored" or ingot.packed_shapes:
        return ingot.weight_bytes
    group = Scheme(weights).group_of(weights)
    kinds = dict.fromkeys(fused_matrices(ingot.config), (weights, group))
    size = {"F32": 4, "BF16": 2, "U8": 1}
    packed = packed_tensors(ingot.config, kinds).values()
    return sum(size[dtype] * math.prod(shape) for dtype, shape in packed)
