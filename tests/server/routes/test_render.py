from __future__ import annotations

from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot

MESSAGES = [{"role": "user", "content": "def area"}]


def test_each_prompt_is_rendered_with_its_sampling(http: httpx.Client, ingot: Ingot) -> None:
    body = {
        "model": "tiny",
        "prompt": ["def area(", "the quick brown fox"],
        "max_tokens": 7,
        "temperature": 0.5,
        "logit_bias": {"3": 1.5},
        "stop": "x",
        "cache_salt": "s",
        "priority": 2,
    }
    said = http.post("/v1/completions/render", json=body, headers={"x-request-id": "a"}).json()
    assert [one["token_ids"] for one in said] == [
        ingot.tokenizer.encode(text) for text in body["prompt"]
    ]
    first = said[0]
    assert (
        first["sampling_params"]
        | {
            "max_tokens": 7,
            "temperature": 0.5,
            "logit_bias": {"3": 1.5},
            "stop": ["x"],
            "n": 1,
        }
        == first["sampling_params"]
    )
    assert (first["cache_salt"], first["priority"]) == ("s", 2)
    assert (first["request_id"], first["model"], first["stream"]) == ("a", "tiny", False)


def test_a_conversation_has_the_tokens_that_chat_counts(http: httpx.Client, ingot: Ingot) -> None:
    tool = {"type": "function", "function": {"name": "now"}}
    chat: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "tools": [tool]}
    said = http.post("/v1/chat/completions/render", json=chat | {"stream": True}).json()
    answer = http.post("/v1/chat/completions", json=chat | {"max_tokens": 1}).json()
    split = http.post("/tokenize", json=chat).json()
    assert said["token_ids"] == split["tokens"]
    assert len(said["token_ids"]) == answer["usage"]["prompt_tokens"]
    assert said["stream"] is True
    # Without a limit the answer may fill the context.
    assert said["sampling_params"]["max_tokens"] == 2048 - len(said["token_ids"])


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/completions/render", {"prompt": "x " * 4000}),
        ("/v1/completions/render", {"prompt": "x", "best_of": 1, "n": 2}),
        ("/v1/completions/render", {"prompt": "x", "unknown": 1}),
        ("/v1/completions/render", {"prompt": "x", "objective": "ttft=nan"}),
        ("/v1/chat/completions/render", {"messages": MESSAGES, "objective": "p=0"}),
        ("/v1/chat/completions/render", {"messages": MESSAGES, "top_logprobs": 2}),
    ],
)
def test_what_the_route_itself_refuses(
    http: httpx.Client, route: str, body: dict[str, Any]
) -> None:
    rendered = http.post(route, json={"model": "tiny"} | body)
    answered = http.post(route.removesuffix("/render"), json={"model": "tiny"} | body)
    assert rendered.status_code == answered.status_code == 400
    assert rendered.json() == answered.json()


def test_nothing_is_generated(http: httpx.Client) -> None:
    def generated() -> str:
        lines = http.get("/metrics").text.splitlines()
        return next(line for line in lines if line.startswith("vllm:generation_tokens_total"))

    before = generated()
    http.post("/v1/completions/render", json={"model": "tiny", "prompt": "def"})
    assert generated() == before
