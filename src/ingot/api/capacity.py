"""``ingot plan``: what this machine carries of some traffic, how many are needed, at what cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ingot.api.executors import build_executor, native_core_is_built
from ingot.api.inference import PathLike
from ingot.artifact import Ingot, open_ingot
from ingot.costs import CostConfig
from ingot.inference import EngineConfig
from ingot.inference.capacity.calibrate import CALIBRATE_S, calibrate
from ingot.inference.capacity.replay import Outcome, StepCosts, percentile
from ingot.inference.capacity.search import Carried, carried
from ingot.inference.capacity.traffic import Traffic
from ingot.inference.config import Weights
from ingot.inference.request.objective import Objective

_MILLION = 1_000_000
_HOUR_S = 3600.0
_ROUNDED: tuple[Weights, ...] = ("bf16", "int8", "int4")
_SEQUENCES = (16, 64, 256)
_STEP_TOKENS = (256, 512, 1024)
_CACHES = (1 << 28, 1 << 30, 1 << 32)


@dataclass(frozen=True)
class Price:
    """Cost of a million tokens, idle time included; None where no price or power is known."""

    prompt: float | None
    answer: float | None
    all: float | None
    full: float | None
    """Of all tokens, on machines that carry as much as they can."""
    joules: float | None
    """Energy of a million tokens of either kind, from the stated power."""


@dataclass(frozen=True)
class Candidate:
    """One way to serve, and what it carries."""

    weights: str
    """Format of the weights in memory."""
    max_sequences: int
    max_step_tokens: int
    kv_cache_bytes: int
    requests_per_s: float
    """That one machine carries within the objective."""
    tokens_per_s: float
    """Of prompts and answers, at that rate."""
    machines: int
    """That the traffic needs; 0 where none suffices."""
    price: Price
    attainment: float
    """Of one machine with its part of the traffic, as are all that follow: share of the requests
    within the objective."""
    busy: float
    """Share of the time in steps."""
    hit_rate: float
    """Share of the tokens of prompts found in the prefix cache."""
    ttft_p50_s: float
    ttft_p99_s: float
    itl_p99_s: float


@dataclass(frozen=True)
class CapacityPlan:
    """The traffic and the ways to serve it, the cheapest first."""

    source: str
    requests: int
    rate: float
    """Requests per second."""
    prompt_tokens: int
    answer_tokens: int
    skipped: int
    objective: str
    currency: str
    stalled: float
    """Largest share of measured steps that something else on the machine held up; above a
    hundredth or so the machine was not idle, and the plan is only as good as that."""
    candidates: list[Candidate]


def plan_capacity(
    path: PathLike,
    traffic: Traffic,
    objective: Objective,
    *,
    cost: CostConfig | None = None,
    engine: EngineConfig | None = None,
    calibrate_s: float = CALIBRATE_S,
    report: Callable[[str], None] = lambda _: None,
) -> CapacityPlan:
    """Measure this machine, replay traffic, and order the ways to serve it by cost.

    First every format of the weights is tried with the given limits, then, for the best of them,
    more and fewer sequences, longer and shorter steps, and a smaller and a larger cache.

    Args:
        path: The ingot.
        traffic: The requests.
        objective: What each is held to.
        cost: Price and power of a machine.
        engine: Limits to start from, and threads.
        calibrate_s: Seconds of measurement for each format.
        report: Called with a line before each part of the work.

    Raises:
        UsageError: a request does not fit in the model's context or the cache.
        ArtifactError: the ingot is missing or malformed.
    """
    base, cost = engine or EngineConfig(), cost or CostConfig()
    with open_ingot(Path(path)) as ingot:
        planner = _Planner(ingot, traffic, objective, cost, report)
        measured = {}
        for weights in _formats(ingot):
            measured[weights] = planner.measure(weights, base, calibrate_s)
        found = {
            weights: planner.candidate(weights, base, costs) for weights, costs in measured.items()
        }
        candidates = [one for one in found.values() if one is not None]
        best = min(candidates, key=_order)
        weights = next(name for name, one in found.items() if one is best)
        for config in _variants(base):
            above = max(one.requests_per_s for one in candidates) / traffic.rate
            another = planner.candidate(weights, config, measured[weights], above)
            candidates += [another] if another is not None else []
    return CapacityPlan(
        traffic.source,
        len(traffic.requests),
        traffic.rate,
        traffic.prompt_tokens,
        traffic.answer_tokens,
        traffic.skipped,
        str(objective),
        cost.currency,
        max(costs.stalled for costs in measured.values()),
        sorted(candidates, key=_order),
    )


class _Planner:
    """Works out candidates for one ingot and one kind of traffic."""

    def __init__(
        self,
        ingot: Ingot,
        traffic: Traffic,
        objective: Objective,
        cost: CostConfig,
        report: Callable[[str], None],
    ) -> None:
        self._ingot = ingot
        self._traffic = traffic
        self._objective = objective
        self._cost = cost
        self._report = report

    def measure(self, weights: Weights, config: EngineConfig, seconds: float) -> StepCosts:
        """Measure what steps cost with a format of the weights."""
        self._report(f"measuring {self._name(weights)}")
        executor = build_executor("auto", weights, self._ingot, config)
        try:
            return calibrate(
                executor, self._ingot.tokenizer, config, self._traffic, limit_s=seconds
            )
        finally:
            executor.close()

    def candidate(
        self, weights: Weights, config: EngineConfig, costs: StepCosts, above: float = 0.0
    ) -> Candidate | None:
        """Return what a configuration carries; None if that is no more than ``above``."""
        self._report(
            f"replaying {self._name(weights)}, {config.max_sequences} sequences, steps of "
            f"{config.max_step_tokens}, cache of {config.kv_cache_bytes >> 20} MiB"
        )
        context = config.max_context or self._ingot.config.max_position_embeddings
        blocks = config.blocks_for(self._ingot.config)
        sized = EngineConfig.model_validate(config.model_dump() | {"num_blocks": blocks})
        found = carried(
            self._traffic, sized, costs, self._objective, max_context=context, above=above
        )
        return None if found is None else self._described(weights, config, found)

    def _described(self, weights: Weights, config: EngineConfig, found: Carried) -> Candidate:
        traffic, outcome = self._traffic, found.outcome or Outcome()
        tokens = (traffic.prompt_tokens + traffic.answer_tokens) / traffic.seconds
        share = max(found.machines, 1)
        return Candidate(
            weights=self._name(weights),
            max_sequences=config.max_sequences,
            max_step_tokens=config.max_step_tokens,
            kv_cache_bytes=config.kv_cache_bytes,
            requests_per_s=found.factor * traffic.rate,
            tokens_per_s=found.factor * tokens,
            machines=found.machines,
            price=self._price(found, outcome),
            attainment=outcome.attainment if found.machines else 0.0,
            busy=outcome.busy_s / max(outcome.seconds, traffic.seconds * share),
            hit_rate=outcome.hit_rate,
            ttft_p50_s=percentile(outcome.first_s, 50),
            ttft_p99_s=percentile(outcome.first_s, 99),
            itl_p99_s=percentile(outcome.gaps_s, 99),
        )

    def _price(self, found: Carried, outcome: Outcome) -> Price:
        """Share the cost of the machines by the engine's time for prompts and for answers."""
        traffic = self._traffic
        seconds = found.machines * traffic.seconds
        money = self._cost.money(seconds) if found.machines else None
        kwh = self._cost.energy_kwh(seconds) if found.machines else None
        tokens = traffic.prompt_tokens + traffic.answer_tokens
        joules = None if kwh is None else kwh * 1000 * _HOUR_S / tokens * _MILLION
        if money is None or not outcome.busy_s:
            return Price(None, None, None, None, joules)
        prompts = outcome.prompt_s / outcome.busy_s
        return Price(
            money * prompts / max(traffic.prompt_tokens, 1) * _MILLION,
            money * (1 - prompts) / traffic.answer_tokens * _MILLION,
            money / tokens * _MILLION,
            money / tokens * _MILLION / (found.factor * found.machines),
            joules,
        )

    def _name(self, weights: Weights) -> str:
        """Return the format that "stored" stands for."""
        if weights != "stored":
            return weights
        quantization = self._ingot.manifest.quantization
        if quantization is None:
            return f"stored ({self._ingot.manifest.dtype})"
        kinds = sorted({each.kind for each in quantization.matrices.values()})
        return f"stored ({'+'.join(kinds)})"


def _formats(ingot: Ingot) -> Iterator[Weights]:
    """Yield the formats in which an ingot's weights can be computed with."""
    yield "stored"
    if ingot.manifest.quantization is None and native_core_is_built():
        yield from _ROUNDED if ingot.manifest.dtype == "float32" else _ROUNDED[1:]


def _variants(base: EngineConfig) -> Iterator[EngineConfig]:
    """Yield limits that differ from the given ones in one respect."""
    tried = {
        "max_sequences": _SEQUENCES,
        "max_step_tokens": _STEP_TOKENS,
        "kv_cache_bytes": _CACHES,
    }
    for name, values in tried.items():
        for value in values:
            fields = base.model_dump() | {name: value}
            if (
                value != getattr(base, name)
                and fields["max_sequences"] <= fields["max_step_tokens"]
            ):
                yield EngineConfig.model_validate(fields)


def _order(candidate: Candidate) -> tuple[bool, int, float]:
    """Sort the cheapest first: fewest machines, then the one with the most to spare."""
    return candidate.machines == 0, candidate.machines, -candidate.requests_per_s
