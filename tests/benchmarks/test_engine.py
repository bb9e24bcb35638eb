from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.engine_side import OurEngine, extra_bytes, first_token_s
from benchmarks.random_models import make_random_ingot
from benchmarks.workloads import ANSWER, decode_rate


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_random_ingot(tmp_path_factory.mktemp("ingots"), "5M", "int8")


def test_our_side_makes_what_is_asked_for(path: Path) -> None:
    with OurEngine(path) as engine:
        assert decode_rate(engine, 3) > 0
        steps = engine.steps()
        assert steps.count == ANSWER + 1
        assert 0 < steps.outside_s < steps.spent_s
        assert engine.step() == []


def test_start_and_memory_are_measured(path: Path) -> None:
    assert first_token_s(path) > 0
    assert 0 < extra_bytes(path) < 1e9
