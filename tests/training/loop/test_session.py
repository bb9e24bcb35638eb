from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from ingot.training.distributed.data_parallel import Workers
from ingot.training.loop.session import Session, outcome_lag
from ingot.training.run_folder.run_state import RunState


def session(*, rank: int = 0, sharded: bool = False) -> Session:
    """A session of which only what decides who takes part is real."""
    nothing: Any = None
    return Session(
        run=nothing,
        workers=Workers(rank=rank, count=2),
        precision=nothing,
        model=nothing,
        compiled_model=nothing,
        task=nothing,
        optimizer=nothing,
        guard=nothing,
        progress=nothing,
        saver=nothing,
        reporter=nothing,
        sharded=sharded,
        interrupted=threading.Event(),
        state=RunState(),
    )


@pytest.mark.parametrize(
    ("rank", "sharded", "expected"),
    [(0, False, True), (1, False, False), (0, True, True), (1, True, True)],
)
def test_all_take_part_only_where_each_holds_a_shard(
    rank: int, sharded: bool, expected: bool
) -> None:
    assert session(rank=rank, sharded=sharded).takes_part is expected


@pytest.mark.parametrize("sharded", [False, True])
def test_a_joint_evaluation_is_not_left_by_one_process(sharded: bool) -> None:
    one = session(sharded=sharded)
    assert not one.stop()
    one.interrupted.set()
    assert one.stop() is not sharded


def test_outcomes_are_late_on_a_gpu_alone() -> None:
    assert outcome_lag(torch.device("cpu")) == 0
    assert outcome_lag(torch.device("cuda")) == 1
