"""Prometheus metrics of latency objectives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingot.inference import Objective, ObjectiveStats
from ingot.server.engine.model_registry import Models

_MODEL = ("model_name",)
_Figures = tuple[str, str, Callable[[ObjectiveStats], float]]
_GAUGES: list[_Figures] = [
    (
        "ingot:objective_attainment",
        "Share of the answers of the last minute that were in time, from 0 to 1; NaN without any.",
        lambda stats: stats.attainment,
    ),
    (
        "ingot:goodput_requests_per_second",
        "Answers in time per second, over the last minute.",
        lambda stats: stats.goodput,
    ),
    (
        "ingot:step_prediction_error",
        "Mean of |predicted - measured| / measured seconds over the last 512 steps.",
        lambda stats: stats.prediction_error,
    ),
]
_COUNTERS: list[_Figures] = [
    (
        "ingot:step_predicted_seconds",
        "Seconds that steps were predicted to take.",
        lambda stats: stats.predicted_s,
    ),
    (
        "ingot:step_measured_seconds",
        "Seconds that these steps took, waits between them included.",
        lambda stats: stats.measured_s,
    ),
]


class ObjectiveCollector(Collector):
    """Collects what objectives there are, and how the engines kept them.

    Args:
        models: Whose engines are asked.
        objective_for: Returns the objective of a model's answers.
    """

    def __init__(self, models: Models, objective_for: Callable[[str], Objective | None]) -> None:
        self._models = models
        self._objective_for = objective_for

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield self._stated()
        kept = {
            name: stats
            for name, model in self._models.all.items()
            if (stats := model.loop.stats().objectives) is not None
        }
        for name, text, read in _GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=_MODEL)
            for model, stats in kept.items():
                gauge.add_metric((model,), read(stats))
            yield gauge
        for name, text, read in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=_MODEL)
            for model, stats in kept.items():
                counter.add_metric((model,), read(stats))
            yield counter
        yield from _outcomes(kept)

    def _stated(self) -> Metric:
        """Return the objectives of the models, those of keys and requests left out."""
        gauge = GaugeMetricFamily(
            "ingot:objective_seconds",
            "Objective of a model's answers: first token (ttft), between tokens (itl).",
            labels=(*_MODEL, "kind", "percentile"),
        )
        for name in self._models.all:
            if objective := self._objective_for(name):
                for kind, seconds in (("ttft", objective.ttft_s), ("itl", objective.itl_s)):
                    if seconds is not None:
                        gauge.add_metric((name, kind, f"{objective.percentile:g}"), seconds)
        return gauge


def _outcomes(kept: dict[str, ObjectiveStats]) -> Iterator[Metric]:
    """Return the answers that were in time or late, and the requests refused."""
    answers = CounterMetricFamily(
        "ingot:objective_answers",
        "Answers with an objective, by whether they kept it.",
        labels=(*_MODEL, "outcome"),
    )
    refused = CounterMetricFamily(
        "ingot:objective_refusals",
        "Requests refused because they would have been late: others come before them (queue), "
        "their prompt alone takes too long (prompt), or one answer alone does (token).",
        labels=(*_MODEL, "reason"),
    )
    for model, stats in kept.items():
        answers.add_metric((model, "in_time"), stats.in_time)
        answers.add_metric((model, "late"), stats.late)
        for reason in ("queue", "prompt", "token"):
            refused.add_metric((model, reason), stats.refused.get(reason, 0))
    yield answers
    yield refused
