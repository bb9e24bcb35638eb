from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.corpus import Corpus
from ingot.errors import RecipeError
from ingot.training.config.recipe import Recipe
from ingot.training.monitoring.events import Evaluated
from ingot.training.objectives.ngram_soft_labels import NgramSoftLabels
from ingot.training.run_folder.run import Run

VOCABULARY, ORDER, DISCOUNT = 6, 3, 0.8


class Store:
    """Tokens in memory, read as a corpus is."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = np.array(ids, np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, count: int) -> np.ndarray:
        return self.ids[start : start + count]


def by_hand(ids: list[int], window: list[int]) -> np.ndarray:
    """Absolute discounting, written for one context at a time."""
    used = sorted(set(ids))
    seen = Counter(ids[1:])
    first = np.zeros(VOCABULARY)
    for token in used:
        first[token] = (seen[token] + 1) / (len(ids) - 1 + len(used))
    after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for position in range(1, len(ids)):
        for length in range(1, min(ORDER, position) + 1):
            after[tuple(ids[position - length : position])][ids[position]] += 1
    rows = []
    for position in range(1, len(window)):
        expected = first
        for length in range(1, min(ORDER, position) + 1):
            counts = Counter(after[tuple(window[position - length : position])])
            counts[window[position]] -= 1
            counts = +counts
            if total := counts.total():
                mine = np.zeros(VOCABULARY)
                for token, count in counts.items():
                    mine[token] = max(count - DISCOUNT, 0) / total
                expected = mine + DISCOUNT * len(counts) / total * expected
        rows.append(expected)
    return np.array(rows)


@given(st.lists(st.integers(0, VOCABULARY - 1), min_size=8, max_size=60), st.data())
def test_it_expects_what_the_counts_say(ids: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(ids) - 4))
    window = ids[start : start + data.draw(st.integers(3, 12))]
    labels = NgramSoftLabels(Store(ids), vocab_size=VOCABULARY, order=ORDER)  # type: ignore[arg-type]
    targets = labels.targets(np.array([window]))
    np.testing.assert_allclose(targets.numpy(), by_hand(ids, window), atol=1e-6)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)


def test_what_it_cannot_hold_is_refused(corpus: Corpus) -> None:
    with pytest.raises(RecipeError, match="at most 1024 tokens"):
        NgramSoftLabels(corpus.train, vocab_size=2000, order=2)
    with pytest.raises(RecipeError, match="too many to tell apart"):
        NgramSoftLabels(corpus.train, vocab_size=384, order=9)


def test_a_short_run_learns_more_from_it(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], watch: Any
) -> None:
    lost = []
    for order in (0, 2):
        watched = watch()
        settings = {"task": {"ngram_order": order}, "run": {"steps": 30, "evaluations": 1}}
        watched.train(new_run(recipe(**settings), str(order)))
        lost.append(watched.of(Evaluated)[-1].loss)
    assert lost[1] < lost[0] - 0.02


def test_it_gives_way_to_the_tokens(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], watch: Any
) -> None:
    """Once its epochs are over a run continues as one that never had soft labels would."""
    settings = {"task": {"ngram_order": 2, "ngram_epochs": 1e-9}}
    with_it, without = new_run(recipe(**settings), "with"), new_run(recipe(), "without")
    results = [watch().train(run) for run in (with_it, without)]
    assert results[0].validation_loss == results[1].validation_loss
