from __future__ import annotations

import pytest

from benchmarks.workloads import ANSWER, PROMPT, decode_rate, mixed_rate, mixed_work, prefill_rate


class Counting:
    """Reads prompts in one step, or one each step, and makes a token of every sequence read."""

    def __init__(self, *, one_prompt_a_step: bool = False) -> None:
        self.slowly = one_prompt_a_step
        self.left: dict[int, int] = {}
        self.prompts: list[list[int]] = []
        self.steps = 0

    def add(self, ids: list[int], answer: int) -> int:
        self.prompts.append(ids)
        self.left[len(self.prompts)] = answer
        return len(self.prompts)

    def step(self) -> list[int]:
        self.steps += 1
        read = self.steps if self.slowly else len(self.prompts)
        made = [number for number in self.left if number <= read]
        counts = {number: self.left[number] - (number in made) for number in self.left}
        self.left = {number: count for number, count in counts.items() if count}
        return made


def test_prefill_reads_one_prompt_and_makes_one_token() -> None:
    engine = Counting()
    assert prefill_rate(engine, 512) > 0
    assert [len(prompt) for prompt in engine.prompts] == [512]
    assert engine.steps == 1


def test_decode_is_timed_from_the_first_token_of_the_last_sequence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Counting(one_prompt_a_step=True)
    monkeypatch.setattr("time.perf_counter", lambda: engine.steps)  # a step takes a second
    before = sum(range(1, 9))  # tokens made until the last prompt is read
    assert decode_rate(engine, 8) == (8 * (ANSWER + 1) - before) / ANSWER
    assert [len(prompt) for prompt in engine.prompts] == [PROMPT] * 8
    assert len(set(map(tuple, engine.prompts))) == 8, "a prefix cache would answer for all"
    assert engine.steps == 8 + ANSWER
    assert not engine.left


def test_mixed_work_is_the_same_each_time_and_all_of_it_is_done() -> None:
    work = mixed_work()
    assert work == mixed_work()
    prompts = [each.prompt for each in work]
    assert min(prompts) < 100
    assert max(prompts) > 900
    assert [each.arrival_s for each in work] == sorted(each.arrival_s for each in work)
    engine = Counting()
    assert mixed_rate(engine) > 0
    assert sorted(map(len, engine.prompts)) == sorted(each.prompt for each in work)
    assert not engine.left
