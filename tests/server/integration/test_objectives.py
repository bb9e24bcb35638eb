"""Objectives over HTTP: a real server and engine; what depends on the clock is not asserted."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import Engine, EngineConfig, EngineLoop
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.scheduling.cost_model import CostModel, StepWork
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key


def slow_model(token_s: float = 1.0) -> CostModel:
    """A model by which a token takes seconds, so that nothing can be in time."""
    cost = CostModel()
    for tokens in (1, 2, 4, 8, 16) * 20:
        cost.observe(StepWork.of([(tokens, 0)]), token_s * tokens)
    return cost


@pytest.fixture(scope="module")
def loop(ingot: Ingot) -> Iterator[EngineLoop]:
    config = EngineConfig(max_context=256)
    executor = NativeExecutor(ingot, num_blocks=config.blocks_for(ingot.config))
    loop = EngineLoop(Engine(executor, ingot.tokenizer, config, cost=slow_model()))
    yield loop
    loop.close(5)


@pytest.fixture(scope="module")
def url(ingot: Ingot, loop: EngineLoop) -> Iterator[str]:
    config = ServerConfig(port=0, model_name="m", objective="ttft=10m,itl=10s,p=95")
    with Server(ingot, loop, config) as server:
        yield server.url


def ask(url: str, key: str | None = None, **fields: Any) -> httpx.Response:
    body = {"model": "m", "prompt": "def", "max_tokens": 4, "temperature": 0, "ignore_eos": True}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{url}/v1/completions", json=body | fields, headers=headers, timeout=300)


def metric(url: str, name: str, *, key: str | None = None) -> dict[str, float]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    text = httpx.get(f"{url}/metrics", headers=headers, timeout=60).text
    found = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_the_objective_is_said_and_what_keeps_it_is_counted(url: str) -> None:
    assert ask(url).status_code == 200
    stated = metric(url, "ingot:objective_seconds")
    assert stated['{kind="ttft",model_name="m",percentile="95"}'] == 600
    assert stated['{kind="itl",model_name="m",percentile="95"}'] == 10
    answers = metric(url, "ingot:objective_answers_total")
    assert answers['{model_name="m",outcome="in_time"}'] >= 1
    assert metric(url, "ingot:step_measured_seconds_total")['{model_name="m"}'] > 0
    assert metric(url, "ingot:step_predicted_seconds_total")['{model_name="m"}'] > 0
    assert metric(url, "ingot:objective_attainment")['{model_name="m"}'] == 1


def test_a_wall_clock_that_jumps_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = '{model_name="m",outcome="in_time"}'
    before = metric(url, "ingot:objective_answers_total").get(kept, 0)
    jumps, true_time = itertools.cycle((0, 86_400, -86_400)), time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + next(jumps))
    assert [ask(url).status_code for _ in range(3)] == [200] * 3
    assert metric(url, "ingot:objective_answers_total")[kept] == before + 3
    assert metric(url, "ingot:objective_attainment")['{model_name="m"}'] == 1
    assert 0 <= metric(url, "ingot:step_prediction_error")['{model_name="m"}'] <= 10


def test_a_request_may_ask_for_less_but_not_for_more(url: str) -> None:
    for objective in ("ttft=10m,itl=20s,p=95", "none", "itl=10s,ttft=1h0s"):
        answer = ask(url, objective=objective)
        assert answer.status_code == (200 if "1h" not in objective else 400), answer.text
    for objective in ("ttft=9m,itl=10s,p=95", "ttft=10m,itl=10s,p=99", "ttft=10m,itl=1s,p=95"):
        answer = ask(url, objective=objective)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "objective"
    for wrong in ("", "soon", 5, "ttft=1s,x=2s"):
        assert ask(url, objective=wrong).status_code == 400
    assert ask(url, late="never").json()["error"]["param"] == "late"


@pytest.fixture
def keyed(ingot: Ingot, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A server whose keys have objectives of their own, by a model that foresees only the worst."""
    entries, keys = "", {}
    for name, objective in (("hurried", "ttft=1s"), ("free", ""), ("plain", None)):
        keys[name], entry = make_key(name)
        entries += entry + (f'objective = "{objective}"\n' if objective is not None else "")
    path = tmp_path / "keys.toml"
    path.write_text(entries)
    path.chmod(0o600)
    config = EngineConfig(max_context=256)
    executor = NativeExecutor(ingot, num_blocks=config.blocks_for(ingot.config))
    loop = EngineLoop(Engine(executor, ingot.tokenizer, config, cost=slow_model(10.0)))
    try:
        with Server(ingot, loop, ServerConfig(port=0, model_name="m", api_keys=path)) as server:
            yield server.url, keys
    finally:
        loop.close(5)


