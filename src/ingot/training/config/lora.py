"""Settings of a low-rank adapter."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS: tuple[Target, ...] = (
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
)  # fmt: skip


class LoraConfig(BaseModel):
    """Size of an adapter and the matrices it adapts; given one key, only the adapter is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: int = Field(16, ge=1, le=4096)
    """Rank of the added matrices."""
    alpha: float = Field(32.0, gt=0)
    """The output of the added matrices is scaled by alpha / rank."""
    targets: tuple[Target, ...] = Field(TARGETS, min_length=1)
    """Matrices of each block that are adapted."""
    start: str | None = Field(None, min_length=1)
    """Folder of an adapter in PEFT's layout to continue training; unset begins a new one."""

    @field_validator("targets")
    @classmethod
    def _in_order(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        return tuple(target for target in TARGETS if target in targets)

    @property
    def scale(self) -> float:
        """Factor of what the adapter adds."""
        return self.alpha / self.rank
