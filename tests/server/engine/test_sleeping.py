"""An idle model's memory is released, and whatever races with that is answered as before."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingot.artifact import Ingot, open_ingot
from ingot.errors import UsageError
from ingot.inference import Engine, EngineLoop, SamplingParams
from ingot.inference.config import Weights
from ingot.inference.executors.torch import TorchExecutor
from ingot.inference.request.params import RequestOptions
from ingot.server import Server, ServerConfig
from ingot.server.engine.model_registry import Models, ServedModel
from ingot.server.engine.sleeping import Sleeper
from tests.random_model import freeze_random

ASKED: dict[str, Any] = {"model": "m", "prompt": "def area", "temperature": 0, "max_tokens": 5}
NEVER_S = 1e6
Wait = Callable[[Callable[[], bool]], None]


class GatedLoop(EngineLoop):
    """An engine that closes only while a gate is open."""

    gate: threading.Event

    def close(self, deadline_s: float) -> None:
        assert self.gate.wait(300)
        super().close(deadline_s)


class Sleepy:
    """A server whose model sleeps when it is told to, and what it opened."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = folder / "m.ingot"
        shutil.copytree(path, self.path)
        self.gate = threading.Event()
        self.gate.set()
        self.opened: list[tuple[Ingot, EngineLoop]] = []
        config = ServerConfig(
            port=0, idle_unload_s=NEVER_S, log_requests=True, log_file=folder / "log"
        )
        self.log = folder / "log"
        self.server = Server(*self.load(self.path, "stored"), config, loader=self.load)

    def load(self, path: Path, _: Weights) -> tuple[Ingot, EngineLoop]:
        ingot = open_ingot(path)
        loop = GatedLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))
        loop.gate = self.gate
        self.opened.append((ingot, loop))
        return ingot, loop

    def ask(self, route: str = "/v1/completions", **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.server.url}{route}", json=ASKED | fields, timeout=300)

    def text(self) -> str:
        return str(self.ask().raise_for_status().json()["choices"][0]["text"])

    def figure(self, name: str) -> float:
        page = httpx.get(f"{self.server.url}/metrics", timeout=300).text
        families = text_string_to_metric_families(page)
        return next(
            (s.value for family in families for s in family.samples if s.name == name), -1.0
        )

    def sleep(self, wait_until: Wait) -> None:
        """Let the model sleep, and not again once it woke: a busy machine would do so at once."""
        self.server._sleeper._idle_s = 0.0
        wait_until(self._asleep)
        self.server._sleeper._idle_s = NEVER_S

    def _asleep(self) -> bool:
        return self.figure("ingot:model_asleep") == 1 and not self.opened[-1][1]._thread.is_alive()


@pytest.fixture
def sleepy(ingot_path: Path, tmp_path: Path) -> Iterator[Sleepy]:
    sleepy = Sleepy(ingot_path, tmp_path)
    with sleepy.server._logs.installed(), sleepy.server:
        yield sleepy
    for ingot, loop in sleepy.opened:
        loop.close(5)
        ingot.close()


def test_an_idle_model_sleeps_and_the_next_request_wakes_it(
    sleepy: Sleepy, wait_until: Wait
) -> None:
    first = sleepy.text()
    sleepy.sleep(wait_until)
    assert sleepy.opened[0][0].tensors == {}
    url = sleepy.server.url
    assert httpx.get(f"{url}/health").json()["status"] == "ok"
    assert httpx.get(f"{url}/ready").status_code == 200
    (model,) = httpx.get(f"{url}/admin/models").json()["models"]
    assert (model["asleep"], model["wake_s"]) == (True, None)
    assert httpx.get(f"{url}/admin/batch").json() == {"models": []}
    assert len(sleepy.opened) == 1  # none of these woke it
    assert sleepy.text() == first
    assert len(sleepy.opened) == 2
    (model,) = httpx.get(f"{url}/admin/models").json()["models"]
    assert model["wake_s"] == sleepy.figure("ingot:model_last_wake_seconds") > 0
    assert sleepy.figure("ingot:model_wakes_total") == 1


def test_verify_wakes_the_model_and_finds_its_weights(sleepy: Sleepy, wait_until: Wait) -> None:
    sleepy.sleep(wait_until)
    body = {"model": "m"}
    said = httpx.post(f"{sleepy.server.url}/admin/verify", json=body, timeout=300).json()
    assert said["verified"] is True
    assert len(sleepy.opened) == 2
    for route in ("/tokenize", "/v1/completions/render"):
        sleepy.sleep(wait_until)
        fields = {"model": "m", "prompt": "def"}
        httpx.post(sleepy.server.url + route, json=fields, timeout=300).raise_for_status()


def test_however_many_ask_the_ingot_is_opened_once(sleepy: Sleepy, wait_until: Wait) -> None:
    first = sleepy.text()
    sleepy.sleep(wait_until)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        texts = [job.result(300) for job in [pool.submit(sleepy.text) for _ in range(8)]]
    assert texts == [first] * 8
    assert len(sleepy.opened) == 2


