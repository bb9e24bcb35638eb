"""The counters of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field

_SMOOTHING = 0.95  # weight of earlier losses in the reported training loss
_MOST = (1 << 53) - 1  # integers above are not exact in every JSON reader


class RunState(BaseModel):
    """The counters of a run; with the tensors of a checkpoint, all it takes to resume.

    Immutable: each method returns the state after one kind of event.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    step: int = Field(0, ge=0, le=_MOST)
    """Updates so far, skipped ones included."""
    tokens: int = Field(0, ge=0, le=_MOST)
    flops: float = Field(0.0, ge=0)
    elapsed: float = Field(0.0, ge=0)
    """Wall seconds of the run, over all sittings; with those before its first update."""
    setup_s: float | None = Field(None, ge=0)
    """How many of them had passed when the first update was made."""
    sampler: dict[str, int] = {}
    """Position of the objective in its data."""
    training_loss: float | None = None
    """Smoothed, nats per token."""
    first_loss: float | None = None
    """Of the first update that was applied."""
    last_loss: float | None = None
    """Of the latest update that was applied."""
    validation_loss: float | None = None
    """At the last evaluation, nats per token."""
    bits_per_byte: float | None = None
    """At the last evaluation."""
    best_loss: float | None = None
    """Lowest validation loss so far."""
    best_step: int | None = Field(None, ge=0, le=_MOST)
    skipped: int = Field(0, ge=0, le=_MOST)
    """Updates skipped."""
    skipped_in_a_row: int = Field(0, ge=0, le=_MOST)
    """Non-finite updates since the last one that was applied."""
    # At the first wrong item: an error for each would take 200 times the file's size.
    recent_losses: Annotated[list[float], FailFast()] = []
    """Losses that the guard compares the next one with, the latest last."""
    finished: bool = False
    """Whether the run has reached its end."""
    recipe: dict[str, Any] | None = None
    """The recipe that was followed up to here."""
    corpus_digest: str = ""
    sha256: dict[str, str] = {}
    """Digest of each tensor file."""

    def with_step(self, *, tokens: int, flops: float, sampler: dict[str, int]) -> RunState:
        """Count one update, applied or not.

        Args:
            tokens: Tokens of its batch.
            flops: FLOPs of its forward and backward passes.
            sampler: State of the objective after its batch was drawn.
        """
        return self.model_copy(
            update={
                "step": self.step + 1,
                "tokens": self.tokens + tokens,
                "flops": self.flops + flops,
                "sampler": sampler,
            }
        )

    def with_applied_loss(self, loss: float) -> RunState:
        """Take in the loss of an update that was applied."""
        before = self.training_loss
        smoothed = loss if before is None else _SMOOTHING * before + (1 - _SMOOTHING) * loss
        first = loss if self.first_loss is None else self.first_loss
        losses = {"training_loss": smoothed, "first_loss": first, "last_loss": loss}
        return self.model_copy(update={**losses, "skipped_in_a_row": 0})

    def with_skipped(self, *, finite: bool) -> RunState:
        """Count a skipped update; ``finite`` says that it was a loss spike."""
        in_a_row = 0 if finite else self.skipped_in_a_row + 1
        return self.model_copy(update={"skipped_in_a_row": in_a_row, "skipped": self.skipped + 1})

    def with_evaluation(self, loss: float, bits_per_byte: float | None) -> RunState:
        """Take in the scores of an evaluation."""
        update = {"validation_loss": loss, "bits_per_byte": bits_per_byte}
        if self.best_loss is None or loss < self.best_loss:
            update |= {"best_loss": loss, "best_step": self.step}
        return self.model_copy(update=update)

    def with_progress(
        self, *, elapsed: float, setup_s: float | None, recent_losses: Sequence[float]
    ) -> RunState:
        """Take in what only a checkpoint needs: the clock and the guard's losses."""
        clock = {"elapsed": elapsed, "setup_s": setup_s}
        return self.model_copy(update={**clock, "recent_losses": list(recent_losses)})

    def with_digests(self, sha256: Mapping[str, str]) -> RunState:
        """Name the digests of the tensor files that belong to this state."""
        return self.model_copy(update={"sha256": dict(sha256)})

    def following(self, recipe: Mapping[str, Any]) -> RunState:
        """Resume with a recipe; a run that has finished another one is open again."""
        return self.model_copy(update={"recipe": dict(recipe), "finished": False})

    def as_finished(self) -> RunState:
        """Mark the run as finished."""
        return self.model_copy(update={"finished": True})
