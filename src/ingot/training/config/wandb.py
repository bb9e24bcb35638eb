"""Settings of Weights & Biases."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class WandbConfig(BaseModel):
    """Logging to Weights & Biases, in addition to the run's own record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["off", "offline", "online"] = "off"
    """offline writes ``RUN/wandb``, for ``wandb sync``; online sends during the run."""
    project: str = Field("ingot", min_length=1, max_length=128)
    """Name of the project."""
