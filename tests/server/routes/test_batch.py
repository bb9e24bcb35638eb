from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx

from ingot.artifact import Ingot
from ingot.inference import EngineLoop, SamplingParams
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

LONG = SamplingParams(max_tokens=400, temperature=0, ignore_eos=True)


def test_an_idle_engine_has_an_empty_batch(http: httpx.Client) -> None:
    (model,) = http.get("/admin/batch").json()["models"]
    assert model["model"] == "tiny"
    batch = model["batch"]
    assert batch["running"] == batch["waiting"] == []
    assert batch["blocks_held"] == 0
    assert len(batch["cells"]) == -(-batch["blocks_total"] // batch["blocks_per_cell"])


def test_a_running_request_is_in_the_picture(http: httpx.Client) -> None:
    body = {
        "model": "tiny",
        "prompt": ["the quick", "brown"],
        "max_tokens": 300,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
    }
    with http.stream("POST", "/v1/completions", json=body) as answer:
        next(answer.iter_lines())
        (model,) = http.get("/admin/batch").json()["models"]
        batch = model["batch"]
        assert len(batch["running"]) == 2
        first = batch["running"][0]
        assert first["max_tokens"] == 300
        assert first["blocks"] == -(-(first["prompt_tokens"] + first["written"]) // 16)
        assert batch["blocks_held"] >= first["blocks"]
        assert set(batch["cells"]) <= {-1, -2, -3, 0, 1}
        # A cell of several blocks names one owner, so one of the two may be out of sight.
        assert {0, 1} & set(batch["cells"])
    assert model["kv_bytes_per_token"] > 0


def test_other_keys_are_not_named(
    ingot: Ingot, make_engine: Callable[[], EngineLoop], tmp_path: Path
) -> None:
    (reader, entry), (_, other) = make_key("reader"), make_key("writer")
    keys = tmp_path / "keys.toml"
    keys.write_text(entry + other)
    keys.chmod(0o600)
    engine = make_engine()
    with Server(ingot, engine, ServerConfig(port=0, api_keys=keys)) as server:
        sequence = engine.submit([1, 2, 3], LONG, lambda _: None)
        headers = {"authorization": f"Bearer {reader}"}
        answer = httpx.get(f"{server.url}/admin/batch", headers=headers, timeout=300)
        (model,) = answer.json()["models"]
        assert [one["tenant"] for one in model["batch"]["running"]] in ([], ["another key"])
        engine.cancel(sequence)
        assert httpx.get(f"{server.url}/admin/batch", timeout=300).status_code == 401
    engine.close(5)
