"""``/v1/completions/render`` and ``/v1/chat/completions/render``: a request as the engine reads it.

In the form of vLLM's routes. A router that scores servers by cached prefixes asks here which
tokens a request's prompt has (llm-d's ``token-producer``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ingot.inference import SamplingParams
from ingot.server.access.request_context import RequestContext
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.prompts import conversation_of
from ingot.server.engine.service import Service
from ingot.server.http.router import Router
from ingot.server.routes.chat import chat_sampling, check_chat
from ingot.server.routes.completions import check_completion
from ingot.server.routes.generation import sampling_defaults
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import check_together, open_request
from ingot.server.routes.request_objective import objective_of
from ingot.server.schemas.chat import ChatRequest
from ingot.server.schemas.common import GenerationFields, StreamOptions
from ingot.server.schemas.completions import CompletionRequest

_NOT_NUMBERS = frozenset({"grammar", "logit_bias"})


@dataclass(frozen=True)
class RenderedRequest:
    """One prompt of a request, as vLLM's ``GenerateRequest``."""

    request_id: str
    """The request's ``x-request-id``."""
    token_ids: list[int]
    """The prompt."""
    sampling_params: dict[str, Any]
    """How the first answer to it is sampled, by the names of ``SamplingParams``. A grammar is
    checked when the request itself is sent."""
    model: str
    stream: bool
    stream_options: dict[str, Any] | None
    cache_salt: str | None
    priority: int
    features: None = None
    """Images and sounds, which no model here takes."""
    kv_transfer_params: None = None


def add_render(router: Router, service: Service) -> None:
    """Add the routes that render requests."""

    @router.post("/v1/completions/render", list[RenderedRequest], body=CompletionRequest)
    async def completions(http_request: Request) -> Response:
        """Return each prompt of a completions request as tokens, and how it would be sampled."""
        context, request, model = await open_request(http_request, CompletionRequest, service)
        check_together(request, service.config, len(request.prompts), request.candidates_per_prompt)
        check_completion(request)
        objective_of(context, service.config, request.objective)
        prompts = await model.prompts.encode(
            http_request,
            request.prompts,
            add_special_tokens=request.add_special_tokens is not False,
        )
        params = request.sampling_params(0, sampling_defaults(model, service))
        rendered = [_rendered(request, ids, params, model, context) for ids in prompts]
        return json_response(rendered)

    @router.post("/v1/chat/completions/render", RenderedRequest, body=ChatRequest)
    async def chat(http_request: Request) -> Response:
        """Return a conversation as the template writes it, in tokens, and how it would be sampled.

        The answer begins after the last token.
        """
        context, request, model = await open_request(http_request, ChatRequest, service)
        check_together(request, service.config, 1, request.n or 1)
        check_chat(request)
        objective_of(context, service.config, request.objective)
        conversation, _ = conversation_of(request, request.messages)
        prompt = await model.prompts.encode_conversation(http_request, conversation)
        space = model.loop.max_context - len(prompt)
        params = chat_sampling(request, 0, sampling_defaults(model, service), space)
        return json_response(_rendered(request, prompt, params, model, context))


def _rendered(
    request: GenerationFields,
    token_ids: list[int],
    params: SamplingParams,
    model: ServedModel,
    context: RequestContext,
) -> RenderedRequest:
    sampling = {
        field.name: getattr(params, field.name)
        for field in fields(params)
        if field.name not in _NOT_NUMBERS
    }
    sampling["logit_bias"] = {str(token): bias for token, bias in params.logit_bias} or None
    sampling["n"] = request.n or 1
    return RenderedRequest(
        request_id=context.id,
        token_ids=token_ids,
        sampling_params=sampling,
        model=model.name,
        stream=bool(request.stream),
        stream_options=_options(request.stream_options),
        cache_salt=request.cache_salt,
        priority=request.priority or 0,
    )


def _options(options: StreamOptions | None) -> dict[str, Any] | None:
    return None if options is None else options.model_dump()
