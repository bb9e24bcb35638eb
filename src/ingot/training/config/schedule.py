"""Schedule of the learning rate: warm-up, constant, decay."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ScheduleConfig(BaseModel):
    """Shape of the learning rate, in fractions of the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shape: Literal["linear", "cosine"] = "linear"
    """linear: constant, then linear decay (warm-up, stable, decay: arXiv:2405.18392).
    cosine: half a cosine from the end of the warm-up."""
    warmup: float = Field(0.02, ge=0, le=0.5)
    """Fraction of the run in which the rate rises to its full value."""
    decay: float = Field(0.6, ge=0, le=1)
    """Fraction of the run, at its end, in which a linear schedule decays."""
    floor: float = Field(0.02, ge=0, le=1)
    """Fraction of the full rate at the end."""

    def lr_scale(self, progress: float) -> float:
        """Return the share of the full rate at ``progress`` (0 at the start, 1 at the end)."""
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            # Never nothing: the first update would be wasted.
            return max(progress / self.warmup, 0.02)
        if self.shape == "cosine":
            fallen = (progress - self.warmup) / (1 - self.warmup)
            return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * fallen))
        if self.decay == 0 or progress <= 1 - self.decay:
            return 1.0
        return self.floor + (1 - self.floor) * (1 - progress) / self.decay
