from __future__ import annotations

from collections.abc import Sequence as Seq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import ServeError
from ingot.inference import RequestOptions, SamplingParams, Sequence
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.prefix_index import PrefixIndex


def sequence(prompt: Seq[int] = (1,), salt: str = "") -> Sequence:
    params = SamplingParams()
    return Sequence(0, tuple(prompt), params, 0, lambda _: None, RequestOptions(cache_salt=salt))


def computed(cache: KVCache, one: Sequence, tokens: int) -> None:
    one.computed = tokens
    cache.cache_full_blocks(one)


def test_blocks_cover_the_tokens() -> None:
    cache, one = KVCache(4, 16), sequence()
    assert cache.grow(one, 1)
    assert len(one.block_table) == 1
    assert cache.grow(one, 16)
    assert len(one.block_table) == 1
    assert cache.grow(one, 17)
    assert len(one.block_table) == 2
    assert cache.free_blocks == 2


def test_too_few_blocks_change_nothing() -> None:
    cache, one, two = KVCache(4, 16), sequence(), sequence()
    assert cache.grow(one, 40)
    assert not cache.grow(two, 17)
    assert two.block_table == []
    assert cache.free_blocks == 1
    cache.check_integrity([one, two])


def test_release_makes_a_sequence_start_again() -> None:
    cache, one = KVCache(4, 16), sequence()
    cache.grow(one, 40)
    one.computed = 33
    cache.release(one)
    assert (one.block_table, one.computed, cache.free_blocks) == ([], 0, 4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 60))), max_size=40)
)
def test_no_block_is_ever_lost_or_shared(moves: list[tuple[int, int | None]]) -> None:
    cache = KVCache(9, 4)
    sequences = [sequence() for _ in range(5)]
    for who, tokens in moves:
        if tokens is None:
            cache.release(sequences[who])
        else:
            held = len(sequences[who].block_table)
            fits = max(-(-tokens // 4) - held, 0) <= cache.free_blocks
            assert cache.grow(sequences[who], tokens) == fits
        cache.check_integrity(sequences)
        used = sum(len(one.block_table) for one in sequences)
        assert used + cache.free_blocks == 9


def test_a_computed_prefix_is_shared() -> None:
    cache = KVCache(8, 4)
    one, two = sequence(range(10)), sequence([*range(9), 99])
    assert cache.admit(one)
    computed(cache, one, 10)
    assert cache.admit(two)
    assert two.block_table[:2] == one.block_table[:2]
    assert two.block_table[2] != one.block_table[2], "the third is not full"
    assert two.computed == 8
    assert cache.free_blocks == 4
    cache.check_integrity([one, two])


def test_only_what_was_computed_is_shared() -> None:
    cache = KVCache(8, 4)
    one, two = sequence(range(10)), sequence(range(10))
    assert cache.admit(one)
    computed(cache, one, 7)
    assert cache.admit(two)
    assert (two.computed, len(two.block_table)) == (4, 3)


def test_the_last_token_is_always_left_to_run() -> None:
    cache = KVCache(8, 4)
    one, two = sequence(range(8)), sequence(range(8))
    assert cache.admit(one)
    computed(cache, one, 8)
    assert cache.admit(two)
    assert two.computed == 4


def test_an_equal_block_after_another_prefix_is_not_shared() -> None:
    cache = KVCache(8, 4)
    one, two = sequence([0, 0, 0, 0, 1, 2, 3, 4, 5]), sequence([9, 9, 9, 9, 1, 2, 3, 4, 5])
    assert cache.admit(one)
    computed(cache, one, 9)
    assert cache.admit(two)
    assert (two.computed, cache.free_blocks) == (0, 2)


def test_salts_do_not_meet() -> None:
    cache = KVCache(20, 4)
    ones = [sequence(range(10), salt) for salt in ("", "a", "b", "a")]
    for one in ones:
        assert cache.admit(one)
        computed(cache, one, max(one.computed, 9))
    assert [one.computed for one in ones] == [9, 9, 9, 9]
    assert ones[1].block_table[:2] == ones[3].block_table[:2]
    assert len({tuple(one.block_table[:2]) for one in ones}) == 3


def test_tokens_are_compared_and_not_only_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    class SameHash(bytes):
        def __hash__(self) -> int:
            return 7

    tokens = PrefixIndex._tokens
    monkeypatch.setattr(PrefixIndex, "_tokens", lambda *args: SameHash(tokens(*args)))
    cache, one, two = KVCache(8, 4), sequence(range(9)), sequence(range(1, 10))
    assert cache.admit(one)
    computed(cache, one, 9)
    assert cache.admit(two)
    assert two.computed == 0


def test_what_was_released_is_found_again_until_it_is_needed() -> None:
    cache, one, again = KVCache(3, 4), sequence(range(9)), sequence(range(9))
    assert cache.admit(one)
    computed(cache, one, 9)
    cache.release(one)
    assert (cache.free_blocks, cache.cached_blocks) == (3, 2)
    assert cache.admit(again)
    assert again.computed == 8
    cache.release(again)
    other = sequence(range(50, 62))
    assert cache.admit(other)
    assert cache.cached_blocks == 0
    cache.release(other)
    last = sequence(range(9))
    assert cache.admit(last)
    assert last.computed == 0


def test_the_least_recently_used_goes_first_and_ends_before_beginnings() -> None:
    cache = KVCache(4, 4)
    old, new = sequence([*range(8), 0]), sequence([*range(20, 24), 0])
    for one, tokens in ((old, 8), (new, 4)):
        one.prompt_ids = one.prompt_ids[:tokens]
        assert cache.grow(one, tokens)
        computed(cache, one, tokens)
        cache.release(one)
    taken = sequence(range(90, 98))
    assert cache.admit(taken)  # the empty block, and the end of the oldest prefix
    assert cache.admit(found := sequence([*range(4), 99]))
    assert (found.computed, cache.free_blocks) == (4, 0)


def test_computed_twice_is_kept_once() -> None:
    cache, one, two = KVCache(6, 4), sequence(range(9)), sequence(range(9))
    assert cache.admit(one)
    assert cache.admit(two)
    assert cache.free_blocks == 0
    computed(cache, one, 9)
    computed(cache, two, 9)
    assert two.block_table[:2] == one.block_table[:2]
    assert cache.free_blocks == 2
    cache.check_integrity([one, two])


def test_room_is_counted_without_what_would_be_shared() -> None:
    cache, one, two = KVCache(4, 4), sequence(range(12)), sequence([*range(11), 99, 98])
    assert cache.admit(one)
    computed(cache, one, 12)
    assert not cache.fits(two)
    assert not cache.admit(two), "two blocks are shared, two more are needed"
    assert two.block_table == []
    cache.release(one)
    assert cache.fits(two)
    assert cache.admit(two)
    assert two.computed == 8


def test_a_cached_block_is_no_room_for_what_comes_after_it() -> None:
    cache, one, other = KVCache(4, 4), sequence(range(8)), sequence(range(50, 54))
    assert cache.admit(one)
    computed(cache, one, 8)
    cache.release(one)
    assert cache.admit(other)
    longer = sequence(range(14))
    assert cache.free_blocks == 3
    assert not cache.fits(longer), "two blocks are found and two more needed, of which one is free"
    assert not cache.admit(longer)
    cache.check_integrity([other, longer])


def test_without_reuse_nothing_is_found() -> None:
    cache, one, two = KVCache(8, 4, reuse=False), sequence(range(9)), sequence(range(9))
    assert cache.admit(one)
    computed(cache, one, 9)
    assert cache.admit(two)
    assert (two.computed, cache.cached_blocks) == (0, 0)


def test_a_sequence_that_asks_about_its_whole_prompt_reuses_nothing() -> None:
    cache, one, two = KVCache(8, 4), sequence(range(9)), sequence(range(9))
    two.may_reuse = False
    assert cache.admit(one)
    computed(cache, one, 9)
    assert cache.admit(two)
    assert two.computed == 0


moves = st.lists(
    st.tuples(
        st.integers(0, 4),  # who
        st.sampled_from(["admit", "compute", "say", "release"]),
        st.integers(0, 30),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=14), min_size=5, max_size=5),
    st.lists(st.sampled_from(["", "a"]), min_size=5, max_size=5),
    moves,
)
def test_whatever_happens_each_block_holds_what_its_holders_think(
    prompts: list[list[int]], salts: list[str], moves: list[tuple[int, str, int]]
) -> None:
    cache = KVCache(9, 2)
    ones = [sequence(prompt, salt) for prompt, salt in zip(prompts, salts, strict=True)]
    written: dict[int, tuple[str, tuple[int, ...]]] = {}  # what is in each block, and before it
    for who, move, number in moves:
        one = ones[who]
        if move == "admit" and not one.block_table:
            cache.admit(one)
        elif move == "compute" and one.block_table:
            most = min(one.length, 2 * len(one.block_table))
            for position in range(one.computed, min(one.computed + number, most)):
                tokens = (*one.prompt_ids, *one.output_ids)[: position + 1]
                written[one.block_table[position // 2]] = (one.options.cache_salt, tokens)
                computed(cache, one, position + 1)
        elif move == "say" and one.block_table and cache.grow(one, one.length + 1):
            one.append(number % 2)
        elif move == "release":
            cache.release(one)
        cache.check_integrity(ones)
        for other in ones:
            tokens = (*other.prompt_ids, *other.output_ids)
            for index, block in enumerate(other.block_table[: other.computed // 2]):
                assert written[block] == (other.options.cache_salt, tokens[: 2 * index + 2])


def test_a_lost_block_is_found() -> None:
    cache, one = KVCache(4, 16), sequence()
    cache.grow(one, 40)
    one.block_table.pop()
    with pytest.raises(ServeError, match="of 4 blocks 1 are lost, 0 are free twice"):
        cache.check_integrity([one])


def test_a_wrong_reference_count_is_found() -> None:
    cache, one, two = KVCache(4, 16), sequence(), sequence()
    cache.grow(one, 40)
    two.block_table = one.block_table[:2]
    with pytest.raises(ServeError, match=r"0 are lost, .* 2 have a wrong reference count"):
        cache.check_integrity([one, two])


def test_a_block_both_free_and_held_is_found() -> None:
    cache, one = KVCache(4, 16), sequence()
    one.block_table.append(0)
    with pytest.raises(ServeError, match="1 are free twice or held while free"):
        cache.check_integrity([one])


def test_an_unknown_block_is_found() -> None:
    cache, one = KVCache(4, 16), sequence()
    one.block_table.append(4)
    with pytest.raises(ServeError, match="1 ids are unknown"):
        cache.check_integrity([one])


def test_a_block_indexed_wrongly_is_found() -> None:
    cache, one = KVCache(4, 4), sequence(range(4))
    cache.grow(one, 4)
    computed(cache, one, 4)
    cache.release(one)
    cache._unused.clear()
    cache._empty.append(0)
    with pytest.raises(ServeError, match="1 are indexed wrongly"):
        cache.check_integrity([one])
