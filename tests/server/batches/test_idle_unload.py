"""Batches of models that sleep while they are idle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ingot.artifact import Ingot, open_ingot
from ingot.inference import Engine, EngineLoop
from ingot.inference.config import Weights
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import Server, ServerConfig
from tests.server.batches.conftest import Client, line

Wait = Callable[[Callable[[], bool]], None]
LINES = 12
TOKENS = 300


class Opened:
    """A loader that remembers the engines that it started."""

    def __init__(self) -> None:
        self.loops: list[EngineLoop] = []

    def __call__(self, path: Path, _: Weights) -> tuple[Ingot, EngineLoop]:
        ingot = open_ingot(path)
        self.loops.append(EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer)))
        return ingot, self.loops[-1]


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def server(ingot_path: Path, tmp_path: Path, opened: Opened) -> Iterator[Server]:
    """A server of the models "tiny", whose batch sleeps, and "busy", which keeps the machine."""
    config = ServerConfig(
        port=0,
        model_name="tiny",
        batches=tmp_path / "batches",
        idle_unload_s=0.5,
        drain_timeout_s=1.0,
    )
    first, busy = (opened(ingot_path, "stored") for _ in range(2))
    with Server(*first, config, further=[("busy", *busy)], loader=opened) as server:
        yield server
    for ingot, loop in (first, busy):
        loop.close(5)
        ingot.close()


def asleep(server: Server, model: str) -> bool:
    text = httpx.get(f"{server.url}/metrics", timeout=300).text
    return f'ingot:model_asleep{{model_name="{model}"}} 1.0' in text


def complete(server: Server, model: str, **fields: object) -> str:
    """Return the text of an answer to a client."""
    body = line("one", model=model, max_tokens=TOKENS, ignore_eos=True, **fields)["body"]
    answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=300)
    return str(answer.raise_for_status().json()["choices"][0]["text"])


def test_a_paused_batch_lets_its_model_sleep_and_wakes_it_when_clients_are_gone(
    server: Server, opened: Opened, wait_until: Wait
) -> None:
    prompts = ["def"[: 1 + number % 3] for number in range(LINES)]
    client = Client(server.url)
    batch = client.begin(
        [
            line(f"r{number}", prompt=prompt, max_tokens=TOKENS, ignore_eos=True)
            for number, prompt in enumerate(prompts)
        ]
    )
    first = opened.loops[0]
    wait_until(lambda: first.stats().background_steps > 0)
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            complete(server, "busy")

    clients = [threading.Thread(target=keep_busy) for _ in range(3)]
    for each in clients:
        each.start()
    try:
        wait_until(lambda: asleep(server, "tiny") and not first._thread.is_alive())
        counts = client.openai.batches.retrieve(batch.id).request_counts
        assert counts.completed < LINES, "it was paused before its end"
        assert counts.failed == 0
    finally:
        stop.set()
        for each in clients:
            each.join(300)
    ended = client.wait(batch.id)
    assert ended.status == "completed"
    assert ended.request_counts.model_dump() == {"total": LINES, "completed": LINES, "failed": 0}
    assert ended.error_file_id is None
    results = client.results(ended.output_file_id)
    texts = {prompt: complete(server, "tiny", prompt=prompt) for prompt in set(prompts)}
    for number, prompt in enumerate(prompts):
        (choice,) = results[f"r{number}"]["response"]["body"]["choices"]
        assert choice["finish_reason"] == "length"
        # Further on, how PyTorch rounds a batch of another size may decide at a near tie.
        assert choice["text"][:50] == texts[prompt][:50]


def test_a_batch_wakes_a_model_that_sleeps_and_lets_it_sleep_again(
    server: Server, opened: Opened, wait_until: Wait
) -> None:
    wait_until(lambda: asleep(server, "tiny") and asleep(server, "busy"))
    client = Client(server.url)
    ended = client.wait(client.begin([line("a"), line("b")]).id)
    assert ended.request_counts.completed == 2
    assert len(opened.loops) == 3, "one model was opened again, once"
    wait_until(lambda: asleep(server, "tiny"))
