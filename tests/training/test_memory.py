from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ingot.training.memory import is_lack_of_memory, too_large
from ingot.training.recipe import BatchRecipe


def test_lack_of_memory_is_told_from_other_faults() -> None:
    with pytest.raises(RuntimeError) as lacking:
        torch.empty(1 << 62, dtype=torch.uint8)
    with pytest.raises(RuntimeError) as other:
        torch.ones(2) @ torch.ones(3)
    assert is_lack_of_memory(lacking.value)
    assert is_lack_of_memory(MemoryError())
    assert not is_lack_of_memory(other.value)


@pytest.mark.parametrize(
    ("sequences", "fix"),
    [(8, "batch.sequences=4 --set batch.accumulation=6"), (1, "batch.recompute=true")],
)
def test_it_says_what_to_lower_and_to_what(sequences: int, fix: str) -> None:
    batch = BatchRecipe(context=512, sequences=sequences, accumulation=3)
    said = str(too_large(Path("runs/mine"), batch, 3_500_000))
    assert fix in said
    assert f"{sequences} windows of 512 tokens of a model of 3.5M" in said
