from __future__ import annotations

import base64

import httpx
import numpy as np
import openai
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop

TEXTS = ["def area(width):", "the quick brown fox"]


def test_embeddings_are_the_engines_own(
    client: openai.OpenAI, ingot: Ingot, engine: EngineLoop
) -> None:
    answer = client.embeddings.create(model="tiny", input=TEXTS)  # in base64, by its own choice
    written = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float")
    for text, packed, plain in zip(TEXTS, answer.data, written.data, strict=True):
        own = engine.embed(ingot.tokenizer.encode(text), timeout=300)
        assert np.asarray(packed.embedding, np.float32).tolist() == own.tolist()
        assert np.asarray(plain.embedding, np.float32).tolist() == own.tolist()
    assert [entry.index for entry in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == sum(len(ingot.tokenizer.encode(t)) for t in TEXTS)


def test_base64_is_float32_little_end_first(http: httpx.Client) -> None:
    asked = {"model": "tiny", "input": "def", "encoding_format": "base64"}
    packed = http.post("/v1/embeddings", json=asked).json()["data"][0]["embedding"]
    numbers = np.frombuffer(base64.b64decode(packed), "<f4")
    plain = http.post("/v1/embeddings", json=asked | {"encoding_format": "float"}).json()
    assert numbers.tolist() == plain["data"][0]["embedding"]
    assert numbers.shape == (32,)


@pytest.mark.parametrize(
    "fields",
    [{"input": ""}, {"input": [[]]}, {"input": 3}, {"dimensions": 8}, {"encoding_format": "hex"}],
)
def test_a_wrong_field_is_named(http: httpx.Client, fields: dict[str, object]) -> None:
    response = http.post("/v1/embeddings", json={"model": "tiny", "input": "def"} | fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == next(iter(fields))


def test_as_many_inputs_as_openai_takes(
    http: httpx.Client, ingot: Ingot, engine: EngineLoop
) -> None:
    """FAULTS C8: embeddings take 128 inputs; OpenAI takes 2,048."""
    inputs = [[index % 250 + 1, index // 250 + 1] for index in range(2048)]
    body = {"model": "tiny", "input": inputs, "dimensions": 32}
    answer = http.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [entry["index"] for entry in data] == list(range(2048))
    for index in (0, 1, 1000, 2047):
        own = engine.embed(inputs[index], timeout=300)
        # PyTorch's products of another batch differ in the last bit on AVX2.
        np.testing.assert_allclose(data[index]["embedding"], own, atol=1e-6)
    response = http.post("/v1/embeddings", json=body | {"input": [*inputs, [1]]})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "input"
