"""``POST /v1/completions``: from a checked request to its answer, whole or streamed."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from typing import Literal, cast

import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from ingot.artifact import Ingot
from ingot.errors import IngotError
from ingot.inference import Delta, EngineLoop
from ingot.server.answers import Answers, join
from ingot.server.connection import while_connected
from ingot.server.errors import ApiError, from_ingot_error
from ingot.server.logprobs import LogprobsWriter
from ingot.server.protocol import Choice, Completion, CompletionRequest, Usage

_GRACE_S = 5.0  # at its deadline the engine ends a request itself; past this it must be hanging
_GOODBYE_S = 1.0
_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # tells nginx to pass tokens on at once
}


class CompletionResponse(Response):
    """Runs a completion request and sends its answer.

    The sequences live no longer than the call that sends: when it ends, by
    success, error, deadline or a lost client, those still running are cancelled.

    Args:
        request: What is asked.
        prompts: Token ids of each of its prompts.
        model: The model's name.
        ingot: Its tokenizer and digest.
        engine: Runs the sequences.
        timeout_s: Longest it may all take.
    """

    def __init__(
        self,
        request: CompletionRequest,
        prompts: Seq[Seq[int]],
        *,
        model: str,
        ingot: Ingot,
        engine: EngineLoop,
        timeout_s: float,
    ) -> None:
        super().__init__()
        self._request = request
        self._prompts = prompts
        self._model = model
        self._fingerprint = ingot.digest
        self._engine = engine
        self._timeout_s = timeout_s
        self._id = f"cmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._started = False
        self._completion_tokens = 0
        count = len(prompts) * request.choices_per_prompt
        self._logprobs = [LogprobsWriter(ingot.tokenizer) for _ in range(count)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer over ASGI.

        Raises:
            ApiError: nothing has been sent yet, and this is to be sent instead.
        """
        del scope
        work = self._stream if self._request.stream else self._whole
        with Answers(self._engine, self._timeout_s) as answers:
            self._submit(answers)
            try:
                async with asyncio.timeout(self._timeout_s + _GRACE_S):
                    await while_connected(receive, work(answers, send))
            except TimeoutError as error:
                await self._break_off(self._too_late(), send, error)
            except asyncio.CancelledError as error:
                await self._break_off(_stopping(), send, error)

    def _submit(self, answers: Answers) -> None:
        """Start every sequence; where one is refused, leaving ``answers`` ends the others."""
        try:
            for prompt in self._prompts:
                for choice in range(self._request.choices_per_prompt):
                    answers.submit(prompt, self._request.sampling_params(choice))
        except IngotError as error:
            raise from_ingot_error(error) from error

    async def _whole(self, answers: Answers, send: Send) -> None:
        """Wait for all of the answer, then send it."""
        pieces: list[list[Delta]] = [[] for _ in self._logprobs]
        while answers.open:
            for index, delta in await answers.take():
                self._check(delta)
                pieces[index].append(delta)
        choices = [self._choice(index, join(deltas)) for index, deltas in enumerate(pieces)]
        body = orjson.dumps(self._completion(choices, self._usage()))
        await self._start(send, {"content-type": "application/json"})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, answers: Answers, send: Send) -> None:
        """Send each piece as it comes, as server-sent events."""
        await self._start(send, _STREAM_HEADERS)
        try:
            while answers.open:
                await self._send_events(send, self._chunks(await answers.take()))
        except ApiError as error:
            await self._send_events(send, [error.body.to_json()])
        else:
            usage = self._completion([], self._usage())
            last = [orjson.dumps(usage)] if self._request.wants_usage else []
            await self._send_events(send, [*last, b"[DONE]"])
        await send({"type": "http.response.body"})

    async def _break_off(self, fault: ApiError, send: Send, cause: BaseException) -> None:
        """Tell the client why there is no more to come, in the way that is still open."""
        if not self._started:
            raise fault from cause
        if self._request.stream:
            with contextlib.suppress(TimeoutError):  # it may have stopped reading
                async with asyncio.timeout(_GOODBYE_S):
                    await self._send_events(send, [fault.body.to_json()])
                    await send({"type": "http.response.body"})

    async def _start(self, send: Send, headers: Mapping[str, str]) -> None:
        """Send the head of the answer; from here on no other status can be sent."""
        self._started = True
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _send_events(self, send: Send, events: Iterable[bytes]) -> None:
        """Send events in one write, and let other requests have their turn after it."""
        body = b"".join(b"data: %b\n\n" % event for event in events)
        if body:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0)  # a send that need not wait does not yield by itself

    def _chunks(self, taken: Iterable[tuple[int, Delta]]) -> Iterator[bytes]:
        """Return the chunks that say what has just arrived."""
        for index, delta in taken:
            self._check(delta)
            choice = self._choice(index, delta)
            if choice.text or choice.finish_reason or choice.logprobs:
                yield orjson.dumps(self._completion([choice], None))

    def _check(self, delta: Delta) -> None:
        """Refuse a delta that ends its sequence in another way than an answer may end."""
        if delta.finish_reason == "error":
            raise ApiError(500, f"the engine failed: {delta.error}", code="engine_failed")
        if delta.finish_reason == "cancelled":
            raise _stopping()
        if delta.finish_reason == "deadline":
            raise self._too_late()

    def _too_late(self) -> ApiError:
        limit = f"the answer was not complete within {self._timeout_s:g} s"
        return ApiError(504, f"{limit}; ask for fewer tokens", code="deadline_exceeded")

    def _choice(self, index: int, delta: Delta) -> Choice:
        """Count and translate what one sequence said."""
        self._completion_tokens += len(delta.token_ids)
        logprobs = self._logprobs[index].write(delta.logprobs) if delta.logprobs else None
        reason = cast(Literal["stop", "length"] | None, delta.finish_reason)
        return Choice(index, delta.text, logprobs, reason)

    def _completion(self, choices: list[Choice], usage: Usage | None) -> Completion:
        return Completion(self._id, self._created, self._model, self._fingerprint, choices, usage)

    def _usage(self) -> Usage:
        read = sum(map(len, self._prompts))
        written = self._completion_tokens
        return Usage(read, written, read + written)


def _stopping() -> ApiError:
    return ApiError(503, "the server is stopping", code="stopping")
