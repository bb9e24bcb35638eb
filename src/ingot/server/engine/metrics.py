"""Prometheus metrics of requests and engines.

Engine and request figures bear vLLM's names, so that dashboards made for it work
(https://docs.vllm.ai/en/latest/usage/metrics.html); durations also bear those of
OpenTelemetry's GenAI conventions
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/). What neither
names is under ``ingot:``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingot.inference import EngineStats, Objective, OutputDelta
from ingot.server.access.admission import Admission
from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext
from ingot.server.engine.costs import CostMeter
from ingot.server.engine.model_registry import Models
from ingot.server.engine.objective_metrics import ObjectiveCollector
from ingot.server.engine.outcomes import Outcomes
from ingot.server.engine.sleeping import Sleeper

_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 25, 60, 120, 300, 600),
)
_TOKENS = tuple(4**power for power in range(1, 11))


class Metrics:
    """Counts requests as they end; reads the engines' counters only when rendered.

    Args:
        models: Whose engines are asked.
        admission: What is open.
        costs: The accounts.
        outcomes: What became of requests, by key.
        dropped_log_lines: How many lines the log has lost.
        sleeper: Who puts the models to sleep; None where nobody does.
        objective_for: Returns the objective of a model's answers.
    """

    def __init__(
        self,
        models: Models,
        admission: Admission,
        costs: CostMeter,
        outcomes: Outcomes,
        dropped_log_lines: Callable[[], int],
        sleeper: Sleeper | None = None,
        objective_for: Callable[[str], Objective | None] = lambda _: None,
    ) -> None:
        self._costs, self._outcomes = costs, outcomes
        registry = CollectorRegistry()
        self._registry = registry
        if sleeper is not None:
            registry.register(_Sleeping(sleeper))
        registry.register(_Engines(models, admission, dropped_log_lines))
        registry.register(ObjectiveCollector(models, objective_for))
        model = ("model_name",)

        def seconds(name: str, text: str) -> Histogram:
            return Histogram(name, text, model, registry=registry, buckets=_SECONDS)

        def tokens(name: str, text: str) -> Histogram:
            return Histogram(name, text, model, registry=registry, buckets=_TOKENS)

        first = "Seconds from a request's arrival to its first token."
        each = "Seconds for each token after the first."
        whole = "Seconds from a request's arrival to its end."
        self._first = [
            seconds("vllm:time_to_first_token_seconds", first),
            seconds("gen_ai_server_time_to_first_token_seconds", first),
        ]
        self._each = [
            seconds("vllm:request_time_per_output_token_seconds", each),
            seconds("gen_ai_server_time_per_output_token_seconds", each),
        ]
        self._whole = [
            seconds("vllm:e2e_request_latency_seconds", whole),
            seconds("gen_ai_server_request_duration_seconds", whole),
        ]
        self._phases = {
            "queue_s": seconds("vllm:request_queue_time_seconds", "Seconds spent waiting to run."),
            "prefill_s": seconds("vllm:request_prefill_time_seconds", "Seconds of prefill."),
            "decode_s": seconds("vllm:request_decode_time_seconds", "Seconds of decoding."),
        }
        self._read = tokens("vllm:request_prompt_tokens", "Tokens of a request's prompts.")
        self._written = tokens("vllm:request_generation_tokens", "Tokens of a request's answers.")
        self._succeeded = Counter(
            "vllm:request_success",
            "Answers completed, by the reason they ended.",
            (*model, "finished_reason"),
            registry=registry,
        )
        self._prompt_tokens = Counter(
            "vllm:prompt_tokens", "Tokens of prompts read.", model, registry=registry
        )
        self._responses = Counter(
            "ingot:http_responses",
            "Responses by status; 0 where the client left before there was one.",
            ("status",),
            registry=registry,
        )

    def observe_end(self, model: str, delta: OutputDelta) -> None:
        """Count the end of one answer."""
        if delta.finish_reason in ("stop", "length"):
            self._succeeded.labels(model, delta.finish_reason).inc()
        if delta.timing is not None:
            for name, histogram in self._phases.items():
                histogram.labels(model).observe(getattr(delta.timing, name))

    def observe(self, context: RequestContext) -> None:
        """Count a request that ended."""
        self._responses.labels(str(context.status)).inc()
        if context.model is None or not context.completion_tokens or context.first_token_s is None:
            return
        name = context.model
        self._prompt_tokens.labels(name).inc(context.prompt_tokens)
        self._read.labels(name).observe(context.prompt_tokens)
        self._written.labels(name).observe(context.completion_tokens)
        for histogram in self._first:
            histogram.labels(name).observe(context.first_token_s)
        for histogram in self._whole:
            histogram.labels(name).observe(context.finished_s)
        if context.completion_tokens > 1:
            rest = (context.finished_s - context.first_token_s) / (context.completion_tokens - 1)
            for histogram in self._each:
                histogram.labels(name).observe(rest)

    def register(self, collector: Collector) -> None:
        """Render what a further collector collects, too."""
        self._registry.register(collector)

    def render(self, keys: Iterable[Key | None]) -> dict[Key | None, bytes]:
        """Return the metrics in Prometheus' text format for each key, with what it may see."""
        common = generate_latest(self._registry)
        rendered = {}
        for key in keys:
            own = CollectorRegistry()
            own.register(_OfKey(self._costs.metrics, key))
            own.register(_OfKey(self._outcomes.metrics, key))
            rendered[key] = common + generate_latest(own)
        return rendered


class _OfKey(Collector):
    """Collects the metrics that a key may see."""

    def __init__(self, metrics: Callable[[Key | None], Iterator[Metric]], key: Key | None) -> None:
        self._metrics, self._key = metrics, key

    def collect(self) -> Iterator[Metric]:
        return self._metrics(self._key)


