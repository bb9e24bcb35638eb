"""What a recipe says of the task."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TaskKind = Literal["text", "chat", "preference"]


class TaskConfig(BaseModel):
    """What to learn, and what to begin from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: TaskKind = "text"
    """text: every next token of a corpus. chat: the assistant's part of conversations.
    preference: which of two answers is the better one (DPO)."""
    start: str | None = None
    """An ingot whose weights to go on from; none begins anew."""
    separate_documents: bool = False
    """Keep attention within documents where a window of text holds several."""
    teacher_order: int = Field(0, ge=0, le=16)
    """Learn a text's next tokens from counts of contexts up to so long, not from single tokens;
    for short runs and vocabularies up to 1,024. 0 learns from the tokens."""
    teacher_epochs: float = Field(1.0, gt=0)
    """Passes over the text in which the counts give way to the tokens, evenly."""
    too_long: Literal["cut", "refuse"] = "cut"
    """What becomes of a conversation or answer that is longer than a window."""
    held_out: float = Field(0.05, gt=0, lt=1)
    """Share of conversations or pairs that judge the model instead of teaching it."""
    beta: float = Field(0.1, gt=0)
    """How strongly preferences hold the model to where it began."""
