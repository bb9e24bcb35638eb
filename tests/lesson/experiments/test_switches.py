from __future__ import annotations

from pathlib import Path

from ingot.api.inference import Model
from ingot.lesson.experiments.engine_load import LoadTiming
from ingot.lesson.experiments.switches import (
    ANSWER_TOKENS,
    USERS,
    SwitchBench,
    Switches,
    SwitchResult,
    fastest,
)


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


def test_of_several_rounds_each_setting_keeps_its_fastest() -> None:
    def measured(caching: bool, seconds: float) -> SwitchResult:
        return SwitchResult(Switches(caching=caching), LoadTiming(8, 96, seconds, 0.1))

    rounds = [
        (measured(False, 4.0), measured(True, 9.0)),
        (measured(False, 5.0), measured(True, 1.0)),
    ]
    assert [result.timing.seconds for result in fastest(rounds)] == [4.0, 1.0]
    assert [str(result.switches) for result in fastest(rounds)] == ["all off", "caching"]
