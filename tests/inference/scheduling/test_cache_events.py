"""What the journal says must be what the cache holds."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.inference import RequestOptions, SamplingParams, Sequence
from ingot.inference.scheduling.cache_events import (
    BlocksRemoved,
    BlocksStored,
    CacheEvent,
    CacheJournal,
    digest_of,
)
from ingot.inference.scheduling.kv_cache import KVCache

SIZE = 2


def sequence(prompt: Seq[int], salt: str = "") -> Sequence:
    params = SamplingParams()
    return Sequence(0, tuple(prompt), params, 0, lambda _: None, RequestOptions(cache_salt=salt))


def run(cache: KVCache, prompt: Seq[int], salt: str = "") -> int:
    """Compute a prompt and release it; return the tokens that were cached, -1 without space."""
    one = sequence(prompt, salt)
    if not cache.admit(one):
        return -1
    cached = one.computed
    one.computed = len(prompt)
    cache.cache_full_blocks(one)
    cache.release(one)
    return cached


class Mirror:
    """A router's picture of a cache, made from its events alone."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[str, tuple[int, ...]]] = {}
        """Salt and whole prefix by hash."""

    def take(self, events: Seq[CacheEvent]) -> None:
        for event in events:
            if isinstance(event, BlocksStored):
                salt, prefix = event.salt, tuple[int, ...]()
                if event.parent is not None:
                    salt, prefix = self.held[event.parent]
                for index, block in enumerate(event.hashes):
                    assert block not in self.held
                    prefix += tuple(event.token_ids[SIZE * index : SIZE * (index + 1)])
                    self.held[block] = salt, prefix
            elif isinstance(event, BlocksRemoved):
                for block in event.hashes:
                    del self.held[block]

    def cached(self, prompt: Seq[int], salt: str) -> int:
        """Return the longest prefix it knows, less than the whole prompt, as the cache does."""
        known = {prefix for other, prefix in self.held.values() if other == digest_of(salt)}
        most = (len(prompt) - 1) // SIZE * SIZE
        lengths = range(0, most + 1, SIZE)
        return max(length for length in lengths if not length or tuple(prompt[:length]) in known)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=9), st.sampled_from(["", "a"])),
        max_size=30,
    ),
    st.integers(0, 10),
)
def test_the_events_tell_which_prefixes_are_cached(
    prompts: list[tuple[list[int], str]], begins: int
) -> None:
    """Also where they are watched from some moment on."""
    cache, journal, mirror = KVCache(6, SIZE), CacheJournal(), Mirror()
    for turn, (prompt, salt) in enumerate(prompts):
        if turn == begins:
            cache.watch(journal)
        mirror.take(journal.take())
        expected = mirror.cached(prompt, salt)
        found = run(cache, prompt, salt)
        if turn >= begins:
            assert found in (expected, -1)
    if len(prompts) > begins:
        mirror.take(journal.take())
        assert len(mirror.held) == cache.cached_blocks


def test_blocks_of_one_step_are_one_event() -> None:
    cache, journal = KVCache(8, SIZE), CacheJournal()
    cache.watch(journal)
    run(cache, [1, 2, 3, 4, 5])
    (first,) = journal.take()
    run(cache, [1, 2, 3, 4, 5, 6], "")
    (second,) = journal.take()
    assert isinstance(first, BlocksStored)
    assert isinstance(second, BlocksStored)
    assert (first.parent, first.token_ids, len(first.hashes)) == (None, [1, 2, 3, 4], 2)
    assert (second.parent, second.token_ids) == (first.hashes[-1], [5, 6])
    assert journal.take() == []


def test_two_caches_give_a_prefix_one_hash_and_each_salt_its_own() -> None:
    def hashes(salt: str) -> list[int]:
        cache, journal = KVCache(8, SIZE), CacheJournal()
        cache.watch(journal)
        run(cache, [1, 2, 1, 2], salt)
        (event,) = journal.take()
        assert isinstance(event, BlocksStored)
        assert salt not in event.salt or not salt
        return event.hashes

    assert hashes("") == hashes("")
    assert len({*hashes(""), *hashes("bob/x"), *hashes("eve/x")}) == 6


def test_nothing_is_recorded_after_the_end_or_without_reuse() -> None:
    journal = CacheJournal()
    cache = KVCache(8, SIZE)
    cache.watch(journal)
    cache.watch(None)
    run(cache, [1, 2, 3])
    plain = KVCache(8, SIZE, reuse=False)
    plain.watch(journal)
    run(plain, [1, 2, 3])
    assert journal.take() == []
