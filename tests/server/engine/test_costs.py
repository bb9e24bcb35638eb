"""The cost of requests: by the time that the engine spends on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingot.artifact import Ingot
from ingot.costs import CostConfig
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

HOUR, WATTS = 3.6, 50.0  # a thousandth of money each second
ASKED = {"model": "tiny", "prompt": "def area(width", "max_tokens": 8, "ignore_eos": True}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path, keys = tmp_path_factory.mktemp("keys") / "keys.toml", {}
    entries = []
    for name in ("ann", "bob", "op"):
        keys[name], entry = make_key(name)
        entries.append(entry + ("admin = true\n" if name == "op" else ""))
    path.write_text("\n".join(entries))
    path.chmod(0o600)
    return path, keys


@pytest.fixture
def priced(
    ingot: Ingot, engine: EngineLoop, keys: tuple[Path, dict[str, str]]
) -> Iterator[httpx.Client]:
    config = ServerConfig(port=0, api_keys=keys[0])
    cost = CostConfig(price_per_hour=HOUR, watts=WATTS, currency="EUR")
    with (
        Server(ingot, engine, config, cost=cost) as server,
        httpx.Client(base_url=server.url, timeout=300) as http,
    ):
        yield http


def ask(http: httpx.Client, key: str, **fields: Any) -> httpx.Response:
    answer = http.post(
        "/v1/completions", json=ASKED | fields, headers={"authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 200, answer.text
    return answer


def figures(http: httpx.Client, key: str, requests: int) -> dict[tuple[str, ...], float]:
    """Return every sample about costs that a key sees, by name and labels.

    A request is charged when all of its answer is sent, so so many are waited for.
    """
    headers = {"authorization": f"Bearer {key}"}
    deadline = time.monotonic() + 60
    while (
        sum(one["requests"] for one in http.get("/admin/activity", headers=headers).json()["keys"])
        < requests
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    text = http.get("/metrics", headers=headers).text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(("ingot:cost", "ingot:energy", "ingot:compute"))
    }


def test_usage_reports_the_cost_where_it_is_asked_for(
    priced: httpx.Client, keys: tuple[Path, dict[str, str]]
) -> None:
    ann = keys[1]["ann"]
    assert "cost" not in ask(priced, ann).json()["usage"]
    assert "cost" not in ask(priced, ann, usage={"include": False}).json()["usage"]
    usage = ask(priced, ann, usage={"include": True}).json()["usage"]
    details = usage["cost_details"]
    assert details["compute_s"] > 0
    assert usage["cost"] == pytest.approx(details["compute_s"] * HOUR / 3600)
    assert details["currency"] == "EUR"
    if details["energy_source"] == "watts":  # no counter of this machine may be read
        assert details["energy_joules"] == pytest.approx(details["compute_s"] * WATTS)
    events = ask(priced, ann, usage={"include": True}, stream=True).text.split("\n\n")
    last = orjson.loads(events[-3].removeprefix("data: "))
    assert last["choices"] == []
    assert last["usage"]["cost"] > 0
    chat = priced.post(
        "/v1/chat/completions",
        json={
            "model": "tiny",
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 4,
            "usage": {"include": True},
        },
        headers={"authorization": f"Bearer {ann}"},
    )
    assert chat.json()["usage"]["cost"] > 0


def test_a_longer_answer_costs_more(
    priced: httpx.Client, keys: tuple[Path, dict[str, str]]
) -> None:
    costs = [
        ask(priced, keys[1]["ann"], max_tokens=tokens, usage={"include": True}).json()["usage"]
        for tokens in (1, 200)
    ]
    assert costs[1]["cost"] > costs[0]["cost"]


def test_metrics_sum_up_each_keys_cost_for_those_who_may_see_it(
    priced: httpx.Client, keys: tuple[Path, dict[str, str]]
) -> None:
    names = keys[1]
    ann = [ask(priced, names["ann"], usage={"include": True}).json()["usage"] for _ in range(2)]
    bob = ask(priced, names["bob"], usage={"include": True}).json()["usage"]
    seen = figures(priced, names["op"], 3)
    for name, usages in (("ann", ann), ("bob", [bob])):
        kinds = ("prompt", "answer")
        spent = [seen["ingot:compute_seconds_total", name, kind, "tiny"] for kind in kinds]
        money = [seen["ingot:cost_total", name, kind, "tiny"] for kind in kinds]
        assert min(spent) > 0
        assert sum(spent) == pytest.approx(sum(one["cost_details"]["compute_s"] for one in usages))
        assert sum(money) == pytest.approx(sum(one["cost"] for one in usages))
    own = figures(priced, names["ann"], 2)
    assert ("ingot:cost_total", "ann", "prompt", "tiny") in own
    assert not any("bob" in labels for labels in own)


def test_idle_time_makes_a_token_dearer(
    priced: httpx.Client, keys: tuple[Path, dict[str, str]]
) -> None:
    ask(priced, keys[1]["ann"])
    seen = figures(priced, keys[1]["op"], 1)
    for kind in ("prompt", "answer"):
        left_out = seen["ingot:cost_per_million_tokens", "excluded", kind, "tiny"]
        shared = seen["ingot:cost_per_million_tokens", "included", kind, "tiny"]
        assert 0 < left_out <= shared
    tokens = 8
    seconds = seen["ingot:compute_seconds_total", "ann", "answer", "tiny"]
    assert seen["ingot:cost_per_million_tokens", "excluded", "answer", "tiny"] == pytest.approx(
        seconds / tokens * 1e6 * HOUR / 3600
    )


def test_without_a_price_the_time_is_counted_all_the_same(http: httpx.Client) -> None:
    usage = http.post("/v1/completions", json=ASKED | {"usage": {"include": True}}).json()["usage"]
    assert usage["cost"] is None
    assert usage["cost_details"]["compute_s"] > 0


def test_a_request_that_is_broken_off_is_charged(
    priced: httpx.Client, keys: tuple[Path, dict[str, str]]
) -> None:
    headers = {"authorization": f"Bearer {keys[1]['bob']}"}
    body = ASKED | {"stream": True, "max_tokens": 400}
    with priced.stream("POST", "/v1/completions", json=body, headers=headers) as answer:
        next(answer.iter_lines())
    seen = figures(priced, keys[1]["bob"], 1)
    assert seen["ingot:compute_seconds_total", "bob", "prompt", "tiny"] > 0