def test_a_key_has_its_own_objective_and_a_refusal_says_when(
    keyed: tuple[str, dict[str, str]],
) -> None:
    url, keys = keyed
    for name in ("plain", "free"):
        assert ask(url, keys[name]).status_code == 200
    first = ask(url, keys["hurried"])
    assert first.status_code == 200, "what the machine can do is tried"
    refused = ask(url, keys["hurried"])
    assert refused.status_code == 429, refused.text
    error = refused.json()["error"]
    assert error["code"] == "objective_not_met"
    assert error["param"] == "objective"
    assert "ttft=1s" in error["message"]
    assert int(refused.headers["retry-after"]) >= 1
    assert int(refused.headers["retry-after-ms"]) >= 1
    late = ask(url, keys["hurried"], late="allow")
    assert late.status_code == 200
    assert ask(url, keys["plain"], objective="ttft=1ms").status_code in (200, 429)
    refusals = metric(url, "ingot:objective_refusals_total", key=keys["plain"])
    assert sum(refusals.values()) >= 1


def test_what_each_key_got_and_was_refused_is_reported_to_those_who_may_see_it(
    keyed: tuple[str, dict[str, str]],
) -> None:
    url, keys = keyed
    own = keys["hurried"]
    assert [ask(url, own).status_code for _ in range(3)] == [200, 429, 429]
    assert ask(url, keys["free"]).status_code == 200, "counts in neither: it has no objective"
    answers = metric(url, "ingot:key_objective_answers_total", key=own)
    assert sum(answers.values()) == 1
    assert set(answers) == {
        f'{{key="hurried",model_name="m",outcome="{outcome}"}}' for outcome in ("in_time", "late")
    }
    in_time = answers['{key="hurried",model_name="m",outcome="in_time"}']
    share = metric(url, "ingot:key_objective_attainment", key=own)
    assert share == {'{key="hurried",model_name="m"}': in_time}
    refused = metric(url, "ingot:key_refusals_total", key=own)
    assert sum(refused.values()) == 2
    assert all(
        re.fullmatch(r'{key="hurried",model_name="m",reason="objective_(prompt|token)"}', labels)
        for labels in refused
    )
    for name in ("ingot:key_objective_answers_total", "ingot:key_refusals_total"):
        assert metric(url, name, key=keys["free"]) == {}, "a key sees its own alone"
    headers = {"authorization": f"Bearer {own}"}
    report = httpx.get(f"{url}/admin/activity", headers=headers, timeout=60).json()
    (outcome,) = report["outcomes"]
    assert (outcome["model"], outcome["key"]) == ("m", "hurried")
    assert (outcome["in_time"] + outcome["late"], outcome["attainment"]) == (1, in_time)
    assert sum(outcome["refused"].values()) == 2


def test_answers_are_the_same_with_an_objective_and_without(url: str) -> None:
    prompts = [f"def area_{number}(width, height):" for number in range(12)]
    alone = [ask(url, prompt=prompt, max_tokens=24, objective="none").text for prompt in prompts]
    together: dict[int, str] = {}

    def one(number: int) -> None:
        together[number] = ask(url, prompt=prompts[number], max_tokens=24).text

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = re.compile(r'"text":"(?:[^"\\]|\\.)*"')
    assert [text.findall(together[number]) for number in range(len(prompts))] == [
        text.findall(one) for one in alone
    ]


Cli = Callable[..., Any]


def test_the_command_names_what_is_wrong_with_an_objective(here: Cli, ingot_path: Path) -> None:
    for objective, what in (
        ("ttft=1", "not a time"),
        ("other:ttft=1s", "not served"),
        ("fast", "not ttft, itl or p"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NO_COLOR", "1")
            done = here("serve", ingot_path, "--objective", objective, code=2)
        assert what in done.stderr
        assert "--objective" in done.stderr
