"""Whether a changed recipe gives a run anything more to train."""

from __future__ import annotations

from ingot.errors import RecipeError
from ingot.training.config.recipe import Recipe
from ingot.training.monitoring.progress import Progress
from ingot.training.run_folder.run_state import RunState


def require_more(state: RunState, before: Recipe, now: Recipe, progress: Progress) -> None:
    """Check that a run can be trained on with another recipe than the one followed so far.

    Args:
        state: Counters of the run.
        before: The recipe followed so far.
        now: The recipe to follow.
        progress: The run's clock, by the recipe to follow.

    Raises:
        RecipeError: the run is longer already than the new recipe makes it, or it is finished
            and the new recipe makes it no longer.
    """
    name, length = _length(now)
    done = progress.share(state.step) * length
    # A few updates are made whatever the budget, so its share alone does not tell.
    trained = {"run.steps": float(state.step), "run.budget_seconds": state.elapsed}.get(name, done)
    if trained > length or (trained == length and state.finished):
        raise RecipeError(
            f"is {length:.4g}, and {trained:.4g} were trained already",
            where=name,
            fix="give more, or leave the recipe as it was",
        )
    if state.finished and _length(before) == (name, length):
        raise RecipeError(
            "changes nothing, because the run is finished",
            where="recipe",
            fix=f"also make the run longer, such as --set {name}={2 * length:.4g}",
        )


def _length(recipe: Recipe) -> tuple[str, float]:
    """Return the setting that decides how long a run is, and its value."""
    run = recipe.run
    lengths = {
        "run.steps": run.steps,
        "run.epochs": run.epochs,
        "run.budget_seconds": run.budget_seconds,
    }
    # A checked recipe has exactly one of them.
    return next((name, value) for name, value in lengths.items() if value is not None)
