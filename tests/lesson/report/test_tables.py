from __future__ import annotations

import pytest

from ingot.lesson.report.tables import number, size, time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000494, "0.494 ms"),
        (0.268, "268 ms"),
        (0.9996, "1 s"),
        (1.01, "1.01 s"),
        (96.4, "96.4 s"),
        (600, "10 min"),
    ],
)
def test_a_time_has_its_unit(seconds: float, text: str) -> None:
    """FAULTS E6."""
    assert time(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 "), (999.4, "999 "), (999.6, "1 k"), (14_200_000, "14.2 M"), (3e15, "3 P")],
)
def test_a_number_has_the_letter_of_its_thousands(value: float, text: str) -> None:
    assert number(value) == text
    assert size(value) == f"{text}B"
