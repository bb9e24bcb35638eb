"""A full queue and a failing engine, as a client meets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq

import httpx
import openai
import pytest

from ingot.artifact import Ingot
from ingot.errors import ServeError
from ingot.inference import Engine, EngineConfig, EngineLoop, OutputDelta
from ingot.inference.executors.base import Failure, ModelInput, Result
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import Server, ServerConfig
from ingot.server.engine.stream import OutputStream

ASKED = {"model": "tiny", "prompt": "def", "max_tokens": 500, "ignore_eos": True, "temperature": 0}
_DAMAGED = 200


class FailingExecutor(TorchExecutor):
    """The real executor, until ``steps_left`` runs out."""

    steps_left = 3

    def step(self, chunks: Seq[ModelInput]) -> list[Result]:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise ServeError("the weights melted", where="executor")
        return super().step(chunks)


def serve(ingot: Ingot, engine: EngineLoop) -> Iterator[httpx.Client]:
    try:
        with (
            Server(ingot, engine, ServerConfig(port=0)) as server,
            httpx.Client(base_url=server.url, timeout=300) as http,
        ):
            yield http
    finally:
        engine.close(5)


@pytest.fixture
def doomed(ingot: Ingot) -> EngineLoop:
    """An engine that fails at its fourth step."""
    return EngineLoop(Engine(FailingExecutor(ingot), ingot.tokenizer))


@pytest.fixture
def failing(ingot: Ingot, doomed: EngineLoop) -> Iterator[httpx.Client]:
    yield from serve(ingot, doomed)


@pytest.fixture
def narrow(ingot: Ingot) -> Iterator[httpx.Client]:
    """A server whose engine runs one sequence and lets two wait."""
    config = EngineConfig(max_sequences=1, max_waiting=2)
    executor = TorchExecutor(ingot, num_blocks=config.blocks_for(ingot.config))
    yield from serve(ingot, EngineLoop(Engine(executor, ingot.tokenizer, config)))


def test_a_full_queue_asks_to_come_back(
    narrow: httpx.Client, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    response = narrow.post("/v1/completions", json=ASKED | {"n": 16})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
    # What had been taken in is cancelled before the next step, so there is room again.
    short = ASKED | {"max_tokens": 1}
    wait_until(lambda: narrow.post("/v1/completions", json=short).status_code == 200)


def test_a_failure_ends_the_request_and_shows_in_health(failing: httpx.Client) -> None:
    assert failing.get("/health").status_code == 200
    response = failing.post("/v1/completions", json=ASKED)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (500, "engine_failed")
    assert error["type"] == "server_error"
    assert "the weights melted" in error["message"]
    assert failing.get("/health").status_code == 503
    assert failing.get("/health").json()["status"] == "failed"
    later = failing.post("/v1/completions", json=ASKED)
    assert (later.status_code, later.json()["error"]["code"]) == (503, "engine_failed")


class PartlyDamagedExecutor(TorchExecutor):
    """The real executor of a model in which one token has no finite scores."""

    def step(self, inputs: Seq[ModelInput]) -> list[Result]:
        results = super().step(inputs)
        for index, model_input in enumerate(inputs):
            if _DAMAGED in model_input.token_ids:
                results[index] = Failure("model: some scores are not finite at position 1")
        return results


def test_scores_that_are_not_finite_fail_one_request(ingot: Ingot) -> None:
    """FAULTS A9: one bad row is an error of its request; the server continues."""
    executor = PartlyDamagedExecutor(ingot)
    for http in serve(ingot, EngineLoop(Engine(executor, ingot.tokenizer))):
        good = {**ASKED, "max_tokens": 3, "prompt": [1, 2], "logit_bias": {f"{_DAMAGED}": -100}}
        for stream in (False, True):
            bad = http.post("/v1/completions", json=good | {"prompt": [_DAMAGED], "stream": stream})
            assert bad.status_code == (200 if stream else 500)
            body = bad.text.splitlines()[0].removeprefix("data: ") if stream else bad.text
            error = json.loads(body)["error"]
            assert (error["type"], error["code"]) == ("server_error", "answer_failed")
            assert "scores are not finite at position 1" in error["message"]
            assert http.post("/v1/completions", json=good).status_code == 200
        assert http.get("/health").status_code == 200


def test_a_failure_ends_a_stream_with_an_error_event(failing: httpx.Client) -> None:
    response = failing.post("/v1/completions", json=ASKED | {"stream": True})
    events = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert response.status_code == 200
    assert json.loads(events[0])["choices"]
    assert "the weights melted" in json.loads(events[-1])["error"]["message"]


def test_what_was_said_before_the_failure_is_sent_even_to_a_late_reader(
    failing: httpx.Client, doomed: EngineLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = OutputStream.take

    async def take_late(stream: OutputStream) -> list[tuple[int, OutputDelta]]:
        while doomed.failed is None:
            await asyncio.sleep(0.01)
        return await take(stream)

    monkeypatch.setattr(OutputStream, "take", take_late)
    asked = ASKED | {"stream": True, "logprobs": 0}
    response = failing.post("/v1/completions", json=asked)
    events = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    said, error = map(json.loads, events)
    assert len(said["choices"][0]["logprobs"]["tokens"]) == 3
    assert said["choices"][0]["finish_reason"] is None
    assert "the weights melted" in error["error"]["message"]


def test_the_official_client_raises_where_a_stream_breaks(failing: httpx.Client) -> None:
    with openai.OpenAI(
        base_url=str(failing.base_url.join("/v1")), api_key="any", max_retries=0
    ) as client:
        stream = client.completions.create(
            model="tiny",
            prompt="def",
            max_tokens=500,
            temperature=0,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        with pytest.raises(openai.APIError, match="the weights melted"):
            list(stream)
