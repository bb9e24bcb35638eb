"""The core's threads: counted, pinned if asked, asleep when idle, no trouble for each other."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.artifact import Ingot
from ingot.inference import SamplingParams
from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.request.sequence import SampledToken

ROW = SamplingRow(SamplingParams(temperature=0), 0, 0)


def threads_of_this_process() -> dict[int, set[int]]:
    """CPUs that each thread may use."""
    return {
        int(task.name): os.sched_getaffinity(int(task.name))
        for task in Path("/proc/self/task").iterdir()
    }


@pytest.mark.parametrize("pinned", [False, True])
def test_workers_are_pinned_if_asked(ingot: Ingot, pinned: bool) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    before = threads_of_this_process().keys()
    executor = NativeExecutor(ingot, num_blocks=4, threads=len(cpus) + 1, pinned=pinned)
    executor.step([ModelInput([1] * 40, 0, [0, 1, 2], ROW)])
    assert executor.model.threads == len(cpus) + 1
    expected = [{cpu} for cpu in cpus[1:]] + [set(cpus)] if pinned else [set(cpus)] * len(cpus)
    deadline = time.monotonic() + 300  # each pins itself, whenever the system first lets it run
    while True:
        found = threads_of_this_process().items()
        made = {task: allowed for task, allowed in found if task not in before}
        if sorted(made.values(), key=sorted) == sorted(expected, key=sorted):
            break
        assert time.monotonic() < deadline, f"{made} instead of {expected}"
        time.sleep(0.01)
    assert os.sched_getaffinity(0) == set(cpus)
    executor.close()
    assert not threads_of_this_process().keys() & made.keys()


def rows_of(executor: NativeExecutor, steps: int) -> Iterator[int]:
    """Prefill, then decode one token at a time."""
    prompt = list(range(60))
    model_input = ModelInput(prompt, 0, list(range(8)), ROW)
    for _ in range(steps):
        drawn = executor.step([model_input])[0]
        assert isinstance(drawn, SampledToken)
        yield drawn.token_id
        model_input = ModelInput(
            [drawn.token_id], model_input.start + len(model_input.token_ids), list(range(8)), ROW
        )


def test_engines_side_by_side_do_not_wait_for_each_other(ingot: Ingot) -> None:
    """Four with more threads than there are CPUs, each stepped by a thread of its own."""
    answers: list[list[int]] = [[] for _ in range(4)]

    def run(answer: list[int]) -> None:
        executor = NativeExecutor(ingot, num_blocks=8, threads=3, pinned=True)
        answer.extend(rows_of(executor, 60))
        executor.close()

    runners = [threading.Thread(target=run, args=(answer,), daemon=True) for answer in answers]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(300)
        assert not runner.is_alive(), "an engine hangs"
    assert len(answers[0]) == 60
    assert all(answer == answers[0] for answer in answers)


def test_a_thread_that_makes_way_changes_nothing_and_comes_back_by_itself(ingot: Ingot) -> None:
    cpus = len(os.sched_getaffinity(0))
    executor = NativeExecutor(ingot, num_blocks=8, threads=cpus + 1)
    undisturbed = list(rows_of(executor, 60))
    ended = threading.Event()

    def disturb() -> None:
        while not ended.is_set():
            executor.yield_cpu(True)
            executor.yield_cpu(False)
        executor.yield_cpu(True)  # and never calls it back

    other = threading.Thread(target=disturb, daemon=True)
    other.start()
    disturbed = list(rows_of(executor, 60))
    ended.set()
    other.join(300)
    assert disturbed == undisturbed == list(rows_of(executor, 60))
    executor.close()
    executor.yield_cpu(True)  # nobody is asked


def test_an_idle_engine_uses_no_cpu(ingot: Ingot) -> None:
    executor = NativeExecutor(ingot, num_blocks=8, threads=8)
    list(rows_of(executor, 5))
    deadline = time.monotonic() + 300
    while used_by_others(0.5) > 0.02:  # two ticks of the clock that measures it
        assert time.monotonic() < deadline, "its threads do not stop spinning"
    executor.close()


def used_by_others(seconds: float) -> float:
    """Sleep, and return the CPU time of this process's other threads meanwhile."""
    before = sum(os.times()[:2]), time.thread_time()
    time.sleep(seconds)
    return sum(os.times()[:2]) - before[0] - (time.thread_time() - before[1])
