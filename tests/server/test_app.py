from __future__ import annotations

import httpx
import openai

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig


def test_models(client: openai.OpenAI, ingot: Ingot) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == ["tiny"]
    model = client.models.retrieve("tiny")
    assert model == models[0]
    assert model.model_dump()["digest"] == ingot.digest
    assert model.model_dump()["max_model_len"] == ingot.config.max_position_embeddings


def test_health(http: httpx.Client, ingot: Ingot) -> None:
    response = http.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "digest": ingot.digest}


def test_a_model_may_be_given_a_name(ingot: Ingot, engine: EngineLoop) -> None:
    with Server(ingot, engine, ServerConfig(port=0, model_name="our/model")) as server:
        answer = httpx.get(f"{server.url}/v1/models/our/model")
    assert answer.json()["id"] == "our/model"


def test_openapi_describes_what_there_is(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["paths"].keys() == {
        "/v1/models",
        "/v1/models/{model_id}",
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/responses/{response_id}",
        "/v1/responses/{response_id}/input_items",
        "/v1/embeddings",
        "/tokenize",
        "/detokenize",
        "/health",
        "/ready",
        "/version",
        "/metrics",
        "/admin/ingots",
        "/admin/verify",
        "/admin/activity",
        "/admin/batch",
        "/v1/completions/render",
        "/v1/chat/completions/render",
        "/admin/models",
        "/admin/unload",
        "/admin/cancel",
        "/admin/quantize",
    }
    body = document["paths"]["/v1/completions"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("/CompletionRequest")
    schemas = document["components"]["schemas"]
    assert schemas["CompletionRequest"]["additionalProperties"] is False
    assert _references(document) == {f"#/components/schemas/{name}" for name in schemas}


def _references(node: object) -> set[str]:
    """Return every ``$ref`` in a document."""
    if isinstance(node, list):
        return set().union(*map(_references, node))
    if isinstance(node, dict):
        inside = set().union(*map(_references, node.values())) if node else set()
        return inside | ({node["$ref"]} if isinstance(node.get("$ref"), str) else set())
    return set()
