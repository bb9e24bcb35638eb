from __future__ import annotations

import random
from pathlib import Path

import pytest

from ingot.corpus import CorpusConfig, build_corpus
from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.near_dedup import NearDedup, rows_per_band


def words(seed: int, count: int = 300) -> list[str]:
    rng = random.Random(seed)
    return [f"w{rng.randrange(5000)}" for _ in range(count)]


def changed(text: list[str], every: int) -> list[str]:
    """Replace one word in ``every``; each change breaks five runs of five words."""
    return [f"x{index}" if index % every == every - 1 else word for index, word in enumerate(text)]


def similarity(a: list[str], b: list[str]) -> float:
    one, two = ({tuple(t[i : i + 5]) for i in range(len(t) - 4)} for t in (a, b))
    return len(one & two) / len(one | two)


def test_those_above_the_threshold_are_found_and_those_below_are_kept() -> None:
    near, far = (lambda text: changed(text, 100)), (lambda text: changed(text, 15))
    assert similarity(words(0), near(words(0))) > 0.9
    assert similarity(words(0), far(words(0))) < 0.6
    with BuildState() as state:
        seen = NearDedup(state, 0.8)
        for number in range(100):
            assert seen.add(" ".join(words(number)), number)
        found = [not seen.add(" ".join(near(words(n))).upper(), 100 + n) for n in range(100)]
        kept = [seen.add(" ".join(far(words(n))), 200 + n) for n in range(100)]
    assert sum(found) >= 98
    assert sum(kept) >= 98


@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_nine_in_ten_pairs_at_the_threshold_share_a_band(threshold: float) -> None:
    rows = rows_per_band(threshold)
    assert 128 % rows == 0
    assert 1 - (1 - threshold**rows) ** (128 // rows) >= 0.9
    assert rows_per_band(0.6) == 4
    assert rows_per_band(1.0) == 16


def test_short_texts_are_compared_whole_and_marks_alone_are_always_new() -> None:
    with BuildState() as state:
        seen = NearDedup(state, 0.8)
        assert seen.add("Good morning!", 0)
        assert not seen.add("good... morning", 1)
        assert seen.add("good evening", 2)
        assert seen.add("?!", 3)
        assert seen.add("!?", 4)


def test_it_resumes_from_the_build_state(tmp_path: Path) -> None:
    with BuildState(tmp_path / "state") as state:
        NearDedup(state, 0.8).add(" ".join(words(1)), 0)
        state.commit()
    with BuildState(tmp_path / "state") as state:
        seen = NearDedup(state, 0.8)
        assert not seen.add(" ".join(changed(words(1), 150)), 1)
        assert seen.add(" ".join(words(2)), 2)


def test_a_build_leaves_them_out_counts_them_and_repeats(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:03d}.txt").write_text(" ".join(words(number)))
        if number % 6 == 0:
            (folder / f"{number:03d}b.txt").write_text(" ".join(changed(words(number), 150)))
    config = CorpusConfig(vocab_size=300, validation_fraction=0.1, near_duplicates=0.8)
    first = build_corpus([folder], tmp_path / "a", config).manifest
    second = build_corpus([folder], tmp_path / "b", config).manifest
    assert first.skipped["near-duplicate"].count == 10
    assert first.skipped["near-duplicate"].examples[0] == str(folder / "000b.txt")
    assert first.train.documents + first.validation.documents == 60
    assert first == second
    without = config.model_copy(update={"near_duplicates": None})
    third = build_corpus([folder], tmp_path / "c", without).manifest
    assert third.train.documents + third.validation.documents == 70
