from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.errors import UsageError
from ingot.inference.request.objective import Objective, Timeliness, parse_objective


def test_times_and_percentile_are_read() -> None:
    assert parse_objective("ttft=1s,itl=50ms") == Objective(1.0, 0.05, 99.0)
    assert parse_objective(" itl=1.5ms , p=95.5 ") == Objective(None, 0.0015, 95.5)
    assert parse_objective("ttft=2m") == Objective(120.0)
    assert str(Objective(1.0, 0.05)) == "ttft=1s,itl=50ms,p=99"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "''"),
        ("p=99", "neither"),
        ("ttft=1", "not a time"),
        ("ttft=1h", "not a time"),
        ("ttft=-1s", "not a time"),
        ("ttft=nans", "not a time"),
        ("ttft=0s", "at least 0.001"),
        ("ttft=999999m", "at most 3600"),
        ("itl=61s", "at most 60"),
        ("ttft=1s,ttft=2s", "twice"),
        ("ttft=1s,p=100", "less than 100"),
        ("ttft=1s,p=49", "at least 50"),
        ("ttft=1s,p=x", "not a percentage"),
        ("ttft=1s,e2e=3s", "'e2e'"),
        ("ttft=1s," * 60, "longer"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, what: str) -> None:
    with pytest.raises(UsageError, match="ttft=1s,itl=50ms") as caught:
        parse_objective(text, where="objective of x")
    assert what in str(caught.value)
    assert "objective of x" in str(caught.value)


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_objective(text)


@given(st.floats(1e-3, 3600), st.floats(1e-4, 60), st.floats(50, 99.9), st.floats(1e-3, 3600))
def test_tighter_is_what_asks_for_more(
    ttft: float, itl: float, percentile: float, other: float
) -> None:
    one = Objective(ttft, itl, percentile)
    assert not one.is_tighter_than(one)
    assert Objective(other, itl, percentile).is_tighter_than(one) == (other < ttft)
    assert one.is_tighter_than(Objective(itl_s=itl, percentile=percentile))
    assert not Objective(itl_s=itl, percentile=percentile).is_tighter_than(one)


def ran(objective: Objective, *times: float, most: int = 1000) -> Timeliness:
    timeliness = Timeliness(objective, 100.0, most)
    for at in times:
        timeliness.token(100.0 + at)
    return timeliness


def test_an_answer_is_in_time_by_its_first_token_and_its_gaps() -> None:
    objective = Objective(1.0, 0.05)
    assert ran(objective, 1.0, 1.04).in_time
    assert not ran(objective, 1.01, 1.02).in_time
    assert not ran(objective).in_time
    assert ran(objective, 0.5, 2.5).in_time, "one gap of any answer may be longer"
    assert not ran(objective, 0.5, 2.5, 4.5).in_time
    steady = [0.5 + 0.04 * index for index in range(201)]
    late = [
        *steady[:100],
        *(at + 0.1 for at in steady[100:150]),
        *(at + 0.2 for at in steady[150:]),
    ]
    assert ran(objective, *late).in_time, "2 of 200 are 1%"
    assert not ran(Objective(1.0, 0.05, 99.9), *late).in_time


def test_a_request_is_lost_once_nothing_can_bring_it_in_time() -> None:
    objective = Objective(1.0, 0.05)
    assert not ran(objective).lost(101.0)
    assert ran(objective).lost(101.1)
    assert not ran(objective, 0.9).lost(200.0)
    assert ran(objective, 0.1, 1.1, 2.1, most=10).lost(102.2)
    assert not ran(objective, 0.1, 1.1, 2.1, most=1000).lost(102.2)
