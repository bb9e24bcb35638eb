"""Timed load on the real engine: requests at once or in turn, with the cache or without."""

from __future__ import annotations

import secrets
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingot.api.inference import Model
from ingot.errors import ServeError
from ingot.inference import OutputDelta, RequestOptions, SamplingParams

_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class LoadTiming:
    """Durations of answers."""

    answers: int
    tokens: int
    """Of all answers."""
    seconds: float
    """From the first question to the last token."""
    first_token_seconds: float
    """Median wait of a user for the first token, counted from when all began to ask."""

    @property
    def tokens_per_second(self) -> float:
        """Over all users."""
        return self.tokens / self.seconds


@dataclass
class _Received:
    """One answer under way."""

    ids: list[int]
    first: float | None = None
    error: str | None = None


def time_answers(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    tokens: int,
    together: bool = True,
    cached: bool = True,
) -> LoadTiming:
    """Let one user for each prompt ask for ``tokens`` tokens, greedily.

    Args:
        model: The loaded ingot.
        prompts: Token ids; each with ``tokens`` more must fit the context.
        tokens: Length of every answer.
        together: All ask at once; otherwise each waits for the one before.
        cached: The engine keeps keys and values; otherwise every token is asked for
            again, with all of the text before it, and nothing of it is found in the cache.

    Raises:
        ServeError: the engine gave up on an answer.
    """
    started = time.perf_counter()
    groups = [list(prompts)] if together else [[prompt] for prompt in prompts]
    firsts: list[float] = []
    for group in groups:
        firsts += _ask_group(model, group, tokens, cached, started)
    seconds = time.perf_counter() - started
    return LoadTiming(len(prompts), len(prompts) * tokens, seconds, statistics.median(firsts))


def _ask_group(
    model: Model, prompts: list[Sequence[int]], tokens: int, cached: bool, started: float
) -> list[float]:
    """Run some answers at once; return when each had its first token, since ``started``."""
    if cached:
        return [first for _, first in _run(model, prompts, tokens, started)]
    texts = [list(prompt) for prompt in prompts]
    firsts: list[float] = []
    for _ in range(tokens):
        answered = _run(model, texts, 1, started)
        texts = [text + ids for text, (ids, _) in zip(texts, answered, strict=True)]
        firsts = firsts or [first for _, first in answered]
    return firsts


def _run(
    model: Model, prompts: Sequence[Sequence[int]], tokens: int, started: float
) -> list[tuple[list[int], float]]:
    """Submit all prompts; return each answer's ids and when its first token came."""
    params = SamplingParams(max_tokens=tokens, temperature=0.0, ignore_eos=True)
    finished = threading.Semaphore(0)
    answers = [_Received([]) for _ in prompts]

    def listener(answer: _Received) -> Callable[[OutputDelta], None]:
        def listen(delta: OutputDelta) -> None:
            if answer.first is None:
                answer.first = time.perf_counter() - started
            answer.ids += delta.token_ids
            if delta.finish_reason is not None:
                answer.error = delta.error
                finished.release()

        return listen

    for prompt, answer in zip(prompts, answers, strict=True):
        # A salt of its own: what an earlier question left in the prefix cache is not found.
        options = RequestOptions(cache_salt=secrets.token_hex(8))
        model.loop.submit(prompt, params, listener(answer), options)
    deadline = time.monotonic() + _TIMEOUT_S
    for _ in prompts:
        if not finished.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            raise ServeError(f"no answer within {_TIMEOUT_S:g} s", where="engine")
    for answer in answers:
        if answer.error or len(answer.ids) != tokens:
            raise ServeError(answer.error or "an answer is too short", where="engine")
    return [(answer.ids, answer.first or 0.0) for answer in answers]
