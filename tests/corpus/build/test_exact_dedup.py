from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.exact_dedup import ExactDedup


def digest(number: int) -> bytes:
    return hashlib.sha256(bytes([number])).digest()


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(0, 30)))
def test_each_digest_is_new_once_and_found_where_it_was_first(numbers: list[int]) -> None:
    first: dict[int, int] = {}
    with BuildState() as state:
        seen = ExactDedup(state)
        for index, number in enumerate(numbers):
            assert seen.add(digest(number), index) == (number not in first)
            first.setdefault(number, index)
        for number in range(31):
            expected = (first[number], False) if number in first else None
            assert seen.find(digest(number)) == expected


def test_marks_stay(tmp_path: Path) -> None:
    with BuildState(tmp_path / "state") as state:
        seen = ExactDedup(state)
        seen.add(digest(1), 5)
        seen.add(digest(2), 6)
        seen.mark_near_duplicate(digest(2))
        state.commit()
    with BuildState(tmp_path / "state") as state:
        seen = ExactDedup(state)
        assert seen.find(digest(1)) == (5, False)
        assert seen.find(digest(2)) == (6, True)
