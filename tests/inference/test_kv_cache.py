from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import ServeError
from ingot.inference import SamplingParams, Sequence
from ingot.inference.kv_cache import KVCache


def sequence(name: int = 0) -> Sequence:
    return Sequence(name, (1,), SamplingParams(), 0, lambda _: None)


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


def test_the_peak_is_remembered() -> None:
    cache, one = KVCache(4, 16), sequence()
    cache.grow(one, 40)
    cache.release(one)
    cache.grow(one, 1)
    assert cache.peak_used == 3


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
    sequences = [sequence(name) for name in range(5)]
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


def test_a_lost_block_is_found() -> None:
    cache, one = KVCache(4, 16), sequence()
    cache.grow(one, 40)
    one.block_table.pop()
    with pytest.raises(ServeError, match="of 4 blocks 1 are lost, 0 have"):
        cache.check_integrity([one])


def test_a_block_with_two_holders_is_found() -> None:
    cache, one, two = KVCache(4, 16), sequence(), sequence()
    cache.grow(one, 40)
    two.block_table = one.block_table[:2]
    with pytest.raises(ServeError, match="0 are lost, 2 have more than one"):
        cache.check_integrity([one, two])


def test_a_block_both_free_and_held_is_found() -> None:
    cache, one = KVCache(4, 16), sequence()
    one.block_table.append(0)
    with pytest.raises(ServeError, match="1 have more than one"):
        cache.check_integrity([one])


def test_an_unknown_block_is_found() -> None:
    cache, one = KVCache(4, 16), sequence()
    one.block_table.append(4)
    with pytest.raises(ServeError, match="1 ids are unknown"):
        cache.check_integrity([one])
