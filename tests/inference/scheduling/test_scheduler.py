from __future__ import annotations

import itertools

import pytest

from ingot.errors import UsageError
from ingot.inference import RequestOptions, SamplingParams, Sequence
from ingot.inference.request.sequence import Status
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.scheduler import Scheduler

names = itertools.count()


def sequence(
    prompt: int,
    max_tokens: int = 8,
    *,
    priority: int = 0,
    tenant: str = "",
    user: str = "",
    first: int = 1,
    tenant_priority: int = 0,
) -> Sequence:
    params = SamplingParams(max_tokens=max_tokens)
    return Sequence(
        next(names),
        (first, *(1,) * (prompt - 1)),
        params,
        0,
        lambda _: None,
        RequestOptions(
            priority=priority, tenant=tenant, user=user, tenant_priority=tenant_priority
        ),
    )


def scheduler(
    blocks: int = 100,
    budget: int = 16,
    most: int = 8,
    context: int = 64,
    *,
    reuse: bool = False,
) -> Scheduler:
    cache = KVCache(blocks, 4, reuse=reuse)
    return Scheduler(cache, max_step_tokens=budget, max_sequences=most, max_context=context)


def step(scheduler: Scheduler) -> dict[Sequence, int]:
    """Run one step in which every sequence that may draws a token."""
    work = {piece.sequence: piece.count for piece in scheduler.schedule()}
    for one, count in work.items():
        assert 4 * len(one.block_table) >= one.computed + count
        scheduler.advance(one, count)
        if one.computed == one.length:
            one.append(7)
    return work


def test_a_long_prompt_is_cut_into_chunks_of_the_budget() -> None:
    room, one = scheduler(), sequence(40)
    room.add(one)
    assert [step(room)[one] for _ in range(5)] == [16, 16, 8, 1, 1]


def test_decodes_come_before_a_long_prompt() -> None:
    room, short, long = scheduler(), sequence(3), sequence(40)
    room.add(short)
    step(room)
    room.add(long)
    assert [step(room) for _ in range(3)] == [
        {short: 1, long: 15},
        {short: 1, long: 15},
        {short: 1, long: 10},
    ]


def test_prompts_share_a_step_oldest_first() -> None:
    room, sizes = scheduler(), (6, 6, 6)
    first, second, third = (sequence(size) for size in sizes)
    for one in (first, second, third):
        room.add(one)
    assert step(room) == {first: 6, second: 6, third: 4}
    assert step(room) == {first: 1, second: 1, third: 2}


def test_no_more_run_than_allowed() -> None:
    room = scheduler(most=2)
    ones = [sequence(2) for _ in range(3)]
    for one in ones:
        room.add(one)
    assert list(step(room)) == ones[:2]
    room.finish(ones[0])
    assert list(step(room)) == ones[1:]


def test_none_is_admitted_without_blocks_for_all_of_its_prompt() -> None:
    room, first, second, third = scheduler(blocks=5), sequence(12), sequence(12), sequence(12)
    for one in (first, second, third):
        room.add(one)
    assert step(room) == {first: 12}
    room.finish(first)
    assert step(room) == {second: 12}
    assert list(room.waiting) == [third]


def test_others_pass_a_large_request_that_waits_for_blocks() -> None:
    """FAULTS A2: one request that does not fit yet holds up nobody behind it."""
    room, first, large = scheduler(blocks=7), sequence(12), sequence(20)
    small = [sequence(2, user="a"), sequence(2, user="a"), sequence(2, tenant="b")]
    for one in (first, large, *small):
        room.add(one)
    assert step(room) == {first: 12, small[0]: 2, small[2]: 2}, "a tenant each, then the next"
    assert step(room) == {first: 1, small[0]: 1, small[1]: 2, small[2]: 1}
    assert list(room.waiting) == [large]


def test_a_large_request_is_passed_a_bounded_number_of_times() -> None:
    """FAULTS A2: small requests without end do not starve one that needs many blocks."""
    room, large = scheduler(blocks=8), sequence(28)
    room.add(sequence(8, 20))
    step(room)
    room.add(large)
    passed = 0
    for _ in range(200):
        room.add(sequence(2, 1))
        for one in step(room):
            if len(one.output_ids) == one.params.max_tokens:
                passed += one.params.max_tokens == 1
                room.finish(one)
        if large.status is Status.RUNNING:
            break
    assert large.status is Status.RUNNING
    assert passed <= 32


