from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.inference.request.stop import StopMatcher

texts = st.text("ab", max_size=30)
stops = st.lists(st.text("ab", min_size=1, max_size=5), max_size=4)


@settings(max_examples=200, deadline=None)
@given(texts, stops)
def test_it_finds_what_a_plain_search_finds(text: str, stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    for end in range(1, len(text) + 1):
        seen = text[:end]
        ending = [len(stop) for stop in stops if seen.endswith(stop)]
        assert matcher.feed(text[end - 1]) == max(ending, default=0)
        if not ending:
            begun = [n for stop in stops for n in range(len(stop)) if seen.endswith(stop[:n])]
            assert matcher.pending == max(begun, default=0)


def test_long_stop_texts_cost_no_more_than_short_ones() -> None:
    matcher = StopMatcher(["a" * 999 + "b"] * 16)
    assert sum(matcher.feed("a") for _ in range(5000)) == 0
    assert matcher.pending == 999
    assert matcher.feed("b") == 1000
