"""``POST /v1/chat/completions``: answer a conversation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ingot.inference import Grammar, OutputDelta, SamplingParams
from ingot.server.engine.grammars import ChosenTools, answer_grammar, request_grammar
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.prompts import conversation_of
from ingot.server.engine.service import Service
from ingot.server.engine.tool_reader import CallArguments, CallBegun, Part, ToolReader, joined
from ingot.server.http.errors import ApiError
from ingot.server.http.router import STREAMED, Router
from ingot.server.routes.events import ChunkFrame, server_sent_event
from ingot.server.routes.generation import GenerationRequest, GenerationResponse, sampling_defaults
from ingot.server.routes.logprobs import LogprobsWriter, PromptLogprobsWriter
from ingot.server.routes.request_body import check_together, open_request, request_options
from ingot.server.routes.usage import UsageCounter
from ingot.server.schemas.chat import (
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatLogprobs,
    ChatMessage,
    ChatRequest,
    FinishReason,
    MadeToolCall,
)
from ingot.server.schemas.identifiers import new_id


def add_chat(router: Router, service: Service) -> None:
    """Add the chat route."""

    @router.post("/v1/chat/completions", ChatCompletion, body=ChatRequest, media_types=STREAMED)
    async def chat(http_request: Request) -> Response:
        """Answer a conversation; streamed as server-sent events where `stream` is true."""
        context, request, model = await open_request(http_request, ChatRequest, service)
        check_together(request, service.config, 1, request.n or 1)
        check_chat(request)
        conversation, required = conversation_of(request, request.messages)
        prompt = await model.prompts.encode_conversation(http_request, conversation)
        if service.config.log_prompts:
            context.prompts = [model.ingot.tokenizer.decode(prompt)]
        grammar: Grammar | None = None
        if request.structured_outputs is not None:
            grammar = await request_grammar(request, model.grammars.of(context.key_name))
        elif required or request.response_format is not None:
            many = request.parallel_tool_calls is not False
            tools = ChosenTools(conversation.tools, required, many)
            form, grammars = request.response_format, model.grammars.of(context.key_name)
            grammar = await answer_grammar(form, tools, grammars, "response_format")
        defaults = sampling_defaults(model, service)
        space = model.loop.max_context - len(prompt)
        candidates = [
            chat_sampling(request, choice, defaults, space, grammar)
            for choice in range(request.n or 1)
        ]
        options = request_options(context, service.config, request.end_user, request)
        generation = GenerationRequest(
            model, [prompt], candidates, options, bool(request.stream), request.wants_cost
        )
        writer = ChatWriter(request, prompt, bool(conversation.tools), model)
        return GenerationResponse(generation, writer, service, context)


def chat_sampling(
    request: ChatRequest,
    choice: int,
    defaults: Mapping[str, float],
    space: int,
    grammar: Grammar | None = None,
) -> SamplingParams:
    """Return how choice number ``choice`` of an answer is sampled; as ``sampling``.

    Args:
        request: The body.
        choice: Number of the choice, from 0.
        defaults: The model's own values.
        space: Tokens that the prompt leaves in the context.
        grammar: What the answer must follow.
    """
    return request.sampling(
        choice,
        defaults,
        max_tokens=min(request.most_tokens or space, space),
        logprobs=request.logprobs_wanted,
        # All answers have the same prompt, which is scored once.
        prompt_logprobs=None if choice else request.prompt_logprobs,
        grammar=grammar,
    )


def check_chat(request: ChatRequest) -> None:
    """Refuse fields that are valid alone but not together."""
    wrong: list[tuple[str, str]] = []
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        wrong.append(("max_tokens", "says the same as max_completion_tokens; leave one out"))
    if request.top_logprobs is not None and not request.logprobs:
        wrong.append(("top_logprobs", "only goes with logprobs=true"))
    if request.parallel_tool_calls is False and not request.tools:
        wrong.append(("parallel_tool_calls", "needs tools"))
    if request.structured_outputs and request.tool_choice not in (None, "none", "auto"):
        wrong.append(("structured_outputs", "contradicts tool_choice, which asks for a call"))
    for name, problem in wrong:
        raise ApiError(400, f"{name} {problem}", param=name, code="invalid_value")


class ChatWriter:
    """Writes answers in the form of OpenAI's chat."""

    def __init__(
        self, request: ChatRequest, prompt: list[int], reads_tools: bool, model: ServedModel
    ) -> None:
        self._request = request
        self._prompt = prompt
        self._read = 0  # prompt tokens whose log-probabilities are written
        self._model = model
        self._id = new_id("chatcmpl-")
        self._created = int(time.time())
        choices = range(request.n or 1)
        tokenizer = model.ingot.tokenizer
        scored = choices if request.logprobs else ()
        self._logprobs = [LogprobsWriter(tokenizer) for _ in scored]
        self._prompt_logprobs: PromptLogprobsWriter | None = None
        if request.prompt_logprobs is not None:
            self._prompt_logprobs = PromptLogprobsWriter(LogprobsWriter(tokenizer))
        self._frame = ChunkFrame(ChatChunk(*self._head(), [], None, None))
        single = request.parallel_tool_calls is False
        # Calls are passed on while they arrive in a stream alone: a body can wait for the rest.
        streamed = [tool.function.name for tool in request.tools or () if request.stream]
        self._readers = [ToolReader(single, streamed) if reads_tools else None for _ in choices]

    def collect(self, index: int, delta: OutputDelta) -> None:
        """Take log-probabilities, if they are asked for."""
        if self._prompt_logprobs and (entries := delta.prompt_logprobs):
            part = self._prompt[self._read : self._read + len(entries)]
            self._prompt_logprobs.collect(part, entries)
            self._read += len(entries)
        if self._logprobs and delta.logprobs:
            self._logprobs[index].collect_chat(delta.logprobs)

    def whole(self, answers: list[OutputDelta], counter: UsageCounter) -> bytes:
        """Return the body."""
        choices = []
        for index, answer in enumerate(answers):
            content, calls = answer.text, list[MadeToolCall]()
            if reader := self._readers[index]:
                content, calls = joined(_read(reader, answer))
            message = ChatMessage(content if content or not calls else None, calls or None)
            reason = self._reason(index, answer) or "stop"
            scored = self._logprobs[index].collected_chat() if self._logprobs else None
            choices.append(ChatChoice(index, message, scored, reason))
        whole = ChatCompletion(*self._head(), choices, counter.usage(), counter.timing)
        if self._prompt_logprobs:
            whole = replace(whole, prompt_logprobs=self._prompt_logprobs.collected())
        return orjson.dumps(whole)

    def opening(self) -> Iterator[bytes]:
        """Return a chunk with the role for each answer."""
        for index in range(len(self._readers)):
            yield self._chunk(index, {"role": "assistant", "content": ""}, None, None)

    def pieces(self, index: int, delta: OutputDelta) -> Iterator[bytes]:
        """Return the chunk of new text, calls and the finish reason, if there is any."""
        reader = self._readers[index]
        new = _new(_read(reader, delta) if reader else [delta.text])
        scored, reason = self._scored(index, delta), self._reason(index, delta)
        if new or scored or reason:
            yield self._chunk(index, new, scored, reason)

    def closing(self, counter: UsageCounter) -> Iterator[bytes]:
        """Return the chunk of usage, if requested, and the end of the stream."""
        if self._request.wants_usage:
            last = ChatChunk(*self._head(), [], counter.usage(), counter.timing)
            yield server_sent_event(orjson.dumps(last))
        yield server_sent_event(b"[DONE]")

    def fault(self, error: ApiError) -> bytes:
        """Return the error as an event."""
        return server_sent_event(error.body.to_json())

    def _chunk(
        self,
        index: int,
        new: dict[str, Any],
        logprobs: ChatLogprobs | None,
        reason: FinishReason | None,
    ) -> bytes:
        choice = ChatChunkChoice(index, new, logprobs, reason)
        return self._frame.event(choice)

    def _scored(self, index: int, delta: OutputDelta) -> ChatLogprobs | None:
        return self._logprobs[index].write_chat(delta.logprobs) if delta.logprobs else None

    def _reason(self, index: int, delta: OutputDelta) -> FinishReason | None:
        reader = self._readers[index]
        if delta.finish_reason is None:
            return None
        if delta.finish_reason == "length":
            return "length"
        return "tool_calls" if reader and reader.count else "stop"

    def _head(self) -> tuple[str, int, str, str]:
        return self._id, self._created, self._model.name, self._model.digest


def _read(reader: ToolReader, delta: OutputDelta) -> list[Part]:
    """Return what is text in new output, and what is part of calls."""
    parts = reader.push(delta.text)
    if delta.finish_reason:
        parts += reader.flush(cut=delta.finish_reason == "length")
    return parts


def _new(parts: list[Part]) -> dict[str, Any]:
    """Return the fields of a chunk: new text, and what is new of each call."""
    text = "".join(part for part in parts if isinstance(part, str))
    calls: dict[int, dict[str, Any]] = {}
    for part in parts:
        if isinstance(part, CallBegun):
            function = {"name": part.name, "arguments": ""}
            calls[part.index] = {"id": part.id, "type": "function", "function": function}
        elif isinstance(part, CallArguments):
            call = calls.setdefault(part.index, {"function": {"arguments": ""}})
            call["function"]["arguments"] += part.text
    new: dict[str, Any] = {"content": text} if text else {}
    if calls:
        new["tool_calls"] = [{"index": index} | call for index, call in calls.items()]
    return new
