from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop, OutputDelta, TokenLogprob
from ingot.server import Server, ServerConfig
from ingot.server.routes import logprobs
from ingot.server.routes.generation import SLICE_ENTRIES, GenerationResponse, scored_parts

TOP = tuple((number, -float(number)) for number in range(20))
SCORED = tuple(TokenLogprob(number % 300, -1.0, TOP) for number in range(3800))
WIDEST = 21  # entries of one token


def entries(delta: OutputDelta) -> int:
    """Return the log-probabilities in a delta."""
    return sum(1 + len(e.top) for e in (*delta.prompt_logprobs, *delta.logprobs) if e)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the number of log-probabilities of each call that writes some."""
    made: list[int] = []
    write, write_chat = logprobs.LogprobsWriter.write, logprobs.LogprobsWriter.write_chat

    def noting(self: logprobs.LogprobsWriter, given: Iterator[TokenLogprob]) -> object:
        listed = list(given)
        made.append(sum(1 + len(entry.top) for entry in listed))
        return write(self, listed)

    def noting_chat(self: logprobs.LogprobsWriter, given: Iterator[TokenLogprob]) -> object:
        listed = list(given)
        made.append(sum(1 + len(entry.top) for entry in listed))
        return write_chat(self, listed)

    monkeypatch.setattr(logprobs.LogprobsWriter, "write", noting)
    monkeypatch.setattr(logprobs.LogprobsWriter, "write_chat", noting_chat)
    return made


def test_parts_are_small_and_nothing_is_lost() -> None:
    delta = OutputDelta("text", (1, 2), SCORED[:70], "stop", None, (None, *SCORED))
    parts = list(scored_parts(delta))
    assert all(entries(part) <= SLICE_ENTRIES for part in parts)
    assert sum((part.prompt_logprobs for part in parts), ()) == delta.prompt_logprobs
    assert sum((part.logprobs for part in parts), ()) == delta.logprobs
    assert "".join(part.text for part in parts) == "text"
    assert [part.finish_reason for part in parts if part.finish_reason] == ["stop"]
    assert parts[-1].token_ids == (1, 2)


def test_a_small_delta_stays_whole() -> None:
    delta = OutputDelta("text", (1,), SCORED[:1])
    assert list(scored_parts(delta)) == [delta]


def test_others_have_their_turn_while_a_long_answer_is_written() -> None:
    """FAULTS A5: no task writes more than a slice between two turns of the event loop."""
    since_turn = [0]

    class Writer:
        def collect(self, index: int, delta: OutputDelta) -> None:
            del index
            since_turn[-1] += entries(delta)

    async def others() -> None:
        while True:
            since_turn.append(0)
            await asyncio.sleep(0)

    async def run() -> OutputDelta:
        response = GenerationResponse.__new__(GenerationResponse)
        response._writer = Writer()  # type: ignore[assignment]
        turns = asyncio.ensure_future(others())
        rest = await response._collected(0, OutputDelta("", (), prompt_logprobs=(None, *SCORED)))
        turns.cancel()
        return rest

    rest = asyncio.run(run())
    assert sum(since_turn) == len(SCORED) * WIDEST
    assert max(since_turn) <= SLICE_ENTRIES
    assert rest.prompt_logprobs == ()


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_scored_prompt_is_written_in_slices(
    http: httpx.Client, ingot: Ingot, calls: list[int], stream: bool
) -> None:
    """FAULTS A5: the answer is the same as in one piece."""
    ids = [number % 290 for number in range(1500)]
    body = {"model": "tiny", "prompt": ids, "echo": True, "logprobs": 20, "max_tokens": 0}
    response = http.post("/v1/completions", json=body | {"stream": stream})
    assert response.status_code == 200, response.text
    if stream:
        events = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
        choices = [json.loads(event)["choices"][0] for event in events]
        text = "".join(choice["text"] for choice in choices)
        scored = [choice["logprobs"] for choice in choices if choice["logprobs"]]
        tokens = [each for part in scored for each in part["tokens"]]
        offsets = [each for part in scored for each in part["text_offset"]]
        top = [each for part in scored for each in part["top_logprobs"]]
        assert len(scored) > 10
    else:
        choice = response.json()["choices"][0]
        text, scored = choice["text"], choice["logprobs"]
        tokens, offsets, top = scored["tokens"], scored["text_offset"], scored["top_logprobs"]
    assert text == ingot.tokenizer.decode(ids)
    assert len(tokens) == len(offsets) == len(top) == 1500
    assert offsets == sorted(offsets)
    assert top[0] is None
    assert all(len(each) >= 20 for each in top[1:])
    assert max(calls) <= SLICE_ENTRIES


def test_chat_and_ranked_answers_are_as_before(http: httpx.Client, calls: list[int]) -> None:
    messages = [{"role": "user", "content": "a"}]
    chat = {"model": "tiny", "messages": messages, "seed": 1, "max_tokens": 200}
    chat |= {"logprobs": True, "top_logprobs": 20, "ignore_eos": True}
    answer = http.post("/v1/chat/completions", json=chat).json()["choices"][0]
    assert len(answer["logprobs"]["content"]) == 200
    assert all(len(entry["top_logprobs"]) == 20 for entry in answer["logprobs"]["content"])
    assert max(calls) <= SLICE_ENTRIES
    best = {"model": "tiny", "prompt": "def", "seed": 1, "best_of": 4, "n": 4, "logprobs": 0}
    body = best | {"max_tokens": 30, "ignore_eos": True}
    all_four = http.post("/v1/completions", json=body).json()["choices"]
    means = [sum(c["logprobs"]["token_logprobs"]) / 30 for c in all_four]
    one = http.post("/v1/completions", json=body | {"n": 1, "logprobs": None}).json()["choices"][0]
    assert one["text"] == all_four[means.index(max(means))]["text"]
    assert one["logprobs"] is None


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("completions", {"prompt": [[1] * 60] * 10, "echo": True, "logprobs": 20, "max_tokens": 0}),
        ("completions", {"prompt": "a", "logprobs": 20, "max_tokens": 600}),
        ("embeddings", {"input": ["a"] * 120}),
    ],
)
def test_an_answer_of_too_many_numbers_is_refused_before_any_work(
    ingot: Ingot, engine: EngineLoop, path: str, fields: dict[str, object]
) -> None:
    """FAULTS A5: 289 MB of answer to a small request."""
    config = ServerConfig(port=0, max_answer_entries=3000)
    steps = engine.stats().steps
    with Server(ingot, engine, config) as server:
        response = httpx.post(f"{server.url}/v1/{path}", json={"model": "tiny", **fields})
    assert response.status_code == 400
    assert "at most 3000 go in one" in response.json()["error"]["message"]
    assert engine.stats().steps == steps


def test_numbers_count_as_open_tokens(ingot: Ingot, engine: EngineLoop) -> None:
    config = ServerConfig(port=0, max_open_tokens=2000)
    body = {"model": "tiny", "prompt": "a", "logprobs": 20, "max_tokens": 100}
    with Server(ingot, engine, config) as server:
        response = httpx.post(f"{server.url}/v1/completions", json=body)
        assert response.status_code == 400
        plain = httpx.post(f"{server.url}/v1/completions", json=body | {"logprobs": None})
        assert plain.status_code == 200
