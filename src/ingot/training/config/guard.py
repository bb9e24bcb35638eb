"""Settings of the guard against non-finite updates and loss spikes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GuardConfig(BaseModel):
    """Which updates are skipped, and when a run stops."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_skipped: int = Field(5, ge=1)
    """Non-finite updates in a row at which the run stops; fewer are skipped."""
    spike_score: float | None = Field(8.0, gt=0)
    """Standard deviations above the mean of earlier losses at which a loss is a spike; unset
    detects none."""
    spike_window: int = Field(64, ge=8, le=4096)
    """Earlier losses that a loss is compared with; no spike is detected before there are enough."""
    on_spike: Literal["skip", "roll_back"] = "skip"
    """skip: skip the update. roll_back: also restore the last checkpoint and continue with the
    text that follows."""
