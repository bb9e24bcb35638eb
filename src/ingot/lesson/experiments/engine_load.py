"""Timed load on the real engine: requests at once or in turn, with the cache or without.

Each user's tokens are timed, so that it is known whose answer kept an objective.
"""

from __future__ import annotations

import itertools
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ingot.api.inference import Model
from ingot.errors import ServeError
from ingot.inference import Objective, OutputDelta, RequestOptions, SamplingParams
from ingot.inference.request.objective import Timeliness

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
    gap_seconds: float | None = None
    """Median time between two tokens of an answer; None where each has one token."""
    in_time: int | None = None
    """Answers that kept the objective; None without one."""

    @property
    def tokens_per_second(self) -> float:
        """Over all users."""
        return self.tokens / self.seconds

    @property
    def goodput(self) -> float:
        """Answers a second that kept the objective."""
        return (self.in_time or 0) / self.seconds

    def cost_per_million(self, price_per_hour: float) -> float:
        """Return what a million tokens cost on a machine of this price."""
        return price_per_hour / 3600 * self.seconds / self.tokens * 1e6


@dataclass
class _Received:
    """One answer under way."""

    ids: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When tokens came."""
    error: str | None = None


def time_answers(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    tokens: int,
    together: bool = True,
    cached: bool = True,
    objective: Objective | None = None,
) -> LoadTiming:
    """Let one user for each prompt ask for ``tokens`` tokens, greedily.

    Args:
        model: The loaded ingot.
        prompts: Token ids; each with ``tokens`` more must fit the context.
        tokens: Length of every answer.
        together: All ask at once; otherwise each waits for the one before.
        cached: The engine keeps keys and values; otherwise every token is asked for
            again, with all of the text before it, and nothing of it is found in the cache.
        objective: What each answer is held to, as its user sees it; the engine is not told.

    Raises:
        ServeError: the engine gave up on an answer.
    """
    started = time.perf_counter()
    groups = [list(prompts)] if together else [[prompt] for prompt in prompts]
    answers = [times for group in groups for times in _ask_group(model, group, tokens, cached)]
    seconds = time.perf_counter() - started
    gaps = [after - before for times in answers for before, after in itertools.pairwise(times)]
    return LoadTiming(
        answers=len(prompts),
        tokens=len(prompts) * tokens,
        seconds=seconds,
        first_token_seconds=statistics.median(times[0] - started for times in answers),
        gap_seconds=statistics.median(gaps) if gaps else None,
        in_time=None
        if objective is None
        else sum(is_in_time(times, started, objective) for times in answers),
    )


def is_in_time(times: Sequence[float], began: float, objective: Objective) -> bool:
    """Tell whether an answer whose tokens came at these times kept its objective.

    Args:
        times: Of one clock, in seconds.
        began: When it was asked for.
        objective: It.
    """
    answer = Timeliness(objective, began, len(times) - 1)
    for each in times:
        answer.token(each)
    return answer.in_time


def _ask_group(
    model: Model, prompts: list[Sequence[int]], tokens: int, cached: bool
) -> list[list[float]]:
    """Run some answers at once; return when the tokens of each came."""
    if cached:
        return [answer.times for answer in _run(model, prompts, tokens)]
    texts = [list(prompt) for prompt in prompts]
    times: list[list[float]] = [[] for _ in prompts]
    for _ in range(tokens):
        for user, answer in enumerate(_run(model, texts, 1)):
            texts[user] += answer.ids
            times[user] += answer.times
    return times


def _run(model: Model, prompts: Sequence[Sequence[int]], tokens: int) -> list[_Received]:
    """Submit all prompts; return the answers when all have ended."""
    params = SamplingParams(max_tokens=tokens, temperature=0.0, ignore_eos=True)
    finished = threading.Semaphore(0)
    answers = [_Received() for _ in prompts]

    def listener(answer: _Received) -> Callable[[OutputDelta], None]:
        def listen(delta: OutputDelta) -> None:
            if delta.token_ids:
                answer.times.append(time.perf_counter())
                answer.ids += delta.token_ids
            if delta.finish_reason is not None:
                answer.error = delta.error
                finished.release()

        return listen

    for prompt, answer in zip(prompts, answers, strict=True):
        # A salt of its own: what an earlier question left in the prefix cache is not found.
        options = RequestOptions(cache_salt=secrets.token_hex(8))
        # A copy: the caller may make its text longer while the engine still holds the prompt.
        model.loop.submit(list(prompt), params, listener(answer), options)
    deadline = time.monotonic() + _TIMEOUT_S
    for _ in prompts:
        if not finished.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            raise ServeError(f"no answer within {_TIMEOUT_S:g} s", where="engine")
    for answer in answers:
        if answer.error or len(answer.ids) != tokens:
            raise ServeError(answer.error or "an answer is too short", where="engine")
    return answers
