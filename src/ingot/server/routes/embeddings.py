"""``POST /v1/embeddings``: the mean of a text's last hidden states, in OpenAI's form.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from ingot.errors import ServeError
from ingot.inference import OutputDelta
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.generation import GenerationRequest, GenerationResponse
from ingot.server.routes.request_body import open_request, request_options
from ingot.server.routes.usage import UsageCounter
from ingot.server.schemas.common import Count, EndUser, ModelRequest, Prompt, kind_of


class EmbeddingsRequest(ModelRequest):
    """The body of ``POST /v1/embeddings``."""

    input: Prompt
    encoding_format: Literal["float", "base64"] | None = "float"
    """How the numbers are written; base64 encodes little-endian float32."""
    dimensions: Count | None = None
    """Only the width of the model: a part of these embeddings would mean less than a whole one
    of a smaller model, because no model here is trained to be cut."""
    user: EndUser | None = None

    @property
    def inputs(self) -> list[str] | list[list[int]]:
        """The inputs, as a list whatever form they came in."""
        given: Any = self.input
        return [given] if kind_of(given) in ("text", "ids") else given


@dataclass(frozen=True)
class Embedding:
    """One input's embedding."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


@dataclass(frozen=True)
class EmbeddingsUsage:
    """Tokens of the inputs."""

    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class Embeddings:
    """The answer to a request."""

    data: list[Embedding]
    model: str
    system_fingerprint: str
    usage: EmbeddingsUsage
    object: Literal["list"] = "list"


def add_embeddings(router: Router, service: Service) -> None:
    """Add the embeddings route."""

    @router.post("/v1/embeddings", Embeddings, body=EmbeddingsRequest)
    async def embeddings(http_request: Request) -> Response:
        """Return the mean of each input's last hidden states."""
        context, request, model = await open_request(http_request, EmbeddingsRequest, service)
        _check_width(request, model.ingot.config.hidden_size)
        prompts = await model.prompts.encode(http_request, request.inputs, "input")
        if service.config.log_prompts:
            context.prompts = [model.ingot.tokenizer.decode(ids) for ids in prompts]
        generation = GenerationRequest(
            model=model,
            prompts=prompts,
            candidates=[None],
            options=request_options(context, service.config, request.user),
            stream=False,
        )
        writer = _Writer(request, model.name, model.digest)
        return GenerationResponse(generation, writer, service, context)


def _check_width(request: EmbeddingsRequest, width: int) -> None:
    if request.dimensions not in (None, width):
        raise ApiError(
            400,
            f"dimensions: this model's embeddings have {width} numbers and are not made to be cut; "
            "leave it out",
            param="dimensions",
            code="invalid_value",
        )


class _Writer:
    """Writes embeddings in OpenAI's form; they are never streamed."""

    def __init__(self, request: EmbeddingsRequest, model: str, digest: str) -> None:
        self._request = request
        self._model = model
        self._digest = digest
        self._written: dict[int, orjson.Fragment] = {}

    def collect(self, index: int, delta: OutputDelta) -> None:
        if delta.embedding is not None:
            self._written[index] = self._as_json(delta.embedding)

    def whole(self, answers: list[OutputDelta], counter: UsageCounter) -> bytes:
        if len(self._written) < len(answers):
            raise ServeError("gave no embedding", where="engine")
        data = [
            Embedding(index, self._written[index])  # type: ignore[arg-type]  # JSON already
            for index in range(len(answers))
        ]
        read = counter.prompt_tokens
        return orjson.dumps(
            Embeddings(data, self._model, self._digest, EmbeddingsUsage(read, read))
        )

    def opening(self) -> Iterable[bytes]:
        return ()

    def pieces(self, index: int, delta: OutputDelta) -> Iterable[bytes]:
        del index, delta
        return ()

    def closing(self, counter: UsageCounter) -> Iterable[bytes]:
        del counter
        return ()

    def fault(self, error: ApiError) -> bytes:
        return error.body.to_json()

    def _as_json(self, embedding: NDArray[np.float32]) -> orjson.Fragment:
        numbers = np.ascontiguousarray(embedding, "<f4")
        if self._request.encoding_format == "base64":
            return orjson.Fragment(orjson.dumps(base64.b64encode(numbers.tobytes()).decode()))
        # As doubles: the shortest text of a float32 is another number to a reader of doubles.
        doubles = numbers.astype(np.float64)
        return orjson.Fragment(orjson.dumps(doubles, option=orjson.OPT_SERIALIZE_NUMPY))
