"""``POST /v1/completions``: continue prompts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ingot.inference import OutputDelta
from ingot.server.engine.grammars import request_grammar
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import STREAMED, Router
from ingot.server.routes.events import ChunkFrame, server_sent_event
from ingot.server.routes.generation import GenerationRequest, GenerationResponse, sampling_defaults
from ingot.server.routes.logprobs import LogprobsWriter, PromptLogprobsWriter
from ingot.server.routes.request_body import check_together, open_request, request_options
from ingot.server.routes.usage import UsageCounter
from ingot.server.schemas.completions import (
    Choice,
    Completion,
    CompletionRequest,
    Logprobs,
    ScoredChoice,
)
from ingot.server.schemas.identifiers import new_id


def add_completions(router: Router, service: Service) -> None:
    """Add the completions route."""

    @router.post("/v1/completions", Completion, body=CompletionRequest, media_types=STREAMED)
    async def completions(http_request: Request) -> Response:
        """Continue each prompt; streamed as server-sent events where `stream` is true."""
        context, request, model = await open_request(http_request, CompletionRequest, service)
        check_together(request, service.config, len(request.prompts), request.candidates_per_prompt)
        check_completion(request)
        prompts = await model.prompts.encode(
            http_request,
            request.prompts,
            add_special_tokens=request.add_special_tokens is not False,
        )
        if service.config.log_prompts:
            context.prompts = [model.ingot.tokenizer.decode(ids) for ids in prompts]
        grammars = model.grammars.of(context.key_name)
        grammar = await request_grammar(request, grammars) if request.has_grammar else None
        generation = GenerationRequest(
            model=model,
            prompts=prompts,
            candidates=[
                request.sampling_params(choice, sampling_defaults(model, service), grammar)
                for choice in range(request.candidates_per_prompt)
            ],
            options=request_options(context, service.config, request.end_user, request),
            stream=bool(request.stream),
            reports_cost=request.wants_cost,
        )
        return GenerationResponse(
            generation, CompletionWriter(request, prompts, model), service, context
        )


def check_completion(request: CompletionRequest) -> None:
    """Refuse fields that are valid alone but not together."""
    wrong: list[tuple[str, str]] = []
    if request.best_of is not None:
        if request.best_of < request.choices_per_prompt:
            wrong.append(("best_of", "is less than n; raise it, or leave it out"))
        elif request.stream and request.best_of > request.choices_per_prompt:
            wrong.append(("best_of", "is chosen from whole answers; leave out stream"))
    scored = request.scores_prompt or request.prompt_logprobs is not None
    if request.max_tokens == 0 and not scored:
        wrong.append(("max_tokens", "is 0, which goes with echo and logprobs, or prompt_logprobs"))
    if request.scores_prompt and request.prompt_logprobs not in (None, request.logprobs):
        wrong.append(("prompt_logprobs", "must equal logprobs where echo scores the prompt too"))
    for name, problem in wrong:
        raise ApiError(400, f"{name} {problem}", param=name, code="invalid_value")


class CompletionWriter:
    """Writes answers in the form of OpenAI's completions."""

    def __init__(
        self, request: CompletionRequest, prompts: list[list[int]], model: ServedModel
    ) -> None:
        self._request = request
        self._prompts = prompts
        self._model = model
        self._id = new_id("cmpl-")
        self._created = int(time.time())
        count = 0 if request.logprobs is None else len(prompts) * request.candidates_per_prompt
        self._logprobs = [LogprobsWriter(model.ingot.tokenizer) for _ in range(count)]
        answers = len(prompts) * request.candidates_per_prompt
        scored = answers if request.prompt_logprobs is not None else 0
        names = LogprobsWriter(model.ingot.tokenizer)
        self._prompt_logprobs = [PromptLogprobsWriter(names) for _ in range(scored)]
        self._begun: set[int] = set()
        self._read = [0] * answers  # prompt tokens whose log-probabilities are written
        self._sums = [(0.0, 0)] * answers
        self._frame = ChunkFrame(self._completion([], None))

    def collect(self, index: int, delta: OutputDelta) -> None:
        """Take log-probabilities, which rank candidates and may be asked for."""
        total, count = self._sums[index]
        total += sum(entry.logprob for entry in delta.logprobs)
        self._sums[index] = total, count + len(delta.logprobs)
        if delta.prompt_logprobs:
            prompt = self._next_of_prompt(index, len(delta.prompt_logprobs))
            if self._prompt_logprobs:
                self._prompt_logprobs[index].collect(prompt, delta.prompt_logprobs)
            if self._request.scores_prompt:
                self._logprobs[index].collect_prompt(prompt, delta.prompt_logprobs)
        if delta.logprobs and self._logprobs:
            self._logprobs[index].collect(delta.logprobs)

    def whole(self, answers: list[OutputDelta], counter: UsageCounter) -> bytes:
        """Return the body: the best ``n`` of each prompt's candidates."""
        made, wanted = self._request.candidates_per_prompt, self._request.choices_per_prompt
        chosen: list[int] = []
        for first in range(0, len(answers), made):
            group = range(first, first + made)
            if made > wanted:
                group_by_rank = sorted(group, key=lambda index: -self._mean_logprob(index))
                chosen += group_by_rank[:wanted]
            else:
                chosen += group
        choices = [
            self._whole_choice(index, source, answers[source])
            for index, source in enumerate(chosen)
        ]
        return orjson.dumps(self._completion(choices, counter))

    def opening(self) -> Iterable[bytes]:
        """Return no event; the stream begins with the first text."""
        return ()

    def pieces(self, index: int, delta: OutputDelta) -> Iterator[bytes]:
        """Return the chunk of new text, if there is any."""
        choice = self._choice(index, index, delta)
        if choice.text or choice.finish_reason or choice.logprobs:
            yield self._frame.event(choice)

    def closing(self, counter: UsageCounter) -> Iterator[bytes]:
        """Return the chunk of usage, if requested, and the end of the stream."""
        if self._request.wants_usage:
            yield server_sent_event(orjson.dumps(self._completion([], counter)))
        yield server_sent_event(b"[DONE]")

    def fault(self, error: ApiError) -> bytes:
        """Return the error as an event."""
        return server_sent_event(error.body.to_json())

    def _choice(self, index: int, source: int, delta: OutputDelta) -> Choice:
        """Translate a sequence's delta; the first one includes the prompt if it is echoed."""
        text = self._echoed(source) + delta.text
        scored: list[Logprobs] = []
        if self._request.scores_prompt and delta.prompt_logprobs:
            prompt = self._next_of_prompt(source, len(delta.prompt_logprobs))
            scored.append(self._logprobs[source].write_prompt(prompt, delta.prompt_logprobs))
        if self._request.logprobs is not None and delta.logprobs:
            scored.append(self._logprobs[source].write(delta.logprobs))
        return Choice(index, text, _joined(scored), _reason(delta))

    def _whole_choice(self, index: int, source: int, answer: OutputDelta) -> Choice:
        """Translate a whole answer, whose log-probabilities were collected."""
        scored = self._logprobs[source].collected() if self._logprobs else None
        choice = Choice(index, self._echoed(source) + answer.text, scored, _reason(answer))
        if not self._prompt_logprobs:
            return choice
        return ScoredChoice(
            **vars(choice), prompt_logprobs=self._prompt_logprobs[source].collected()
        )

    def _echoed(self, source: int) -> str:
        """Return the prompt's text the first time, if it is echoed."""
        if not self._request.echo or source in self._begun:
            return ""
        self._begun.add(source)
        prompt = self._prompts[source // self._request.candidates_per_prompt]
        return self._model.ingot.tokenizer.decode(prompt)

    def _next_of_prompt(self, source: int, count: int) -> list[int]:
        """Return the next ``count`` tokens of a sequence's prompt."""
        start = self._read[source]
        self._read[source] += count
        prompt = self._prompts[source // self._request.candidates_per_prompt]
        return prompt[start : start + count]

    def _mean_logprob(self, index: int) -> float:
        """Return an answer's mean log-probability per token; 0 for an empty one."""
        total, count = self._sums[index]
        return total / count if count else 0.0

    def _completion(self, choices: Sequence[Choice], counter: UsageCounter | None) -> Completion:
        model = self._model
        return Completion(
            self._id,
            self._created,
            model.name,
            model.digest,
            list(choices),
            counter.usage() if counter else None,
            counter.timing if counter else None,
        )


def _joined(parts: list[Logprobs]) -> Logprobs | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    first, second = parts
    return Logprobs(
        first.tokens + second.tokens,
        first.token_logprobs + second.token_logprobs,
        first.top_logprobs + second.top_logprobs,
        first.text_offset + second.text_offset,
    )


def _reason(delta: OutputDelta) -> Literal["stop", "length"] | None:
    # A string, because evaluating the type for every token would double the time of a chunk.
    return cast("Literal['stop', 'length'] | None", delta.finish_reason)
