"""Answers of the Responses API: the body, and the events of a stream.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import orjson

from ingot.inference import OutputDelta, SamplingParams
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.tool_reader import (
    CallArguments,
    CallBegun,
    CallEnded,
    Part,
    ToolReader,
)
from ingot.server.http.errors import ApiError
from ingot.server.routes.events import server_sent_event
from ingot.server.routes.logprobs import LogprobsWriter
from ingot.server.routes.usage import UsageCounter
from ingot.server.schemas.chat import ChatTokenLogprob
from ingot.server.schemas.identifiers import new_id
from ingot.server.schemas.response_body import (
    AnswerCall,
    AnswerMessage,
    CachedTokens,
    IncompleteDetails,
    ResponseBody,
    ResponseFault,
    ResponseUsage,
    Status,
    TextOfAnswer,
)
from ingot.server.schemas.responses import ResponsesRequest

Event = tuple[str, dict[str, Any]]
"""Type and fields of an event."""


class ResponsesWriter:
    """Writes an answer in the form of OpenAI's responses: messages and calls, in order.

    Args:
        request: The request.
        model: The model that answers.
        reads_tools: Whether the answer may hold calls.
        keep: Stores the finished response; None if it is not to be stored.
    """

    def __init__(
        self,
        request: ResponsesRequest,
        model: ServedModel,
        params: SamplingParams,
        *,
        reads_tools: bool,
        keep: Callable[[ResponseBody, bytes], None] | None,
    ) -> None:
        self._keep = keep
        single = request.parallel_tool_calls is False
        streamed = [tool.name for tool in request.tools or () if request.stream]
        self._reader = ToolReader(single, streamed) if reads_tools else None
        scored = request.logprobs_wanted is not None
        self._scorer = LogprobsWriter(model.ingot.tokenizer) if scored else None
        self._output: list[AnswerMessage | AnswerCall] = []
        self._message = _OpenMessage()
        self._open_call: _OpenCall
        self._events = 0
        self._cut = False
        self._begun = _begun(request, model, params, stored=keep is not None)

    def collect(self, index: int, delta: OutputDelta) -> None:
        """Take log-probabilities, if they are asked for."""
        del index
        if self._scorer and delta.logprobs:
            self._scorer.collect_chat(delta.logprobs)

    def whole(self, answers: list[OutputDelta], counter: UsageCounter) -> bytes:
        """Return the body."""
        for _ in (*self._hear(answers[0]), *self._end()):
            pass  # a body holds the items that the events make
        collected = self._scorer.collected_chat() if self._scorer else None
        first = next((i for i, item in enumerate(self._output) if item.type == "message"), None)
        if collected and first is not None:
            message = cast("AnswerMessage", self._output[first])
            scored = replace(message.content[0], logprobs=collected.content)
            self._output[first] = replace(message, content=[scored])
        return self._finish(counter)[1]

    def opening(self) -> Iterator[bytes]:
        """Return the events that announce the response."""
        yield self._event("response.created", {"response": self._begun})
        yield self._event("response.in_progress", {"response": self._begun})

    def pieces(self, index: int, delta: OutputDelta) -> Iterator[bytes]:
        """Return the events of new text and calls, if there are any."""
        del index
        for kind, fields in self._hear(delta):
            yield self._event(kind, fields)

    def closing(self, counter: UsageCounter) -> Iterator[bytes]:
        """Return the events that complete the response."""
        for kind, fields in self._end():
            yield self._event(kind, fields)
        response, _ = self._finish(counter)
        yield self._event(f"response.{response.status}", {"response": response})

    def fault(self, error: ApiError) -> bytes:
        """Return the events of an error, and of the response that failed by it."""
        detail = error.body.error
        told = {"code": detail.code, "message": detail.message, "param": detail.param}
        failed = replace(
            self._begun,
            status="failed",
            output=list(self._output),
            error=ResponseFault("server_error", detail.message),
        )
        return self._event("error", told) + self._event("response.failed", {"response": failed})

    def _hear(self, delta: OutputDelta) -> Iterator[Event]:
        """Take new output; yield what it adds."""
        parts: list[Part] = [delta.text] if delta.text else []
        if reader := self._reader:
            parts = reader.push(delta.text)
            if delta.finish_reason:
                parts += reader.flush(cut=delta.finish_reason == "length")
        self._cut = delta.finish_reason == "length"
        scored: list[ChatTokenLogprob] = []
        if self._scorer and delta.logprobs:
            scored = self._scorer.write_chat(delta.logprobs).content
        for part in parts:
            if isinstance(part, str):
                yield from self._say(part, scored)
                scored = []
            else:
                yield from self._call(part)

    def _call(self, part: CallBegun | CallArguments | CallEnded) -> Iterator[Event]:
        """Take what is new of a call; it ends the open message."""
        if isinstance(part, CallBegun):
            yield from self._close_message("completed")
            self._open_call = _OpenCall(part)
            index, item = len(self._output), self._open_call.item("in_progress")
            yield "response.output_item.added", {"output_index": index, "item": item}
            return
        location = {"item_id": self._open_call.id, "output_index": len(self._output)}
        if isinstance(part, CallArguments):
            self._open_call.arguments.append(part.text)
            yield "response.function_call_arguments.delta", location | {"delta": part.text}
            return
        item = self._open_call.item("completed" if part.whole else "incomplete")
        done = {"name": item.name, "arguments": item.arguments}
        yield "response.function_call_arguments.done", location | done
        yield "response.output_item.done", {"output_index": len(self._output), "item": item}
        self._output.append(item)

    def _say(self, text: str, scored: list[ChatTokenLogprob]) -> Iterator[Event]:
        """Add text to the open message, or begin one."""
        message = self._message
        if not message.open:
            yield from self._open_message()
        message.texts.append(text)
        message.scored += scored
        location = self._location()
        yield "response.output_text.delta", location | {"delta": text, "logprobs": scored}

    def _open_message(self) -> Iterator[Event]:
        self._message.begin()
        item = AnswerMessage(self._message.id, "in_progress", [])
        yield "response.output_item.added", {"output_index": len(self._output), "item": item}
        yield "response.content_part.added", self._location() | {"part": TextOfAnswer("")}

    def _close_message(self, status: Status) -> Iterator[Event]:
        """End the open message, if there is one."""
        message = self._message
        if not message.open:
            return
        message.open = False
        part, location = TextOfAnswer("".join(message.texts), message.scored), self._location()
        item = AnswerMessage(message.id, status, [part])
        done = {"text": part.text, "logprobs": part.logprobs}
        yield "response.output_text.done", location | done
        yield "response.content_part.done", location | {"part": part}
        yield "response.output_item.done", {"output_index": len(self._output), "item": item}
        self._output.append(item)

    def _end(self) -> Iterator[Event]:
        """End what is open; an answer without anything is an empty message."""
        if not self._output and not self._message.open:
            yield from self._open_message()
        yield from self._close_message("incomplete" if self._cut else "completed")

    def _finish(self, counter: UsageCounter) -> tuple[ResponseBody, bytes]:
        """Return the finished response, and as a body, which is stored."""
        usage = counter.usage()
        response = replace(
            self._begun,
            status="incomplete" if self._cut else "completed",
            completed_at=None if self._cut else int(time.time()),
            incomplete_details=IncompleteDetails() if self._cut else None,
            output=list(self._output),
            usage=ResponseUsage(
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.total_tokens,
                CachedTokens(usage.prompt_tokens_details.cached_tokens),
            ),
            timing=counter.timing,
        )
        body = orjson.dumps(response)
        if self._keep is not None:
            self._keep(response, body)
        return response, body

    def _location(self) -> dict[str, Any]:
        message = self._message
        return {"item_id": message.id, "output_index": len(self._output), "content_index": 0}

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        event = {"type": kind, "sequence_number": self._events} | fields
        self._events += 1
        return server_sent_event(orjson.dumps(event), kind)


class _OpenMessage:
    """The message that is being written, if ``open``."""

    def __init__(self) -> None:
        self.open = False
        self.id = ""
        self.texts: list[str] = []
        self.scored: list[ChatTokenLogprob] = []

    def begin(self) -> None:
        """Begin a message without text."""
        self.open = True
        self.id = new_id("msg_")
        self.texts, self.scored = [], []


class _OpenCall:
    """The call that is being written."""

    def __init__(self, begun: CallBegun) -> None:
        self.id = new_id("fc_")
        self.arguments: list[str] = []
        self._begun = begun

    def item(self, status: Status) -> AnswerCall:
        """Return the call as far as it is written."""
        arguments = "".join(self.arguments)
        return AnswerCall(self.id, self._begun.id, self._begun.name, arguments, status)


def _begun(
    request: ResponsesRequest, model: ServedModel, params: SamplingParams, *, stored: bool
) -> ResponseBody:
    """Return the response before its first token, with the request's settings."""
    text = request.text.model_dump(by_alias=True, exclude_none=True) if request.text else {}
    choice = request.tool_choice
    return ResponseBody(
        id=f"resp_{uuid.uuid4().hex}",
        created_at=int(time.time()),
        model=model.name,
        system_fingerprint=model.digest,
        status="in_progress",
        output=[],
        completed_at=None,
        error=None,
        incomplete_details=None,
        usage=None,
        timing=None,
        previous_response_id=request.previous_response_id,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        metadata=request.metadata or {},
        parallel_tool_calls=request.parallel_tool_calls is not False,
        prompt_cache_key=request.prompt_cache_key,
        reasoning=request.reasoning.model_dump() if request.reasoning else {},
        safety_identifier=request.safety_identifier,
        store=stored,
        temperature=params.temperature,
        text={"format": {"type": "text"}} | text,
        tool_choice=(choice or "auto") if isinstance(choice, str | None) else choice.model_dump(),
        tools=[tool.model_dump(exclude_unset=True) for tool in request.tools or ()],
        top_logprobs=request.top_logprobs or 0,
        top_p=params.top_p,
        user=request.user,
    )
