"""Settings of the guard against non-finite updates and loss spikes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GuardConfig(BaseModel):
    """Which updates are left out, and when a run gives up."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_skipped: int = Field(5, ge=1)
    """Updates with a loss or gradient that is not finite are left out; so many in a row end
    the run."""
    spike_score: float | None = Field(8.0, gt=0)
    """A loss so many standard deviations above the mean of those before it is a spike; none
    looks for no spikes."""
    spike_window: int = Field(64, ge=8, le=4096)
    """Losses that a new one is compared with; until there are so many nothing is a spike."""
    on_spike: Literal["skip", "roll_back"] = "skip"
    """skip: leave the update out. roll_back: also go back to the weights of the last checkpoint,
    and on with the text that follows."""
