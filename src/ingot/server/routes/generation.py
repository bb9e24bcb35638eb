"""Answer of a request that generates: from the engine's output to the last byte sent."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ingot.errors import IngotError
from ingot.inference import OutputDelta, QueueFull, RequestOptions, SamplingParams
from ingot.server.access.request_context import RequestContext
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.service import Service
from ingot.server.engine.stream import OutputStream, join
from ingot.server.http.client import while_connected
from ingot.server.http.errors import ApiError, from_ingot_error
from ingot.server.routes.usage import UsageCounter
from ingot.server.schemas.completions import (
    CostDetails,
)

_GRACE_S = 5.0  # the engine ends a request at its deadline; if it has not after this, it hangs
_GOODBYE_S = 1.0
_SUBMIT_TOKENS = 65_536  # checked and copied between two turns of the event loop: some 5 ms
SLICE_ENTRIES = 1024
"""Log-probabilities written between two turns of the event loop; about 1 ms."""
_BAD_ENDS = frozenset({"error", "cancelled", "deadline"})
_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # tells nginx not to buffer tokens
}


def sampling_defaults(model: ServedModel, service: Service) -> dict[str, float]:
    """Return the sampling parameters of a model for requests that do not give their own."""
    if service.config.generation_config == "none":
        return {}
    return model.ingot.generation.sampling()


@dataclass(frozen=True)
class GenerationRequest:
    """Work for the engine: the prompts of one request, and how to answer them."""

    model: ServedModel
    prompts: list[list[int]]
    candidates: Sequence[SamplingParams | None]
    """How each of a prompt's answers is sampled, the same for every prompt; None: an embedding."""
    options: RequestOptions
    stream: bool
    reports_cost: bool = False
    """Whether usage includes the cost."""

    def __iter__(self) -> Iterator[tuple[list[int], SamplingParams | None]]:
        """Yield prompt and parameters of each sequence, in the order of the answers."""
        for prompt in self.prompts:
            for params in self.candidates:
                yield prompt, params

    @property
    def sequences(self) -> int:
        """Number of answers."""
        return len(self.prompts) * len(self.candidates)

    @property
    def most_tokens(self) -> int:
        """Tokens of its prompts and longest possible answers."""
        max_context = self.model.loop.max_context
        return sum(
            min(len(prompt) + (params.max_tokens if params else 0), max_context)
            for prompt in self.prompts
            for params in self.candidates
        )

    @property
    def most_entries(self) -> int:
        """Log-probabilities and numbers of embeddings that are in memory at once, at most.

        Those of a streamed answer's own tokens are sent as they come.
        """
        hidden = self.model.ingot.config.hidden_size
        return sum(
            _entries(params, len(prompt), streamed=self.stream) if params else hidden
            for prompt in self.prompts
            for params in self.candidates
        )


def _entries(params: SamplingParams, prompt: int, *, streamed: bool) -> int:
    """Return the log-probabilities of one answer to a prompt of ``prompt`` tokens."""
    entries = 0
    if params.prompt_logprobs is not None:
        entries += prompt * (1 + params.prompt_logprobs)
    if params.logprobs is not None and not streamed:
        entries += params.max_tokens * (1 + params.logprobs)
    return entries


class Writer(Protocol):
    """Writes answers in the form of one route. Each event is complete, with its framing."""

    def collect(self, index: int, delta: OutputDelta) -> None:
        """Take log-probabilities or the embedding of sequence ``index``, in their order.

        They are the large parts of a whole body, which is made ahead, piece by piece.
        """

    def whole(self, answers: list[OutputDelta], counter: UsageCounter) -> bytes:
        """Return the body of an answer that is not streamed."""

    def opening(self) -> Iterable[bytes]:
        """Return the events that come before any text."""

    def pieces(self, index: int, delta: OutputDelta) -> Iterable[bytes]:
        """Return the events for new output of sequence ``index``."""

    def closing(self, counter: UsageCounter) -> Iterable[bytes]:
        """Return the events after the last text."""

    def fault(self, error: ApiError) -> bytes:
        """Return the event that ends a stream with an error."""


