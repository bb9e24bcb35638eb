"""Replicas on Ray Serve: killed, exchanged and counted, over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

ray = pytest.importorskip("ray")

from ray import serve  # noqa: E402 (only where Ray is installed)

from ingot.api.inference import load  # noqa: E402
from ingot.artifact import Provenance, freeze  # noqa: E402
from ingot.cluster.serving import applications  # noqa: E402
from ingot.cluster.serving.deployment import engine_spec, served  # noqa: E402
from ingot.cluster.serving.engines import begin, wait_until_running  # noqa: E402
from ingot.cluster.serving.replicas import ReplicaCount  # noqa: E402
from ingot.errors import ServeError, UsageError  # noqa: E402
from ingot.inference import EngineConfig, SamplingParams  # noqa: E402
from ingot.model import ModelConfig, Tokenizer  # noqa: E402
from ingot.model.rope import RopeConfig  # noqa: E402
from ingot.server.access.api_keys import make_key  # noqa: E402
from ingot.server.config import ServerConfig  # noqa: E402
from ingot.server.routes.logprobs import LogprobsWriter  # noqa: E402

TEXT = "def area(width, height):\n    return width * height\n" * 4 + "the quick brown fox é " * 8
ENGINE = EngineConfig(threads=1, max_sequences=32, num_blocks=1024)
DEADLINE_S = 240.0
STREAMS = 60
Said = tuple[str, list[str], list[float], str]
Question = tuple[list[int], SamplingParams]


def make_ingot(folder: Path, seed: int) -> Path:
    config = ModelConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        rope=RopeConfig(50_000.0),
    )
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }
    out = folder / f"tiny{seed}.ingot"
    freeze(weights, config, Tokenizer.train([TEXT], 300), out, provenance=Provenance()).close()
    return out


@pytest.fixture(scope="module")
def ingots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("served")
    return [make_ingot(folder, seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def url(cluster: None, ingots: list[Path]) -> Iterator[str]:
    config = ServerConfig(port=0, model_name="tiny", ingots_folder=ingots[0].parent)
    with served(engine_spec(ingots[0], ENGINE), ReplicaCount(3, 3), config) as address:
        yield address


def questions(count: int, most: int) -> list[Question]:
    chance = random.Random(11)
    beginnings = [[chance.randrange(7, 280) for _ in range(40)] for _ in range(8)]
    return [
        (
            [*chance.choice(beginnings), *(chance.randrange(7, 280) for _ in range(5))],
            SamplingParams(
                max_tokens=chance.randrange(most // 2, most),
                temperature=chance.choice([0.0, 1.0]),
                seed=number,
                logprobs=0,
                ignore_eos=True,
            ),
        )
        for number in range(count)
    ]


def body_of(question: Question, **more: Any) -> dict[str, Any]:
    prompt, params = question
    return {
        "model": "tiny",
        "prompt": prompt,
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "seed": params.seed,
        "logprobs": 0,
        "ignore_eos": True,
    } | more


def offline(path: Path, asked: list[Question]) -> list[Said]:
    """Return what one engine alone answers, one question at a time."""
    answers: list[Said] = []
    with load(path, engine=ENGINE) as model:
        for prompt, params in asked:
            deltas = list(model.loop.stream(prompt, params, DEADLINE_S))
            entries = [entry for delta in deltas for entry in delta.logprobs]
            written = LogprobsWriter(model.ingot.tokenizer).write(tuple(entries))
            scores = [entry.logprob for entry in entries]
            text = "".join(delta.text for delta in deltas)
            answers.append((text, written.tokens, scores, str(deltas[-1].finish_reason)))
    return answers


async def stream(client: httpx.AsyncClient, body: dict[str, Any]) -> Said:
    text, tokens, scores, reason = "", list[str](), list[float](), ""
    async with client.stream("POST", "/v1/completions", json=body | {"stream": True}) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line.removeprefix("data: "))
            assert "error" not in event, event
            choice = event["choices"][0]
            text += choice["text"]
            if choice["logprobs"]:
                tokens += choice["logprobs"]["tokens"]
                scores += choice["logprobs"]["token_logprobs"]
            reason = choice["finish_reason"] or reason
    return text, tokens, scores, reason


def replica_pids() -> list[int]:
    """Return the processes of the engines' replicas; Ray names them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if name.startswith(b"ray::ServeReplica:ingot-engine"):
                found.append(int(entry.name))
    return found


