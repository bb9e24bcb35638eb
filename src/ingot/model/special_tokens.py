"""Special tokens of a model: which token ends a text, which begins one, what templates see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

END_OF_TEXT = "<|endoftext|>"
"""The one special token of a tokenizer that Ingot trains."""

NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
"""Names that transformers gives special tokens, and under which chat templates see them."""


@dataclass(frozen=True)
class SpecialTokens:
    """What a model uses its special tokens for; the tokens themselves are the tokenizer's."""

    names: Mapping[str, str] = field(
        default_factory=lambda: {"eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
    )
    """Token texts by the names of ``NAMES`` or the model's own."""
    adds_bos: bool | None = None
    """Whether ``bos_token`` begins each text; None: as the tokenizer's post-processor says."""
    stop_ids: tuple[int, ...] = ()
    """Tokens that end an answer, besides ``eos_token``, which is the first of them if it has no
    name."""
