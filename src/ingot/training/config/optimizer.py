"""Settings of the optimizer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class OptimizerConfig(BaseModel):
    """Method and learning rates by kind of parameter."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["muon", "adamw"] = "muon"
    """muon: Muon for the blocks' matrices, AdamW for the rest. adamw: AdamW for all."""
    muon_lr: float = Field(0.02, gt=0, le=10)
    """Learning rate of Muon; an orthogonalized update has spectral norm 1."""
    matrix_lr: float = Field(0.003, gt=0, le=10)
    """AdamW's learning rate of the blocks' matrices, for the method adamw."""
    embedding_lr: float = Field(0.005, gt=0, le=10)
    """AdamW's learning rate of the embedding."""
    head_lr: float = Field(0.002, gt=0, le=10)
    """AdamW's learning rate of the output head."""
    norm_lr: float = Field(0.004, gt=0, le=10)
    """AdamW's learning rate of the norm weights."""
    adapter_lr: float = Field(0.001, gt=0, le=10)
    """AdamW's learning rate of a LoRA adapter."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Muon's momentum."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.95,
    )
    """AdamW's decay rates of the first and the second moment."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """Weight decay of the blocks' matrices; norms, embedding and head have none."""
    clip_norm: float | None = Field(None, gt=0)
    """Clip the global norm of the gradients to this; unset does not clip."""
