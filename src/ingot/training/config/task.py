"""Settings of the task."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TaskKind = Literal["text", "chat", "preference"]


class TaskConfig(BaseModel):
    """Objective of the training, and the model that it starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: TaskKind = "text"
    """text: predict each next token of a corpus. chat: predict the assistant's part of
    conversations. preference: prefer the better of two answers (DPO)."""
    start: str | None = None
    """Path of an ingot to fine-tune; unset trains from the start."""
    separate_documents: bool = False
    """Keep attention within documents where a sequence holds several."""
    ngram_order: int = Field(0, ge=0, le=16)
    """Longest context, in tokens, of n-gram soft labels: learn from the distribution of next tokens
    after such contexts; for short runs and vocabularies up to 1,024. 0 learns from the tokens."""
    ngram_epochs: float = Field(1.0, gt=0)
    """Passes over the text in which n-gram soft labels fade to the tokens."""
    too_long: Literal["cut", "refuse"] = "cut"
    """What to do with a conversation or answer that is longer than the context."""
    held_out: float = Field(0.05, ge=0, lt=1)
    """Fraction of conversations or pairs held out for evaluation, one at least; at 0 none is, and
    the training examples are scored."""
    beta: float = Field(0.1, gt=0)
    """Strength of the penalty for leaving the initial model (DPO)."""