def client_of(url: str, **more: Any) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=url, timeout=DEADLINE_S, limits=limits, **more)


def figures(url: str) -> dict[str, float]:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.partition("{")[0]: float(value) for name, _, value in pairs}


def test_streams_outlive_their_replicas_with_the_same_tokens(url: str, ingots: list[Path]) -> None:
    asked = questions(STREAMS, 240)
    wanted = offline(ingots[0], asked)
    chance, kills = random.Random(5), 0

    async def run() -> list[Said]:
        nonlocal kills
        async with client_of(url) as client, asyncio.timeout(DEADLINE_S):
            answering = [asyncio.create_task(stream(client, body_of(one))) for one in asked]
            while not all(task.done() for task in answering):
                await asyncio.sleep(chance.uniform(0.2, 1.0))
                alive = replica_pids()
                if len(alive) > 1 and not all(task.done() for task in answering):
                    os.kill(chance.choice(alive), signal.SIGKILL)
                    kills += 1
            return [await task for task in answering]

    got = asyncio.run(run())
    assert kills >= 2
    differing = [number for number in range(STREAMS) if got[number] != wanted[number]]
    assert not differing, (kills, differing)


def test_a_client_that_leaves_is_forgotten_by_the_replica(url: str) -> None:
    with httpx.stream(
        "POST",
        f"{url}/v1/completions",
        json=body_of(([7, 8], SamplingParams(max_tokens=450, seed=1)), stream=True),
        timeout=DEADLINE_S,
    ) as answer:
        next(answer.iter_lines())
    until = time.monotonic() + DEADLINE_S
    while figures(url)["vllm:num_requests_running"]:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_answers_in_every_form_are_those_of_one_server(url: str, ingots: list[Path]) -> None:
    (wanted,) = offline(ingots[0], questions(1, 20))
    with httpx.Client(base_url=url, timeout=DEADLINE_S) as client:
        whole = client.post("/v1/completions", json=body_of(questions(1, 20)[0])).json()
        choice = whole["choices"][0]
        said = choice["text"], choice["logprobs"]["tokens"], choice["logprobs"]["token_logprobs"]
        assert (*said, choice["finish_reason"]) == wanted
        guided = client.post(
            "/v1/completions",
            json=body_of(
                ([7], SamplingParams(max_tokens=30, seed=1)),
                ignore_eos=False,
                structured_outputs={"regex": "[0-9]{3}-[0-9]{2}"},
            ),
        ).json()
        assert len(guided["choices"][0]["text"]) == 6, guided
        told = client.post("/v1/embeddings", json={"model": "tiny", "input": "def area"}).json()
        assert len(told["data"][0]["embedding"]) == 64
        for body, status, code in (
            (body_of(([7], SamplingParams()), temperature=11), 400, "invalid_value"),
            (body_of(([7] * 600, SamplingParams())), 400, "context_length_exceeded"),
            (body_of(([7], SamplingParams()), objective="ttft=1s"), 400, "invalid_value"),
            (body_of(([7], SamplingParams()), model="other"), 404, "model_not_found"),
        ):
            refused = client.post("/v1/completions", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
        assert client.get("/health").status_code == 200
        assert client.post("/admin/verify", json={"model": "tiny"}).status_code == 200


def test_another_ingot_is_rolled_out_without_a_request_dropped(
    url: str, ingots: list[Path]
) -> None:
    seen: list[str] = []

    async def ask(client: httpx.AsyncClient, stop: asyncio.Event, number: int) -> None:
        while not stop.is_set():
            body = body_of(questions(8, 16)[number])
            answer = await client.post("/v1/completions", json=body)
            assert answer.status_code == 200, answer.text
            seen.append(answer.json()["system_fingerprint"])

    async def run() -> None:
        stop = asyncio.Event()
        async with client_of(url) as client, asyncio.timeout(DEADLINE_S):
            asking = [asyncio.create_task(ask(client, stop, number)) for number in range(8)]
            answer = await client.post(
                "/admin/ingots", json={"model": "tiny", "ingot": ingots[1].name}
            )
            assert answer.status_code == 200, answer.text
            begun = len(seen)
            while len(seen) < begun + 40:
                await asyncio.sleep(0.05)
            stop.set()
            await asyncio.gather(*asking)

    asyncio.run(run())
    with load(ingots[0], engine=ENGINE) as first, load(ingots[1], engine=ENGINE) as second:
        digests = [first.digest, second.digest]
    assert list(dict.fromkeys(seen)) == digests
    until = time.monotonic() + DEADLINE_S
    while sum(name.startswith("ingot-engine-") for name in serve.status().applications) > 1:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_second_server_and_too_many_replicas_are_refused(url: str, ingots: list[Path]) -> None:
    spec = engine_spec(ingots[0], ENGINE)
    config = ServerConfig(port=0)
    with (
        pytest.raises(UsageError, match="500 replicas of 1 CPU need 500, the cluster has 8"),
        served(spec, ReplicaCount(500, 500), config),
    ):
        pass
    with pytest.raises(ServeError, match="already"), served(spec, ReplicaCount(1, 1), config):
        pass
    assert httpx.get(f"{url}/health").status_code == 200


def test_keys_and_their_limits_are_those_of_the_whole(
    cluster: None, ingots: list[Path], tmp_path: Path
) -> None:
    serve.shutdown()
    keys = tmp_path / "keys.toml"
    key, entry = make_key("alice")
    keys.write_text(f"{entry}requests_per_minute = 2\n")
    config = ServerConfig(port=0, model_name="tiny", api_keys=keys)
    body = body_of(questions(1, 10)[0])
    with served(engine_spec(ingots[0], ENGINE), ReplicaCount(2, 2), config) as address:
        assert httpx.post(f"{address}/v1/completions", json=body).status_code == 401
        given = {"authorization": f"Bearer {key}"}
        codes = [
            httpx.post(
                f"{address}/v1/completions", json=body, headers=given, timeout=DEADLINE_S
            ).status_code
            for _ in range(4)
        ]
        assert codes == [200, 200, 429, 429]
        keys.write_text("")
        until = time.monotonic() + DEADLINE_S
        while httpx.get(f"{address}/v1/models", headers=given).status_code != 401:
            assert time.monotonic() < until
            time.sleep(0.2)
    assert not serve.status().applications


def test_a_config_file_of_ray_serve_makes_the_same_server(
    cluster: None, ingots: list[Path]
) -> None:
    serve.shutdown()
    serve.start(proxy_location="HeadOnly", http_options={"port": (port := free_port())})
    common = {"ingot": str(ingots[0]), "settings": ["server.model_name=tiny"]}
    engine = applications.engine(applications.EngineArguments.model_validate(common))
    more = common | {"engine": "the-engine"}
    front = applications.front(applications.FrontArguments.model_validate(more))
    try:  # the front first: it waits for its engine
        begin(front, "ingot", "/")
        begin(engine, "the-engine", None)
        wait_until_running("ingot", DEADLINE_S)
        body = body_of(questions(1, 10)[0])
        url = f"http://127.0.0.1:{port}/v1/completions"
        assert httpx.post(url, json=body, timeout=DEADLINE_S).status_code == 200
    finally:
        serve.shutdown()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
    return port
