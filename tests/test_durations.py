from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.durations import parse_seconds
from ingot.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("45", 45), (" 1.5 M ", 90)],
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "10x", "m", "-5", "0", "0.9s", "nan", "inf", "10m later"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="budget"):
        parse_seconds(text)


@given(st.text(max_size=20))
def test_any_text_is_a_time_or_one_clear_error(text: str) -> None:
    try:
        seconds = parse_seconds(text)
    except UsageError:
        return
    assert seconds > 0
