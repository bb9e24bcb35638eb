"""Prometheus metrics of files and batches."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingot.server.batches.runner import Batches


class BatchFigures(Collector):
    """Collects what the batches of a server do, of all keys together.

    Args:
        batches: The batches.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        states = GaugeMetricFamily("ingot:batches", "Batches by state.", labels=("status",))
        for status, count in sorted(self._batches.by_status().items()):
            states.add_metric((status,), count)
        yield states
        yield GaugeMetricFamily(
            "ingot:batch_requests_open",
            "Requests of batches that are being answered.",
            self._batches.open_requests,
        )
        requests = CounterMetricFamily(
            "ingot:batch_requests", "Requests of batches that were answered.", labels=("outcome",)
        )
        for outcome, count in zip(("completed", "failed"), self._batches.requests(), strict=True):
            requests.add_metric((outcome,), count)
        yield requests
        yield GaugeMetricFamily(
            "ingot:batch_file_bytes",
            "Bytes of uploaded files and results.",
            self._batches.files.bytes_kept,
        )
