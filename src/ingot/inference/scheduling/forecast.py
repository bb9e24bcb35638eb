"""Admission by prediction: when a request's first token would come, and whether that is in time."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from ingot.errors import ServeError
from ingot.inference.request.objective import Objective
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.answer_lengths import AnswerLengths
from ingot.inference.scheduling.cost_model import StepWork
from ingot.inference.scheduling.pacing import Pacing

PROBE_S = 2.0
"""Without a step for so long, a request is accepted whatever is foreseen: what a machine can do
is learnt from steps alone."""
REFUSING_S = 10.0
"""Most seconds in which every request is refused; then one is accepted."""
_MEMORY_S = 30.0
"""Seconds for which a wrong forecast is remembered."""
_MEMORY = 512
_LEAST_MARGIN = 0.05
"""For what happens outside the server."""
_MOST_MARGIN = 0.8
"""Largest part of an objective that past errors may take from it."""
_FEW = 20
_FIRST_MARGIN = 0.25
"""What is held back before so many forecasts were tried."""
_LEAST_RETRY_S, _MOST_RETRY_S = 0.05, 300.0


class NotInTime(ServeError):  # noqa: N818 (the name is clear without "Error")
    """A request would miss its objective.

    Args:
        what: Why.
        retry_s: Seconds after which it could keep it.
        reason: "queue" if others come before it, "prompt" if its own prompt takes too long,
            "token" if one answer alone takes longer between tokens.
    """

    def __init__(self, what: str, retry_s: float, reason: str) -> None:
        super().__init__(
            what,
            where="objective",
            fix=f'try again in {retry_s:.1f} s, or accept a late answer with late="allow"',
        )
        self.retry_s = retry_s
        self.reason = reason


@dataclass(frozen=True)
class Load:
    """What stands before a request."""

    running: Seq[Sequence]
    ahead: int
    """Requests with an objective that wait."""
    ahead_tokens: int
    """Tokens of their prompts."""


class _Verdict(NamedTuple):
    """What is foreseen of a request."""

    foreseen_s: float
    """Seconds from its arrival to its first token."""
    late_s: float
    """By how many seconds it would be late; 0 or less if it would not."""
    reason: str
    """Of a refusal, as in ``NotInTime``."""


class _Batch(NamedTuple):
    """The running answers that have objectives to keep."""

    itl_s: float
    """Shortest time between tokens that one of them asks for."""
    unread: int
    """Tokens of their prompts that are not read yet."""
    left: list[float]
    """Tokens that each is expected to take yet, ascending."""
    mean: float
    """Mean tokens of a whole answer."""

    def steps_until(self, ends: int) -> float:
        """Return after how many steps so many answers have ended, those that follow included."""
        count = len(self.left)
        if ends <= 0 or not count:
            return 0.0
        if ends <= count:
            return self.left[ends - 1]
        return self.left[-1] + self.mean * (ends - count) / count


class Forecast:
    """Foresees first tokens. Any thread may ask it.

    Args:
        pacing: How steps are filled, and what they cost.
    """

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self.lengths = AnswerLengths()
        self.refusals = Counter[str]()
        """Requests refused, by reason."""
        self._errors: deque[tuple[float, float]] = deque(maxlen=_MEMORY)
        """When a first token came, and by what part of its objective it missed the forecast."""
        self._margins: dict[float, tuple[float, float]] = {}
        self._batch: tuple[tuple[int, int], _Batch] | None = None
        self._lock = threading.Lock()
        self._last_step = -math.inf
        self._last_accepted = -math.inf
        self._probed = -math.inf
        self._tried = -math.inf

    def note_step(self, now: float) -> None:
        """Record that a step ended."""
        self._last_step = now

    def note_first(self, sequence: Sequence) -> None:
        """Record when a first token came."""
        timeliness = sequence.timeliness
        if timeliness is None or timeliness.first_at is None or timeliness.forecast_s is None:
            return
        limit = timeliness.objective.ttft_s
        if limit is not None:
            waited = timeliness.first_at - timeliness.arrived
            with self._lock:
                error = (waited - timeliness.forecast_s) / limit
                self._errors.append((timeliness.first_at, error))

    def note_end(self, sequence: Sequence, *, limited: bool) -> None:
        """Record the length of an answer that its model or its limit ended."""
        self.lengths.observe(sequence.options.tenant, len(sequence.output_ids), limited=limited)

    def accept(self, sequence: Sequence, load: Load) -> None:
        """Refuse a request that would not be in time, unless it may be late.

        Raises:
            NotInTime: it would not.
        """
        timeliness = sequence.timeliness
        if timeliness is None or not self._pacing.cost.known:
            return
        now = self._pacing.clock()
        spent = now - timeliness.arrived
        verdict = self._judge(timeliness.objective, sequence.length, spent, load, now)
        timeliness.forecast_s = verdict.foreseen_s
        if verdict.late_s <= 0:
            self._last_accepted = now
        elif sequence.options.late_allowed:
            timeliness.given_up = True
        elif self._due_to_try(verdict, now):
            self._note_try(verdict, now)
        else:
            self._refuse(verdict, timeliness.objective)

    def refuse_early(self, objective: Objective, spent_s: float, load: Load) -> None:
        """Refuse a request whose prompt is not read yet, if even a short one would be late.

        Args:
            objective: What it is held to; it may not be late.
            spent_s: Seconds since it arrived.
            load: What stands before it.

        Raises:
            NotInTime: it would.
        """
        if not self._pacing.cost.known:
            return
        now = self._pacing.clock()
        verdict = self._judge(objective, 1, spent_s, load, now)
        if verdict.late_s > 0 and not self._due_to_try(verdict, now):
            self._refuse(verdict, objective)

    def first_token_s(self, objective: Objective, length: int, load: Load) -> float:
        """Return the seconds until the first token of a request that arrives now.

        Args:
            objective: What it is held to.
            length: Tokens of its prompt.
            load: What stands before it.
        """
        pacing = self._pacing
        batch = self._batch_of(load.running)
        itl = min(objective.itl_s or math.inf, batch.itl_s)
        capacity = pacing.capacity(itl, objective.percentile)
        beside = min(len(batch.left), capacity)
        tokens = batch.unread + load.ahead_tokens + length
        step_s, read = pacing.pace(itl, objective.percentile, beside, tokens)
        needed = len(batch.left) + load.ahead + 1 - capacity
        return step_s * (batch.steps_until(needed) + 1 + math.ceil(tokens / read))

    def _judge(
        self, objective: Objective, length: int, spent_s: float, load: Load, now: float
    ) -> _Verdict:
        """Foresee when a request's first token comes, and by how much that is too late."""
        limit = objective.ttft_s or math.inf
        foreseen = spent_s + self.first_token_s(objective, length, load)
        late = -math.inf
        if limit < math.inf:
            late = foreseen - limit * (1 - self._margin(objective.percentile, now))
        cost = self._pacing.cost
        prompt = self._pacing.read_s(length) - limit
        token = cost.seconds(StepWork(1, 1, length)) - (objective.itl_s or math.inf)
        if max(prompt, token) > 0:
            return _Verdict(foreseen, max(late, prompt, token), "prompt" if prompt > 0 else "token")
        return _Verdict(foreseen, late, "queue")

    def _refuse(self, verdict: _Verdict, objective: Objective) -> NoReturn:
        self.refusals[verdict.reason] += 1
        retry_s = min(max(verdict.late_s, _LEAST_RETRY_S), _MOST_RETRY_S)
        raise NotInTime(_why(verdict, objective), retry_s, verdict.reason)

    def _due_to_try(self, verdict: _Verdict, now: float) -> bool:
        """Return whether to accept a request that would be late, to learn what it takes."""
        if verdict.reason != "queue":  # asks for more than the machine seems to do
            return now - self._tried > REFUSING_S
        idle = now - max(self._last_step, self._probed) > PROBE_S
        return idle or now - max(self._last_accepted, self._probed) > REFUSING_S

    def _note_try(self, verdict: _Verdict, now: float) -> None:
        if verdict.reason == "queue":
            self._probed = now
        else:
            self._tried = now

    def _batch_of(self, running: Seq[Sequence]) -> _Batch:
        """Return what the running sequences stand for; worked out once for each step."""
        now = self._pacing.cost.observations, len(running)
        if self._batch is None or self._batch[0] != now:
            self._batch = now, self._describe(running)
        return self._batch[1]

    def _describe(self, running: Seq[Sequence]) -> _Batch:
        held = [
            one for one in running if one.timeliness and not one.timeliness.lost(self._pacing.now)
        ]
        itls = [one.timeliness.objective.itl_s or math.inf for one in held if one.timeliness]
        written = sum(len(one.output_ids) for one in held)
        left = sorted(map(self._left, held))
        return _Batch(
            itl_s=min(itls, default=math.inf),
            unread=sum(one.length - one.computed for one in held if one.length - one.computed > 1),
            left=left,
            mean=(written + sum(left)) / len(left) if left else 0.0,
        )

    def _left(self, sequence: Sequence) -> float:
        """Return how many tokens a running answer is expected to take yet."""
        params, so_far = sequence.params, len(sequence.output_ids)
        if params.ignore_eos:
            return float(params.max_tokens - so_far)
        return self.lengths.expected(sequence.options.tenant, params.max_tokens, so_far)

    def _margin(self, percentile: float, now: float) -> float:
        """Return what part of an objective to hold back, by the errors of recent forecasts."""
        counted, margin = self._margins.get(percentile, (-math.inf, 0.0))
        if now - counted < 0.1:
            return margin
        with self._lock:
            while self._errors and now - self._errors[0][0] > _MEMORY_S:
                self._errors.popleft()
            errors = sorted(error for _, error in self._errors)
        if len(errors) < _FEW:
            margin = _FIRST_MARGIN
        else:
            index = math.ceil(percentile / 100 * len(errors)) - 1
            margin = min(max(errors[index], _LEAST_MARGIN), _MOST_MARGIN)
        self._margins = {percentile: (now, margin)}
        return margin


def _why(verdict: _Verdict, objective: Objective) -> str:
    if verdict.reason == "prompt":
        return f"reading this prompt takes longer than {objective} allows, also on an idle server"
    if verdict.reason == "token":
        return f"one answer alone takes longer between its tokens than {objective} allows"
    return (
        f"the first token would come after {verdict.foreseen_s:.2f} s, later than {objective} "
        "allows"
    )
