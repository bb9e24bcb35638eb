from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key
from ingot.server.engine.encoder_process import EncoderProcess
from ingot.server.engine.prompts import PromptEncoder

CONTEXT = 2048


@pytest.fixture
def encoded(ingot: Ingot, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect every text that is encoded, here or in the process for long ones."""
    texts: list[str] = []
    encode, encode_arrays = ingot.tokenizer.encode, ingot.tokenizer.encode_arrays
    encode_long = EncoderProcess.encode

    def noting(text: str, *, continues: bool = False) -> list[int]:
        texts.append(text)
        return encode(text, continues=continues)

    def noting_long(
        self: EncoderProcess, text: str, *, continues: bool = False
    ) -> NDArray[np.uint32]:
        texts.append(text)
        return encode_long(self, text, continues=continues)

    def noting_arrays(given: list[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        texts.extend(given)
        return encode_arrays(given)

    monkeypatch.setattr(ingot.tokenizer, "encode", noting)
    monkeypatch.setattr(ingot.tokenizer, "encode_arrays", noting_arrays)
    monkeypatch.setattr(EncoderProcess, "encode", noting_long)
    return texts


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/v1/completions", "prompt", "a" * 980_000),
        ("/v1/completions", "prompt", ["a", "☃" * 300_000]),
        ("/v1/embeddings", "input", "a" * 980_000),
        ("/v1/chat/completions", "messages", "<|endoftext|>" * 70_000),
        ("/v1/responses", "input", "<|endoftext|>" * 70_000),
    ],
)
def test_a_text_longer_than_any_prompt_is_refused_before_it_is_encoded(
    http: httpx.Client, encoded: list[str], path: str, field: str, value: str
) -> None:
    """FAULTS A4 and A6: refused by length first."""
    given = [{"role": "user", "content": value}] if field == "messages" else value
    response = http.post(path, json={"model": "tiny", field: given})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", field)
    assert "has at least" in error["message"]
    assert encoded == []


def test_texts_after_one_that_is_too_long_are_not_encoded(
    http: httpx.Client, ingot: Ingot, encoded: list[str]
) -> None:
    long = "\x01" * (CONTEXT + 10)  # a token each, and too short to be refused unread
    assert ingot.tokenizer.least_tokens(long) < CONTEXT
    body = {"model": "tiny", "prompt": ["def", long, "never read"]}
    response = http.post("/v1/completions", json=body)
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert encoded == ["def", long]


def test_a_refused_text_is_charged_to_the_key(
    ingot: Ingot, engine: EngineLoop, tmp_path: Path
) -> None:
    """FAULTS A4: refused text counts against the key's tokens per minute."""
    key, entry = make_key("a")
    keys = tmp_path / "keys.toml"
    keys.write_text(entry + "tokens_per_minute = 1000\n")
    headers = {"authorization": f"Bearer {key}"}
    with (
        Server(ingot, engine, ServerConfig(port=0, api_keys=keys)) as server,
        httpx.Client(base_url=server.url, headers=headers, timeout=300) as http,
    ):
        body = {"model": "tiny", "prompt": "a" * 900_000}
        assert http.post("/v1/completions", json=body).status_code == 400
        assert http.post("/v1/completions", json=body).status_code == 429


def test_a_long_text_has_the_tokens_that_it_has_in_one_process(
    http: httpx.Client, ingot: Ingot
) -> None:
    text = "def area(☃, <|endoftext|>):\n" * 60
    body = {"model": "tiny", "prompt": text}
    assert http.post("/tokenize", json=body).json()["tokens"] == ingot.tokenizer.encode(text)
    short = {"model": "tiny", "prompt": text, "max_tokens": 1}
    used = http.post("/v1/completions", json=short).json()["usage"]["prompt_tokens"]
    assert used == len(ingot.tokenizer.encode(text))


def test_a_template_may_write_what_the_context_holds(ingot: Ingot) -> None:
    """FAULTS A7: the template's process is told the bound."""
    encoder = PromptEncoder(ingot, CONTEXT)
    template = encoder._open_template(tools=False)
    try:
        bound = CONTEXT * ingot.tokenizer.longest_token
        assert bound <= template.characters < 3 * bound
    finally:
        encoder.close()
