from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingot.artifact import Ingot
from ingot.costs import CostConfig
from ingot.inference import EngineLoop, OutputDelta
from ingot.server import ServerConfig
from ingot.server.access.admission import Admission
from ingot.server.access.request_context import RequestContext
from ingot.server.engine.costs import CostMeter
from ingot.server.engine.metrics import Metrics
from ingot.server.engine.model_registry import Models, ServedModel
from ingot.server.engine.outcomes import Outcomes

M = "model_name=m"


@pytest.fixture
def admission() -> Admission:
    return Admission(ServerConfig())


@pytest.fixture
def metrics(ingot: Ingot, engine: EngineLoop, admission: Admission) -> Iterator[Metrics]:
    models = Models([ServedModel("m", ingot, engine)], None)
    return Metrics(models, admission, CostMeter(CostConfig()), Outcomes(), lambda: 7)


def figures(metrics: Metrics) -> dict[str, float]:
    """Return every sample by name and labels."""
    return {
        ",".join(
            [sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]
        ): sample.value
        for family in text_string_to_metric_families(metrics.render([None])[None].decode())
        for sample in family.samples
    }


def answered(**fields: object) -> RequestContext:
    """Return the record of a request that is over."""
    context = RequestContext("id", "POST", "/v1/completions", model="m", status=200)
    context.prompt_tokens, context.completion_tokens = 5, 11
    context.first_token_s, context.finished_s = 0.2, 1.2
    for name, value in fields.items():
        setattr(context, name, value)
    return context


def test_a_request_is_counted_with_its_times(metrics: Metrics) -> None:
    metrics.observe(answered())
    found = figures(metrics)
    assert found["ingot:http_responses_total,status=200"] == 1
    assert found[f"vllm:prompt_tokens_total,{M}"] == 5
    assert found[f"vllm:time_to_first_token_seconds_sum,{M}"] == pytest.approx(0.2)
    assert found[f"vllm:request_time_per_output_token_seconds_sum,{M}"] == pytest.approx(0.1)
    assert found[f"gen_ai_server_request_duration_seconds_sum,{M}"] == pytest.approx(1.2)
    assert found[f"vllm:request_generation_tokens_sum,{M}"] == 11


def test_a_single_token_has_no_time_between_tokens(metrics: Metrics) -> None:
    metrics.observe(answered(completion_tokens=1))
    name = f"vllm:request_time_per_output_token_seconds_count,{M}"
    assert figures(metrics).get(name, 0) == 0


@pytest.mark.parametrize(
    "fields",
    [{"model": None, "status": 404}, {"completion_tokens": 0, "status": 429}],
)
def test_what_wrote_nothing_counts_as_a_response_alone(
    metrics: Metrics, fields: dict[str, object]
) -> None:
    metrics.observe(answered(**fields))
    found = figures(metrics)
    assert found[f"ingot:http_responses_total,status={fields['status']}"] == 1
    assert found.get(f"vllm:prompt_tokens_total,{M}", 0) == 0


def test_ends_are_counted_by_their_reason(metrics: Metrics) -> None:
    for reason in ("stop", "length", "length", "cancelled"):
        metrics.observe_end("m", OutputDelta("", (), finish_reason=reason))  # type: ignore[arg-type]
    found = figures(metrics)
    assert found[f"vllm:request_success_total,finished_reason=stop,{M}"] == 1
    assert found[f"vllm:request_success_total,finished_reason=length,{M}"] == 2
    assert not any("cancelled" in name for name in found)


def test_what_is_open_and_the_engine_are_read_when_asked(
    metrics: Metrics, admission: Admission, ingot: Ingot
) -> None:
    with admission.request(), admission.tokens(100):
        found = figures(metrics)
    assert found["ingot:open_requests"] == 1
    assert found["ingot:open_tokens"] == 100
    assert found["ingot:log_lines_dropped_total"] == 7
    assert found[f"ingot:engine_failed,{M}"] == 0
    assert 0 <= found[f"vllm:kv_cache_usage_perc,{M}"] <= 1
    assert found[f"ingot:model_info,digest={ingot.digest},{M}"] == 1
    assert figures(metrics)["ingot:open_requests"] == 0


def test_the_cache_is_described_as_routers_read_it(metrics: Metrics, engine: EngineLoop) -> None:
    stats = engine.stats()
    name = f"vllm:cache_config_info,block_size={stats.block_size},{M},num_gpu_blocks="
    assert figures(metrics)[f"{name}{stats.blocks_total}"] == 1
    assert stats.block_size == 16
