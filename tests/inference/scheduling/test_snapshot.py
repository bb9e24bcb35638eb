from __future__ import annotations

from collections.abc import Callable

import pytest

from ingot.errors import ServeError
from ingot.inference import Engine, EngineLoop, OutputDelta, SamplingParams
from ingot.inference.scheduling.snapshot import CACHED, EMPTY, MOST_CELLS, SHARED

MakeEngine = Callable[..., tuple[Engine, object]]
PARAMS = SamplingParams(max_tokens=40, temperature=0, ignore_eos=True)


def ignore(_: OutputDelta) -> None:
    pass


def test_blocks_are_drawn_with_their_owners(make_engine: MakeEngine) -> None:
    engine, _ = make_engine(num_blocks=32, block_size=4, max_sequences=2)
    shared = list(range(1, 9))
    engine.submit([*shared, 20], PARAMS, ignore)
    engine.step()
    engine.submit([*shared, 21], PARAMS, ignore)
    engine.submit([30, 31], PARAMS, ignore)
    engine.step()
    batch = engine.snapshot()
    assert (batch.running_total, batch.waiting_total) == (2, 1)
    assert [one.prompt_tokens for one in batch.running] == [9, 9]
    assert batch.running[1].cached_tokens == 8
    assert batch.waiting[0].blocks == batch.waiting[0].computed == 0
    assert batch.blocks_per_cell == 1
    assert batch.cells.count(SHARED) == 2
    assert {batch.cells.count(owner) for owner in (0, 1)} == {1}
    assert batch.blocks_held == 4 == 32 - batch.cells.count(EMPTY)


def test_prefixes_that_stay_are_drawn_as_cached(make_engine: MakeEngine) -> None:
    engine, _ = make_engine(num_blocks=32, block_size=4)
    engine.submit(list(range(1, 10)), SamplingParams(max_tokens=1, temperature=0), ignore)
    while engine.has_work:
        engine.step()
    batch = engine.snapshot()
    assert batch.blocks_held == 0
    assert batch.cells.count(CACHED) == batch.blocks_cached == 2


def test_a_large_cache_has_cells_of_several_blocks(make_engine: MakeEngine) -> None:
    engine, _ = make_engine(num_blocks=3 * MOST_CELLS + 1, block_size=4)
    engine.submit(list(range(1, 10)), PARAMS, ignore)
    engine.step()
    batch = engine.snapshot()
    assert batch.blocks_per_cell == 4
    assert len(batch.cells) <= MOST_CELLS
    assert batch.cells[0] == 0


def test_a_loop_answers_idle_busy_and_closed(make_engine: MakeEngine) -> None:
    loop = EngineLoop(make_engine()[0])
    assert loop.snapshot().result(60).running == ()
    loop.submit([1, 2, 3], SamplingParams(max_tokens=100, temperature=0, ignore_eos=True), ignore)
    for _ in range(20):
        assert loop.snapshot().result(60).running_total <= 1
    loop.close(60)
    with pytest.raises(ServeError):
        loop.snapshot().result(60)
