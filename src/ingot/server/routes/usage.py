"""Count of what a request used, in the form of OpenAI's API."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingot.inference import OutputDelta
from ingot.server.schemas.completions import (
    CompletionTokensDetails,
    CostDetails,
    MeteredUsage,
    PromptTokensDetails,
    TimingReport,
    Usage,
)


@dataclass
class UsageCounter:
    """Sum of a request's tokens, and the timing of its slowest answer."""

    prompt_tokens: int
    completion_tokens: int = 0
    cached_tokens: int = 0
    accepted_tokens: int = 0
    """Draft tokens of speculation that were accepted."""
    rejected_tokens: int = 0
    timing: TimingReport = field(default_factory=lambda: TimingReport(0.0, 0.0, 0.0))
    cost: tuple[float | None, CostDetails] | None = None
    """Money, and what it follows from, of an ended request that asked for it."""

    def usage(self) -> Usage:
        """Return the sums in the form of OpenAI's API."""
        read, written = self.prompt_tokens, self.completion_tokens
        usage = Usage(
            read,
            written,
            read + written,
            PromptTokensDetails(self.cached_tokens),
            CompletionTokensDetails(self.accepted_tokens, self.rejected_tokens),
        )
        if self.cost is None:
            return usage
        money, details = self.cost
        return MeteredUsage(**vars(usage), cost=money, cost_details=details)

    def count_end(self, delta: OutputDelta, *, counts_prompt: bool) -> None:
        """Count the last delta of an answer; each prompt's cached tokens count once."""
        timing = delta.timing
        if timing is None:
            return
        if counts_prompt:
            self.cached_tokens += timing.cached_tokens
        self.accepted_tokens += timing.accepted_tokens
        self.rejected_tokens += timing.drafted_tokens - timing.accepted_tokens
        whole = timing.queue_s + timing.prefill_s + timing.decode_s
        before = self.timing
        if whole >= before.queue_s + before.prefill_s + before.decode_s:
            self.timing = TimingReport(timing.queue_s, timing.prefill_s, timing.decode_s)
