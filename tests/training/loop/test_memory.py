from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ingot.errors import ResourceError
from ingot.process import available_bytes
from ingot.training.config.recipe import BatchRecipe, Recipe
from ingot.training.loop.memory import is_lack_of_memory, require_memory, too_large
from ingot.training.run_folder.run import Run


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
    assert f"{sequences} sequences of 512 tokens of a model of 3.5M" in said


MODEL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
FIXED = 4 * 3  # bytes of a weight, its gradient and its momentum


def fits(run: Run, available: int) -> bool:
    try:
        require_memory(run, available)
    except ResourceError:
        return False
    return True


def test_what_cannot_fit_is_refused_with_what_would(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run]
) -> None:
    run = new_run(recipe(model=MODEL, batch={"context": 64, "sequences": 32}))
    fixed = run.model_config.parameters * FIXED
    window = 64 * 2 * (12 * 32 + 6 * 64)
    assert fits(run, fixed + 32 * window)
    with pytest.raises(ResourceError, match=r"sequences=31 --set batch\.accumulation=2"):
        require_memory(run, fixed + 32 * window - 1)
    with pytest.raises(ResourceError, match=r"lower batch\.context or the model, by at least 2\.0"):
        require_memory(run, fixed + window // 2)
    with pytest.raises(ResourceError, match=r"use a model of at most"):
        require_memory(run, fixed - 1)


@pytest.mark.parametrize(
    ("sections", "less"),
    [
        ({"batch": {"context": 64, "sequences": 32, "recompute": True}}, True),
        ({"batch": {"context": 64, "sequences": 8}}, True),
        ({"optimizer": {"method": "adamw"}, "batch": {"context": 64, "sequences": 32}}, False),
    ],
)
def test_what_takes_less_fits_where_more_does_not(
    recipe: Callable[..., Recipe],
    new_run: Callable[..., Run],
    sections: dict[str, dict[str, object]],
    less: bool,
) -> None:
    usual = new_run(recipe(model=MODEL, batch={"context": 64, "sequences": 32}), "usual")
    other = new_run(recipe(model=MODEL, **sections), "other")
    enough = usual.model_config.parameters * FIXED + 32 * 64 * 2 * (12 * 32 + 6 * 64)
    assert fits(other, enough - 1) is less


def test_available_memory_is_what_the_system_says() -> None:
    assert 1 << 20 < available_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_trainer_that_runs_out_says_what_to_lower(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run]
) -> None:
    """Out of address space for real, in a process that may have 400 MB more than it has."""
    sizes = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 4}
    run = new_run(recipe(model=sizes))
    script = """
import resource, sys, threading
from pathlib import Path
from ingot.errors import ResourceError
from ingot.training.loop.trainer import Trainer
from ingot.training.run_folder.run import open_run
from ingot.training.loop.memory import lack_of_memory_named
run = open_run(Path(sys.argv[1]))
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + 400_000_000
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    with lack_of_memory_named(run):
        Trainer(run, lambda event: None, threading.Event())
except ResourceError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(run.path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "memory does not hold 4 sequences of 32 tokens of a model of" in done.stdout, done.stderr
    assert "batch.sequences=2 --set batch.accumulation=2" in done.stdout