class _Sleeping(Collector):
    """Collects which models sleep, and how long they took to wake."""

    def __init__(self, sleeper: Sleeper) -> None:
        self._sleeper = sleeper

    def collect(self) -> Iterator[Metric]:
        return self._sleeper.metrics()


class _Engines(Collector):
    """Collects the engines' own counters."""

    def __init__(
        self, models: Models, admission: Admission, dropped_log_lines: Callable[[], int]
    ) -> None:
        self._models = models
        self._admission = admission
        self._dropped_log_lines = dropped_log_lines

    def collect(self) -> Iterator[Metric]:
        stats = {name: model.loop.stats() for name, model in self._models.all.items()}
        for name, text, read in _ENGINE_GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=("model_name",))
            for model, figures in stats.items():
                gauge.add_metric((model,), read(figures))
            yield gauge
        for name, text, read in _ENGINE_COUNTERS:
            counter = CounterMetricFamily(name, text, labels=("model_name",))
            for model, figures in stats.items():
                counter.add_metric((model,), read(figures))
            yield counter
        info = GaugeMetricFamily(
            "ingot:model_info", "The ingots served.", labels=("model_name", "digest")
        )
        for served in self._models.all.values():
            info.add_metric((served.name, served.ingot.digest), 1)
        yield info
        # A router's prefix scorer cuts prompts into blocks of this size, and ages its memory of
        # what it sent by their number. vLLM writes numbers as labels too, and calls blocks those
        # of the GPU wherever they are.
        blocks = GaugeMetricFamily(
            "vllm:cache_config_info",
            "Blocks of the key-value cache: tokens in one, and how many there are.",
            labels=("model_name", "block_size", "num_gpu_blocks"),
        )
        for model, figures in stats.items():
            blocks.add_metric((model, str(figures.block_size), str(figures.blocks_total)), 1)
        yield blocks
        yield from self._events()
        admission = self._admission
        yield GaugeMetricFamily(
            "ingot:open_requests", "Requests running and waiting.", admission.open_requests
        )
        yield GaugeMetricFamily(
            "ingot:open_tokens", "Tokens that those may take.", admission.open_tokens
        )
        yield CounterMetricFamily(
            "ingot:log_lines_dropped", "Log lines lost.", self._dropped_log_lines()
        )

    def _events(self) -> Iterator[Metric]:
        """Yield what became of the caches' events, where they are published."""
        published = CounterMetricFamily(
            "ingot:kv_event_batches", "Batches of cache events numbered.", labels=("model_name",)
        )
        dropped = CounterMetricFamily(
            "ingot:kv_event_batches_dropped",
            "Of these, batches lost before they were sent.",
            labels=("model_name",),
        )
        for model, publisher in self._models.event_publishers.items():
            published.add_metric((model,), publisher.published)
            dropped.add_metric((model,), publisher.dropped)
        yield from (published, dropped)


_Figures = tuple[str, str, Callable[[EngineStats], float]]
_ENGINE_GAUGES: list[_Figures] = [
    ("vllm:num_requests_running", "Sequences running.", lambda stats: stats.running),
    ("vllm:num_requests_waiting", "Sequences waiting to run.", lambda stats: stats.waiting),
    (
        "vllm:kv_cache_usage_perc",
        "Share of the key-value cache in use, from 0 to 1.",
        lambda stats: 1 - stats.blocks_free / stats.blocks_total,
    ),
    (
        "ingot:waiting_tokens",
        "Tokens of the sequences that wait.",
        lambda stats: stats.waiting_tokens,
    ),
    (
        "ingot:kv_cache_blocks_cached",
        "Blocks that can be found by the prefix they hold.",
        lambda stats: stats.blocks_cached,
    ),
    (
        "ingot:engine_failed",
        "1 once an engine has stopped for good.",
        lambda stats: stats.failed is not None,
    ),
]
_ENGINE_COUNTERS: list[_Figures] = [
    (
        "vllm:generation_tokens",
        "Tokens written since the start.",
        lambda stats: stats.generated_tokens,
    ),
    (
        "vllm:prefix_cache_queries",
        "Prompt tokens looked up in the prefix cache.",
        lambda stats: stats.queried_tokens,
    ),
    (
        "vllm:prefix_cache_hits",
        "Prompt tokens found in the prefix cache.",
        lambda stats: stats.cached_tokens,
    ),
    (
        "vllm:spec_decode_num_draft_tokens",
        "Tokens guessed by speculation.",
        lambda stats: stats.drafted_tokens,
    ),
    (
        "vllm:spec_decode_num_accepted_tokens",
        "Guesses that were right.",
        lambda stats: stats.accepted_tokens,
    ),
    (
        "vllm:num_preemptions",
        "Sequences sent back to wait for want of cache blocks.",
        lambda stats: stats.preemptions,
    ),
    ("ingot:prefill_tokens", "Prompt tokens computed.", lambda stats: stats.prefill_tokens),
    ("ingot:engine_steps", "Steps run.", lambda stats: stats.steps),
    (
        "ingot:background_steps",
        "Steps of background work, of those.",
        lambda stats: stats.background_steps,
    ),
    (
        "ingot:background_step_seconds",
        "Seconds spent in them.",
        lambda stats: stats.background_step_s,
    ),
    (
        "ingot:interrupted_steps",
        "Steps of background work that gave way to a client's request.",
        lambda stats: stats.interrupted_steps,
    ),
    ("ingot:engine_step_seconds", "Seconds spent in steps.", lambda stats: stats.step_s),
    (
        "ingot:executor_seconds",
        "Seconds of these spent in the executor.",
        lambda stats: stats.executor_s,
    ),
]
