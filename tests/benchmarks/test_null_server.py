from __future__ import annotations

from pathlib import Path

import httpx

from benchmarks.serving import serving_nothing
from ingot.model import Tokenizer
from tests.random_model import freeze_random, small_config


def test_it_answers_with_as_many_words_as_asked_for(tmp_path: Path) -> None:
    """With what the server gives an engine now: its stand-in once lacked an argument."""
    tokenizer = Tokenizer.train(["a text of some words\n" * 9], 280)
    with serving_nothing(freeze_random(tmp_path / "m.ingot", small_config(), tokenizer)) as served:
        body = {"model": served.model, "prompt": "a", "max_tokens": 3}
        answer = httpx.post(f"{served.url}/v1/completions", json=body, timeout=300)
        assert answer.raise_for_status().json()["choices"][0]["text"] == " word" * 3
