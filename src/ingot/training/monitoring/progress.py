"""How far a run is, how fast it is, and how a wall-time budget is spent."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from ingot.errors import RecipeError
from ingot.training.config.recipe import RunRecipe

_WINDOW = 5.0  # seconds over which speed is averaged
_EVALUATION_SLACK = 1.25
_LEAST_UPDATES = 8  # made even where set-up has spent the whole budget
_ASIDE = 0.15  # of the time since set-up, for evaluations and samples along the way


class Progress:
    """The run's clock: shares of a step count, of a number of epochs, or of a wall-time budget.

    With steps or epochs the clock never enters the schedule, so a run repeats to
    the bit; with a budget it ends on time on a machine of any speed. Set-up counts: the
    shares of a budget begin at the end of the first update, and a few updates are made
    even where nothing of it is left.

    Args:
        recipe: The length of the run.
        epoch: Returns the epochs of data that were drawn.
        elapsed_before: Wall seconds of earlier sittings.
        setup_s: Wall seconds to the end of the first update, if it was in an earlier sitting.
        begun: When this sitting began, by ``time.perf_counter``; now by default.
    """

    def __init__(
        self,
        recipe: RunRecipe,
        epoch: Callable[[], float],
        *,
        elapsed_before: float = 0.0,
        setup_s: float | None = None,
        begun: float | None = None,
    ) -> None:
        self._recipe, self._epoch = recipe, epoch
        self._before = elapsed_before
        self._begun = time.perf_counter() if begun is None else begun
        self._recent: deque[tuple[float, int]] = deque()
        self._first_counted = False
        self._aside = 0.0
        self.setup_s = setup_s
        """Wall seconds of the run to the end of its first update; None before that."""
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
        if self.setup_s is None:
            return 0.0
        spent = self.elapsed - self.setup_s
        available = self._recipe.budget_seconds - self.reserve - self.setup_s
        share = spent / available if available > 0 else 1.0
        return share if step >= _LEAST_UPDATES else min(share, step / _LEAST_UPDATES)

    def seconds_left(self, step: int) -> float:
        """Estimate the wall seconds to the end of the run."""
        if self._recipe.budget_seconds is not None:
            return max(self._recipe.budget_seconds - self.elapsed, 0.0)
        share, trained = self.share(step), self.elapsed - (self.setup_s or 0.0)
        return max(trained / share * (1 - share), 0.0) if share else trained  # epochs may overshoot

    def keep_to_budget(self, step: int, update_s: float, scoring_s: float) -> None:
        """Refuse a budget that one update outlasts; keep time for the last evaluation.

        Args:
            step: Updates that were made.
            update_s: Seconds of the last.
            scoring_s: Seconds that an evaluation would take at the speed counted last.

        Raises:
            RecipeError: the second update, the first without set-up, took more than the budget.
        """
        budget = self._recipe.budget_seconds
        if budget is None:
            return
        if step == 2 and update_s > budget:
            raise RecipeError(
                f"{budget:.3g} s is too small: one update takes {update_s:.2g} s",
                where="budget",
                fix=f"give at least {math.ceil(10 * update_s)} s or a smaller model",
            )
        if self._recent:
            self.reserve = min(scoring_s * _EVALUATION_SLACK, 0.5 * budget)

    def allows_aside(self, seconds: float = 0.0) -> bool:
        """Tell whether the budget allows an evaluation or a sample of this length now."""
        if self._recipe.budget_seconds is None:
            return True
        trained = self.elapsed - (self.setup_s or 0.0)
        return self._aside + seconds <= _ASIDE * (trained + seconds)

    def count_aside(self, seconds: float) -> None:
        """Take in the time of an evaluation or a sample."""
        self._aside += seconds

    def count(self, seconds: float, tokens: int) -> float:
        """Take in one update; return the tokens per second of the last few seconds.

        The first of a sitting also sets things up, so it tells nothing of those that follow.
        """
        if not self._first_counted:
            self._first_counted = True
            if self.setup_s is None:
                self.setup_s = self.elapsed
            return tokens / seconds
        self._recent.append((seconds, tokens))
        total = sum(spent for spent, _ in self._recent)
        while len(self._recent) > 1 and total - self._recent[0][0] > _WINDOW:
            total -= self._recent.popleft()[0]
        return sum(seen for _, seen in self._recent) / total