def test_a_request_while_memory_is_released_waits_for_that(
    sleepy: Sleepy, wait_until: Wait
) -> None:
    first = sleepy.text()
    sleepy.gate.clear()
    sleepy.server._sleeper._idle_s = 0.0
    wait_until(lambda: sleepy.figure("ingot:model_asleep") == 1)
    sleepy.server._sleeper._idle_s = NEVER_S
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(sleepy.text) for _ in range(2)]
        with pytest.raises(concurrent.futures.TimeoutError):
            jobs[0].result(0.5)
        assert len(sleepy.opened) == 1
        sleepy.gate.set()
        assert [job.result(300) for job in jobs] == [first] * 2
    assert len(sleepy.opened) == 2
    wait_until(lambda: sleepy.log.read_text().count("wake_s") == 2)
    lines = [json.loads(line) for line in sleepy.log.read_text().splitlines()]
    waited = [line["wake_s"] for line in lines if "wake_s" in line]
    assert len(waited) == 2
    assert min(waited) > 0


def test_an_ingot_that_is_gone_or_another_is_named_and_its_return_heals(
    sleepy: Sleepy, ingot: Ingot, wait_until: Wait, tmp_path: Path
) -> None:
    first = sleepy.text()
    sleepy.sleep(wait_until)
    aside = tmp_path / "aside"
    sleepy.path.rename(aside)
    refused = sleepy.ask()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_asleep")
    assert "cannot be loaded again" in refused.json()["error"]["message"]
    freeze_random(sleepy.path, ingot.config, ingot.tokenizer, 1)
    other = sleepy.ask()
    assert (other.status_code, other.json()["error"]["code"]) == (503, "ingot_changed")
    shutil.rmtree(sleepy.path)
    aside.rename(sleepy.path)
    assert sleepy.text() == first


def test_a_model_in_use_does_not_sleep(ingot_path: Path) -> None:
    ingot = open_ingot(ingot_path)
    loop = EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))
    now = [0.0]

    async def main() -> None:
        model = ServedModel("m", ingot, loop)
        model._last_used = 0.0
        sleeper = Sleeper(Models([model]), 10.0, lambda: now[0])
        now[0] = 9.0
        sleeper.sleep_idle()
        assert sleeper._sleeping is None
        now[0] = 11.0
        with model.used():
            sleeper.sleep_idle()
            assert sleeper._sleeping is None
        model._last_used = 0.0
        sleeper.sleep_idle()
        assert sleeper._sleeping is not None
        with model.used():  # it came before the task began
            await asyncio.wait_for(sleeper._sleeping, 300)
            assert not model.asleep
        model._last_used = 0.0
        sleeper.sleep_idle()
        await asyncio.wait_for(sleeper._sleeping, 300)
        assert model.asleep

    asyncio.run(main())
    assert not loop._thread.is_alive()
    loop.close(5)
    ingot.close()


def test_only_batches_that_are_paused_let_a_model_sleep(ingot_path: Path, wait_until: Wait) -> None:
    ingot = open_ingot(ingot_path)
    loop = EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))
    now = [0.0]
    ends: queue.Queue[str] = queue.Queue()

    def submit() -> None:
        params = SamplingParams(max_tokens=1000, temperature=0, ignore_eos=True)
        loop.submit(
            [1, 2, 3],
            params,
            lambda delta: ends.put(delta.finish_reason) if delta.finish_reason else None,
            RequestOptions(background=True),
        )

    async def main() -> None:
        model = ServedModel("m", ingot, loop)
        sleeper = Sleeper(Models([model]), 10.0, lambda: now[0])
        with model.used():
            submit()
            wait_until(lambda: loop.stats().background_steps > 0)
            now[0] += 20.0  # its prompt was being read: that is work for the batch
            sleeper.sleep_idle()
            assert sleeper._sleeping is None
            with model.interruptible():
                for _ in range(3):
                    model._last_used = now[0]
                    steps = loop.stats().background_steps
                    wait_until(lambda steps=steps: loop.stats().background_steps > steps)
                    now[0] += 20.0
                    sleeper.sleep_idle()
                    assert sleeper._sleeping is None
                loop.hold_background(True)
                wait_until(lambda: loop._idle)
                sleeper.sleep_idle()  # sees the last steps
                now[0] += 9.0
                sleeper.sleep_idle()
                assert sleeper._sleeping is None
                with model.kept_open():
                    now[0] += 2.0
                    sleeper.sleep_idle()
                    assert sleeper._sleeping is None
                sleeper.sleep_idle()
                assert sleeper._sleeping is not None
                while not model.asleep:
                    await asyncio.sleep(0.01)
                assert await asyncio.to_thread(ends.get, timeout=300) == "cancelled"
        await asyncio.wait_for(sleeper._sleeping, 300)

    asyncio.run(main())
    assert not loop._thread.is_alive()
    ingot.close()


def test_a_server_that_cannot_open_ingots_refuses_the_setting(
    ingot: Ingot, engine: EngineLoop
) -> None:
    with pytest.raises(UsageError, match=r"server\.idle_unload_s"):
        Server(ingot, engine, ServerConfig(port=0, idle_unload_s=1.0))