def test_nobody_passes_what_was_preempted() -> None:
    room = scheduler(blocks=3)
    old, young = sequence(4, 20), sequence(4, 20)
    for one in (old, young):
        room.add(one)
    for _ in range(2):
        step(room)
    assert young.status is Status.WAITING
    room.add(sequence(2))
    assert step(room) == {old: 1}


def test_the_youngest_makes_room_and_starts_again_in_front() -> None:
    room = scheduler(blocks=3)
    old, young, late = sequence(4, 20), sequence(4, 20), sequence(4)
    for one in (old, young):
        room.add(one)
    step(room)  # each fills one block and draws a token that needs another
    room.add(late)
    assert step(room) == {old: 1}
    assert (young.status, young.computed, young.block_table) == (Status.WAITING, 0, [])
    assert young.output_ids == [7], "what it has said is kept"
    assert list(room.waiting) == [young, late]
    room.finish(old)
    assert step(room) == {young: 5, late: 4}


def test_the_youngest_that_needs_a_block_gives_way_itself() -> None:
    room = scheduler(blocks=3)
    old, young = sequence(5, 20), sequence(4, 20)
    room.add(old)
    room.add(young)
    step(room)
    assert step(room) == {old: 1}
    assert young.status is Status.WAITING


def test_finishing_frees_the_blocks_of_any_sequence() -> None:
    room, running, waiting = scheduler(blocks=2), sequence(8), sequence(8)
    room.add(running)
    room.add(waiting)
    step(room)
    room.finish(waiting)
    room.finish(running)
    assert list(room.live) == []
    assert running.block_table == []
    assert (running.status, waiting.status) == (Status.FINISHED, Status.FINISHED)


def test_what_could_never_fit_is_refused() -> None:
    room = scheduler(blocks=4)
    room.check_fits(sequence(9, 8))  # 17 tokens, the last of which is never run
    with pytest.raises(UsageError, match=r"18 tokens .* need 5 .* there are 4"):
        room.check_fits(sequence(9, 9))


def test_the_context_bounds_what_a_sequence_can_need() -> None:
    scheduler(blocks=4, context=17).check_fits(sequence(9, 1000))


def test_the_better_priority_runs_first_and_makes_way_for_itself() -> None:
    room, low, lowest = scheduler(blocks=6), sequence(8, priority=1), sequence(8, priority=2)
    for one in (low, lowest):
        room.add(one)
    assert step(room) == {low: 8, lowest: 8}
    urgent = sequence(8)
    room.add(urgent)
    assert step(room) == {urgent: 8, low: 1}
    assert lowest.status is Status.WAITING
    assert set(room.running) == {urgent, low}
    assert room.preemptions == 1


def test_a_better_priority_takes_a_slot_when_all_are_taken() -> None:
    room, low, urgent = scheduler(most=1), sequence(4, priority=1), sequence(4)
    room.add(low)
    step(room)
    room.add(urgent)
    assert step(room) == {urgent: 4}
    assert low.output_ids == [7]
    room.finish(urgent)
    assert step(room) == {low: 5}


def test_nobody_is_preempted_in_vain_or_by_an_equal() -> None:
    room = scheduler(blocks=4)
    equal, low = sequence(8), sequence(4, priority=1)
    for one in (equal, low):
        room.add(one)
    step(room)
    room.add(sequence(12))
    assert set(step(room)) == {equal}, "low needed a block that equal took"
    room.finish(low)
    room.add(sequence(12))
    step(room)
    assert room.running == [equal]
    assert equal.status is Status.RUNNING


def test_an_equal_takes_no_block_that_a_running_one_needs_now() -> None:
    room, old = scheduler(blocks=3), sequence(4, 20)
    room.add(old)
    step(room)
    room.add(sequence(8))
    assert step(room) == {old: 1}
    assert room.preemptions == 0


