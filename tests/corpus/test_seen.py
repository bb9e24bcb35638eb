from __future__ import annotations

import hashlib
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.corpus.seen import SeenDigests
from ingot.errors import ResourceError


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(0, 30)))
def test_each_digest_is_new_once(numbers: list[int]) -> None:
    known: set[int] = set()
    with SeenDigests() as seen:
        for number in numbers:
            assert seen.add(hashlib.sha256(bytes([number])).digest()) == (number not in known)
            known.add(number)


def fill(seen: SeenDigests) -> None:
    for number in range(10_000):
        seen.add(hashlib.sha256(number.to_bytes(4, "big")).digest())


def test_a_full_disk_is_named() -> None:
    with SeenDigests() as seen:
        seen._database.execute("PRAGMA max_page_count = 4")
        with pytest.raises(ResourceError, match=r"temporary folder: .*full.*TMPDIR") as caught:
            fill(seen)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
