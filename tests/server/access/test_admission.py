from __future__ import annotations

import contextlib

import pytest

from ingot.server import ServerConfig
from ingot.server.access.admission import Admission, Meter, Pace
from ingot.server.http.errors import ApiError


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pace_is_kept_by_all_together() -> None:
    """FAULTS A4: long bodies take a bounded share of the event loop."""
    clock = Clock()
    pace = Pace(1000, clock)
    assert pace.wait_s(100) == pytest.approx(0.1)
    assert pace.wait_s(100) == pytest.approx(0.2)  # behind the first
    clock.now += 0.2
    assert pace.wait_s(0) == pytest.approx(0)
    clock.now += 100  # a pause is not saved up
    taken = 0
    for _ in range(20):
        taken += 100
        clock.now += pace.wait_s(100)
    assert taken / (clock.now - 200.2 + 1e-9) == pytest.approx(1000, rel=0.01)


def test_a_meter_measures_the_last_minute() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert meter.per_second() == 0
    for _ in range(300):
        meter.add(5)
        clock.now += 0.1
    assert meter.per_second() == pytest.approx(50, rel=0.05)
    clock.now += 61
    assert meter.per_second() == 0


def test_bytes_of_bodies_are_bounded_together_and_freed() -> None:
    """FAULTS A5: what is kept in memory for open requests has a bound."""
    admission = Admission(ServerConfig(max_open_body_bytes=100))
    with admission.body() as first:
        first(60)
        with admission.body() as second:
            second(30)
            with pytest.raises(ApiError) as caught:
                second(30)
        assert caught.value.status == 429
        first(40)
    with admission.body() as third:
        third(100)


def test_requests_are_bounded_and_freed() -> None:
    admission = Admission(ServerConfig(max_open_requests=2))
    with admission.request(), admission.request():
        assert admission.open_requests == 2
        with pytest.raises(ApiError) as caught, admission.request():
            pass
        assert caught.value.status == 429
    assert admission.open_requests == 0
    with contextlib.suppress(LookupError), admission.request():
        raise LookupError
    assert admission.open_requests == 0


def test_tokens_are_bounded_and_freed() -> None:
    admission = Admission(ServerConfig(max_open_tokens=100))
    with admission.tokens(60):
        assert admission.open_tokens == 60
        with admission.tokens(40), pytest.raises(ApiError) as caught, admission.tokens(1):
            pass
        assert caught.value.status == 429
    with admission.tokens(100):
        pass
    with pytest.raises(ApiError) as caught, admission.tokens(101):
        pass
    assert caught.value.status == 400  # it would never fit
    assert admission.open_tokens == 0


def test_retry_after_follows_the_measured_rate() -> None:
    clock = Clock()
    admission = Admission(ServerConfig(max_open_tokens=1000), clock)
    assert (
        admission.retry_after_error("", 500).headers["retry-after"] == "1"
    )  # nothing measured yet
    for _ in range(10):
        admission.progress(20)
        clock.now += 1
    assert admission.retry_after_error("", 500).headers["retry-after"] == "25"
    assert admission.retry_after_error("", 10**9).headers["retry-after"] == "300"
    for _ in range(5):
        with admission.request():
            clock.now += 4
    assert 3 <= int(admission.retry_after_error("").headers["retry-after"]) <= 5


def test_one_key_alone_cannot_take_all_room() -> None:
    """FAULTS A2: a key that opens all it can leaves room for other keys."""
    admission = Admission(ServerConfig(max_open_requests=90, max_open_tokens=9_000))
    with contextlib.ExitStack() as open_requests:
        for _ in range(80):
            open_requests.enter_context(admission.request("greedy"))
            open_requests.enter_context(admission.tokens(100, "greedy"))
        with pytest.raises(ApiError) as caught, admission.request("greedy"):
            pass
        assert caught.value.status == 429
        with pytest.raises(ApiError) as caught, admission.tokens(100, "greedy"):
            pass
        assert caught.value.status == 429
        for name in ("a", "b", "c"):
            open_requests.enter_context(admission.request(name))
            open_requests.enter_context(admission.tokens(100, name))
    assert (admission.open_requests, admission.open_tokens) == (0, 0)
    with admission.request(), admission.tokens(9_000, "alone"):
        assert admission.open_tokens == 9_000, "one request may take all where nothing is open"
