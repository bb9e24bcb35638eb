from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.inference import RequestOptions, SamplingParams, Sequence
from ingot.inference.request.sequence import AGED
from ingot.inference.scheduling.fair_queue import FairQueue
from ingot.inference.scheduling.levels import PATIENCE

names = itertools.count()


def sequence(
    tenant: str = "",
    priority: int = 0,
    tokens: int = 1,
    user: str = "",
    tenant_priority: int = 0,
) -> Sequence:
    params = SamplingParams()
    options = RequestOptions(
        priority=priority, tenant=tenant, user=user, tenant_priority=tenant_priority
    )
    return Sequence(next(names), (1,) * tokens, params, 0, lambda _: None, options)


def take(queue: FairQueue) -> Sequence:
    first = queue.first()
    assert first is not None
    queue.pop(first)
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
    queue.requeue(second)
    assert [take(queue), take(queue)] == [second, first]


def test_priorities_of_other_tenants_do_not_matter() -> None:
    """FAULTS A2: a client's priority orders the requests of its own key alone."""
    queue = FairQueue()
    for _ in range(3):
        queue.push(sequence("a", priority=-(2**31)))
        queue.push(sequence("b", priority=5))
    turns = []
    for _ in range(6):
        one = take(queue)
        queue.charge(one, 10)
        turns.append(one.options.tenant)
    assert "".join(turns) == "ababab"


def test_users_of_one_tenant_take_turns() -> None:
    queue = FairQueue()
    for user in "xxxy":
        queue.push(sequence("a", user=user))
    turns = []
    for _ in range(4):
        one = take(queue)
        queue.charge(one, 10)
        turns.append(one.options.user)
    assert "".join(turns) == "xyxx"


def test_debts_of_users_are_kept_for_each_priority() -> None:
    queue = FairQueue()
    queue.charge(sequence("a", priority=0, user="x"), 1000)
    queue.push(sequence("a", priority=5, user="x"))
    queue.push(sequence("a", priority=5, user="y"))
    assert take(queue).options.user == "x"


@pytest.mark.parametrize("field", ["priority", "tenant_priority"])
def test_no_priority_waits_forever(field: str) -> None:
    """FAULTS A2: a request of priority 5 under a flood of -5 gets its turn."""
    queue = FairQueue()
    low: dict[str, Any] = {field: 5}
    patient = sequence("a", **low)
    queue.push(patient)
    flood: dict[str, Any] = {field: -5}
    turns = 0
    while patient in queue:
        queue.push(sequence("b" if field == "tenant_priority" else "a", **flood))
        queue.charge(take(queue), 10)
        turns += 1
    assert turns == PATIENCE + 1
    assert getattr(patient, field) == AGED
    assert getattr(patient.options, field) == 5


def test_the_memory_of_tenants_and_users_that_left_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, most in (
        ("_REMEMBERED_TENANTS", 8),
        ("_REMEMBERED_USERS", 4),
        ("_IDLE_TENANTS", 3),
        ("_IDLE_LEVELS", 2),
    ):
        monkeypatch.setattr(f"ingot.inference.scheduling.fair_queue.{name}", most)
    queue, debtor = FairQueue(), sequence("debtor")
    queue.push(debtor)
    queue.charge(take(queue), 10_000)
    for number in range(400):
        one = sequence(
            f"tenant {number % 50}", number % 3, 1, f"user {number}", tenant_priority=number % 7
        )
        queue.push(one)
        queue.charge(take(queue), 0 if number % 3 else 1)
        queue.charge(sequence(f"tenant {number}", number % 5, 1, f"user {number}"), 1)
    assert queue.tenant_service(debtor) == 10_000
    classes = queue._classes
    assert len(classes) <= 2
    for one_class in (*classes._used.values(), *classes._resting.values()):
        assert len(one_class.order._served) <= 8
        assert len(one_class.order._order) < 40
        tenants = one_class.tenants
        assert len(tenants) <= 3
        for tenant in (*tenants._used.values(), *tenants._resting.values()):
            assert len(tenant.priorities) <= 2
            for priority in tenant.priorities._resting.values():
                assert len(priority.users._served) <= 4
    assert not queue._by_tenant


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=2),
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_no_number_of_users_and_no_priority_gets_a_key_more_than_its_share(
    users: dict[str, int], priorities: list[int], seed: int
) -> None:
    """FAULTS A2: fair by key first, then by user."""
    random = Random(seed)
    queue, service = FairQueue(), dict.fromkeys(users, 0)

    def push(tenant: str) -> None:
        user, priority = f"{random.randrange(users[tenant])}", random.choice(priorities)
        queue.push(sequence(tenant, priority, user=user))

    for tenant, count in users.items():
        for _ in range(count):
            push(tenant)
    for _ in range(200):
        one, cost = take(queue), random.randint(1, 20)
        queue.charge(one, cost)
        service[one.options.tenant] += cost
        push(one.options.tenant)
    assert max(service.values()) - min(service.values()) <= 20, "no more than the last request"


pushes = st.tuples(
    st.sampled_from("abc"), st.integers(-1, 1), st.integers(1, 5), st.sampled_from("xy")
)
moves = st.lists(st.one_of(st.integers(0, 50), pushes), max_size=80)


@settings(max_examples=80, deadline=None)
@given(moves)
def test_the_turn_is_the_least_served_tenants_best_priority(
    moves: list[int | tuple[str, int, int, str]],
) -> None:
    queue, waiting = FairQueue(), list[Sequence]()
    for move in moves:
        if isinstance(move, tuple):
            tenant, priority, tokens, user = move
            waiting.append(sequence(tenant, priority, tokens, user))
            queue.push(waiting[-1])
        elif move % 3 == 0 and waiting:
            queue.remove(waiting.pop(move % len(waiting)))
        elif move % 3 == 1 and waiting:
            queue.charge(waiting[move % len(waiting)], move)
        elif waiting:
            first = queue.first()
            assert first is not None
            tenant_service, user_service = queue.tenant_service(first), queue.user_service(first)
            assert tenant_service == min(queue.tenant_service(one) for one in waiting)
            rivals = [one for one in waiting if one.options.tenant == first.options.tenant]
            assert first.priority == min(one.priority for one in rivals)
            rivals = [one for one in rivals if one.priority == first.priority]
            assert user_service == min(queue.user_service(one) for one in rivals)
            assert first is next(one for one in rivals if one.options.user == first.options.user)
            queue.pop(first)
            waiting.remove(first)
        assert len(queue) == len(waiting)
        assert queue.tokens == sum(one.length for one in waiting)
        assert set(queue) == set(waiting)
        for tenant in "abc":
            wanted = sum(one.options.tenant == tenant for one in waiting)
            assert queue.waiting_of(tenant) == wanted
