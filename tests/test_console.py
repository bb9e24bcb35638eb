from __future__ import annotations

import io
import signal

import pytest
from rich.console import Console

from ingot.console import report_to
from ingot.corpus import Progress
from ingot.errors import Interrupted
from ingot.planning import Machine, plan
from ingot.settings import merge_tables
from ingot.training.config.recipe import make_recipe

MACHINE = Machine("test", cores=2, memory_bytes=1 << 34, bfloat16=False, matmul_flops=1e11)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def stopped() -> Interrupted:
    return Interrupted("stopped; nothing was kept")


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_choice_that_the_user_overrides_loses_its_reason(console: Console) -> None:
    """FAULTS E3."""
    planned = plan(60.0, 1_000_000, MACHINE)
    recipe = make_recipe(merge_tables(planned.tables, {"model": {"hidden_size": 40}}))
    with report_to(console, stopped) as (_, callbacks):
        callbacks.on_machine(MACHINE)
        callbacks.on_recipe(recipe, planned)
    lines = {line.split()[0]: line for line in text(console).splitlines() if line.strip()}
    assert lines["model.hidden_size"].split()[1:] == ["40", "set", "by", "you"]
    assert lines["run.budget_seconds"].split()[1:4] == ["60.0", "of", "wall"]
    assert "set by you" not in lines["model.head_dim"]
    assert "100 GFLOP/s in float32 (measured)" in lines["test,"]


def test_each_phase_of_a_build_is_named_once_where_no_bar_can_be_drawn(console: Console) -> None:
    with report_to(console, stopped) as (_, callbacks):
        for phase in ("read", "tokenize"):
            for done in (0, 5, 10):
                callbacks.on_progress(Progress(phase, done, 10))  # type: ignore[arg-type]
    assert text(console).split() == ["read", "tokenize"]


def test_a_signal_before_training_interrupts_and_handlers_are_put_back(console: Console) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="nothing was kept"), report_to(console, stopped):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
