"""Interface of what answers a model's requests: an engine here, or engines on other machines."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from concurrent.futures import Future
from typing import Protocol

from ingot.inference.request.objective import Objective
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import OutputDelta, Sequence
from ingot.inference.scheduling.cache_events import CacheEvent
from ingot.inference.scheduling.snapshot import BatchSnapshot
from ingot.inference.stats import EngineStats


class RequestLoop(Protocol):
    """What a server asks of a model's engine; ``EngineLoop`` says what each method does."""

    @property
    def max_context(self) -> int:
        """Maximum tokens of prompt plus answer."""

    @property
    def failed(self) -> str | None:
        """Why it stopped permanently; None while it works."""

    def submit(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions = ...,
        written: Seq[int] = (),
    ) -> Sequence:
        """Start a request."""

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence; no effect once it has finished."""

    def check_in_time(self, objective: Objective, elapsed_s: float) -> None:
        """Refuse a request of which only its objective is known."""

    def hold_background(self, on: bool) -> None:
        """Run no background sequence until called with False."""

    def watch_cache(self, publish: Callable[[list[CacheEvent]], None] | None) -> None:
        """Report what the prefix cache holds, then each change."""

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each tensor in memory."""

    def yield_cpu(self, on: bool) -> None:
        """Leave one CPU to other threads for a moment, or reclaim it."""

    def stats(self) -> EngineStats:
        """Return current load and totals since the start."""

    def snapshot(self) -> Future[BatchSnapshot]:
        """Return a snapshot of the batch."""

    def close(self, deadline_s: float) -> None:
        """Refuse new sequences, let live ones finish, and end."""
