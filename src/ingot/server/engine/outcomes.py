"""Answers in time and late, and requests refused, of each model and key."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ingot.server.access.admission import Meter
from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext


@dataclass(frozen=True)
class KeyOutcomes:
    """What became of the requests of one key to one model."""

    model: str
    """Empty for requests that were refused before their model was read."""
    key: str
    """Name of its API key; empty on a server without keys."""
    in_time: int
    """Answers that ended within their objectives, since the server started."""
    late: int
    """Answers that did not; one without an objective, or that its client left, is in neither."""
    attainment: float | None
    """Share of those of the last minute that were in time; None if none ended."""
    refused: Mapping[str, int]
    """Requests refused with 429 since the server started, by reason: the error's code, or
    ``objective_queue``, ``objective_prompt`` and ``objective_token``."""


@dataclass
class _Record:
    in_time: int
    late: int
    refused: Counter[str]
    recent: Meter
    """Answers that ended."""
    recent_in_time: Meter


@dataclass
class Outcomes:
    """Counts what became of requests by model and key. Used on the event loop alone.

    Names are those of the models and of the entries in the file of keys, so that their number is
    bounded as that of the costs is.

    Args:
        clock: Seconds that never go back.
    """

    clock: Callable[[], float] = time.monotonic
    _records: dict[tuple[str, str], _Record] = field(default_factory=dict, init=False)

    def answered(self, context: RequestContext, *, in_time: bool) -> None:
        """Count an answer that had an objective."""
        record = self._record(context)
        record.in_time += in_time
        record.late += not in_time
        record.recent.add(1)
        record.recent_in_time.add(int(in_time))

    def refused(self, context: RequestContext) -> None:
        """Count a request, if it was refused."""
        if context.refusal is not None:
            self._record(context).refused[context.refusal] += 1

    def report(self, key: Key | None) -> list[KeyOutcomes]:
        """Return what ``key`` may see, by model and key; None and an ``admin`` key see all."""
        own = None if key is None or key.admin else key.name
        return [
            KeyOutcomes(
                model,
                name,
                record.in_time,
                record.late,
                record.recent_in_time.count() / ended if (ended := record.recent.count()) else None,
                dict(record.refused),
            )
            for (model, name), record in sorted(self._records.items())
            if own in (None, name)
        ]

    def metrics(self, key: Key | None) -> Iterator[Metric]:
        """Yield the same for Prometheus."""
        labels = ("model_name", "key")
        answers = CounterMetricFamily(
            "ingot:key_objective_answers",
            "Answers with an objective, by whether they kept it.",
            labels=(*labels, "outcome"),
        )
        attainment = GaugeMetricFamily(
            "ingot:key_objective_attainment",
            "Share of the answers of the last minute that were in time; absent if none ended.",
            labels=labels,
        )
        refused = CounterMetricFamily(
            "ingot:key_refusals",
            "Requests refused with 429; the model is empty where it was not read.",
            labels=(*labels, "reason"),
        )
        for one in self.report(key):
            own = one.model, one.key
            if one.in_time or one.late:
                answers.add_metric((*own, "in_time"), one.in_time)
                answers.add_metric((*own, "late"), one.late)
            if one.attainment is not None:
                attainment.add_metric(own, one.attainment)
            for reason, count in one.refused.items():
                refused.add_metric((*own, reason), count)
        yield from (answers, attainment, refused)

    def _record(self, context: RequestContext) -> _Record:
        name = context.model or "", context.key_name
        if name not in self._records:
            self._records[name] = _Record(0, 0, Counter(), Meter(self.clock), Meter(self.clock))
        return self._records[name]
