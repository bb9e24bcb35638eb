from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import httpx
import openai
from prometheus_client.parser import text_string_to_metric_families

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig


def figures(http: httpx.Client) -> dict[str, float]:
    """Return every sample by name and labels."""
    response = http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        sample.name
        + "".join(f",{name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_version(http: httpx.Client) -> None:
    assert http.get("/version").json() == {"version": version("ingot")}


def test_ready(http: httpx.Client) -> None:
    response = http.get("/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


def test_a_full_server_is_not_ready(ingot: Ingot, engine: EngineLoop) -> None:
    asked = {"model": "tiny", "prompt": "def", "max_tokens": 1500, "ignore_eos": True}
    with Server(ingot, engine, ServerConfig(port=0, max_open_requests=1)) as server:
        with httpx.stream("POST", f"{server.url}/v1/completions", json=asked | {"stream": True}):
            ready = httpx.get(f"{server.url}/ready")
            refused = httpx.post(f"{server.url}/v1/completions", json=asked)
        assert (ready.status_code, ready.json()) == (503, {"status": "full"})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1


def test_metrics_count_what_was_done(
    client: openai.OpenAI,
    http: httpx.Client,
    ingot: Ingot,
    wait_until: Callable[[Callable[[], bool]], None],
) -> None:
    before = figures(http)
    prompt, counted = "def area", "vllm:prompt_tokens_total,model_name=tiny"
    client.completions.create(
        model="tiny", prompt=prompt, max_tokens=5, n=2, extra_body={"ignore_eos": True}
    )
    # A request is counted when it is over, which its client may learn a moment before.
    wait_until(lambda: figures(http).get(counted) != before.get(counted))
    after = figures(http)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    read = len(ingot.tokenizer.encode(prompt))
    model = ",model_name=tiny"
    assert grown(f"vllm:generation_tokens_total{model}") == 10
    assert grown(f"vllm:prompt_tokens_total{model}") == read
    assert grown(f"vllm:request_success_total,finished_reason=length{model}") == 2
    for name in (
        "vllm:time_to_first_token_seconds",
        "vllm:e2e_request_latency_seconds",
        "vllm:request_time_per_output_token_seconds",
        "gen_ai_server_time_to_first_token_seconds",
        "gen_ai_server_request_duration_seconds",
        "gen_ai_server_time_per_output_token_seconds",
    ):
        assert grown(f"{name}_count{model}") == 1
    assert grown(f"vllm:request_queue_time_seconds_count{model}") == 2
    assert grown("ingot:http_responses_total,status=200") >= 1
    assert after[f"vllm:num_requests_running{model}"] == 0
    assert after[f"vllm:num_requests_waiting{model}"] == 0
    assert 0 <= after[f"vllm:kv_cache_usage_perc{model}"] <= 1
    assert after[f"ingot:model_info,digest={ingot.digest}{model}"] == 1
    assert after["ingot:open_requests"] == after["ingot:open_tokens"] == 0


def test_refusals_are_counted_by_status(http: httpx.Client) -> None:
    before = figures(http).get("ingot:http_responses_total,status=404", 0)
    http.get("/nothing")
    assert figures(http)["ingot:http_responses_total,status=404"] == before + 1
