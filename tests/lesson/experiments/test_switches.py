from __future__ import annotations

from pathlib import Path

from ingot.api.inference import Model
from ingot.lesson.experiments.switches import ANSWER_TOKENS, USERS, SwitchBench, Switches


def test_switches_name_themselves() -> None:
    assert str(Switches()) == "all off"
    assert str(Switches(caching=True, batching=True)) == "caching + batching"


def test_every_position_answers_every_user(model: Model, tmp_path: Path) -> None:
    with SwitchBench(tmp_path, model.ingot.tokenizer) as bench:
        for quantization in {False, bench.can_quantize}:
            measured = bench.measure(Switches(True, quantization, True))
            assert measured.timing.answers == USERS
            assert measured.timing.tokens == USERS * ANSWER_TOKENS
        # A model worth quantizing: its weights are well past a second-level cache.
        assert bench.parameters > 10_000_000
