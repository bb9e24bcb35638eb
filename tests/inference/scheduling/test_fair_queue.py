from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.inference import RequestOptions, SamplingParams, Sequence
from ingot.inference.scheduling.fair_queue import FairQueue

names = itertools.count()


def sequence(tenant: str = "", priority: int = 0, tokens: int = 1) -> Sequence:
    params = SamplingParams()
    options = RequestOptions(priority=priority, tenant=tenant)
    return Sequence(next(names), (1,) * tokens, params, 0, lambda _: None, options)


def take(queue: FairQueue) -> Sequence:
    first = queue.first()
    assert first is not None
    queue.remove(first)
    return first


def test_one_tenant_is_served_in_order() -> None:
    queue, ones = FairQueue(), [sequence() for _ in range(5)]
    for one in ones:
        queue.push(one)
    assert [take(queue) for _ in ones] == ones
    assert queue.first() is None


def test_lower_priority_numbers_go_first() -> None:
    queue = FairQueue()
    for priority in (3, -2, 0, 3, -2):
        queue.push(sequence(priority=priority))
    assert [take(queue).options.priority for _ in range(5)] == [-2, -2, 0, 3, 3]


def test_the_tenant_served_least_goes_first() -> None:
    queue = FairQueue()
    for tenant in "aaaabb":
        queue.push(sequence(tenant))
    turns = []
    for _ in range(6):
        one = take(queue)
        queue.charge(one, 10)
        turns.append(one.options.tenant)
    assert "".join(turns) == "ababaa"


def test_a_costly_tenant_gets_fewer_turns() -> None:
    queue = FairQueue()
    for tenant in "ab" * 40:
        queue.push(sequence(tenant))
    turns = []
    for _ in range(44):
        one = take(queue)
        queue.charge(one, 100 if one.options.tenant == "a" else 10)
        turns.append(one.options.tenant)
    assert turns.count("a") == 4


def test_nobody_saves_up_service_by_being_idle() -> None:
    queue = FairQueue()
    for _ in range(20):
        queue.push(sequence("busy"))
    for _ in range(10):
        queue.charge(take(queue), 10)
    for _ in range(10):
        queue.push(sequence("late"))
    turns = []
    for _ in range(10):
        one = take(queue)
        queue.charge(one, 10)
        turns.append(one.options.tenant)
    assert turns.count("busy") >= 4


def test_leaving_and_coming_back_wipes_no_debt_out() -> None:
    queue, greedy = FairQueue(), sequence("greedy")
    queue.push(greedy)
    queue.charge(take(queue), 1000)
    for _ in range(3):
        queue.push(sequence("modest"))
    queue.push(sequence("greedy"))
    turns = []
    for _ in range(4):
        one = take(queue)
        queue.charge(one, 100)
        turns.append(one.options.tenant)
    assert turns == ["modest", "modest", "modest", "greedy"]


def test_what_was_preempted_goes_before_others_of_its_tenant() -> None:
    queue, first, second = FairQueue(), sequence("a"), sequence("a")
    queue.push(first)
    queue.push_back(second)
    assert [take(queue), take(queue)] == [second, first]


def test_debts_are_kept_for_each_priority() -> None:
    queue = FairQueue()
    queue.charge(sequence("a", priority=0), 1000)
    queue.push(sequence("a", priority=5))
    queue.push(sequence("b", priority=5))
    assert take(queue).options.tenant == "a"


def test_the_memory_of_tenants_that_left_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingot.inference.scheduling.fair_queue._REMEMBERED", 8)
    queue, debtor = FairQueue(), sequence("debtor")
    queue.push(debtor)
    queue.charge(take(queue), 10_000)
    for number in range(200):
        queue.push(sequence(f"tenant {number}", priority=number % 3))
        queue.charge(take(queue), 0 if number % 3 else 1)
    assert len(queue._served) < 20
    assert queue._served[0, "debtor"] == 10_000
    assert len(queue._order) < 40


pushes = st.tuples(st.sampled_from("abc"), st.integers(-1, 1), st.integers(1, 5))
moves = st.lists(st.one_of(st.integers(0, 50), pushes), max_size=80)


@settings(max_examples=80, deadline=None)
@given(moves)
def test_the_turn_is_always_the_least_served_of_the_best_priority(
    moves: list[int | tuple[str, int, int]],
) -> None:
    queue, waiting = FairQueue(), list[Sequence]()
    for move in moves:
        if isinstance(move, tuple):
            tenant, priority, tokens = move
            waiting.append(sequence(tenant, priority, tokens))
            queue.push(waiting[-1])
        elif move % 3 == 0 and waiting:
            queue.remove(waiting.pop(move % len(waiting)))
        elif move % 3 == 1 and waiting:
            queue.charge(waiting[move % len(waiting)], move)
        elif waiting:
            first = queue.first()
            assert first is not None
            best = min(one.options.priority for one in waiting)
            served = {
                one: queue._served[one.options.priority, one.options.tenant] for one in waiting
            }
            rivals = [one for one in waiting if one.options.priority == best]
            assert first.options.priority == best
            assert served[first] == min(served[one] for one in rivals)
            assert first is next(
                one for one in rivals if one.options.tenant == first.options.tenant
            )
            queue.remove(first)
            waiting.remove(first)
        assert len(queue) == len(waiting)
        assert queue.tokens == sum(one.length for one in waiting)
        assert set(queue) == set(waiting)
        assert len(queue._order) <= 2 * len(waiting) + 18
