"""``POST /v1/responses``: text in, text out, in the form of OpenAI's Responses API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any, Literal

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ingot.inference import OutputDelta
from ingot.server.engine.grammars import format_grammar
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.prompts import Conversation
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import STREAMED, Router
from ingot.server.routes.generation import (
    GenerationRequest,
    GenerationResponse,
    UsageCounter,
    server_sent_event,
)
from ingot.server.routes.request_body import open_request, request_options
from ingot.server.schemas.messages import AssistantMessage, Instruction, Message, UserMessage
from ingot.server.schemas.responses import InputMessage, ResponsesRequest

Status = Literal["in_progress", "completed", "incomplete", "failed"]


def add_responses(router: Router, service: Service) -> None:
    """Add the responses route."""

    @router.post("/v1/responses", body=ResponsesRequest, media_types=STREAMED)
    async def responses(http_request: Request) -> Response:
        """Answer an input; streamed as server-sent events where `stream` is true."""
        context, request, model = await open_request(http_request, ResponsesRequest, service)
        conversation = Conversation(_messages(request))
        prompt = await model.prompts.encode_conversation(http_request, conversation, "input")
        if service.config.log_prompts:
            context.prompts = [model.ingot.tokenizer.decode(prompt)]
        wanted = request.text.format if request.text else None
        grammar = await format_grammar(wanted, model.grammars, "text")
        space = model.loop.max_context - len(prompt)
        limit = min(request.max_output_tokens or space, space)
        params = request.sampling_fields.sampling(0, max_tokens=limit, grammar=grammar)
        options = request_options(context, service.config, request.user)
        generation = GenerationRequest(model, [prompt], [params], options, bool(request.stream))
        return GenerationResponse(generation, ResponsesWriter(request, model), service, context)


def _messages(request: ResponsesRequest) -> list[Message]:
    """Return the input as a conversation."""
    said: list[Message] = []
    if request.instructions:
        said.append(Instruction(role="system", content=request.instructions))
    if isinstance(request.input, str):
        return [*said, UserMessage(role="user", content=request.input)]
    return [*said, *map(_message, request.input)]


def _message(message: InputMessage) -> Message:
    content = message.content
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    if message.role == "user":
        return UserMessage(role="user", content=text)
    if message.role == "assistant":
        return AssistantMessage(role="assistant", content=text)
    return Instruction(role=message.role, content=text)


class ResponsesWriter:
    """Writes an answer in the form of OpenAI's responses: one message of one text."""

    def __init__(self, request: ResponsesRequest, model: ServedModel) -> None:
        self._request = request
        self._model = model
        self._id = f"resp_{uuid.uuid4().hex}"
        self._item_id = f"msg_{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._events = 0
        self._text: list[str] = []
        self._cut = False

    def whole(self, answers: list[OutputDelta], counter: UsageCounter) -> bytes:
        """Return the body."""
        self._hear(answers[0])
        return orjson.dumps(self._response(self._end(), counter))

    def opening(self) -> Iterator[bytes]:
        """Return the events that announce the message."""
        yield self._event("response.created", response=self._response("in_progress"))
        yield self._event("response.in_progress", response=self._response("in_progress"))
        item = self._item("in_progress") | {"content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.content_part.added", **self._part_location(), part=_part(""))

    def pieces(self, index: int, delta: OutputDelta) -> Iterator[bytes]:
        """Return the event of new text, if there is any."""
        del index
        self._hear(delta)
        if delta.text:
            yield self._event(
                "response.output_text.delta", **self._part_location(), delta=delta.text, logprobs=[]
            )

    def closing(self, counter: UsageCounter) -> Iterator[bytes]:
        """Return the events that complete the message."""
        text, end = "".join(self._text), self._end()
        yield self._event(
            "response.output_text.done", **self._part_location(), text=text, logprobs=[]
        )
        yield self._event("response.content_part.done", **self._part_location(), part=_part(text))
        yield self._event("response.output_item.done", output_index=0, item=self._item(end))
        yield self._event(f"response.{end}", response=self._response(end, counter))

    def fault(self, error: ApiError) -> bytes:
        """Return the error as an event."""
        detail = error.body.error
        return self._event("error", code=detail.code, message=detail.message, param=detail.param)

    def _hear(self, delta: OutputDelta) -> None:
        self._text.append(delta.text)
        self._cut = delta.finish_reason == "length"

    def _end(self) -> Status:
        return "incomplete" if self._cut else "completed"

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._events} | fields
        self._events += 1
        return server_sent_event(orjson.dumps(event), kind)

    def _part_location(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _item(self, status: Status) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [_part("".join(self._text))],
        }

    def _response(self, status: Status, counter: UsageCounter | None = None) -> dict[str, Any]:
        request = self._request
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "model": self._model.name,
            "system_fingerprint": self._model.digest,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if self._cut else None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": {},
            "output": [] if counter is None else [self._item(status)],
            "parallel_tool_calls": False,
            "store": False,
            "temperature": request.temperature,
            "text": (request.text.model_dump(by_alias=True) if request.text else None)
            or {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": request.top_p,
            "usage": _usage(counter) if counter else None,
            "timing": counter.timing if counter else None,
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(counter: UsageCounter) -> dict[str, Any]:
    usage = counter.usage()
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.prompt_tokens_details.cached_tokens,
            "cache_write_tokens": 0,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
