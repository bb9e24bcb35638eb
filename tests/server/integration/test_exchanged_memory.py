"""The memory of an ingot that was exchanged goes back to the system, not only out of sight."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from ingot.api.executors import native_core_is_built
from ingot.artifact import Ingot, Provenance, freeze
from ingot.model import ModelConfig
from ingot.server.access.api_keys import make_key

ONE_INGOT = 2 * 15_000_000  # bytes: its parameters in bfloat16
Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="module")
def paths(ingot: Ingot, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two ingots of 15M parameters, large beside what a server holds otherwise."""
    config = ModelConfig(
        vocab_size=320,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
    )
    folder = tmp_path_factory.mktemp("exchanged")
    made = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        weights = {
            name: rng.normal(scale=0.02, size=shape).astype(np.float32)
            for name, shape in config.tensor_shapes().items()
        }
        out = folder / f"{seed}.ingot"
        freeze(weights, config, ingot.tokenizer, out, provenance=Provenance()).close()
        made.append(out)
    return made


def private_bytes(process: int) -> int:
    """Memory of a process that nobody shares; mapped files are not counted."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def answer(client: httpx.Client) -> None:
    """Have prompt and answer computed, so that all that a model needs is there."""
    asked = {"model": "it", "prompt": "def " * 200, "max_tokens": 64}
    assert client.post("/v1/completions", json=asked).status_code == 200


@pytest.mark.skipif(not native_core_is_built(), reason="the native core is not built")
def test_exchanging_ingots_again_and_again_takes_no_more_memory(
    paths: list[Path], wait_until: Wait, tmp_path: Path
) -> None:
    key, entry = make_key("admin")
    keys = tmp_path / "keys.toml"
    keys.write_text(f"{entry}admin = true\n")
    command = [sys.executable, "-m", "ingot", "serve", f"it={paths[0]}", "--port", "0", "--json"]
    command += ["--api-keys", str(keys)]
    command += ["--set", "engine.kv_cache_bytes=67108864", "--set", "server.log_requests=false"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
            headers = {"authorization": f"Bearer {key}"}
            with httpx.Client(base_url=url, headers=headers, timeout=300) as client:
                answer(client)
                before = private_bytes(process.pid)
                assert before > ONE_INGOT  # it is there, and counted
                for path in [paths[1], paths[0]] * 3:
                    body = {"model": "it", "path": str(path)}
                    assert client.post("/admin/ingots", json=body).status_code == 200
                    answer(client)
            # Six were exchanged. How much of a cache is counted varies with the size of its pages.
            wait_until(lambda: private_bytes(process.pid) < before + 2 * ONE_INGOT)
        finally:
            process.terminate()
            process.wait(300)
