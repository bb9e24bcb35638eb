"""``POST /v1/responses``: answer a conversation, in the form of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.request_context import RequestContext
from ingot.server.engine.grammars import ChosenTools, answer_grammar
from ingot.server.engine.prompts import Conversation, conversation_of
from ingot.server.engine.response_store import StoredResponse
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import STREAMED, Router
from ingot.server.routes.generation import GenerationRequest, GenerationResponse, sampling_defaults
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import open_request, request_options
from ingot.server.routes.response_events import ResponsesWriter
from ingot.server.routes.response_input import (
    Item,
    earlier_items,
    messages_of,
    own_items,
    stored_form,
)
from ingot.server.schemas.chat import Tool
from ingot.server.schemas.response_body import InputTokens, ResponseBody
from ingot.server.schemas.responses import ResponsesRequest


def add_responses(router: Router, service: Service) -> None:
    """Add the routes that answer an input, and count its tokens."""

    @router.post("/v1/responses", ResponseBody, body=ResponsesRequest, media_types=STREAMED)
    async def responses(http_request: Request) -> Response:
        """Answer an input; streamed as server-sent events where `stream` is true."""
        context, request, model = await open_request(http_request, ResponsesRequest, service)
        _check(request, service)
        items, conversation, required = _read(request, service, context)
        prompt = await model.prompts.encode_conversation(http_request, conversation, "input")
        if service.config.log_prompts:
            context.prompts = [model.ingot.tokenizer.decode(prompt)]
        many = request.parallel_tool_calls is not False
        tools = ChosenTools(conversation.tools, required, many)
        form = request.text.format if request.text else None
        grammar = await answer_grammar(form, tools, model.grammars.of(context.key_name), "text")
        space = model.loop.max_context - len(prompt)
        params = request.sampling(
            0,
            sampling_defaults(model, service),
            max_tokens=min(request.max_output_tokens or space, space),
            logprobs=request.logprobs_wanted,
            grammar=grammar,
        )
        options = request_options(context, service.config, request.end_user, request)
        generation = GenerationRequest(model, [prompt], [params], options, bool(request.stream))
        writer = ResponsesWriter(
            request,
            model,
            params,
            reads_tools=bool(conversation.tools),
            keep=_keeper(request, service, context, items),
        )
        return GenerationResponse(generation, writer, service, context)

    @router.post("/v1/responses/input_tokens", InputTokens, body=ResponsesRequest)
    async def input_tokens(http_request: Request) -> Response:
        """Count the tokens of the prompt that an input becomes."""
        context, request, model = await open_request(http_request, ResponsesRequest, service)
        _, conversation, _ = _read(request, service, context)
        ids = await model.prompts.render(http_request, conversation, "input")
        return json_response(InputTokens(len(ids)))


def _read(
    request: ResponsesRequest, service: Service, context: RequestContext
) -> tuple[list[Item], Conversation, list[Tool]]:
    """Return the request's own items, the conversation, and the tools of which one is required."""
    owner, store = context.key_name, service.responses
    items = own_items(request, store, owner)
    earlier = earlier_items(request, store, owner, service.config)
    messages = messages_of(request.instructions, [*earlier, *items])
    return items, *conversation_of(request.chat_fields, messages)


def _check(request: ResponsesRequest, service: Service) -> None:
    """Refuse fields that are valid alone but not together, or not in this server."""
    wrong: list[tuple[str, str]] = []
    if request.store and not service.responses.enabled:
        wrong.append(("store", "is true, but this server stores nothing; leave it out"))
    if request.stream_options is not None and not request.stream:
        wrong.append(("stream_options", "only goes with stream=true; leave it out"))
    for name, problem in wrong:
        raise ApiError(400, f"{name} {problem}", param=name, code="invalid_value")


def _keeper(
    request: ResponsesRequest, service: Service, context: RequestContext, items: list[Item]
) -> Callable[[ResponseBody, bytes], None] | None:
    """Return what stores the finished response; None if it is not to be stored."""
    if request.store is False or not service.responses.enabled:
        return None

    def keep(response: ResponseBody, body: bytes) -> None:
        output_ids = tuple(item.id for item in response.output)
        stored = StoredResponse(
            response.id, request.previous_response_id, stored_form(items), body, output_ids
        )
        service.responses.put(context.key_name, stored)

    return keep
