"""The simulation of a fleet against what can be worked out by hand."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise

import pytest

from benchmarks.fleet import Arrival, FrontCosts, Replica, simulate
from benchmarks.fleet_costs import Roofline, paper_70b_gpus
from benchmarks.fleet_traffic import BURSTY, Lengths, bursty, diurnal, poisson
from benchmarks.scale import Case, carried, kept, loaded
from ingot.inference.capacity.replay import percentile
from ingot.inference.config import EngineConfig
from ingot.inference.scheduling.cost_model import StepWork

LENGTHS = Lengths(40, 10, 256)


@dataclass(frozen=True)
class Linear:
    """Steps of a fixed time, and a time for each token."""

    fixed_s: float
    token_s: float

    def seconds(self, work: StepWork) -> float:
        return self.fixed_s + self.token_s * work.tokens


def replica(costs: Linear, **limits: int) -> Replica:
    config = EngineConfig(num_blocks=4096, prefix_cache=False).model_copy(update=limits)
    return Replica(costs, config, 256)


def test_a_request_alone_takes_the_steps_of_its_tokens() -> None:
    done = simulate([Arrival(1.0, 100, 3)], replica(Linear(0.01, 0.001), max_step_tokens=64), 1)
    assert done.first_s == [pytest.approx(0.01 + 0.064 + 0.01 + 0.036)]
    assert done.gaps_s == [pytest.approx(0.011), pytest.approx(0.011)]
    assert (done.tokens, done.steps, done.step_tokens) == (3, 4, 102)


def test_the_http_application_adds_its_time_and_is_one() -> None:
    front = FrontCosts(request_s=0.1, token_s=0.5)
    both = [Arrival(0.0, 1, 1), Arrival(0.0, 1, 1)]
    one = simulate(both, replica(Linear(0.01, 0.0)), 2, front=front)
    assert sorted(one.first_s) == [pytest.approx(0.1 + 0.1 + 0.5), pytest.approx(1.2)]
    two = simulate(both, replica(Linear(0.01, 0.0)), 2, front=front, fronts=2)
    assert two.first_s == [pytest.approx(0.61), pytest.approx(0.61)]


def test_the_wait_is_that_of_a_queue_with_one_server() -> None:
    """Poisson arrivals, equal service: F. Pollaczek's and A. Khinchine's formula."""
    service, load = 0.01, 0.7
    arrivals = poisson(Lengths(1, 1, 4, sigma=0.0), load / service, 250, seed=1)
    done = simulate(arrivals, replica(Linear(service, 0.0), max_sequences=1), 1)
    wanted = service * load / (2 * (1 - load))
    assert statistics.fmean(done.queued_s) == pytest.approx(wanted, rel=0.05)


def test_the_same_seed_gives_the_same_outcome_and_every_token_is_written() -> None:
    arrivals = bursty(LENGTHS, 20.0, 20.0)
    spread = Replica(Linear(0.01, 1e-4), replica(Linear(0, 0)).config, 256, (0.5, 1.0, 1.5))
    first, second, other = (simulate(arrivals, spread, 3, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert first.tokens == sum(arrival.answer for arrival in arrivals)
    assert len(first.first_s) == len(arrivals) == first.requests
    assert len(first.gaps_s) == first.tokens - first.requests


def test_what_comes_too_early_is_answered_and_left_out() -> None:
    arrivals = [Arrival(0.0, 5, 2), Arrival(10.0, 5, 2)]
    done = simulate(arrivals, replica(Linear(0.01, 0.0)), 1, after_s=5.0)
    assert (len(done.first_s), len(done.gaps_s), done.tokens) == (1, 1, 4)


def test_a_full_queue_refuses() -> None:
    arrivals = [Arrival(0.0, 5, 2)] * 10
    done = simulate(arrivals, replica(Linear(0.01, 0.0), max_sequences=1, max_waiting=4), 1)
    assert done.refused == 6
    assert done.tokens == 8


@pytest.mark.parametrize("make", [poisson, bursty, diurnal])
def test_arrivals_have_their_rate(make: object) -> None:
    arrivals = make(LENGTHS, 50.0, 100.0)  # type: ignore[operator]
    assert len(arrivals) == pytest.approx(5000, rel=0.05)
    assert all(later.at_s >= sooner.at_s for sooner, later in pairwise(arrivals))
    assert statistics.median(arrival.prompt for arrival in arrivals) == pytest.approx(40, rel=0.1)


def test_bursts_and_days_have_their_shape() -> None:
    gaps = [later.at_s - sooner.at_s for sooner, later in pairwise(bursty(LENGTHS, 50.0, 200.0))]
    variation = statistics.pstdev(gaps) / statistics.fmean(gaps)
    assert variation == pytest.approx(BURSTY**-0.5, rel=0.1)
    day = [arrival.at_s for arrival in diurnal(LENGTHS, 50.0, 100.0)]
    noon, night = sum(40 < at < 60 for at in day), sum(at < 10 or at > 90 for at in day)
    assert noon / night == pytest.approx(1.56 / 0.44, rel=0.15)


def test_a_larger_fleet_and_even_arrivals_have_the_shorter_tail() -> None:
    case = Case("", replica(Linear(0.01, 2e-4), max_sequences=8), LENGTHS, 0.5, 0.05, 20.0)
    alone, four, in_bursts = (
        percentile(loaded(case, make, count * 25.0, count).first_s, 99)
        for make, count in ((poisson, 1), (poisson, 4), (bursty, 4))
    )
    assert four < alone
    assert four < in_bursts


def test_what_a_replica_carries_is_the_most_that_keeps_the_objective() -> None:
    case = Case("", replica(Linear(0.01, 2e-4), max_sequences=8), LENGTHS, 0.5, 0.05, 10.0)
    most = carried(case, poisson, 1)
    assert kept(case, loaded(case, poisson, most, 1))
    assert not kept(case, loaded(case, poisson, most * 1.07, 1))


def test_a_large_model_reads_its_weights_or_computes() -> None:
    costs = Roofline(10.0, 1000.0, 10.0, 5.0, 100.0, 50.0, 1.0)
    assert costs.seconds(StepWork(1, 1, 10)) == pytest.approx(1 + 1100 / 100)
    assert costs.seconds(StepWork(100, 1, 0, 100)) == pytest.approx(1 + 2 * 1500 / 50)
    one = paper_70b_gpus().costs.seconds(StepWork(1, 1, 1000))
    assert one == pytest.approx(0.0025 + 141.3e9 / 18.76e12, rel=0.01)
