"""Settings of the optimizer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class OptimizerConfig(BaseModel):
    """Learning rates by kind of parameter, and what else an update does."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["muon", "adamw"] = "muon"
    """muon: Muon on the blocks' matrices, AdamW on the rest. adamw: AdamW on all."""
    muon_lr: float = Field(0.02, gt=0, le=10)
    """Step of an orthogonalised update, as a share of a unit spectral norm."""
    matrix_lr: float = Field(0.003, gt=0, le=10)
    """AdamW's rate for the blocks' matrices, where the method is adamw."""
    embedding_lr: float = Field(0.005, gt=0, le=10)
    head_lr: float = Field(0.002, gt=0, le=10)
    norm_lr: float = Field(0.004, gt=0, le=10)
    adapter_lr: float = Field(0.001, gt=0, le=10)
    """AdamW's rate for the matrices of an adapter."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Muon's momentum."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.95,
    )
    """AdamW's decay rates of the first and second moment."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """Decay of the blocks' matrices per unit of learning rate; norms and tables have none."""
    clip_norm: float | None = Field(None, gt=0)
    """Scale gradients down to this global norm; none leaves them."""
