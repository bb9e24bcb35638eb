from __future__ import annotations

import httpx
import pytest

from ingot.artifact import Ingot


@pytest.mark.parametrize("text", ["", "def area(width):", "naïve 🙂\n\n  x"])
def test_text_to_tokens_and_back(http: httpx.Client, ingot: Ingot, text: str) -> None:
    said = http.post("/tokenize", json={"model": "tiny", "prompt": text}).json()
    ids = ingot.tokenizer.encode(text)
    assert said == {"count": len(ids), "max_model_len": 2048, "tokens": ids}
    back = http.post("/detokenize", json={"model": "tiny", "tokens": ids}).json()
    assert back == {"prompt": text}


@pytest.mark.parametrize("tokens", [[-1], [1.5], [10**30], [300_000], "def", None])
def test_what_is_no_token_is_refused(http: httpx.Client, tokens: object) -> None:
    response = http.post("/detokenize", json={"model": "tiny", "tokens": tokens})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "tokens"


def test_another_model(http: httpx.Client) -> None:
    assert http.post("/tokenize", json={"model": "gpt", "prompt": ""}).status_code == 404