class GenerationResponse(Response):
    """Runs a request on the engine and sends its answer.

    The sequences live no longer than the call that sends: when it ends, by
    success, error, deadline or a lost client, those still running are cancelled.

    Args:
        generation: The work.
        writer: Writes the route's form.
        service: The server's parts.
        context: The request's record.
    """

    def __init__(
        self,
        generation: GenerationRequest,
        writer: Writer,
        service: Service,
        context: RequestContext,
    ) -> None:
        super().__init__()
        self._generation = generation
        self._writer = writer
        self._service = service
        self._context = context
        self._limit_s = generation.options.timeout_s or math.inf
        self._started = False
        self._cancelled = False
        self._waiting = iter(generation)
        self._spoken: set[int] = set()
        self._counter = UsageCounter(sum(map(len, generation.prompts)))
        context.streamed = generation.stream
        context.prompt_tokens = self._counter.prompt_tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer over ASGI.

        Raises:
            ApiError: nothing has been sent yet, and this is to be sent instead.
        """
        del scope
        generation, model = self._generation, self._generation.model
        work = self._stream if generation.stream else self._whole
        entries = generation.most_entries
        if entries > self._service.config.max_answer_entries:
            raise _too_many_entries(entries, self._service.config.max_answer_entries)
        tokens = generation.most_tokens + entries
        self._context.held.enter_context(
            self._service.admission.tokens(tokens, self._context.key_name)
        )
        with (
            OutputStream(model.loop, model.mailbox, self._options()) as answers,
            self._service.activity.track(self._context, lambda: self._cancel(answers)),
            model.interruptible() if generation.options.background else contextlib.nullcontext(),
        ):
            try:
                await self._submit(answers)
                async with asyncio.timeout(self._limit_s + _GRACE_S):
                    # A client that left is told nothing.
                    with contextlib.suppress(ClientDisconnect):
                        await while_connected(receive, work(answers, send))
            except TimeoutError as error:
                await self._break_off(self._too_late(), send, error)
            except asyncio.CancelledError as error:
                await self._break_off(_stopping(), send, error)
            finally:
                context = self._context
                context.prompt_compute_s, context.answer_compute_s = answers.compute_s()

    def _options(self) -> RequestOptions:
        """Return how to schedule the answers, with the time that the request has taken so far."""
        options = self._generation.options
        if options.objective is None:
            return options
        lag_s = self._generation.model.lag_s
        return replace(options, elapsed_s=self._context.elapsed_s + lag_s)

    async def _submit(self, answers: OutputStream) -> None:
        """Start sequences, as many as may run; if one is refused, leaving ``answers`` ends all.

        Only embeddings have more: each that ends makes way for the next.
        """
        try:
            submitted = 0
            while answers.running < self._service.config.max_sequences:
                prompt, params = next(self._waiting, (None, None))
                if prompt is None:
                    return
                if (submitted := submitted + len(prompt)) > _SUBMIT_TOKENS:
                    await asyncio.sleep(0)
                    submitted = len(prompt)
                answers.submit(prompt, params)
        except QueueFull as error:
            raise self._service.admission.retry_after_error(error.what) from error
        except IngotError as error:
            raise from_ingot_error(error) from error

    def _cancel(self, answers: OutputStream) -> None:
        """Stop the answers where they are; the client gets an error."""
        self._cancelled = True
        answers.end()

    async def _whole(self, answers: OutputStream, send: Send) -> None:
        """Wait for the complete answer, then send it."""
        pieces: list[list[OutputDelta]] = [[] for _ in range(self._generation.sequences)]
        while answers.open:
            for index, delta in await answers.take():
                self._check_end(index, delta)
                self._count(index, delta)
                pieces[index].append(await self._collected(index, delta))
            await self._submit(answers)
        self._find_cost(answers)
        body = self._writer.whole([join(deltas) for deltas in pieces], self._counter)
        await self._start(send, {"content-type": "application/json"})
        await send({"type": "http.response.body", "body": body})

    async def _collected(self, index: int, delta: OutputDelta) -> OutputDelta:
        """Have the writer take what is large in a delta; return the rest of it."""
        if not (delta.logprobs or delta.prompt_logprobs or delta.embedding is not None):
            return delta
        for part in scored_parts(delta):
            self._writer.collect(index, part)
            if part is not delta:
                await asyncio.sleep(0)
        return delta._replace(logprobs=(), prompt_logprobs=(), embedding=None)

    async def _stream(self, answers: OutputStream, send: Send) -> None:
        """Send output as server-sent events as it arrives."""
        await self._start(send, _STREAM_HEADERS)
        await self._send_events(send, self._writer.opening())
        broken = False
        while answers.open and not broken:
            events: list[bytes] = []
            try:
                for index, delta in await answers.take():
                    if said := _without_bad_end(delta):
                        self._count(index, said)
                        for part in scored_parts(said):
                            events += self._writer.pieces(index, part)
                            if part is not said:
                                await self._send_events(send, events)
                                events.clear()
                                await asyncio.sleep(0)
                    self._check_end(index, delta)
            except ApiError as error:  # the output before it is sent all the same
                broken = True
                events.append(self._writer.fault(error))
            await self._send_events(send, events)
            if answers.spoken:
                await asyncio.sleep(0)  # neither sending nor taking would yield to other tasks
        if not broken:
            self._find_cost(answers)
            await self._send_events(send, self._writer.closing(self._counter))
        await send({"type": "http.response.body"})

    def _find_cost(self, answers: OutputStream) -> None:
        """Find the cost of the request, which has ended, if it asked for that."""
        if not self._generation.reports_cost:
            return
        costs, seconds = self._service.costs, sum(answers.compute_s())
        price = costs.price(seconds)
        details = CostDetails(seconds, costs.currency, price.joules, costs.source)
        self._counter.cost = price.money, details

    async def _break_off(self, fault: ApiError, send: Send, cause: BaseException) -> None:
        """Report why the answer is incomplete, as a status or as the last event."""
        if not self._started:
            raise fault from cause
        if self._generation.stream:
            with contextlib.suppress(TimeoutError):  # the client may have stopped reading
                async with asyncio.timeout(_GOODBYE_S):
                    await self._send_events(send, [self._writer.fault(fault)])
                    await send({"type": "http.response.body"})

    async def _start(self, send: Send, headers: Mapping[str, str]) -> None:
        """Send the head of the answer; no other status can be sent afterwards."""
        self._started = True
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _send_events(self, send: Send, events: Iterable[bytes]) -> None:
        """Send events in one write."""
        if body := b"".join(events):
            await send({"type": "http.response.body", "body": body, "more_body": True})

    def _count(self, index: int, delta: OutputDelta) -> None:
        """Count the tokens of a delta."""
        context, done = self._context, len(delta.token_ids)
        self._counter.completion_tokens += done
        context.completion_tokens += done
        if index not in self._spoken:
            self._spoken.add(index)
            done += len(self._generation.prompts[index // len(self._generation.candidates)])
            if context.first_token_s is None:
                context.first_token_s = context.elapsed_s
        self._service.admission.progress(done)
        if context.key is not None and self._service.keys is not None:
            self._service.keys.charge(context.key, done)

    def _check_end(self, index: int, delta: OutputDelta) -> None:
        """Count the end of an answer; raise the error if it ended with one."""
        if delta.finish_reason is None:
            return
        if delta.timing is not None and delta.timing.in_time is not None:
            self._service.outcomes.answered(self._context, in_time=delta.timing.in_time)
        if delta.finish_reason == "error":
            if (delta.error or "").startswith("allowed_token_ids"):
                raise ApiError(400, str(delta.error), code="invalid_value")
            # The client's own grammar cannot be followed.
            if (delta.error or "").startswith("grammar:"):
                raise ApiError(400, f"the grammar failed: {delta.error}", code="invalid_grammar")
            if self._generation.model.loop.failed is None:
                raise ApiError(500, f"the answer failed: {delta.error}", code="answer_failed")
            raise ApiError(500, f"the engine failed: {delta.error}", code="engine_failed")
        if delta.finish_reason == "cancelled":
            raise _cancelled() if self._cancelled else _stopping()
        if delta.finish_reason == "deadline":
            raise self._too_late()
        first_of_prompt = index % len(self._generation.candidates) == 0
        self._counter.count_end(delta, counts_prompt=first_of_prompt)
        self._context.cached_tokens = self._counter.cached_tokens
        self._context.finish_reasons.append(delta.finish_reason)
        self._service.metrics.observe_end(self._generation.model.name, delta)

    def _too_late(self) -> ApiError:
        limit = f"the answer was not complete within {self._limit_s:g} s"
        return ApiError(504, f"{limit}; ask for fewer tokens", code="deadline_exceeded")


def scored_parts(delta: OutputDelta) -> Iterator[OutputDelta]:
    """Split a delta into parts with at most ``SLICE_ENTRIES`` log-probabilities each.

    Writing them takes Python's time on the event loop: the prompts of one request may bring a
    million at once. What else a delta holds is in the last part.
    """
    scored = delta.prompt_logprobs or delta.logprobs
    widest = 1 + max((len(entry.top) for entry in scored[:2] if entry), default=0)
    step = max(1, SLICE_ENTRIES // widest)
    if len(delta.prompt_logprobs) + len(delta.logprobs) <= step:
        yield delta
        return
    nothing = OutputDelta("", ())
    for start in range(0, len(delta.prompt_logprobs), step):
        part = delta.prompt_logprobs[start : start + step]
        yield nothing._replace(prompt_logprobs=part)
    for start in range(0, len(delta.logprobs), step):
        yield nothing._replace(logprobs=delta.logprobs[start : start + step])
    yield delta._replace(logprobs=(), prompt_logprobs=())


def _without_bad_end(delta: OutputDelta) -> OutputDelta | None:
    """Return a delta without a finish reason that is reported as an error; None if empty."""
    if delta.finish_reason not in _BAD_ENDS:
        return delta
    return delta._replace(finish_reason=None) if delta.text or delta.token_ids else None


def _too_many_entries(entries: int, most: int) -> ApiError:
    return ApiError(
        400,
        f"the answer may hold {entries} log-probabilities or numbers, at most {most} go in one; "
        "ask for fewer prompts, log-probabilities or tokens",
        param="logprobs",
        code="invalid_value",
    )


def _stopping() -> ApiError:
    return ApiError(503, "the server is stopping", code="stopping")


def _cancelled() -> ApiError:
    return ApiError(409, "the request was cancelled through /admin/cancel", code="cancelled")
