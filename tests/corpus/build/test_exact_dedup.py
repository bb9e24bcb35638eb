from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.corpus.build import exact_dedup
from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.exact_dedup import ExactDedup


def digest(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4, "little")).digest()


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 30)),
    pending=st.integers(1, 8),
    bits=st.integers(3, 12),
    reopened=st.integers(0, 40),
)
def test_each_digest_is_new_once(
    numbers: list[int], pending: int, bits: int, reopened: int
) -> None:
    """Also where the filter is so small that it knows all, and where a build resumes."""
    with pytest.MonkeyPatch.context() as patch, BuildState() as state:
        patch.setattr(exact_dedup, "_PENDING", pending)
        patch.setattr(exact_dedup, "_FILTER_BITS", bits)
        dedup = ExactDedup(state)
        for index, number in enumerate(numbers):
            if index == reopened:
                dedup.flush()
                dedup = ExactDedup(state)
            assert dedup.add(digest(number)) == (number not in numbers[:index])


def test_digests_that_were_flushed_stay(tmp_path: Path) -> None:
    with BuildState(tmp_path / "state") as state:
        dedup = ExactDedup(state)
        assert dedup.add(digest(1))
        dedup.flush()
        state.commit()
        assert dedup.add(digest(2))
    with BuildState(tmp_path / "state") as state:
        dedup = ExactDedup(state)
        assert not dedup.add(digest(1))
        assert dedup.add(digest(2))