def test_a_tenant_that_runs_more_than_its_share_gives_way() -> None:
    """FAULTS A2: running sequences of one key leave no other key waiting."""
    room = scheduler(most=4)
    flood = [sequence(4, 50, tenant="a", priority=-(2**31)) for _ in range(6)]
    for one in flood:
        room.add(one)
    step(room)
    assert room.running == flood[:4]
    others = [sequence(4, 50, tenant="b") for _ in range(3)]
    for one in others:
        room.add(one)
    for _ in range(45):
        step(room)
    assert [one.options.tenant for one in room.running].count("b") == 2
    assert room.preemptions == 2, "an equal share is not preempted"
    assert flood[0].status is flood[1].status is Status.RUNNING


def test_memory_runs_out_for_the_tenant_that_runs_most() -> None:
    """FAULTS A2: the last key to arrive is not the first to be preempted."""
    room = scheduler(blocks=10, budget=32)
    flood = [sequence(4, 50, tenant="a") for _ in range(4)]
    for one in flood:
        room.add(one)
    step(room)
    guest = sequence(3, 50, tenant="b")
    room.add(guest)
    step(room)
    for _ in range(12):
        step(room)
        assert guest.status is Status.RUNNING
    assert flood[0].status is Status.RUNNING
    assert room.preemptions > 0


def test_the_prefills_of_tenants_share_the_budget() -> None:
    """FAULTS A2: a long prompt of one key does not delay another key's prompt until it ends."""
    room, long, guest = scheduler(), sequence(60, tenant="a"), sequence(20, tenant="b")
    room.add(long)
    assert step(room) == {long: 16}
    room.add(guest)
    assert step(room) == {long: 8, guest: 8}
    assert step(room) == {long: 8, guest: 8}
    assert step(room) == {long: 12, guest: 4}, "what one leaves the other gets"


def test_a_priority_given_by_the_operator_goes_before_other_tenants() -> None:
    room = scheduler(most=1)
    low, urgent = sequence(4, 50, tenant="a"), sequence(4, tenant="b", tenant_priority=-1)
    room.add(low)
    step(room)
    room.add(urgent)
    assert step(room) == {urgent: 4}


def test_a_flood_of_a_better_priority_does_not_starve_a_worse_one() -> None:
    """FAULTS A2: a request of priority 5 under a flood of -5 is served."""
    room, low = scheduler(most=2), sequence(4, 3, priority=5)
    room.add(low)
    for _ in range(400):
        while len(room.waiting) < 4:
            room.add(sequence(4, 3, priority=-5))
        for one in step(room):
            if len(one.output_ids) >= 3:
                room.finish(one)
        if low.status is Status.FINISHED:
            break
    assert low.status is Status.FINISHED
    assert room.preemptions <= 1, "once brought forward by ageing, it is not preempted again"


def test_tenants_take_turns() -> None:
    room = scheduler(most=1)
    for tenant in "aaab":
        room.add(sequence(4, tenant=tenant))
    turns = []
    for _ in range(4):
        (one,) = step(room)
        turns.append(one.options.tenant)
        room.finish(one)
    assert turns == ["a", "b", "a", "a"]


def test_reading_costs_one_and_writing_two_and_nothing_is_charged_twice() -> None:
    room, one = scheduler(blocks=8), sequence(9, 20, tenant="a")
    room.add(one)
    for _ in range(3):
        step(room)
    room._preempt(one)
    assert room.waiting.tenant_service(one) == 9 + 2 * 2
    step(room)
    step(room)
    room.finish(one)
    assert room.waiting.tenant_service(one) == 9 + 2 * 4


def test_a_cached_prefix_is_neither_run_nor_charged() -> None:
    room, first, second = scheduler(reuse=True), sequence(13, tenant="a"), sequence(13, tenant="b")
    room.add(first)
    step(room)
    room.add(second)
    assert step(room) == {first: 1, second: 1}
    assert (first.cached_tokens, second.cached_tokens) == (0, 12)
    room.finish(second)
    assert room.waiting.tenant_service(second) == 1


def test_what_was_preempted_is_found_in_the_cache_again() -> None:
    room, one = scheduler(reuse=True), sequence(13)
    room.add(one)
    step(room)
    room._preempt(one)
    assert step(room) == {one: 2}
    assert one.cached_tokens == 0, "its prompt was not found when it first ran"
