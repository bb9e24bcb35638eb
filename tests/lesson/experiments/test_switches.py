from __future__ import annotations

from pathlib import Path

from ingot.api.inference import Model
from ingot.inference import Objective
from ingot.lesson.experiments.engine_load import LoadTiming
from ingot.lesson.experiments.switches import (
    ANSWER_TOKENS,
    Load,
    SwitchBench,
    Switches,
    SwitchResult,
    fastest,
)
from ingot.lesson_content import read_content

DESIGN = read_content().system_design
PATIENT = Objective(ttft_s=3600.0, itl_s=60.0)


def test_switches_name_themselves() -> None:
    assert str(Switches()) == "all off"
    assert str(Switches(caching=True, batching=True)) == "caching + batching"


def test_every_position_answers_every_user(model: Model, tmp_path: Path) -> None:
    with SwitchBench(tmp_path, model.ingot.tokenizer, DESIGN) as bench:
        load = Load(3, PATIENT)
        in_turn = list(bench.measure_in_turn(load))
        assert str(in_turn[0].switches) == "all off"
        assert in_turn[-1].switches.batching
        for measured in in_turn:
            assert measured.timing.answers == measured.timing.in_time == 3
            assert measured.timing.tokens == 3 * ANSWER_TOKENS
        # A model worth quantizing: its weights are well past a second-level cache.
        assert bench.parameters > 10_000_000
        objective = bench.proposed_objective()
        assert (objective.ttft_s or 0) > (objective.itl_s or 0) > 0
        grown = list(bench.measure_loads(Objective(ttft_s=0.001)))
        assert [each.load.users for each in grown] == list(DESIGN.loads)
        assert [each.timing.in_time for each in grown] == [0] * len(grown)


def test_of_several_rounds_each_setting_keeps_its_fastest() -> None:
    def measured(caching: bool, seconds: float) -> SwitchResult:
        timing = LoadTiming(8, 96, seconds, 0.1)
        return SwitchResult(Switches(caching=caching), Load(8, PATIENT), timing)

    rounds = [
        (measured(False, 4.0), measured(True, 9.0)),
        (measured(False, 5.0), measured(True, 1.0)),
    ]
    assert [result.timing.seconds for result in fastest(rounds)] == [4.0, 1.0]
    assert [str(result.switches) for result in fastest(rounds)] == ["all off", "caching"]
