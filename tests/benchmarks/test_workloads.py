from __future__ import annotations

from benchmarks.workloads import ANSWER, PROMPT, decode_rate, mixed_rate, mixed_work, prefill_rate


class Counting:
    """Reads a prompt in one step and then makes a token of every sequence in each."""

    def __init__(self) -> None:
        self.left: dict[int, int] = {}
        self.prompts: list[list[int]] = []
        self.steps = 0
        self.most = 0

    def add(self, ids: list[int], answer: int) -> int:
        self.prompts.append(ids)
        self.left[len(self.prompts)] = answer
        return len(self.prompts)

    def step(self) -> list[int]:
        self.steps += 1
        made = list(self.left)
        self.most = max(self.most, len(made))
        self.left = {number: count - 1 for number, count in self.left.items() if count > 1}
        return made


def test_prefill_reads_one_prompt_and_makes_one_token() -> None:
    engine = Counting()
    assert prefill_rate(engine, 512) > 0
    assert [len(prompt) for prompt in engine.prompts] == [512]
    assert engine.steps == 1


def test_decode_is_timed_from_the_first_token_of_the_last_sequence() -> None:
    engine = Counting()
    assert decode_rate(engine, 8) > 0
    assert [len(prompt) for prompt in engine.prompts] == [PROMPT] * 8
    assert len(set(map(tuple, engine.prompts))) == 8, "a prefix cache would answer for all"
    assert engine.steps == ANSWER + 1
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
