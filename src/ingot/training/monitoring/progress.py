"""How far a run is, and how fast it goes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from ingot.errors import RecipeError
from ingot.training.config.recipe import RunRecipe

_WINDOW = 5.0  # seconds over which speed is averaged
_EVALUATION_SLACK = 1.25


class Progress:
    """The run's clock: shares of a step count, of a number of epochs, or of a wall-time budget.

    With steps or epochs the clock never enters the schedule, so a run repeats to
    the bit; with a budget it ends on time on a machine of any speed.
    """

    def __init__(
        self, recipe: RunRecipe, epoch: Callable[[], float], *, elapsed_before: float
    ) -> None:
        self._recipe, self._epoch = recipe, epoch
        self._before = elapsed_before
        self._begun = time.perf_counter()
        self._recent: deque[tuple[float, int]] = deque()
        self._set_up = False
        self.reserve = 0.0
        """Seconds of the budget kept for what follows the last update."""

    @property
    def elapsed(self) -> float:
        """Wall seconds of the run, over all sittings."""
        return self._before + time.perf_counter() - self._begun

    def leave_out(self, seconds: float) -> None:
        """Take time that was spent waiting off the clock."""
        self._begun += seconds

    def share(self, step: int) -> float:
        """Return the share of the run that is done after ``step`` updates; 1 ends it."""
        if self._recipe.steps is not None:
            return step / self._recipe.steps
        if self._recipe.epochs is not None:
            return self._epoch() / self._recipe.epochs
        assert self._recipe.budget_seconds is not None  # noqa: S101 (a checked recipe has one)
        return self.elapsed / max(self._recipe.budget_seconds - self.reserve, 1e-9)

    def seconds_left(self, step: int) -> float:
        """Estimate the wall seconds to the end of the run."""
        if self._recipe.budget_seconds is not None:
            return max(self._recipe.budget_seconds - self.elapsed, 0.0)
        share = self.share(step)
        sitting = time.perf_counter() - self._begun
        return self.elapsed / share * (1 - share) if share else sitting

    def keep_to_budget(self, step: int, update_s: float, scoring_s: float) -> None:
        """Refuse a budget that one update outlasts; keep time for the last evaluation.

        Args:
            step: Updates that were made.
            update_s: Seconds of the last.
            scoring_s: Seconds that an evaluation would take at the speed counted last.

        Raises:
            RecipeError: the first update took more than the budget.
        """
        budget = self._recipe.budget_seconds
        if budget is None:
            return
        if step == 1 and update_s > budget:
            raise RecipeError(
                f"{budget:.3g} s is too small: one update takes {update_s:.2g} s",
                where="budget",
                fix=f"give at least {math.ceil(10 * update_s)} s or a smaller model",
            )
        if self._recent:
            self.reserve = min(scoring_s * _EVALUATION_SLACK, 0.5 * budget)

    def count(self, seconds: float, tokens: int) -> float:
        """Take in one update; return the tokens per second of the last few seconds.

        The first of a sitting also sets things up, so it tells nothing of those that follow.
        """
        if not self._set_up:
            self._set_up = True
            return tokens / seconds
        self._recent.append((seconds, tokens))
        total = sum(spent for spent, _ in self._recent)
        while len(self._recent) > 1 and total - self._recent[0][0] > _WINDOW:
            total -= self._recent.popleft()[0]
        return sum(seen for _, seen in self._recent) / total
