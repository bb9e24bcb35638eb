"""What became of requests, by model and key."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext
from ingot.server.engine.outcomes import Outcomes
from ingot.server.http.errors import ApiError

ANN, BOB, CHIEF = (
    Key(name=name, sha256=digit * 64, admin=name == "chief")
    for name, digit in (("ann", "a"), ("bob", "b"), ("chief", "c"))
)


def of(key: Key | None, model: str | None = "m", error: ApiError | None = None) -> RequestContext:
    """Return the record of a request, perhaps of one that was answered with an error."""
    context = RequestContext("id", "POST", "/v1/completions", key=key, model=model)
    if error is not None:
        context.note_error(error)
    return context


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outcomes(clock: Clock) -> Outcomes:
    return Outcomes(clock)


def test_answers_are_counted_by_model_and_key_and_shared_over_the_last_minute(
    outcomes: Outcomes, clock: Clock
) -> None:
    for in_time in (True, True, True, False):
        outcomes.answered(of(ANN), in_time=in_time)
    outcomes.answered(of(ANN, "n"), in_time=False)
    outcomes.answered(of(BOB), in_time=True)
    seen = {(one.model, one.key): one for one in outcomes.report(CHIEF)}
    assert list(seen) == [("m", "ann"), ("m", "bob"), ("n", "ann")]
    assert (seen["m", "ann"].in_time, seen["m", "ann"].late) == (3, 1)
    assert seen["m", "ann"].attainment == 0.75
    assert seen["n", "ann"].attainment == 0
    clock.now = 59
    outcomes.answered(of(ANN), in_time=False)
    clock.now = 61
    (first, second) = outcomes.report(ANN)
    assert (first.in_time, first.late, first.attainment) == (3, 2, 0)
    assert (second.late, second.attainment) == (1, None)


def test_only_what_was_refused_counts_as_refused_with_its_reason(outcomes: Outcomes) -> None:
    busy = ApiError(429, "busy", code="queue_full")
    outcomes.refused(of(ANN, error=busy))
    outcomes.refused(of(ANN, None, error=ApiError(429, "late", code="x", reason="objective_queue")))
    outcomes.refused(of(ANN, error=ApiError(404, "nothing", code="not_found")))
    outcomes.refused(of(ANN))
    assert {one.model: one.refused for one in outcomes.report(ANN)} == {
        "m": {"queue_full": 1},
        "": {"objective_queue": 1},
    }
    assert outcomes.report(BOB) == []
    assert len(outcomes.report(None)) == 2


def test_the_metrics_hold_what_the_key_may_see(outcomes: Outcomes) -> None:
    outcomes.answered(of(ANN), in_time=True)
    outcomes.refused(of(BOB, error=ApiError(429, "busy", code="queue_full")))

    class Own(Collector):
        def collect(self):  # type: ignore[no-untyped-def]
            return outcomes.metrics(ANN)

    registry = CollectorRegistry()
    registry.register(Own())
    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'ingot:key_objective_answers_total{key="ann",model_name="m",outcome="in_time"} 1.0',
        'ingot:key_objective_answers_total{key="ann",model_name="m",outcome="late"} 0.0',
        'ingot:key_objective_attainment{key="ann",model_name="m"} 1.0',
    ]
