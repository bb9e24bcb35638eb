from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from ingot.training.monitoring.events import Evaluated, Sampled, Skipped, Started, Stepped
from ingot.training.monitoring.live_view import LiveView


def shown(stepped: Callable[[int], Stepped], *, terminal: bool) -> str:
    """What a person has seen by the end of a small run."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, no_color=True)
    with LiveView(console) as view:
        view(Started(parameters=1_500_000, vocab_size=384, step=0, note="float32 on cpu"))
        for step in range(1, 6):
            view(stepped(step))
        view(Skipped(6, 99.0, 7.0, 0, 1, "spike", 3))
        view(Evaluated(step=6, loss=4.4321, bits_per_byte=1.9, seconds=0.1, best=True))
        view(Sampled(6, "def ", "f(x): return [x]"))
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())


@pytest.mark.parametrize("terminal", [True, False])
def test_what_happened_is_told(stepped: Callable[[int], Stepped], terminal: bool) -> None:
    text = shown(stepped, terminal=terminal)
    for part in ("1.50M parameters", "vocabulary 384", "float32 on cpu"):
        assert part in text
    assert "skipped (spike)" in text
    assert "back to step 3" in text
    assert "held-out loss 4.4321, 1.9000 bits/byte (best)" in text


def test_a_terminal_shows_speed_time_left_curve_and_sample(
    stepped: Callable[[int], Stepped],
) -> None:
    text = shown(stepped, terminal=True)
    for part in ("1,000", "4.5", "50%", "0:01", "f(x): return [x]"):
        assert part in text, part
    assert re.search("[▁▂▃▄▅▆▇█]{2,}", text)
