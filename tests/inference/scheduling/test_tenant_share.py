"""What one key's work costs another's answers, by counted tokens and a given cost of steps."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from ingot.inference import RequestOptions, SamplingParams, Sequence
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.scheduler import Scheduler
from ingot.inference.scheduling.tenant_share import BURST_S, STEP_TOKENS

FIXED_S, TOKEN_S = 0.010, 0.0015
"""A step takes as long as this; measured for 100M parameters in int8 on two cores."""
ids = itertools.count()


def sequence(
    prompt: int, tenant: str, *, user: str = "", answer: int = 4000, rank: int = 0
) -> Sequence:
    return Sequence(
        next(ids),
        (1,) * prompt,
        SamplingParams(max_tokens=answer),
        0,
        lambda _: None,
        RequestOptions(tenant=tenant, user=user, tenant_priority=rank),
    )


class Room:
    """A scheduler whose steps take a given time, and what ran in them."""

    def __init__(self, share: float = 0.1, token_s: float = TOKEN_S) -> None:
        self.scheduler = Scheduler(
            KVCache(10_000, 16, reuse=False),
            max_step_tokens=512,
            max_sequences=64,
            max_context=10_000,
            tenant_share=share,
        )
        self.token_s = token_s
        self.seconds = 0.0
        self.tokens = Counter[str]()
        self.users = Counter[str]()

    def add(self, *sequences: Sequence) -> None:
        for one in sequences:
            self.scheduler.add(one)

    def step(self) -> dict[Sequence, int]:
        chunks = self.scheduler.schedule()
        assert chunks, "something always runs"
        work = {chunk.sequence: chunk.count for chunk in chunks}
        took = FIXED_S + self.token_s * sum(work.values())
        for one, count in work.items():
            self.tokens[one.options.tenant] += count
            self.users[one.options.user] += count
            self.scheduler.advance(one, count)
            if one.computed == one.length:
                one.append(7)
            if len(one.output_ids) >= one.params.max_tokens:
                self.scheduler.finish(one)
        self.scheduler.charge(chunks, took)
        self.seconds += took
        return work

    def run(self, seconds: float) -> None:
        """Step for a while, and count from its beginning."""
        self.tokens.clear()
        self.users.clear()
        self.seconds = 0.0
        while self.seconds < seconds:
            self.step()


def rate_alone(token_s: float = TOKEN_S) -> float:
    return 1 / (FIXED_S + token_s)


@pytest.mark.parametrize("token_s", [1e-6, TOKEN_S, 0.004])
def test_forty_answers_of_one_key_cost_another_key_a_fifth_of_its_rate(token_s: float) -> None:
    """FAULTS A2: decodes beside each other are not free."""
    room = Room(token_s=token_s)
    room.add(*(sequence(4, "greedy", user=f"u{n}") for n in range(40)))
    room.run(2)
    room.add(sequence(4, "modest"))
    room.run(10)
    modest, greedy = room.tokens["modest"], room.tokens["greedy"]
    assert modest / room.seconds >= 0.8 * rate_alone(token_s)
    assert greedy >= 0.24 * modest, "one that may run nothing more still has its turns"
    if token_s < 1e-5:
        assert greedy >= 40 * 0.95 * modest, "what costs nothing is not limited"


def test_prompts_without_end_cost_another_key_a_fifth_of_its_rate() -> None:
    """FAULTS A5: chunks of prompts delay the answers of others."""
    room = Room()
    room.add(*(sequence(4000, "greedy", answer=1) for _ in range(60)))
    room.run(2)
    room.add(sequence(4, "modest"))
    room.run(20)
    assert room.tokens["modest"] / room.seconds >= 0.8 * rate_alone()
    assert room.tokens["greedy"] >= 0.24 * room.tokens["modest"]


def test_keys_with_an_answer_each_are_not_limited() -> None:
    room = Room()
    room.add(*(sequence(4, f"key{n}") for n in range(40)))
    room.run(1)
    assert set(room.step().values()) == {1}
    assert len(room.step()) == 40


def test_keys_that_run_as_much_are_not_limited() -> None:
    room = Room()
    room.add(*(sequence(4, key) for key in "ab" for _ in range(20)))
    room.run(1)
    assert len(room.step()) == 40


def test_one_key_alone_is_not_limited() -> None:
    room = Room()
    room.add(*(sequence(4, "") for _ in range(20)))
    room.run(5)
    long = sequence(1000, "")
    room.add(long)
    assert [room.step().get(long) for _ in range(3)] == [492, 492, 16]


def test_a_step_of_one_key_alone_is_short_enough_for_another_to_come() -> None:
    """FAULTS A5: a newcomer waits for the step that runs."""
    room, long = Room(), sequence(4000, "greedy")
    room.add(long)
    room.run(1)
    assert room.step()[long] == STEP_TOKENS
    room = Room(token_s=1e-5)
    room.add(sequence(9000, "greedy"))
    room.run(0.1)
    assert sum(room.step().values()) == 512, "where that is quick, it is not made smaller"


def test_a_share_of_one_sets_no_limit() -> None:
    room = Room(share=1.0)
    room.add(*(sequence(4, "a") for _ in range(20)), sequence(4, "b"))
    room.run(1)
    assert len(room.step()) == 21


def test_a_short_prompt_of_a_key_that_ran_little_is_read_at_once() -> None:
    room = Room()
    room.add(sequence(4, "a"))
    room.run(2)
    short = sequence(200, "b")
    room.add(short)
    assert room.step()[short] == 200
    assert TOKEN_S * 200 <= BURST_S


def test_the_users_of_a_limited_key_take_turns() -> None:
    room = Room()
    room.add(*(sequence(4, "a", user="many") for _ in range(20)))
    room.add(sequence(4, "a", user="one"), sequence(4, "b", user="other"))
    room.run(10)
    assert room.users["one"] >= 0.45 * room.users["many"]


def test_the_prompts_of_a_limited_key_are_read_beside_its_answers() -> None:
    room = Room()
    room.add(*(sequence(4, "a") for _ in range(40)), sequence(4, "b"))
    room.run(5)
    late = sequence(100, "a")
    room.add(late)
    steps = 0
    while not late.output_ids:
        room.step()
        steps += 1
        assert steps <= 300


def test_a_key_without_credit_takes_no_slot_from_another() -> None:
    room = Room()
    room.add(*(sequence(2000, "a") for _ in range(100)))
    room.run(1)
    room.add(sequence(4, "b"))
    room.run(1)
    late = sequence(4, "c", answer=2)
    room.add(late)
    assert late in room.step() or late in room.step()


def test_a_key_that_the_operator_ranks_lower_limits_nobody() -> None:
    room = Room()
    room.add(*(sequence(4, "a", rank=-1) for _ in range(20)), sequence(4, "b"))
    room.run(2)
    assert len(room.step()) == 21


def test_what_is_remembered_of_keys_is_forgotten_when_their_credit_is_full() -> None:
    room = Room()
    for n in range(200):
        room.add(sequence(4, f"key{n}", answer=2))
    room.run(1)
    room.add(sequence(4, "last"))
    room.run(10)
    assert len(room.scheduler._shares._spent) <= 1
