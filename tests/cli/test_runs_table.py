from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from ingot.cli.runs_table import runs_table
from ingot.training.monitoring.runs import RunSummary

RUN = RunSummary(
    path="runs/20261129-044128",
    task="preference",
    parameters=1_790_000,
    status="finished",
    steps=12_345,
    tokens=123_456_789,
    seconds=36_000.0,
    training_loss=4.1,
    validation_loss=4.2,
    best_loss=4.2,
    bits_per_byte=1.5,
    skipped=0,
    parent=None,
)


def shown(rows: list[RunSummary], width: int, *, color: bool = False) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=color).print(runs_table(rows, width))
    return file.getvalue().splitlines()


def test_at_80_columns_every_run_is_one_whole_line() -> None:
    """FAULTS E1."""
    other = dataclasses.replace(RUN, path="runs/20261129-044129")
    lines = shown([RUN, other], 80)
    assert lines[0].strip() == "in runs"
    assert len(lines) == 4
    for cell in (
        "20261129-044129",
        "preference",
        "1.79M",
        "12,345",
        "10:00:00",
        "4.2000",
        "1.5000",
    ):
        assert cell in lines[3]
    assert "…" not in "".join(lines)


def test_a_wide_terminal_shows_tokens_and_training_loss_too() -> None:
    (_, line) = shown([RUN], 120)
    assert "123,456,789" in line
    assert "4.1000" in line
    assert "runs/20261129-044128" in line


def test_the_best_is_so_in_bits_per_byte_and_not_per_token_of_another_tokenizer() -> None:
    """FAULTS E1."""
    small = dataclasses.replace(RUN, path="runs/small", validation_loss=2.0, bits_per_byte=2.5)
    large = dataclasses.replace(RUN, path="runs/large", validation_loss=4.0, bits_per_byte=1.4)
    unscored = dataclasses.replace(
        RUN, path="runs/new", validation_loss=None, bits_per_byte=None, status="not begun"
    )
    lines = shown([small, large, unscored], 120, color=True)
    assert [line for line in lines if "\x1b[1;32m" in line] == [lines[3]]
    assert "large" in lines[3]


def test_without_bits_per_byte_the_lowest_loss_is_best() -> None:
    low = dataclasses.replace(RUN, path="runs/low", validation_loss=0.5, bits_per_byte=None)
    lines = shown([RUN, low], 120, color=True)
    assert [line for line in lines if "\x1b[1;32m" in line] == [lines[3]]
