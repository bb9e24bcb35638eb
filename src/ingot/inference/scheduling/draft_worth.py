"""How many draft tokens are worth their time, by the costs of a step."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from ingot.inference.scheduling.cost_model import StepWork
from ingot.inference.scheduling.pacing import Pacing
from ingot.inference.scheduling.scheduler import ScheduledChunk

_WEIGHT = 0.05
_TRY_EVERY = 32
"""One in so many steps drafts as much as it may: how many are right is known from drafts alone."""


class DraftWorth:
    """Compares the tokens that drafts are expected to add with the time that they add.

    A draft of ``n`` tokens, each right with probability ``a`` if those before it were, adds
    ``a + a**2 + ... + a**n`` tokens (Y. Leviathan et al., arXiv:2211.17192, section 3.1).

    Args:
        pacing: The costs, and the objectives of those that run.
    """

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._right = 0.5
        """Share of the draft tokens that were right, averaged over recent drafts."""
        self._steps = 0

    def observe(self, drafted: int, accepted: int) -> None:
        """Record what came of a draft of at least one token."""
        # Those after the first that is wrong say nothing.
        tried = min(accepted + 1, drafted)
        self._right += _WEIGHT * (accepted / tried - self._right)

    def limits(self, chunks: Seq[ScheduledChunk], most: int, budget: int) -> tuple[int, int]:
        """Return the most draft tokens of one sequence, and of all together.

        Args:
            chunks: What the step runs besides.
            most: Most that the configuration allows for one sequence.
            budget: Tokens that the step has space for.
        """
        work = StepWork.of((chunk.count, chunk.sequence.computed) for chunk in chunks)
        answers = [chunk.sequence for chunk in chunks if chunk.count == 1]
        if not answers or budget <= 0 or not self._pacing.cost.known:
            return most, budget
        budget = self._pacing.draft_tokens(answers, work, budget)
        self._steps += 1
        if self._steps % _TRY_EVERY == 0:
            return most, budget
        return self._best(work, len(answers), most), budget

    def _best(self, work: StepWork, answers: int, most: int) -> int:
        """Return the length of drafts that gives most tokens per second; 0 for none."""
        gained, power, best, best_rate = 1.0, 1.0, 0, 0.0
        for length in range(most + 1):
            tokens = work.tokens + answers * length
            seconds = self._pacing.cost.seconds(work._replace(tokens=tokens))
            rate = gained / max(seconds, 1e-9)
            if rate > best_rate:
                best, best_rate = length, rate
            power *= self._right
            gained += power
        return best
