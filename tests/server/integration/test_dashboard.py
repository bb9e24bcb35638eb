"""The dashboard asks for no figure and no label that the server does not report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingot.artifact import Ingot
from ingot.costs import CostConfig
from ingot.inference import Engine, EngineConfig, EngineLoop
from ingot.inference.executors.native import NativeExecutor
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana.json"
_MATCHER = r"((?:vllm|ingot):[a-z_]+)(?:{([^}]*)})?"


@pytest.fixture
def http(ingot: Ingot, tmp_path: Path) -> Iterator[httpx.Client]:
    """A server that knows its price, has an objective, and answers a key once a minute."""
    key, entry = make_key("ann")
    keys = tmp_path / "keys.toml"
    keys.write_text(f"{entry}requests_per_minute = 1\n")
    keys.chmod(0o600)
    engine = EngineConfig(max_context=256)
    executor = NativeExecutor(ingot, num_blocks=engine.blocks_for(ingot.config))
    loop = EngineLoop(Engine(executor, ingot.tokenizer, engine))
    config = ServerConfig(port=0, model_name="tiny", objective="ttft=10m,itl=1m", api_keys=keys)
    cost = CostConfig(price_per_hour=0.4, currency="EUR", watts=65.0)
    headers = {"authorization": f"Bearer {key}"}
    try:
        with (
            Server(ingot, loop, config, cost=cost) as server,
            httpx.Client(base_url=server.url, headers=headers, timeout=300) as http,
        ):
            yield http
    finally:
        loop.close(5)


def test_every_figure_of_the_dashboard_is_reported(http: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "def", "max_tokens": 3, "ignore_eos": True}
    statuses = [http.post("/v1/completions", json=body).status_code for _ in range(3)]
    assert statuses[0] == 200
    assert 429 in statuses
    reported: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(http.get("/metrics").text):
        for sample in family.samples:
            reported.setdefault(sample.name, set()).update(sample.labels)
    asked = [
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
    ]
    names = {name for expression in asked for name, _ in re.findall(_MATCHER, expression)}
    assert len(names) > 25
    assert names <= reported.keys()
    for expression in asked:
        found = re.findall(_MATCHER, expression)
        for name, matchers in found:
            assert set(re.findall(r"(\w+)=", matchers)) <= reported[name], expression
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            labels = {label.strip() for label in grouped.split(",")}
            assert all(labels <= reported[name] for name, _ in found), expression
