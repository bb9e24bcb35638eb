from __future__ import annotations

import httpx
import pytest

from ingot.artifact import Ingot


@pytest.mark.parametrize("text", ["", "def area(width):", "naïve 🙂\n\n  x"])
def test_text_to_tokens_and_back(http: httpx.Client, ingot: Ingot, text: str) -> None:
    said = http.post("/tokenize", json={"model": "tiny", "prompt": text}).json()
    ids = ingot.tokenizer.encode(text)
    assert said == {"count": len(ids), "max_model_len": 2048, "tokens": ids, "token_strs": None}
    back = http.post("/detokenize", json={"model": "tiny", "tokens": ids}).json()
    assert back == {"prompt": text}


@pytest.mark.parametrize("tokens", [[-1], [1.5], [10**30], [300_000], "def", None])
def test_what_is_no_token_is_refused(http: httpx.Client, tokens: object) -> None:
    response = http.post("/detokenize", json={"model": "tiny", "tokens": tokens})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "tokens"


def test_another_model(http: httpx.Client) -> None:
    assert http.post("/tokenize", json={"model": "gpt", "prompt": ""}).status_code == 404


def test_a_conversation_is_split_as_chat_reads_it(http: httpx.Client, ingot: Ingot) -> None:
    """FAULTS C13: ``/tokenize`` with ``messages``."""
    tool = {"type": "function", "function": {"name": "now"}}
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "tools": [tool]}
    said = http.post("/tokenize", json=chat | {"return_token_strs": True}).json()
    answer = http.post("/v1/chat/completions", json=chat | {"max_tokens": 1}).json()
    assert said["count"] == len(said["tokens"]) == answer["usage"]["prompt_tokens"]
    assert said["token_strs"][-1] == ingot.tokenizer.decode([said["tokens"][-1]])
    long = [{"role": "user", "content": "x " * 4000}]
    counted = http.post("/tokenize", json={"model": "tiny", "messages": long}).json()
    assert counted["count"] > counted["max_model_len"]  # counted, where a chat would be refused


@pytest.mark.parametrize(
    "fields", [{}, {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}]
)
def test_either_a_text_or_a_conversation(http: httpx.Client, fields: dict[str, object]) -> None:
    response = http.post("/tokenize", json={"model": "tiny"} | fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "prompt"
